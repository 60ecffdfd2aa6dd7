"""Prompts and messages as people write them, read into our types."""

from __future__ import annotations

import base64
import io
import json
import mimetypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from modelyard.errors import InvalidArgumentError
from modelyard.types import ImagePart, Message, Part, TextPart, Tool, ToolCall

Prompt = str | Sequence[Message | Mapping[str, Any]]
"""A text, or the messages of a conversation."""


def read_prompt(
    prompt: Prompt, system: str | None, raw: bool, images: Any = ()
) -> tuple[tuple[Message, ...] | None, str | None]:
    """Messages, or a raw text: the one is None where the other is given."""
    if not isinstance(system, str | None):
        raise InvalidArgumentError(f"system_prompt is {system!r:.80}", hint="It is a text.")
    if isinstance(prompt, str):
        if not prompt.strip():
            raise InvalidArgumentError("the prompt is empty", hint="Give it some text.")
        check_characters(prompt)
        if raw:
            if system:
                raise InvalidArgumentError(
                    "a raw prompt takes no system_prompt", hint="Put it into the text."
                )
            if images:
                raise InvalidArgumentError("a raw prompt takes no images", hint="Leave raw out.")
            return None, prompt
        parts: tuple[Part, ...] = (*(read_image(one) for one in _several(images)), TextPart(prompt))
        content = parts if images else prompt
        messages: tuple[Message, ...] = (Message("user", content),)
    else:
        if images:
            raise InvalidArgumentError(
                "images are for a text prompt, and messages were given", hint="Put them into the messages."
            )
        if raw:
            raise InvalidArgumentError("raw is for a text, and messages were given", hint="Leave raw out.")
        given: Any = prompt
        if not isinstance(given, Sequence) or isinstance(given, bytes):
            raise InvalidArgumentError(
                f"the prompt is {given!r:.80}", hint="It is a text, or a list of messages."
            )
        messages = tuple(as_message(one) for one in given)
        for message in messages:
            check_characters(message.text)
        if not any(message.content or message.tool_calls for message in messages):
            raise InvalidArgumentError("the messages are empty", hint="Give at least one with some text.")
    return ((Message("system", system), *messages) if system else messages), None


