"""The pool: one load however many wait, no model closed under a request."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from modelyard.catalog.load import load_catalog
from modelyard.catalog.spec import ModelSpec
from modelyard.engines.base import Engine
from modelyard.errors import EngineCrashedError, InvalidArgumentError, ModelyardError, UnsupportedError
from modelyard.llm import create_llm
from modelyard.params import merge
from modelyard.pool import Pool
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
        await waiter
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


def test_an_engine_that_this_version_lacks_is_an_error_of_its_own(pool: Pool) -> None:
    with pytest.raises(UnsupportedError, match="'vllm'"):
        asyncio.run(lease(pool, ModelSpec(alias="x", engine="vllm", url="http://127.0.0.1:9")))
