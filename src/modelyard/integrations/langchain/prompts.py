"""Prompts of text models: images in them are refused, since LangChain would write them out as text."""

from __future__ import annotations

from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.prompt_values import PromptValue

from modelyard.errors import UnsupportedError


class TextPrompts:
    """For subclasses of `BaseLLM`, to stand before it."""

    def _convert_input(self, model_input: LanguageModelInput) -> PromptValue:
        value: PromptValue = super()._convert_input(model_input)  # type: ignore[misc]
        for message in value.to_messages():
            blocks: list[Any] = message.content if isinstance(message.content, list) else []
            for block in blocks:
                if not isinstance(block, str) and block.get("type") != "text":
                    raise UnsupportedError(
                        f"a {message.type} message holds a block of type {block.get('type')!r}",
                        hint="A text model reads text alone: use ChatModelyard.",
                    )
        return value
