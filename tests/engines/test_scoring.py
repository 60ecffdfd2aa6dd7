"""Callers who wait for scores: one after another, short ones together, each with its own end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.engines.continuations import Pair, passes
from modelyard.engines.scoring import ScoringQueue
from modelyard.errors import EngineCrashedError, EngineError
from modelyard.types import Score

BAD = 666


class Model:
    """Scores a pair with the last id of its prompt. The first pass waits until it is let go."""

    def __init__(self) -> None:
        self.passes: list[list[int]] = []
        self.threads: set[int] = set()
        self.began, self.go = threading.Event(), threading.Event()

    def score(self, pairs: Sequence[Pair], how: str) -> tuple[Score, ...]:
        self.threads.add(threading.get_ident())
        self.passes.append([prompt[-1] for prompt, _ in pairs])
        self.began.set()
        assert self.go.wait(20)
        if any(BAD in prompt for prompt, _ in pairs):
            raise EngineError("a bad prompt")
        return tuple(Score(float(prompt[-1]), (0.0,), tail, True) for prompt, tail in pairs)


def prompt(number: int, length: int = 1) -> list[Pair]:
    return [((0,) * (length - 1) + (number,), (1,))]


async def busy(model: Model, queue: ScoringQueue[str]) -> asyncio.Task[tuple[Score, ...]]:
    """A pair that is being scored, alone, until the model is let go; what is asked for now waits behind it."""
    first = asks(queue, prompt(100))
    assert await asyncio.to_thread(model.began.wait, 20)
    return first


async def waiting(queue: ScoringQueue[str], *asked: asyncio.Task[tuple[Score, ...]]) -> None:
    """Returns once these wait behind the first one."""
    while len(queue._waiting) < len(asked):
        await asyncio.sleep(0)


async def behind(
    model: Model, queue: ScoringQueue[str], *later: asyncio.Task[tuple[Score, ...]]
) -> list[tuple[Score, ...] | BaseException]:
    await waiting(queue, *later)
    model.go.set()
    return await asyncio.gather(*later, return_exceptions=True)


def asks(
    queue: ScoringQueue[str], pairs: list[Pair], how: str = "", alone: bool = False
) -> asyncio.Task[tuple[Score, ...]]:
    return asyncio.ensure_future(queue.score(pairs, how, alone=alone))


def totals(found: Sequence[tuple[Score, ...] | BaseException]) -> list[float | type]:
    return [type(one) if isinstance(one, BaseException) else one[0].total for one in found]


def run(
    *later: tuple[list[Pair], str, bool], tokens: int = 8
) -> tuple[list[float | type], list[list[int]], int]:
    """The totals of those who waited, the passes after the first one, and how many threads there were."""

    async def all_() -> tuple[list[float | type], list[list[int]], int]:
        model = Model()
        queue = ScoringQueue(model.score, tokens=tokens)
        first = await busy(model, queue)
        found = await behind(model, queue, *(asks(queue, *one) for one in later))
        await first
        queue.close()
        return totals(found), model.passes[1:], len(model.threads)

    return asyncio.run(all_())


def test_short_prompts_that_wait_are_scored_in_one_pass_and_one_thread() -> None:
    found, made, threads = run(*((prompt(at), "", False) for at in range(5)))
    assert found == [0, 1, 2, 3, 4]
    assert made == [[0, 1, 2, 3, 4]]
    assert threads == 1


def test_a_pass_is_no_larger_than_allowed_and_takes_those_of_like_length() -> None:
    found, made, _ = run(*((prompt(at, length), "", False) for at, length in enumerate((4, 8, 3, 1))))
    assert found == [0, 1, 2, 3]
    assert made == [[0, 2], [1], [3]]


def test_one_who_asks_to_be_alone_is_alone() -> None:
    found, made, _ = run((prompt(1), "", True), (prompt(2), "", False), (prompt(3), "", False))
    assert found == [1, 2, 3]
    assert made == [[1], [2, 3]]


def test_what_is_scored_in_different_ways_is_not_taken_together() -> None:
    _, made, _ = run((prompt(1), "one", False), (prompt(2), "two", False), (prompt(3), "one", False))
    assert made == [[1, 3], [2]]


def test_one_that_fails_fails_alone() -> None:
    found, made, _ = run(*((prompt(at), "", False) for at in (1, BAD, 3)))
    assert found == [1, EngineError, 3]
    assert made == [[1, BAD, 3], [1], [BAD], [3]]


def test_one_that_is_cancelled_while_it_waits_is_never_scored() -> None:
    async def all_() -> list[list[int]]:
        model = Model()
        queue = ScoringQueue(model.score, tokens=8)
        first = await busy(model, queue)
        leaves, stays = asks(queue, prompt(1)), asks(queue, prompt(2))
        await waiting(queue, leaves, stays)
        leaves.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaves
        model.go.set()
        await asyncio.gather(first, stays)
        queue.close()
        return model.passes

    assert asyncio.run(all_()) == [[100], [2]]


def test_who_waits_when_it_is_closed_is_told_and_who_is_being_scored_gets_the_scores() -> None:
    async def all_() -> list[float | type]:
        model = Model()
        queue = ScoringQueue(model.score, tokens=8)
        first = await busy(model, queue)
        later = asks(queue, prompt(1))
        await waiting(queue, later)
        queue.close()
        model.go.set()
        found = totals(await asyncio.gather(first, later, return_exceptions=True))
        with pytest.raises(EngineCrashedError):
            await queue.score(prompt(2), "")
        return found

    assert asyncio.run(all_()) == [100, EngineCrashedError]


@given(st.lists(st.integers(1, 12), max_size=20), st.integers(0, 30))
def test_passes_hold_every_prompt_once_and_no_more_than_allowed(lengths: list[int], tokens: int) -> None:
    prompts = [(at,) * length for at, length in enumerate(lengths)]
    made = passes(prompts, tokens)
    assert sorted(one for group in made for one in group) == sorted(prompts)
    assert all(len(group) == 1 or len(group) * max(map(len, group)) <= tokens for group in made)
