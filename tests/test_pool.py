"""The pool: one load however many wait, no model closed under a request, room made by closing idle ones."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.catalog.load import load_catalog
from modelyard.catalog.spec import ModelSpec
from modelyard.create import create_llm
from modelyard.engines.base import Engine
from modelyard.engines.registry import engine_class
from modelyard.errors import (
    EngineCrashedError,
    EngineNotInstalledError,
    InvalidArgumentError,
    ModelyardError,
    ResourceExhaustedError,
    UnsupportedError,
)
from modelyard.params import merge
from modelyard.pool import Pool
from modelyard.pool.budget import read_bytes
from modelyard.types import Request

FAKE = load_catalog().get("fake")


async def lease(pool: Pool, spec: ModelSpec = FAKE, options: dict[str, Any] | None = None) -> Engine:
    async with pool.lease(spec, options) as engine:
        return engine


async def answer(engine: Engine) -> str:
    request = Request(prompt="Hello", params=merge(("request", {"temperature": 0}))[0])
    return "".join([chunk.text async for chunk in engine.generate(request)])


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def threads() -> int:
    return sum(thread.name == "fake:fake" and thread.is_alive() for thread in threading.enumerate())


@pytest.fixture
def pool() -> Any:
    before = threads()
    made = Pool()
    yield made
    made.close()
    assert threads() == before


def test_fifty_who_ask_at_once_share_one_load(pool: Pool) -> None:
    async def main() -> list[Engine]:
        return await asyncio.gather(*(lease(pool) for _ in range(50)))

    before = threads()
    engines = asyncio.run(main())
    assert len({id(engine) for engine in engines}) == 1
    assert threads() == before + 1


def test_other_options_are_another_load(pool: Pool) -> None:
    async def main() -> tuple[Engine, Engine, Engine]:
        return await lease(pool), await lease(pool, options={"reply": "x"}), await lease(pool)

    first, other, again = asyncio.run(main())
    assert first is again and first is not other
    assert pool.loaded() == ("fake", "fake")


def test_a_load_is_shared_by_event_loops_of_several_threads(pool: Pool) -> None:
    found: list[Engine] = []
    clients = [threading.Thread(target=lambda: found.append(asyncio.run(lease(pool)))) for _ in range(5)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert len({id(engine) for engine in found}) == 1


def test_a_load_that_failed_fails_all_who_wait_and_is_tried_again(pool: Pool, tmp_path: Path) -> None:
    file = tmp_path / "later.yaml"
    spec = ModelSpec(alias="later", engine="openvino", sources=({"kind": "path", "path": str(file)},))  # type: ignore[arg-type]

    async def main() -> list[Any]:
        return await asyncio.gather(*(lease(pool, spec) for _ in range(3)), return_exceptions=True)

    first = asyncio.run(main())
    assert all("no file or folder" in str(error) for error in first)
    file.write_bytes(b"no model")
    second = asyncio.run(main())
    assert all(isinstance(error, ModelyardError) and "no file" not in str(error) for error in second)
    assert pool.loaded() == ()


def test_a_load_with_bad_options_fails_and_the_next_with_good_ones_works(pool: Pool) -> None:
    with pytest.raises(InvalidArgumentError, match="Did you mean 'delay'"):
        asyncio.run(lease(pool, options={"dellay": 1}))
    assert asyncio.run(lease(pool)).name == "fake"


def test_unloading_waits_for_the_lease(pool: Pool) -> None:
    async def main() -> tuple[bool, str, Engine]:
        async with pool.lease(FAKE) as engine:
            unloaded = pool.unload("fake")
            return unloaded, await answer(engine), engine

    unloaded, text, engine = asyncio.run(main())
    assert unloaded and text
    assert pool.loaded() == ()
    with pytest.raises(EngineCrashedError):
        asyncio.run(answer(engine))


def test_a_lease_during_the_unload_gets_a_fresh_engine(pool: Pool) -> None:
    async def main() -> tuple[Engine, Engine]:
        async with pool.lease(FAKE) as old:
            pool.unload("fake")
            return old, await lease(pool)

    old, new = asyncio.run(main())
    assert old is not new


def test_unloading_what_is_not_loaded_says_so(pool: Pool) -> None:
    assert pool.unload("fake") is False


def test_unloading_an_idle_model_closes_it_now(pool: Pool) -> None:
    before = threads()
    asyncio.run(lease(pool))
    assert pool.unload("fake") and threads() == before


def test_a_waiter_who_leaves_does_not_stop_the_load_for_the_others(pool: Pool) -> None:
    async def main() -> Engine:
        impatient = asyncio.ensure_future(lease(pool))
        patient = asyncio.ensure_future(lease(pool))
        await asyncio.sleep(0)
        impatient.cancel()
        return await patient

    assert asyncio.run(main()).name == "fake"


def test_unloading_a_model_whose_waiters_have_all_left_closes_it_once_it_is_loaded(pool: Pool) -> None:
    before = threads()

    async def main() -> None:
        waiter = asyncio.ensure_future(lease(pool))
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        pool.unload("fake")
        await until(lambda: threads() == before and not loading())

    asyncio.run(main())


def loading() -> bool:
    return any(thread.name == "modelyard-load" for thread in threading.enumerate())


def test_closing_while_a_model_loads_leaves_nothing_behind(pool: Pool) -> None:
    before = threads()

    async def main() -> None:
        waiter = asyncio.ensure_future(lease(pool))
        await asyncio.sleep(0)
        pool.close()
        await asyncio.gather(waiter, return_exceptions=True)
        await until(lambda: threads() == before and not loading())

    asyncio.run(main())


def test_closing_ends_the_requests_that_run(pool: Pool) -> None:
    async def main() -> Any:
        async with pool.lease(FAKE, {"delay": 0.01, "reply": "word " * 4000}) as engine:
            running = asyncio.ensure_future(answer(engine))
            await until(lambda: engine._loop.active == 1)  # type: ignore[attr-defined]
            await asyncio.to_thread(pool.close)
            return (await asyncio.gather(running, return_exceptions=True))[0]

    assert isinstance(asyncio.run(main()), EngineCrashedError)


def test_after_a_crash_the_next_request_finds_a_fresh_engine(pool: Pool) -> None:
    llm = create_llm("fake", pool=pool)

    async def main() -> tuple[Engine, str, Engine]:
        old = await lease(pool)
        old.close()
        with pytest.raises(EngineCrashedError):
            await llm.generate_async("Hello")
        text = str(await llm.generate_async("Hello", temperature=0))
        return old, text, await lease(pool)

    old, text, new = asyncio.run(main())
    assert text and old is not new


def test_an_engine_that_is_not_installed_says_how_to_get_it(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODELYARD_DATA", str(tmp_path))
    with pytest.raises(EngineNotInstalledError, match="modelyard engines install vllm"):
        asyncio.run(lease(pool, ModelSpec(alias="x", engine="vllm", url="http://127.0.0.1:9")))


def test_an_engine_that_nobody_knows_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UnsupportedError, match="'vlllm'") as caught:
        engine_class("vlllm")
    assert "vllm" in caught.value.hint


# -- room --------------------------------------------------------------------------------------------------


class Notes:
    """A Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def start(self, label: str, total: int | None) -> None: ...

    def advance(self, count: int) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)

    def done(self) -> None: ...


