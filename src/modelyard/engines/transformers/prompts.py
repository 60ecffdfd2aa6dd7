"""Prompts: messages, text and images to token ids and what else a forward pass takes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from modelyard.engines.chat import NO_OFFER, NO_TEMPLATE, Offer, parts, render_chat
from modelyard.engines.images import opened
from modelyard.errors import InvalidArgumentError, UnsupportedError
from modelyard.types import Message, Warning


@dataclass(slots=True, frozen=True)
class Prompt:
    """A prompt that has been read.

    Attributes:
        ids: its tokens.
        text: what was tokenised.
        special: whether the tokenizer's own beginning and end were added.
        inputs: pixels and the like, of a prompt with images.
    """

    ids: Sequence[int]
    text: str
    special: bool
    warnings: tuple[Warning, ...] = ()
    inputs: dict[str, Any] = field(default_factory=dict)


class Prompts:
    """Reads prompts for one model.

    Args:
        tokenizer: of transformers.
        template: the chat template, None for a base model.
        processor: of images, None for a model that reads text alone.
        translates: whether the model takes one text and no roles (encoder-decoder models without a template).
    """

    def __init__(self, tokenizer: Any, template: str | None, processor: Any, *, translates: bool) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._processor = processor
        self._translates = translates
        self._lock = threading.Lock()  # a tokenizer keeps settings of the call under way

    def read(self, prompt: str | Sequence[Message], offer: Offer = NO_OFFER) -> Prompt:
        """The prompt's tokens and inputs."""
        if isinstance(prompt, str):
            return Prompt(self.ids(prompt, special=True), prompt, True)
        if self._processor is not None and any(message.images for message in prompt):
            return self._with_images(prompt)
        tokenizer = self._tokenizer
        text, templated = render_chat(
            self._template,
            prompt,
            bos=tokenizer.bos_token or "",
            eos=tokenizer.eos_token or "",
            offer=offer,
        )
        warnings = () if templated or self._translates else (NO_TEMPLATE,)
        return Prompt(self.ids(text, special=not templated), text, not templated, warnings)

    def ids(self, text: str, *, special: bool) -> list[int]:
        """The tokens of a text."""
        with self._lock:
            found: list[int] = self._tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]
        return found

    def _with_images(self, messages: Sequence[Message]) -> Prompt:
        if not self._template:
            raise UnsupportedError(
                "the model has no chat template, which would say where an image stands",
                hint="Give one: chat_template in the catalogue.",
            )
        turns = [{"role": one.role, "content": parts(one)} for one in messages]
        images = [opened(part) for one in messages for part in one.images]
        with self._lock:
            try:
                text = self._processor.apply_chat_template(
                    turns, chat_template=self._template, add_generation_prompt=True, tokenize=False
                )
                encoded = self._processor(text=[text], images=images, return_tensors="pt")
            except (ValueError, TypeError, IndexError) as error:
                raise InvalidArgumentError(
                    f"the model's processor refused the images: {str(error)[:300]}",
                    hint="Check their sizes, and how many the model takes.",
                ) from error
        inputs = dict(encoded)
        ids = inputs.pop("input_ids")[0].tolist()
        inputs.pop("attention_mask", None)
        return Prompt(ids, text, False, (), inputs)
