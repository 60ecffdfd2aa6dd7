"""LangChain's messages as ours: nothing that they hold is left out in silence."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from modelyard.errors import InvalidArgumentError, UnsupportedError
from modelyard.messages import read_image
from modelyard.types import ImagePart, Message, Part, Role, TextPart, ToolCall, Warning

_CALLS = ("tool_call", "tool_call_chunk", "invalid_tool_call", "tool_use")  # the message lists them itself
_THOUGHTS = ("reasoning", "thinking", "redacted_thinking")
_NAMED = Warning("message_name_ignored", "a message has a name, which chat templates have no place for")
_THOUGHT = Warning("reasoning_ignored", "the reasoning of an earlier turn is not given to the model again")


def as_ours(messages: Sequence[BaseMessage]) -> tuple[list[Message], list[Warning]]:
    """Our messages, and what the answer has to say about what they could not carry.

    >>> as_ours([HumanMessage("Hello")])[0][0].text
    'Hello'

    Raises:
        UnsupportedError: a message has a role, or holds a block, that our models do not read; it says which.
        InvalidArgumentError: an image cannot be read.
    """
    warnings: list[Warning] = []
    return [_message(one, warnings) for one in messages], warnings


def _message(given: BaseMessage, warnings: list[Warning]) -> Message:
    role = _role(given)
    if given.name and role != "tool":
        _note(warnings, _NAMED)
    calls = _calls(given) if isinstance(given, AIMessage) else ()
    answered = given.tool_call_id if isinstance(given, ToolMessage) else None
    return Message(role, _content(given, warnings), calls, answered)


def _role(given: BaseMessage) -> Role:
    match given:
        case SystemMessage():
            return "system"
        case HumanMessage():
            return "user"
        case AIMessage():
            return "assistant"
        case ToolMessage():
            return "tool"
        case ChatMessage(role="system" | "user" | "assistant" as role):
            return role
        case ChatMessage(role="developer"):
            return "system"
        case _:
            named = f"{given.type} ({given.role})" if isinstance(given, ChatMessage) else given.type
            raise UnsupportedError(
                f"a message is of type {named}",
                hint="System, human, AI and tool messages are read, and chat messages of these roles.",
            )


def _calls(given: AIMessage) -> tuple[ToolCall, ...]:
    made = [ToolCall(one["id"] or "", one["name"], json.dumps(one["args"])) for one in given.tool_calls]
    broken = [
        ToolCall(one["id"] or "", one["name"] or "", one["args"] or "") for one in given.invalid_tool_calls
    ]
    return (*made, *broken)


def _content(given: BaseMessage, warnings: list[Warning]) -> str | tuple[Part, ...]:
    if isinstance(given.content, str):
        return given.content
    parts = [part for block in given.content if (part := _part(block, given, warnings)) is not None]
    if all(isinstance(part, TextPart) for part in parts):
        return "".join(part.text for part in parts if isinstance(part, TextPart))
    return tuple(parts)


def _part(block: Any, given: BaseMessage, warnings: list[Warning]) -> Part | None:
    """The block as a part; None for one that is said elsewhere, or whose loss is noted."""
    if isinstance(block, str):
        return TextPart(block)
    kind = block.get("type")
    if kind == "non_standard" and isinstance(block.get("value"), Mapping):
        return _part(block["value"], given, warnings)
    if kind in ("text", "text-plain") and isinstance(block.get("text"), str):
        return TextPart(block["text"])
    if kind == "refusal" and isinstance(block.get("refusal"), str):
        return TextPart(block["refusal"])
    if kind in ("image", "image_url"):
        return _image(block)
    if isinstance(given, AIMessage) and kind in _CALLS:
        return None
    if isinstance(given, AIMessage) and kind in _THOUGHTS:
        _note(warnings, _THOUGHT)
        return None
    raise UnsupportedError(
        f"a {given.type} message holds a block of type {kind!r}",
        hint="Text and images are read, nothing else.",
    )


def _image(block: Mapping[str, Any]) -> ImagePart:
    """An image in any of the forms that it has in LangChain's messages."""
    if block["type"] == "image_url":
        url = block.get("image_url")
        return read_image(url.get("url") if isinstance(url, Mapping) else url)
    written = block.get("base64", block.get("data"))
    if written is not None:
        kind = str(block.get("mime_type") or "image/png")
        try:
            data = written if isinstance(written, bytes) else base64.b64decode(written, validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise InvalidArgumentError(
                f"an image's base64 text is broken: {error}", hint="Encode it again."
            ) from None
        return ImagePart(data, kind)
    if block.get("url") is not None:
        return read_image(block["url"])
    if "image" in block:
        return read_image(block["image"])
    raise UnsupportedError(
        f"an image block has the keys {', '.join(map(repr, block))}",
        hint="Give its bytes as base64, or a data: URL: nothing is fetched, and there is no store of files.",
    )


def _note(warnings: list[Warning], warning: Warning) -> None:
    if warning not in warnings:
        warnings.append(warning)
