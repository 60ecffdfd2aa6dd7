"""The step loop, driven by small backends that fail on purpose."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from modelyard.engines.detokenize import TextStream
from modelyard.engines.steploop import Delta, Job, StepLoop
from modelyard.errors import (
    DeadlineExceededError,
    EngineCrashedError,
    EngineError,
    ModelyardError,
    SchemaError,
)
from modelyard.types import Chunk

THREAD = "steploop-test"


class Counting:
    """A backend that gives each job the letters of its config, one a step; `inf` never ends."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.events: list[str] = []
        self.steps = 0
        self.closed = False
        self.gate = threading.Event()
        self.gate.set()

    def add(self, job: Job) -> None:
        if isinstance(job.config, Exception):
            raise job.config
        self.jobs.append(job)

    def drop(self, job: Job) -> None:
        self.events.append(f"drop {job.config}")
        if job in self.jobs:
            self.jobs.remove(job)

    def step(self) -> Iterable[Delta]:
        assert self.gate.wait(20)
        self.steps += 1
        self.events.append("step")
        deltas = [self.advance(job) for job in self.jobs]
        self.jobs = [delta.job for delta in deltas if delta.finish is None]
        return deltas

    def advance(self, job: Job) -> Delta:
        if job.config == "inf":
            time.sleep(0.001)
            return Delta(job, [ord("x")], [None])
        made = job.completion_tokens
        return Delta(job, [ord(job.config[made])], [-0.5], "stop" if made + 1 == len(job.config) else None)

    def close(self) -> None:
        self.closed = True


def job(config: Any, **how: Any) -> Job:
    stop = how.pop("stop", ())
    return Job(
        prompt_ids=[1],
        prompt_tokens=1,
        config=config,
        text=TextStream(lambda one: chr(one).encode(), stop),
        deadline=how.pop("deadline", None),
        warnings=(),
        **how,
    )


async def answer(loop: StepLoop, config: Any, **how: Any) -> str:
    return "".join([chunk.text async for chunk in loop.stream(job(config, **how))])


async def together(loop: StepLoop, *jobs: Job) -> list[Any]:
    async def one(each: Job) -> str:
        return "".join([chunk.text async for chunk in loop.stream(each)])

    async with asyncio.timeout(20):
        return await asyncio.gather(*(one(each) for each in jobs), return_exceptions=True)


class Held:
    """Loops that are closed when the test ends, with the check that no thread is left."""

    def __init__(self) -> None:
        self.loops: list[StepLoop] = []

    def __call__(self, backend: Any) -> StepLoop:
        self.loops.append(StepLoop(backend, THREAD))
        return self.loops[-1]


@pytest.fixture
def running() -> Any:
    held = Held()
    yield held
    for loop in held.loops:
        loop.close()
    assert [thread.name for thread in threading.enumerate() if thread.name == THREAD] == []


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


def test_jobs_run_together_and_each_gets_its_own(running: Held) -> None:
    async def main() -> list[Any]:
        loop = running(Counting())
        return await together(loop, job("one"), job("three"), job("fourteen"))

    assert asyncio.run(main()) == ["one", "three", "fourteen"]


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [(SchemaError("bad schema"), SchemaError), (ValueError("line one\nthe reason"), EngineError)],
)
def test_a_job_that_is_refused_fails_alone(
    running: Held, refusal: Exception, expected: type[ModelyardError]
) -> None:
    async def main() -> list[Any]:
        return await together(running(Counting()), job("good"), job(refusal), job("fine"))

    good, bad, fine = asyncio.run(main())
    assert (good, fine) == ("good", "fine")
    assert type(bad) is expected and ("bad schema" in bad.message or "the reason" in bad.message)


class Poisoned(Counting):
    """A backend whose every step raises while a job called `poison` is in it."""

    def step(self) -> Iterable[Delta]:
        if any(one.config == "poison" for one in self.jobs):
            raise RuntimeError("grammar is broken")
        return super().step()


