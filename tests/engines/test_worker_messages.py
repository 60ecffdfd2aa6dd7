"""What a worker's child sends: the tokens of two steps in one message where many answer, and nothing lost by it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.catalog.spec import ModelSpec
from modelyard.engines.worker.child import _MANY, joined
from modelyard.engines.worker.messages import Freed, Piece, Reply
from modelyard.llm import LLM
from modelyard.types import Chunk, Token

PIECES = st.lists(st.tuples(st.integers(0, 5), st.text("ab", min_size=1, max_size=3)), max_size=9)


def pieces(texts: Sequence[tuple[int, str]]) -> list[Reply]:
    return [Piece(at, Chunk(text, (Token(text, 1, -0.1, 0, len(text)),))) for at, text in texts]


def said(replies: Sequence[Reply]) -> dict[int, tuple[str, int]]:
    found: dict[int, tuple[str, int]] = {}
    for one in replies:
        if isinstance(one, Piece):
            text, count = found.get(one.id, ("", 0))
            found[one.id] = (text + one.chunk.text, count + len(one.chunk.tokens))
    return found


@given(PIECES, PIECES, st.lists(st.integers(0, 5), max_size=3))
def test_joining_loses_nothing_and_leaves_one_piece_an_answer(
    held: list[tuple[int, str]], after: list[tuple[int, str]], freed: list[int]
) -> None:
    later = [*pieces(after), *map(Freed, freed)]
    found = joined(pieces(held), later)
    assert said(found) == said([*pieces(held), *later])
    ids = [one.id for one in found if isinstance(one, Piece)]
    assert not held or len(ids) == len(set(ids))
    assert [one for one in found if isinstance(one, Freed)] == [*map(Freed, freed)]


def test_the_last_piece_keeps_what_it_says_beside_its_text() -> None:
    end = Chunk("b", finish_reason="stop")
    (one,) = joined([Piece(1, Chunk("a"))], [Piece(1, end)])
    assert isinstance(one, Piece)
    assert (one.chunk.text, one.chunk.finish_reason) == ("ab", "stop")


def streams(count: int) -> tuple[list[int], list[str], list[float]]:
    """Of so many streams at once: the pieces that each came in, their texts, and the times of the first pieces."""
    spec = ModelSpec(alias="counted", engine="fake", options={"worker": True, "delay": 0.02, "reply": REPLY})

    async def one(llm: LLM) -> tuple[int, str, float]:
        began, first, text, many = time.monotonic(), 0.0, "", 0
        async for chunk in llm.stream_async("Hello"):
            first = first or time.monotonic() - began
            text += chunk.text
            many += bool(chunk.text)
        return many, text, first

    async def all_() -> list[tuple[int, str, float]]:
        with_ = LLM(spec)
        await with_.load_async()
        try:
            return await asyncio.gather(*(one(with_) for _ in range(count)))
        finally:
            await asyncio.to_thread(with_.close)

    found = asyncio.run(all_())
    return [one[0] for one in found], [one[1] for one in found], [one[2] for one in found]


REPLY = " ".join(f"word{at}" for at in range(24))


@pytest.mark.parametrize(("count", "joins"), [(4, False), (_MANY + 8, True)])
def test_tokens_travel_two_by_two_only_where_many_answer(count: int, joins: bool) -> None:
    many, texts, _ = streams(count)
    assert set(texts) == {REPLY}
    assert (max(many) < 20) == joins
