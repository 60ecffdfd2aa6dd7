"""Watching a stream: what is held back, what is judged, and that leaving it ends the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from modelyard.safety.stream import BEFORE, LEAST, MOST, Ruled, Watch
from modelyard.types import Chunk, ToolCall, Usage, Verdict, Warning


async def made(*pieces: str, ended: list[bool] | None = None) -> AsyncGenerator[Chunk, None]:
    try:
        for piece in pieces:
            yield Chunk(piece)
        yield Chunk(finish_reason="stop", usage=Usage(1, len(pieces)))
    finally:
        if ended is not None:
            ended.append(True)


def judged(*pieces: str) -> tuple[list[str], list[Chunk]]:
    """The texts that were judged, and the chunks that came through."""
    asked: list[str] = []

    async def rule(text: str) -> Ruled:
        asked.append(text)
        return Ruled()

    async def all_() -> list[Chunk]:
        return [one async for one in Watch(rule, made(*pieces), whole=False).chunks()]

    return asked, asyncio.run(all_())


SENTENCE = "x" * LEAST + ". "


def test_a_short_answer_is_judged_once_at_its_end() -> None:
    asked, shown = judged("One. ", "Two. ", "Three.")
    assert asked == ["One. Two. Three."]
    assert [one.text for one in shown] == ["One. ", "Two. ", "Three.", ""]


def test_a_sentence_is_judged_once_it_is_over_and_again_with_the_next() -> None:
    asked, _ = judged(SENTENCE, SENTENCE, "End.")
    assert asked == [SENTENCE, SENTENCE * 2, SENTENCE * 2 + "End."]


def test_of_what_was_shown_only_the_end_is_judged_again() -> None:
    asked, _ = judged(*[SENTENCE] * 20)
    assert max(map(len, asked)) <= BEFORE + len(SENTENCE)


def test_a_text_without_sentences_is_held_back_to_a_limit() -> None:
    asked, shown = judged(*["word "] * 1000)
    assert max(map(len, asked)) <= BEFORE + MOST + len("word ")
    assert "".join(one.text for one in shown) == "word " * 1000


def test_a_text_without_any_space_gets_through_too() -> None:
    _, shown = judged(*["word"] * 1000)
    assert "".join(one.text for one in shown) == "word" * 1000


def test_a_refusal_ends_the_answer_and_closes_its_source() -> None:
    ended: list[bool] = []

    async def rule(text: str) -> Ruled:
        return Ruled(refused="bad" in text)

    async def all_() -> list[Chunk]:
        source = made(SENTENCE, "bad. " * 40, SENTENCE, ended=ended)
        return [one async for one in Watch(rule, source, whole=False).chunks()]

    shown = asyncio.run(all_())
    assert [one.text for one in shown] == [SENTENCE, ""]
    assert shown[-1].finish_reason == "content_filter"
    assert ended == [True]


def test_leaving_closes_the_source() -> None:
    ended: list[bool] = []

    async def rule(text: str) -> Ruled:
        return Ruled()

    async def first() -> None:
        chunks = Watch(rule, made(SENTENCE, SENTENCE, ended=ended), whole=False).chunks()
        assert (await anext(chunks)).text == SENTENCE
        await chunks.aclose()

    asyncio.run(first())
    assert ended == [True]


def test_what_is_said_of_a_call_is_on_the_last_chunk() -> None:
    said = Verdict(allowed=False, check="secrets", action="warn")

    async def rule(text: str) -> Ruled:
        noted = Warning("safety", "secrets: flagged")
        return Ruled((said,), (noted,)) if "hunter2" in text else Ruled()

    async def source() -> AsyncGenerator[Chunk, None]:
        yield Chunk("I shall look. ")
        call = ToolCall("1", "login", '{"password": "hunter2"}')
        yield Chunk(finish_reason="tool_calls", usage=Usage(1, 2), tool_calls=(call,))

    async def all_() -> list[Chunk]:
        return [one async for one in Watch(rule, source(), whole=False).chunks()]

    last = asyncio.run(all_())[-1]
    assert last.verdicts == (said,)
    assert [one.message for one in last.warnings] == ["secrets: flagged"]
    assert last.tool_calls[0].name == "login"
