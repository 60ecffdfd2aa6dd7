"""LlamaIndex's messages as ours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    CachePoint,
    ChatMessage,
    ImageBlock,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)

from modelyard.errors import InvalidArgumentError, UnsupportedError
from modelyard.messages import as_message
from modelyard.types import ImagePart, Message, Part, Role, TextPart, ToolCall

_ROLES: dict[MessageRole, Role] = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}


def read_messages(messages: Sequence[ChatMessage]) -> list[Message]:
    """LlamaIndex's messages as ours; a block that no model here can read is refused, never left out.

    >>> read_messages([ChatMessage("Hello", role="user")])
    [Message(role='user', content='Hello', tool_calls=(), tool_call_id=None)]

    Raises:
        UnsupportedError: a block is neither text, image nor tool call; it says which.
        InvalidArgumentError: an image that cannot be read, or would have to be fetched.
    """
    return [_message(one) for one in messages]


def refuse_beyond_text(messages: Sequence[ChatMessage]) -> None:
    """For prompts that are made of the messages' texts alone.

    Raises:
        UnsupportedError: a message holds something else.
    """
    for message in messages:
        for block in message.blocks:
            if not isinstance(block, TextBlock):
                raise UnsupportedError(
                    f"a message holds a block of type '{block.block_type}', and the messages become one text here",
                    hint="Use a model with a chat template, without messages_to_prompt.",
                )


def _message(given: ChatMessage) -> Message:
    parts: list[Part] = []
    calls: list[ToolCall] = []
    for block in given.blocks:
        if isinstance(block, TextBlock):
            parts.append(TextPart(block.text))
        elif isinstance(block, ImageBlock):
            parts.append(_image(block))
        elif isinstance(block, ToolCallBlock):
            calls.append(_call(block))
        else:
            raise UnsupportedError(
                f"a message holds a block of type '{block.block_type}', which no model here reads",
                hint="Leave it out: a prefix that requests share is kept anyway."
                if isinstance(block, CachePoint)
                else "Give its text as a TextBlock, or an image of it as an ImageBlock.",
            )
    answered = given.additional_kwargs.get("tool_call_id")
    return Message(
        _ROLES[given.role],
        _content(parts),
        tuple(calls) or _legacy_calls(given),
        None if answered is None else str(answered),
    )


def _content(parts: Sequence[Part]) -> str | tuple[Part, ...]:
    """Texts joined as LlamaIndex joins them; parts as they are where there are images."""
    if any(isinstance(part, ImagePart) for part in parts):
        return tuple(parts)
    return "\n".join(part.text for part in parts if isinstance(part, TextPart))


def _image(block: ImageBlock) -> ImagePart:
    url = None if block.url is None else str(block.url)
    if block.image is None and block.path is None and url is not None and not url.startswith("data:"):
        raise InvalidArgumentError(
            f"an image is the URL {url:.80}",
            hint="Images are not fetched: pass ImageBlock(image=bytes) or path=….",
        )
    try:
        data = block.resolve_image().read()
    except (OSError, ValueError) as error:
        raise InvalidArgumentError(
            f"an ImageBlock cannot be read: {error}", hint="Pass its bytes as image=…, or a path."
        ) from error
    return ImagePart(data, block.image_mimetype or "image/png")


def _call(block: ToolCallBlock) -> ToolCall:
    written = block.tool_kwargs if isinstance(block.tool_kwargs, str) else json.dumps(dict(block.tool_kwargs))
    return ToolCall(block.tool_call_id or "", block.tool_name, written)


def _legacy_calls(given: ChatMessage) -> tuple[ToolCall, ...]:
    """Calls in OpenAI's form, as older integrations of LlamaIndex keep them."""
    calls = given.additional_kwargs.get("tool_calls") or ()
    plain = [one if isinstance(one, Mapping) else _plain(one) for one in calls]
    return as_message({"role": "assistant", "content": None, "tool_calls": plain}).tool_calls if plain else ()


def _plain(call: Any) -> Any:
    return call.model_dump() if hasattr(call, "model_dump") else call