def test_a_step_that_raises_costs_only_the_newest_suspect(running: Held) -> None:
    async def main() -> list[Any]:
        loop = running(Poisoned())
        return await together(loop, job("before"), job("poison", suspect=True), job("after"))

    before, poison, after = asyncio.run(main())
    assert (before, after) == ("before", "after")
    assert isinstance(poison, EngineError) and "grammar is broken" in poison.message


def test_an_innocent_suspect_is_kept_when_the_newer_one_was_the_cause(running: Held) -> None:
    async def main() -> list[Any]:
        backend = Poisoned()
        backend.gate.clear()
        loop = running(backend)
        first = asyncio.ensure_future(together(loop, job("innocent", suspect=True)))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(together(loop, job("poison", suspect=True)))
        await asyncio.sleep(0)
        backend.gate.set()
        return [*await first, *await second]

    innocent, poison = asyncio.run(main())
    assert innocent == "innocent" and isinstance(poison, EngineError)


def test_a_step_that_raises_without_suspects_fails_all_and_a_later_request_works(running: Held) -> None:
    async def main() -> tuple[list[Any], str, bool]:
        backend = Poisoned()
        loop = running(backend)
        failed = await together(loop, job("poison"), job("other"))
        return failed, await answer(loop, "later"), loop.active == 0

    failed, later, empty = asyncio.run(main())
    assert [type(one) for one in failed] == [EngineCrashedError] * 2
    assert all("grammar is broken" in one.message for one in failed)
    assert later == "later" and empty


class Undroppable(Counting):
    def drop(self, job: Job) -> None:
        raise RuntimeError("cannot drop")


def late() -> Job:
    return job("inf", deadline=time.monotonic() + 0.01)


def stopping() -> Job:
    return job("inf", stop=("xxx",))


@pytest.mark.parametrize("ending", [late, stopping], ids=["deadline", "stop string"])
def test_nobody_hangs_when_dropping_raises(running: Held, ending: Any) -> None:
    async def main() -> list[Any]:
        backend = Undroppable()
        loop = running(backend)
        failed = await together(loop, ending(), job("inf"), job("inf"))
        with pytest.raises(EngineCrashedError, match="cannot drop"):
            await answer(loop, "later")
        await until(lambda: backend.closed)
        return failed

    assert [type(one) for one in asyncio.run(main())] == [EngineCrashedError] * 3


def test_nobody_hangs_when_dropping_raises_for_one_who_left(running: Held) -> None:
    async def main() -> list[Any]:
        loop = running(Undroppable())
        leaver = loop.stream(job("inf"))
        await anext(leaver)
        other = asyncio.ensure_future(together(loop, job("inf")))
        await until(lambda: loop.active == 2)
        await leaver.aclose()  # type: ignore[attr-defined]
        return await other

    assert [type(one) for one in asyncio.run(main())] == [EngineCrashedError]


class Unknown(Counting):
    """A backend that ends one job and gives another a token that has no text, in the same step."""

    def advance(self, job: Job) -> Delta:
        return Delta(job, [-1], [None]) if job.config == "inf" else Delta(job, [65], [None], "stop")


def test_nobody_hangs_when_a_token_cannot_be_read(running: Held) -> None:
    async def main() -> list[Any]:
        backend = Unknown()
        backend.gate.clear()
        loop = running(backend)
        asked = asyncio.ensure_future(together(loop, job("A"), job("inf"), job("A")))
        await until(lambda: len(loop._inbox) + loop.active == 3)
        backend.gate.set()
        return await asked

    found = asyncio.run(main())
    assert EngineCrashedError in {type(one) for one in found}


class Unclosable(Counting):
    def close(self) -> None:
        raise RuntimeError("cannot close")