def check_characters(text: str) -> None:
    """Refuses half of a surrogate pair: no tokenizer can read it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(
            f"the prompt holds half of a surrogate pair, {text[error.start]!r}, at character {error.start}",
            hint="It was read with the wrong encoding: read it again as what it is, or replace the character.",
        ) from None


def as_message(given: Message | Mapping[str, Any]) -> Message:
    """A message from the field's usual form, `{"role": …, "content": text or parts}`.

    >>> as_message({"role": "user", "content": [{"type": "text", "text": "Hi"}]}).text
    'Hi'
    """
    if isinstance(given, Message):
        return given
    if not isinstance(given, Mapping):
        raise InvalidArgumentError(
            f"a message is {given!r:.80}", hint="It is {'role': …, 'content': …}, or a Message."
        )
    unknown = set(given) - {"role", "content", "tool_calls", "tool_call_id"}
    calls = given.get("tool_calls") or ()
    if unknown or "role" not in given or ("content" not in given and not calls):
        raise InvalidArgumentError(
            f"a message has the keys {', '.join(map(repr, given)) or 'none'}",
            hint="It needs 'role' and 'content'; 'tool_calls' and 'tool_call_id' belong to tools.",
        )
    role, content = given["role"], given.get("content")
    if role not in ("system", "user", "assistant", "tool"):
        raise InvalidArgumentError(
            f"a message has role {role!r}", hint="Roles are system, user, assistant and tool."
        )
    asked = tuple(_tool_call(one) for one in calls)
    answered = given.get("tool_call_id")
    if isinstance(content, str) or (content is None and asked):
        return Message(role, content or "", asked, answered)
    if not isinstance(content, Sequence) or isinstance(content, bytes):
        raise InvalidArgumentError(
            f"a message has content {content!r:.80}", hint="It is a text or a list of parts."
        )
    return Message(role, tuple(_part(one) for one in content), asked, answered)


def read_tools(tools: Any, choice: Any) -> tuple[tuple[Tool, ...], str]:
    """Tools in the field's usual form, and which of them the model has to use.

    >>> read_tools([{"type": "function", "function": {"name": "add"}}], None)[0][0].name
    'add'

    Raises:
        InvalidArgumentError: a tool has no name or schema, or the choice names none of them.
    """
    if tools is None:
        if choice is not None:
            raise InvalidArgumentError("tool_choice is given, and no tools", hint="Pass tools=[…].")
        return (), "auto"
    if isinstance(tools, str | Mapping) or not isinstance(tools, Sequence) or not tools:
        raise InvalidArgumentError(f"tools is {tools!r:.80}", hint="Pass a list of functions.")
    read = tuple(_tool(one) for one in tools)
    if isinstance(choice, Mapping) and isinstance(choice.get("function"), Mapping):
        choice = choice["function"].get("name")
    known = ("auto", "none", "required", *(one.name for one in read))
    choice = "auto" if choice is None else choice
    if choice not in known:
        raise InvalidArgumentError(
            f"tool_choice is {choice!r:.80}", hint=f"It is one of: {', '.join(known)}."
        )
    return read, choice


def _tool(given: Any) -> Tool:
    if isinstance(given, Tool):
        return given
    function = given.get("function", given) if isinstance(given, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise InvalidArgumentError(
            f"a tool is {given!r:.80}",
            hint="It is {'type': 'function', 'function': {'name': …, 'description': …, 'parameters': …}}.",
        )
    parameters = function.get("parameters") or {}
    if not isinstance(parameters, Mapping):
        raise InvalidArgumentError(
            f"tool '{function['name']}' has parameters {parameters!r:.80}", hint="They are a JSON Schema."
        )
    return Tool(function["name"], str(function.get("description") or ""), parameters)


def _tool_call(given: Any) -> ToolCall:
    if isinstance(given, ToolCall):
        return given
    function = given.get("function") if isinstance(given, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise InvalidArgumentError(
            f"a tool call is {given!r:.80}",
            hint="It is {'id': …, 'type': 'function', 'function': {'name': …, 'arguments': …}}.",
        )
    arguments = function.get("arguments", "")
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return ToolCall(str(given.get("id") or ""), function["name"], written)


def _part(given: Any) -> Part:
    if isinstance(given, TextPart | ImagePart):
        return given
    if isinstance(given, Mapping) and given.get("type") == "text" and isinstance(given.get("text"), str):
        return TextPart(given["text"])
    if isinstance(given, Mapping) and given.get("type") == "image" and "image" in given:
        return read_image(given["image"])
    if isinstance(given, Mapping) and given.get("type") == "image_url":
        url = given.get("image_url")
        return read_image(url.get("url") if isinstance(url, Mapping) else url)
    raise InvalidArgumentError(
        f"a message part is {given!r:.80}",
        hint="It is {'type': 'text', 'text': …} or {'type': 'image', 'image': bytes, path or Pillow image}.",
    )


def read_image(given: Any) -> ImagePart:
    """An image from its bytes, a file, a `data:` URL or a Pillow image. Nothing is fetched.

    >>> read_image("data:image/gif;base64,R0lGOD==").media_type
    'image/gif'
    """
    if isinstance(given, ImagePart):
        return given
    if isinstance(given, bytes):
        return ImagePart(given)
    if isinstance(given, str) and given.startswith("data:"):
        return _from_data_url(given)
    if isinstance(given, str) and "://" in given:
        raise InvalidArgumentError(
            f"an image is the URL {given:.80}", hint="Images are not fetched: pass the bytes or a file."
        )
    if isinstance(given, str | Path):
        path = Path(given).expanduser()
        try:
            return ImagePart(path.read_bytes(), mimetypes.guess_type(path.name)[0] or "image/png")
        except OSError as error:
            raise InvalidArgumentError(
                f"the image {path} cannot be read: {error.strerror}", hint="Check the path."
            ) from None
    if hasattr(given, "save") and hasattr(given, "size"):  # Pillow's, without importing it
        buffer = io.BytesIO()
        given.save(buffer, format="PNG")
        return ImagePart(buffer.getvalue())
    raise InvalidArgumentError(
        f"an image is {given!r:.80}", hint="Pass its bytes, a path, a data: URL or a Pillow image."
    )


def _from_data_url(url: str) -> ImagePart:
    head, _, body = url.partition(",")
    kind, *options = head.removeprefix("data:").split(";")
    try:
        data = base64.b64decode(body, validate=True) if "base64" in options else unquote_to_bytes(body)
    except ValueError as error:
        raise InvalidArgumentError(
            f"an image's data: URL is broken: {error}", hint="Encode it again."
        ) from None
    return ImagePart(data, kind or "image/png")


def _several(images: Any) -> Sequence[Any]:
    return images if isinstance(images, list | tuple) else (images,)