def sized(alias: str, size: str = "100MB") -> ModelSpec:
    return FAKE.model_copy(update={"alias": alias, "options": {"memory": size}})


A, B, C = (sized(alias) for alias in "abc")


@contextlib.contextmanager
def roomy(budget: str, **how: Any) -> Any:
    pool = Pool(memory_budget=budget, progress=Notes(), **how)
    try:
        yield pool
    finally:
        pool.close()


def states(pool: Pool) -> dict[str, str]:
    return {row.alias: row.state for row in pool.status()}


def check(pool: Pool) -> None:
    """What holds at every moment."""
    rows = pool.status()
    assert sum(row.predicted for row in rows if row.measured is not None) <= pool.memory_budget
    assert sum(row.state == "loading" for row in rows) <= 1
    joinable = Counter(row.alias for row in rows if row.state != "closing")
    assert all(count == 1 for count in joinable.values())


def test_three_models_in_a_budget_for_two_answer_forty_requests_at_random() -> None:
    chance = random.Random(11)
    engines: dict[str, set[int]] = {"a": set(), "b": set(), "c": set()}

    async def client(pool: Pool, spec: ModelSpec, begin: float, stay: float) -> None:
        await asyncio.sleep(begin)
        async with pool.lease(spec) as engine:
            engines[spec.alias].add(id(engine))
            check(pool)
            assert await answer(engine)
            await asyncio.sleep(stay)
            check(pool)
            assert await answer(engine)  # it has not been closed under the lease

    async def main(pool: Pool) -> None:
        await asyncio.gather(
            *(
                client(pool, chance.choice((A, B, C)), chance.random() * 0.5, chance.random() * 0.05)
                for _ in range(40)
            )
        )

    before = sum(thread.name.startswith("fake:") for thread in threading.enumerate())
    with roomy("200MB", patience=0.05) as pool:
        asyncio.run(main(pool))
        assert all(engines.values())
        assert any("to make room" in note for note in pool.progress.notes)
        for alias in "abc":
            pool.unload(alias)
        assert pool.status() == ()
    assert sum(thread.name.startswith("fake:") for thread in threading.enumerate()) == before


