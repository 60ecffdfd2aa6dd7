"""A worker's child is killed, stopped, interrupted, or loses its parent: who hears of it, and what comes after."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from modelyard.catalog.load import load_catalog
from modelyard.engines.worker import WorkerEngine
from modelyard.engines.worker.channel import Channel
from modelyard.engines.worker.engine import RESTARTS
from modelyard.engines.worker.messages import Batch, Piece
from modelyard.errors import (
    DeadlineExceededError,
    EngineCrashedError,
    EngineError,
    InvalidArgumentError,
    conduct,
)
from modelyard.params import merge
from modelyard.pool import load_engine
from modelyard.types import Chunk, Request, Timings, Token, ToolCall, TopLogprob, Usage, Warning

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which processes there are")
MODELS = {"fake": ("fake", {"delay": 0.01, "reply": "word " * 4000}), "openvino": ("smollm2-135m", {})}
BOTH = pytest.mark.parametrize(
    "name", ["fake", pytest.param("openvino", marks=[pytest.mark.model, pytest.mark.slow])]
)


def load(name: str, **options: Any) -> WorkerEngine:
    alias, own = MODELS[name]
    engine = load_engine(load_catalog().get(alias), {**own, **options}, worker=True)
    assert isinstance(engine, WorkerEngine)
    return engine


@pytest.fixture
def fake() -> Iterator[WorkerEngine]:
    engine = load("fake")
    yield engine
    engine.close()


async def answer(engine: WorkerEngine, at: int = 0, tokens: int = 2000, **how: Any) -> list[Chunk]:
    params = merge(("request", {"temperature": 0, "max_new_tokens": tokens, "min_new_tokens": tokens}))[0]
    request = Request(prompt=f"Story {at}: the old ship", params=params, **how)
    return [chunk async for chunk in engine.generate(request)]


def test_a_chunk_comes_through_the_pipe_as_it_went_in() -> None:
    top = (TopLogprob("a", 1, -0.1), TopLogprob("\ufffd", None, -2.0))
    chunks = [
        Chunk("a", (Token("a", 1, -0.1, 0, 1, "masked", top),)),
        Chunk(
            "",
            (),
            "stop",
            Usage(3, 2),
            Timings(0, None, 1),
            (Warning("w", "x"),),
            (ToolCall("c", "f", "{}"),),
        ),
        Chunk(tool_calls=(ToolCall("c", "f", "{}"),)),
    ]
    ends = Pipe()
    sender, receiver = (Channel(end) for end in ends)
    sender.send(Batch(tuple(Piece(at, chunk) for at, chunk in enumerate(chunks)), None))
    assert [piece.chunk for piece in receiver.receive().replies] == chunks
    sender.close()
    receiver.close()


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def child(engine: WorkerEngine) -> int:
    assert engine.pid is not None
    return engine.pid


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that has ended since has no children
            found += [int(one) for one in (task / "children").read_text().split()]
    return found


@BOTH
def test_a_killed_child_fails_its_eight_requests_within_a_second_and_the_ninth_is_answered(name: str) -> None:
    engine = load(name)

    async def main() -> tuple[list[Any], float, list[Chunk]]:
        tasks = [asyncio.ensure_future(answer(engine, at)) for at in range(8)]
        await until(lambda: engine.active == 8)
        await asyncio.sleep(0.3)
        killed = child(engine)
        os.kill(killed, signal.SIGKILL)
        began = time.monotonic()
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        took = time.monotonic() - began
        ninth = await answer(engine, tokens=5)
        assert engine.pid != killed
        return errors, took, ninth

    try:
        errors, took, ninth = asyncio.run(main())
        assert [type(error) for error in errors] == [EngineCrashedError] * 8
        assert took < 1
        assert all("SIGKILL" in error.message and conduct(error).retryable for error in errors)
        assert ninth[-1].usage is not None and ninth[-1].usage.completion_tokens == 5
        timings = ninth[-1].timings
        assert timings is not None and timings.queued > 0.1  # it has waited for the fresh child, and says so
    finally:
        engine.close()


def test_a_child_that_dies_while_nobody_asks_costs_no_request(fake: WorkerEngine) -> None:
    pid = child(fake)
    os.kill(pid, signal.SIGKILL)

    async def main() -> list[Chunk]:
        await until(lambda: fake.pid is None)
        return await answer(fake, tokens=3)

    assert asyncio.run(main())[-1].finish_reason == "length"
    assert child(fake) != pid


def test_a_child_that_keeps_dying_is_not_started_for_every_request(fake: WorkerEngine) -> None:
    async def main() -> None:
        for _ in range(RESTARTS):
            os.kill(child(fake), signal.SIGKILL)
            await until(lambda: fake.pid is None)
            assert await answer(fake, tokens=3)
        os.kill(child(fake), signal.SIGKILL)
        await until(lambda: fake.pid is None)
        with pytest.raises(EngineCrashedError, match="started again in"):
            await answer(fake, tokens=3)

    asyncio.run(main())


def test_ctrl_c_is_not_the_childs_to_handle(fake: WorkerEngine) -> None:
    pid = child(fake)
    assert os.getpgid(pid) != os.getpgid(0)
    os.kill(pid, signal.SIGINT)
    assert asyncio.run(answer(fake, tokens=3))
    assert child(fake) == pid


def test_a_child_that_hangs_holds_up_no_event_loop_and_no_deadline(fake: WorkerEngine) -> None:
    pid = child(fake)

    async def main() -> tuple[float, float]:
        os.kill(pid, signal.SIGSTOP)
        longest, latest = 0.0, time.monotonic()

        async def pulse() -> None:
            nonlocal longest, latest
            while True:
                await asyncio.sleep(0.01)
                longest, latest = max(longest, time.monotonic() - latest), time.monotonic()

        beating = asyncio.ensure_future(pulse())
        large = [asyncio.ensure_future(fake.count_tokens("word " * 2_000_000)) for _ in range(3)]
        began = time.monotonic()
        with pytest.raises(DeadlineExceededError):
            await answer(fake, deadline=time.monotonic() + 0.2)
        took = time.monotonic() - began
        beating.cancel()
        os.kill(pid, signal.SIGCONT)
        await asyncio.gather(*large)
        return took, longest

    took, longest = asyncio.run(main())
    assert took < 2 and longest < 0.5
    assert asyncio.run(answer(fake, tokens=3)) and child(fake) == pid


@BOTH
def test_closing_ends_the_child_and_its_requests(name: str) -> None:
    engine = load(name)
    pid = child(engine)

    async def main() -> list[Any]:
        tasks = [asyncio.ensure_future(answer(engine, at)) for at in range(3)]
        await until(lambda: engine.active == 3)
        await asyncio.to_thread(engine.close)
        return await asyncio.gather(*tasks, return_exceptions=True)

    errors = asyncio.run(main())
    assert [type(error) for error in errors] == [EngineCrashedError] * 3
    assert "unloaded" in str(errors[0]) and not alive(pid)


@BOTH
def test_one_who_leaves_frees_his_place_and_the_others_go_on(name: str) -> None:
    engine = load(name)

    async def main() -> tuple[int, list[Chunk]]:
        stays = asyncio.ensure_future(answer(engine, 1, tokens=150))
        leaves = [asyncio.ensure_future(answer(engine, at, tokens=3000)) for at in range(2, 6)]
        await until(lambda: engine.active == 5)
        for task in leaves:
            task.cancel()
        await until(lambda: engine.active == 1, 5)
        left = engine.active
        return left, await stays

    try:
        left, chunks = asyncio.run(main())
        assert left == 1
        assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 150
    finally:
        engine.close()


def test_event_loops_of_several_threads_share_a_child(fake: WorkerEngine) -> None:
    found: list[str] = []

    def client(at: int) -> None:
        found.append("".join(chunk.text for chunk in asyncio.run(answer(fake, at, tokens=20))))

    clients = [threading.Thread(target=client, args=(at,)) for at in range(6)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    assert found == [found[0]] * 6 and found[0].startswith("word word")


def test_an_option_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be sent"):
        load("fake", reply=lambda: "text")


def test_an_option_that_the_hosted_engine_does_not_know_is_its_own_error() -> None:
    with pytest.raises(InvalidArgumentError, match="Did you mean 'delay'"):
        load("fake", dellay=1)


def test_nothing_of_the_child_reaches_our_output(
    fake: WorkerEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    os.kill(child(fake), signal.SIGABRT)  # which its fault handler reports, at length
    with pytest.raises(EngineCrashedError, match=r"SIGABRT(.|\n)*Fatal Python error: Aborted"):
        asyncio.run(answer(fake))
    assert capfd.readouterr() == ("", "")


@pytest.mark.model
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGABRT])
def test_a_child_that_dies_while_it_loads_is_an_error_that_says_how(how: signal.Signals) -> None:
    failures: list[BaseException] = []

    def attempt() -> None:
        try:
            load("openvino").close()
        except BaseException as error:
            failures.append(error)

    before = set(children(os.getpid()))
    thread = threading.Thread(target=attempt)
    thread.start()
    asyncio.run(until(lambda: set(children(os.getpid())) - before))
    (pid,) = set(children(os.getpid())) - before
    asyncio.run(until(lambda: "openvino_genai" in Path(f"/proc/{pid}/maps").read_text()))
    os.kill(pid, how)
    thread.join(10)
    (error,) = failures
    assert type(error) is EngineError
    assert f"was killed by {how.name} while it loaded" in error.message
    if how == signal.SIGABRT:
        assert "Fatal Python error: Aborted" in error.message
    else:
        assert "out of memory" in error.hint


SCRIPT = """
import sys, threading
from modelyard.catalog.load import load_catalog
from modelyard.pool import load_engine
def load():
    engines.append(load_engine(load_catalog().get(sys.argv[1]), {}, worker=True))
engines = []
threading.Thread(target=load).start()
if sys.argv[2] == "loaded":
    while not engines: pass
print("go", flush=True)
threading.Event().wait()
"""


@pytest.mark.parametrize("when", ["loaded", pytest.param("loading", marks=pytest.mark.model)])
def test_a_parent_that_is_killed_leaves_no_child(start: Any, when: str) -> None:
    parent: subprocess.Popen[str] = start("fake" if when == "loaded" else "smollm2-135m", when, script=SCRIPT)
    assert parent.stdout is not None and parent.stdout.readline() == "go\n"
    asyncio.run(until(lambda: children(parent.pid)))
    (pid,) = children(parent.pid)
    parent.kill()
    parent.wait()
    asyncio.run(until(lambda: not alive(pid), 3))
