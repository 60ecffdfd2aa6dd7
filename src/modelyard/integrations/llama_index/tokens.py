"""A model's tokens, for LlamaIndex to count with."""

from __future__ import annotations

from collections.abc import Callable

from modelyard.llm import LLM


def tokenizer_of(llm: LLM) -> Callable[[str], list[int]]:
    """What `Settings.tokenizer` takes: a function from a text to its token ids.

    >>> from modelyard import create_llm
    >>> len(tokenizer_of(create_llm("fake"))("three short words"))
    3
    """

    def tokenize(text: str) -> list[int]:
        return list(llm.encode([text], special=False)[0]) if text else []

    return tokenize