def test_a_backend_that_cannot_be_closed_ends_all_the_same(running: Held) -> None:
    async def main() -> list[Any]:
        loop = running(Unclosable())
        asked = asyncio.ensure_future(together(loop, job("inf")))
        await until(lambda: loop.active == 1)
        await asyncio.to_thread(loop.close)
        return await asked

    assert [type(one) for one in asyncio.run(main())] == [EngineCrashedError]


def test_closing_tells_all_who_wait_at_once(running: Held) -> None:
    async def main() -> tuple[list[Any], float, bool]:
        backend = Counting()
        loop = running(backend)
        jobs = [job("inf") for _ in range(5)]
        asked = asyncio.ensure_future(together(loop, *jobs))
        await until(lambda: loop.active == 5)
        began = time.monotonic()
        await asyncio.to_thread(loop.close)
        failed = await asked
        return failed, time.monotonic() - began, backend.closed

    failed, waited, closed = asyncio.run(main())
    assert [type(one) for one in failed] == [EngineCrashedError] * 5
    assert waited < 1 and closed


def test_a_closed_loop_refuses_with_a_reason_and_closes_twice(running: Held) -> None:
    loop = running(Counting())
    loop.close()
    loop.close()
    with pytest.raises(EngineCrashedError, match="unloaded"):
        asyncio.run(answer(loop, "late"))


def test_event_loops_of_two_threads_share_a_backend(running: Held) -> None:
    loop = running(Counting())
    found: dict[str, list[Any]] = {}

    async def main(name: str) -> list[Any]:
        return await together(loop, *(job(f"{name}-{at}") for at in range(20)))

    def client(name: str) -> None:
        found[name] = asyncio.run(main(name))

    threads = [threading.Thread(target=client, args=(name,)) for name in ("red", "blue")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: [f"{name}-{at}" for at in range(20)] for name in ("red", "blue")}


def test_an_event_loop_that_was_closed_in_between_harms_nobody_else(running: Held) -> None:
    backend = Counting()
    loop = running(backend)

    async def abandon() -> AsyncIterator[Chunk]:
        stream = loop.stream(job("inf"))
        await anext(stream)
        return stream

    event_loop = asyncio.new_event_loop()
    stream = event_loop.run_until_complete(abandon())
    event_loop.close()
    assert asyncio.run(answer(loop, "alive")) == "alive"
    del stream


def test_a_deadline_ends_a_job_between_steps_and_says_how_far_it_came(running: Held) -> None:
    async def main() -> list[Any]:
        loop = running(Counting())
        return await together(loop, job("inf", deadline=time.monotonic() + 0.05), job("other"))

    late, other = asyncio.run(main())
    assert isinstance(late, DeadlineExceededError) and "tokens" in late.message
    assert other == "other"


def test_one_who_leaves_frees_the_slot_before_the_next_step(running: Held) -> None:
    async def main() -> list[str]:
        backend = Counting()
        loop = running(backend)
        leaver = loop.stream(job("inf"))
        await anext(leaver)
        other = asyncio.ensure_future(together(loop, job("inf", deadline=time.monotonic() + 5)))
        await until(lambda: len(backend.jobs) == 2)
        backend.gate.clear()
        await until(lambda: not loop._inbox)
        await leaver.aclose()  # type: ignore[attr-defined]
        seen = len(backend.events)
        backend.gate.set()
        await until(lambda: len(backend.events) > seen + 2)
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
        return backend.events[seen:]

    events = asyncio.run(main())
    assert "drop inf" in events[:2], events  # at most the step that was under way comes before it


def test_a_task_that_is_cancelled_frees_its_slot(running: Held) -> None:
    async def main() -> bool:
        loop = running(Counting())
        task = asyncio.ensure_future(answer(loop, "inf"))
        await until(lambda: loop.active == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: loop.active == 0)
        return task.cancelled()

    assert asyncio.run(main())


def test_an_idle_loop_makes_no_steps(running: Held) -> None:
    backend = Counting()
    loop = running(backend)
    assert asyncio.run(answer(loop, "abc")) == "abc"
    assert backend.steps == 3 and loop.active == 0