def test_the_model_used_longest_ago_makes_room() -> None:
    async def main(pool: Pool) -> None:
        for spec in (A, B, A, C):
            await lease(pool, spec)

    with roomy("200MB") as pool:
        asyncio.run(main(pool))
        assert states(pool) == {"c": "idle", "a": "idle"}
        assert pool.progress.notes == ["unloading b to make room for c"]


def test_no_more_is_unloaded_than_makes_room() -> None:
    async def main(pool: Pool) -> None:
        for spec in (sized("small", "20MB"), sized("large", "150MB"), sized("new", "50MB")):
            await lease(pool, spec)

    with roomy("200MB") as pool:
        asyncio.run(main(pool))
        assert set(pool.loaded()) == {"large", "new"}


def test_a_load_waits_for_a_lease_to_end_and_those_who_wait_are_served_in_order() -> None:
    order: list[str] = []

    async def wants(pool: Pool, spec: ModelSpec) -> None:
        async with pool.lease(spec):
            order.append(spec.alias)

    async def main(pool: Pool) -> None:
        async with pool.lease(A):
            waiting = []
            for spec in (B, C):
                waiting.append(asyncio.ensure_future(wants(pool, spec)))
                await until(lambda spec=spec: states(pool).get(spec.alias) == "waiting")
            await asyncio.sleep(0.05)
            assert order == [] and states(pool) == {"c": "waiting", "b": "waiting", "a": "in use"}
        await asyncio.gather(*waiting)

    with roomy("100MB") as pool:
        asyncio.run(main(pool))
        assert order == ["b", "c"]
        assert pool.progress.notes[0] == "b waits for memory until a request has ended"


def test_one_who_stops_waiting_for_room_gives_up_his_place() -> None:
    async def main(pool: Pool) -> None:
        async with pool.lease(A) as held:
            leaves = asyncio.ensure_future(lease(pool, B))
            stays = asyncio.ensure_future(lease(pool, C))
            await until(lambda: {"b", "c"} <= states(pool).keys())
            leaves.cancel()
            await until(lambda: states(pool).keys() == {"a", "c"})
            assert await answer(held) and not stays.done()
        await stays
        assert pool.loaded() == ("c",)

    with roomy("100MB") as pool:
        asyncio.run(main(pool))


def test_a_place_that_is_given_up_does_not_take_its_fellow_waiters_along() -> None:
    async def main(pool: Pool) -> Engine:
        async with pool.lease(A):
            leaves, stays = (asyncio.ensure_future(lease(pool, B)) for _ in range(2))
            await until(lambda: states(pool).get("b") == "waiting")
            leaves.cancel()
            await asyncio.sleep(0.05)
        return await stays

    with roomy("100MB") as pool:
        assert asyncio.run(main(pool)).model.spec.alias == "b"


