"""Llama-Guard-style checks: how an answer is read, what the model is shown, and answers that are none."""

from __future__ import annotations

import asyncio

import pytest

from modelyard import create_llm
from modelyard.errors import EngineError
from modelyard.safety import LLAMA_GUARD_1, GuardCheck
from modelyard.types import Verdict


def judged(reply: str, **how: object) -> Verdict:
    check = GuardCheck(create_llm("fake", options={"reply": reply}), **how)  # type: ignore[arg-type]
    return asyncio.run(check.verdict("Is this fine? It is about something."))


@pytest.mark.parametrize("reply", ["safe", "\n\nsafe", "Safe\n"])
def test_safe_is_allowed(reply: str) -> None:
    assert judged(reply).allowed


@pytest.mark.parametrize("reply", ["unsafe\nS1,S10", "\n\nunsafe\nS1, S10", "unsafe\nS1\nS10"])
def test_unsafe_names_what_its_codes_stand_for(reply: str) -> None:
    verdict = judged(reply)
    assert not verdict.allowed
    assert sorted(verdict.flagged) == ["hate", "violent crimes"]
    assert all(one.score is not None and 0 < one.score <= 1 for one in verdict.categories)


def test_codes_of_another_model_are_read_with_its_own_table() -> None:
    assert judged("unsafe\nO3", categories=LLAMA_GUARD_1).flagged == ("criminal planning",)


def test_a_code_that_is_not_known_is_shown_as_it_is() -> None:
    assert judged("unsafe\nS99").flagged == ("S99",)


def test_unsafe_without_a_code_is_unsafe() -> None:
    assert judged("unsafe").flagged == ("unsafe",)


def test_only_what_is_to_be_blocked_is() -> None:
    assert judged("unsafe\nS6", block=["S1", "hate"]).allowed
    assert not judged("unsafe\nS6,S10", block=["S1", "hate"]).allowed


@pytest.mark.parametrize("reply", ["I think it is fine.", "safety first", "S1"])
def test_an_answer_that_is_neither_is_an_error_and_never_taken_for_safe(reply: str) -> None:
    with pytest.raises(EngineError, match="neither safe nor unsafe"):
        judged(reply)


def test_a_long_text_is_judged_in_windows() -> None:
    check = GuardCheck(create_llm("fake", options={"reply": "unsafe\nS2"}), window=64)
    text = "A sentence that has some words in it. " * 40
    verdict = asyncio.run(check.verdict(text))
    assert verdict.window is not None and verdict.window.end - verdict.window.start < len(text) / 2
    assert len(verdict.spans) > 3
    assert verdict.spans[0].start == 0 and verdict.spans[-1].end == len(text.rstrip())
