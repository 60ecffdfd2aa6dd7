"""What the Hugging Face classes hold at run time: a tokenizer, a formatter, and a reader of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from modelyard.errors import InvalidArgumentError, UnsupportedError, nearest
from modelyard.llm import LLM
from modelyard.messages import Prompt, as_message
from modelyard.types import Message

_TURN = ("role", "content")
_BLOCKS = {"text": ("text",), "image": ("image",), "image_url": ("image_url",)}


class Tokenizer:
    """The tokenizer of a model.

    >>> from modelyard import create_llm
    >>> len(Tokenizer(create_llm("fake"))("Hello there"))
    2
    """

    def __init__(self, llm: LLM) -> None:
        self._llm = llm

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """The token ids of a text."""
        return list(self._llm.encode([text], special=add_special_tokens)[0])


class ChatTemplate:
    """The formatter: the model's own chat template, and a prompt as it stands where the model has none.

    >>> from modelyard import create_llm
    >>> ChatTemplate(create_llm("fake"))("Hello")
    '[user] Hello\\n[assistant] '
    """

    def __init__(self, llm: LLM) -> None:
        self._llm = llm

    def format_prompt(self, prompt: Prompt) -> str:
        """The text that the model is given."""
        if isinstance(prompt, str) and self._llm.tokenizer_info().chat_template is None:
            return prompt
        return self._llm.render(prompt)

    def __call__(self, prompt: Prompt) -> str:
        """`format_prompt`."""
        return self.format_prompt(prompt)


class ImageReader:
    """The processor: a prompt with images as our messages.

    Args:
        min_pixels: to which smaller images are enlarged.
        max_pixels: to which larger ones are reduced. The engine does both.

    >>> ImageReader(1, 2)([{"role": "user", "content": "Hello"}])[0].text
    'Hello'
    """

    def __init__(self, min_pixels: int, max_pixels: int) -> None:
        self.min_pixels, self.max_pixels = min_pixels, max_pixels

    def __call__(self, prompt: Prompt) -> list[Message]:
        """The messages of a prompt.

        Raises:
            InvalidArgumentError: the prompt is empty, an image cannot be read, or a block has a key that nothing
                here heeds.
            UnsupportedError: a message holds something else than text and images.
        """
        if isinstance(prompt, str):
            return [Message("user", prompt)]
        return [one if isinstance(one, Message) else _turn(one) for one in prompt]


def _turn(given: Mapping[str, Any]) -> Message:
    content = given.get("content") if isinstance(given, Mapping) else None
    if not isinstance(content, Sequence) or isinstance(content, str | bytes):
        return as_message(given)
    return as_message({**given, "content": [_block(one) for one in content]})


def _block(given: Any) -> Any:
    """A block as `as_message` reads it; a `file://` address, as the field's notebooks have it, as a path."""
    if isinstance(given, str):
        return {"type": "text", "text": given}
    if not isinstance(given, Mapping):
        return given
    kind = given.get("type")
    if kind not in _BLOCKS:
        raise UnsupportedError(
            f"a message holds a block of type {kind!r}", hint="Text and images are read, nothing else."
        )
    for key in given:
        if key != "type" and key not in _BLOCKS[kind]:
            raise InvalidArgumentError(
                f"a block of type '{kind}' has the key '{key}'.{nearest(key, _BLOCKS[kind])}",
                hint="min_pixels and max_pixels hold for all images: they are arguments of the class.",
            )
    image = given.get("image")
    if isinstance(image, str) and image.startswith("file://"):
        return {**given, "image": Path(unquote(urlparse(image).path))}
    return given