def test_traffic_that_never_pauses_does_not_lock_another_model_out() -> None:
    async def busy(pool: Pool, stop: asyncio.Event, begin: float) -> int:
        await asyncio.sleep(begin)
        count = 0
        while not stop.is_set():
            async with pool.lease(A):
                await asyncio.sleep(0.02)
            count += 1
        return count

    async def main(pool: Pool) -> None:
        stop = asyncio.Event()
        traffic = [asyncio.ensure_future(busy(pool, stop, at * 0.007)) for at in range(3)]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(5):
            await lease(pool, B)
        stop.set()
        assert all(await asyncio.gather(*traffic))

    with roomy("100MB", patience=0.1) as pool:
        asyncio.run(main(pool))


def test_of_the_models_in_use_only_as_many_are_closed_to_newcomers_as_stand_in_the_way() -> None:
    async def main(pool: Pool) -> None:
        async with pool.lease(A), pool.lease(B):
            waiting = asyncio.ensure_future(lease(pool, C))
            await until(lambda: states(pool).get("a") == "closing")
            await asyncio.sleep(0.1)  # it looks again several times
            assert states(pool) == {"a": "closing", "b": "in use", "c": "waiting"}
        await waiting

    with roomy("200MB", patience=0.02) as pool:
        asyncio.run(main(pool))


def test_a_model_larger_than_the_budget_is_refused_and_says_what_would_fit(
    small_gguf: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # What other tests have measured of this model would correct the prediction.
    monkeypatch.setenv("MODELYARD_DATA", str(tmp_path))
    small = load_catalog().resolve(str(small_gguf))
    with roomy("100MB") as pool, pytest.raises(ResourceExhaustedError) as caught:
        asyncio.run(lease(pool, small))
    assert "would take about 4" in caught.value.message and "budget is 100 MB" in caught.value.message
    assert "Weights of up to 29 MB fit" in caught.value.hint and "MODELYARD_MEMORY=0.5GB" in caught.value.hint
    assert pool.status() == ()


def test_what_is_being_closed_takes_room_until_it_is() -> None:
    async def main(pool: Pool) -> None:
        slow = A.model_copy(update={"alias": "slow", "options": {"memory": "100MB", "delay": 0.4}})
        async with pool.lease(slow) as engine:
            running = asyncio.ensure_future(answer(engine))
            await until(lambda: engine.active == 1)
            running.cancel()  # its step goes on, and closing waits for that
        closing = asyncio.ensure_future(asyncio.to_thread(pool.unload, "slow"))
        await until(lambda: states(pool) == {"slow": "closing"})
        await lease(pool, B)
        assert not any(thread.name == "fake:slow" for thread in threading.enumerate())
        await closing

    with roomy("100MB") as pool:
        asyncio.run(main(pool))


def test_closing_the_pool_ends_the_wait_for_room() -> None:
    async def main(pool: Pool) -> Any:
        async with pool.lease(A):
            waiting = asyncio.ensure_future(lease(pool, B))
            await until(lambda: states(pool).get("b") == "waiting")
            pool.close()
            return (await asyncio.gather(waiting, return_exceptions=True))[0]

    with roomy("100MB") as pool:
        error = asyncio.run(main(pool))
        assert isinstance(error, EngineCrashedError) and "pool was closed" in error.message
        assert pool.status() == ()


def test_the_budget_comes_from_the_argument_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_MEMORY", "16GB")
    assert Pool().memory_budget == 16 * 10**9
    assert Pool(memory_budget="2GiB").memory_budget == 2 * 2**30
    assert Pool(memory_budget=5000).memory_budget == 5000
    monkeypatch.setenv("MODELYARD_MEMORY", "much")
    with pytest.raises(InvalidArgumentError, match="MODELYARD_MEMORY has value 'much'"):
        _ = Pool().memory_budget
    monkeypatch.delenv("MODELYARD_MEMORY")
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < Pool().memory_budget < total


@pytest.mark.parametrize("value", ["", "GB", "-1GB", "1XB", "1e3", True, None, 1.5, -1, "9" * 40])
def test_what_is_no_number_of_bytes_is_refused(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="budget has value"):
        read_bytes(value, "budget")


@pytest.mark.parametrize("options", [{"worker": "yes"}, {"worker": 1}, {"memory": "much"}])
def test_the_pools_own_options_are_checked(pool: Pool, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=f"option '{next(iter(options))}' has value"):
        asyncio.run(lease(pool, options=options))
    assert pool.status() == ()


def test_the_status_tells_what_each_model_is_doing() -> None:
    async def main(pool: Pool) -> None:
        async with pool.lease(A), pool.lease(A):
            (row,) = pool.status()
            assert (row.alias, row.engine, row.state, row.leases, row.pid) == ("a", "fake", "in use", 2, None)
            assert row.predicted == row.measured == 10**8
            pool.unload("a")
            assert pool.status()[0].state == "closing" and pool.loaded() == ()
        assert pool.status() == ()

    with roomy("200MB") as pool:
        asyncio.run(main(pool))


@settings(max_examples=6, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["ask", "ask", "end", "cancel", "unload"]), st.integers(0, 5)), max_size=25
    )
)
def test_any_order_of_asking_ending_cancelling_and_unloading_keeps_the_books(
    steps: list[tuple[str, int]],
) -> None:
    models = (sized("a"), sized("b"), sized("c", "60MB"))

    async def client(pool: Pool, spec: ModelSpec, end: asyncio.Event) -> None:
        async with pool.lease(spec) as engine:
            assert engine.model.spec.alias == spec.alias
            await end.wait()
            assert await answer(engine)

    async def main(pool: Pool) -> None:
        clients: list[tuple[asyncio.Task[None], asyncio.Event]] = []
        for what, at in steps:
            if what == "ask":
                end = asyncio.Event()
                clients.append((asyncio.ensure_future(client(pool, models[at % 3], end)), end))
            elif what == "unload":
                pool.unload("abc"[at % 3])
            elif clients:
                task, end = clients[at % len(clients)]
                task.cancel() if what == "cancel" else end.set()
            await asyncio.sleep(0.001 * (at % 3))
            check(pool)
        for _, end in clients:
            end.set()
        async with asyncio.timeout(10):
            found = await asyncio.gather(*(task for task, _ in clients), return_exceptions=True)
        assert {type(one) for one in found} <= {type(None), asyncio.CancelledError}
        await until(lambda: {row.state for row in pool.status()} <= {"idle"})
        check(pool)

    with roomy("200MB", patience=0.02) as pool:
        asyncio.run(main(pool))


