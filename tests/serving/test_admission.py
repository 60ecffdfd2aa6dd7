"""Places and queue: who runs, who waits, who is refused, and in which order."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import DeadlineExceededError, QueueFullError, UnavailableError
from modelyard.serving.admission import Admission


async def hold(admission: Admission, client: str, log: list[str], release: asyncio.Event, **how: Any) -> None:
    async with admission.place(client, **how):
        log.append(client)
        await release.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_free_place_goes_to_the_client_that_holds_the_fewest() -> None:
    async def run() -> list[str]:
        admission, log, release = Admission("m", 1, 100), [], asyncio.Event()
        release.set()
        async with admission.place("greedy"):
            tasks = [asyncio.create_task(hold(admission, "greedy", log, release)) for _ in range(5)]
            await settle()
            tasks.append(asyncio.create_task(hold(admission, "modest", log, release)))
            await settle()
        await asyncio.gather(*tasks)
        return log

    assert asyncio.run(run()).index("modest") <= 1


def test_no_newcomer_passes_those_who_wait() -> None:
    async def run() -> None:
        admission, log, release = Admission("m", 1, 100), [], asyncio.Event()
        first = asyncio.create_task(hold(admission, "a", log, release))
        await settle()
        second = asyncio.create_task(hold(admission, "b", log, release))
        await settle()
        first.cancel()
        async with asyncio.timeout(1):
            late = asyncio.create_task(hold(admission, "c", log, release))
            await settle()
        assert log == ["a", "b"]
        release.set()
        await asyncio.gather(second, late)

    asyncio.run(run())


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    async def run() -> None:
        admission, release = Admission("m", 1, 1), asyncio.Event()
        tasks = [asyncio.create_task(hold(admission, "a", [], release)) for _ in range(2)]
        await settle()
        with pytest.raises(QueueFullError, match="1 requests run and 1 wait") as refused:
            await hold(admission, "a", [], release)
        assert 1 <= refused.value.retry_after <= 60
        release.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())


def test_in_a_full_queue_the_greediest_client_makes_room_for_another() -> None:
    async def run() -> None:
        admission, log, release = Admission("m", 1, 4), [], asyncio.Event()
        greedy = [asyncio.create_task(hold(admission, "greedy", log, release)) for _ in range(5)]
        await settle()
        modest = asyncio.create_task(hold(admission, "modest", log, release))
        await settle()
        assert isinstance(greedy[-1].exception(), QueueFullError)
        assert admission.waiting == 4
        release.set()
        await asyncio.gather(*greedy[:-1], modest)
        assert log.count("modest") == 1

    asyncio.run(run())


def test_a_deadline_that_passes_in_the_queue_leaves_it() -> None:
    async def run() -> None:
        admission, release = Admission("m", 1, 4), asyncio.Event()
        task = asyncio.create_task(hold(admission, "a", [], release))
        await settle()
        with pytest.raises(DeadlineExceededError):
            await hold(admission, "a", [], release, deadline=time.monotonic() + 0.01)
        assert admission.waiting == 0
        release.set()
        await task

    asyncio.run(run())


def test_those_who_wait_can_be_told_that_they_wait_in_vain() -> None:
    async def run() -> None:
        admission, release = Admission("m", 1, 4), asyncio.Event()
        task = asyncio.create_task(hold(admission, "a", [], release))
        await settle()
        waiting = asyncio.create_task(hold(admission, "b", [], release))
        await settle()
        admission.refuse_waiting(UnavailableError("gone"))
        with pytest.raises(UnavailableError):
            await waiting
        release.set()
        await task
        assert (admission.running, admission.waiting) == (0, 0)

    asyncio.run(run())


def test_more_places_let_those_in_who_wait() -> None:
    async def run() -> None:
        admission, log, release = Admission("m", 1, 4), [], asyncio.Event()
        tasks = [asyncio.create_task(hold(admission, "a", log, release)) for _ in range(3)]
        await settle()
        assert len(log) == 1
        admission.widen(3)
        await settle()
        assert len(log) == 3
        release.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("come"), st.sampled_from("abc")),
            st.tuples(st.sampled_from(["leave", "end", "turn"]), st.integers(0, 20)),
        ),
        max_size=60,
    ),
    st.integers(1, 3),
    st.integers(0, 4),
)
def test_however_they_come_and_go_no_place_is_lost_or_given_twice(
    script: list[tuple[str, Any]], places: int, queue: int
) -> None:
    async def run() -> None:
        admission = Admission("m", places, queue)
        held: Counter[str] = Counter()
        most = 0
        tasks: list[tuple[asyncio.Task[None], asyncio.Event]] = []

        async def one(client: str, release: asyncio.Event) -> None:
            nonlocal most
            async with admission.place(client):
                held[client] += 1
                most = max(most, held.total())
                try:
                    await release.wait()
                finally:
                    held[client] -= 1

        for what, value in script:
            if what == "come":
                release = asyncio.Event()
                tasks.append((asyncio.create_task(one(value, release)), release))
            elif what == "turn":
                await asyncio.sleep(0)
            elif tasks:
                task, release = tasks[value % len(tasks)]
                release.set() if what == "end" else task.cancel()
            assert admission.waiting <= queue
        await settle()
        for _, release in tasks:
            release.set()
        await asyncio.gather(*(task for task, _ in tasks), return_exceptions=True)
        assert (admission.running, admission.waiting, held.total()) == (0, 0, 0)
        assert most <= places

    asyncio.run(run())
