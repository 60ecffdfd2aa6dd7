"""Prompts and messages as people write them, read into our types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelyard.errors import InvalidArgumentError
from modelyard.types import ImagePart, Message, Part, TextPart

Prompt = str | Sequence[Message | Mapping[str, Any]]
"""A text, or the messages of a conversation."""


def read_prompt(
    prompt: Prompt, system: str | None, raw: bool
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
            return None, prompt
        messages: tuple[Message, ...] = (Message("user", prompt),)
    else:
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
        if not any(message.content for message in messages):
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
    unknown = set(given) - {"role", "content"}
    if unknown or "role" not in given or "content" not in given:
        raise InvalidArgumentError(
            f"a message has the keys {', '.join(map(repr, given)) or 'none'}",
            hint="It needs 'role' and 'content' alone.",
        )
    role, content = given["role"], given["content"]
    if role not in ("system", "user", "assistant", "tool"):
        raise InvalidArgumentError(
            f"a message has role {role!r}", hint="Roles are system, user, assistant and tool."
        )
    if isinstance(content, str):
        return Message(role, content)
    if not isinstance(content, Sequence) or isinstance(content, bytes):
        raise InvalidArgumentError(
            f"a message has content {content!r:.80}", hint="It is a text or a list of parts."
        )
    return Message(role, tuple(_part(one) for one in content))


def _part(given: Any) -> Part:
    if isinstance(given, TextPart | ImagePart):
        return given
    if isinstance(given, Mapping) and given.get("type") == "text" and isinstance(given.get("text"), str):
        return TextPart(given["text"])
    if isinstance(given, Mapping) and given.get("type") == "image" and isinstance(given.get("image"), bytes):
        return ImagePart(given["image"])
    raise InvalidArgumentError(
        f"a message part is {given!r:.80}",
        hint="It is {'type': 'text', 'text': …} or {'type': 'image', 'image': bytes}.",
    )