# -- workers -----------------------------------------------------------------------------------------------


def test_a_worker_is_asked_for_by_pool_by_model_or_by_call() -> None:
    async def pids(pool: Pool) -> list[bool]:
        calls: list[tuple[ModelSpec, dict[str, Any] | None]] = [
            (FAKE, None),
            (FAKE, {"worker": True}),
            (FAKE, {"worker": False}),
            (FAKE.model_copy(update={"alias": "apart", "options": {"worker": True}}), None),
        ]
        return [(await lease(pool, spec, options)).pid is not None for spec, options in calls]

    with roomy("1GB") as pool:
        assert asyncio.run(pids(pool)) == [False, True, False, True]
    with roomy("1GB", worker=True) as pool:
        assert asyncio.run(pids(pool)) == [True, True, False, True]


def test_a_worker_that_crashed_stays_in_the_pool_and_answers_again() -> None:
    options = {"delay": 0.01, "reply": "word " * 2000}

    async def main(pool: Pool) -> None:
        llm = create_llm("fake", pool=pool, options=options)
        engine = await lease(pool, options=options)
        assert engine.pid is not None
        running = asyncio.ensure_future(llm.generate_async("Hello"))
        await until(lambda: engine.active == 1)
        os.kill(engine.pid, signal.SIGKILL)
        with pytest.raises(EngineCrashedError):
            await running
        assert str(await llm.generate_async("Hello", max_tokens=2)) == "word word"
        assert await lease(pool, options=options) is engine

    with roomy("1GB", worker=True) as pool:
        asyncio.run(main(pool))
