"""Windows of long texts: all of a text is in one of them, none is too long, and each begins with a sentence known."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import PromptTooLongError
from modelyard.safety.windows import sentences, windows

TEXTS = st.text(alphabet=st.sampled_from("ab .!?\n\"'”äß。 "), max_size=200)


async def words(text: str) -> int:
    return max(1, len(text.split()))


async def characters(text: str) -> int:
    return len(text)


@given(TEXTS)
def test_sentences_are_in_order_apart_and_leave_out_only_white_space(text: str) -> None:
    found = list(sentences(text))
    at, left = 0, ""
    for one in found:
        assert at <= one.start < one.end
        left += text[at : one.start]
        at = one.end
    assert not (left + text[at:]).strip()


@given(TEXTS, st.integers(4, 30))
def test_every_word_is_in_a_window_and_no_window_is_too_long(text: str, most: int) -> None:
    found = asyncio.run(windows(text, most, characters))
    covered = set()
    for one in found:
        assert one.start <= one.fresh < one.end
        covered |= set(range(one.start, one.end))
        # White space between sentences is read with them, and counts for nothing.
        assert len("".join(text[one.start : one.end].split())) <= most
    assert all(at in covered for at, char in enumerate(text) if char.strip())


@given(TEXTS, st.integers(4, 30))
def test_the_fresh_parts_follow_each_other(text: str, most: int) -> None:
    found = asyncio.run(windows(text, most, characters))
    for one, after in itertools.pairwise(found):
        assert one.end <= after.fresh
        assert not text[one.end : after.fresh].strip()


def test_a_window_begins_with_the_last_sentence_of_the_one_before() -> None:
    text = "One two. Three four. Five six. Seven eight."
    found = asyncio.run(windows(text, 4, words))
    assert [text[one.start : one.end] for one in found] == [
        "One two. Three four.", "Three four. Five six.", "Five six. Seven eight.",
    ]  # fmt: skip
    assert [text[one.own.start : one.own.end] for one in found] == [
        "One two. Three four.", "Five six.", "Seven eight.",
    ]  # fmt: skip


def test_a_sentence_that_is_longer_than_a_window_is_cut_between_words() -> None:
    text = " ".join(f"word{at}" for at in range(40))
    found = asyncio.run(windows(text, 8, words))
    assert all(not text[one.own.start : one.own.end].startswith("ord") for one in found)
    assert all(len(text[one.start : one.end].split()) <= 8 for one in found)


def test_a_text_of_white_space_has_no_windows() -> None:
    assert asyncio.run(windows(" \n ", 8, words)) == []


def test_a_character_that_is_longer_than_a_window_is_an_error() -> None:
    async def many(_: str) -> int:
        return 9

    with pytest.raises(PromptTooLongError, match="9 tokens, and a window holds 8"):
        asyncio.run(windows("a", 8, many))
