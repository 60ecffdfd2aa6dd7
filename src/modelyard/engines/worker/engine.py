"""WorkerEngine: any in-process engine, hosted in a child process.

A crash fails only the requests that run in that child, with an `EngineCrashedError`; the next request
starts a fresh one. Its memory goes back to the system whole when it is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

from modelyard.catalog.model import Model
from modelyard.engines.base import Capabilities, Engine, Memory
from modelyard.engines.continuations import Pair
from modelyard.engines.worker.messages import (
    Call,
    Classify,
    Count,
    Embed,
    Encode,
    Failure,
    Generate,
    Load,
    Piece,
    Render,
    Score,
    ScoreTokens,
    Value,
)
from modelyard.engines.worker.process import Caller, Process
from modelyard.engines.worker.resident import resident_bytes
from modelyard.errors import DeadlineExceededError, EngineCrashedError, EngineError
from modelyard.types import Adapter, Chunk, Fingerprint, Message, Request, Timings, TokenizerInfo
from modelyard.types import Score as Scored

RESTARTS = 3
"""Most fresh children within `WINDOW`: one that every request kills is not started for each of them."""
WINDOW = 60.0
"""Seconds."""
_GRACE = 0.5  # seconds after a deadline that a child has to say so itself


class WorkerEngine(Engine):
    """An engine in a child process; `in_worker` makes the class for a hosted engine.

    Its name, options and answers are those of the engine it hosts.
    """

    HOSTED: ClassVar[type[Engine]]
    heals: ClassVar[bool] = True

    def __init__(self, model: Model, options: Mapping[str, Any]) -> None:
        super().__init__(model, options)
        self._title = f"'{model.spec.alias}' (engine {self.name})"
        self._lock = threading.Lock()
        self._closed = False
        self._restarts: deque[float] = deque(maxlen=RESTARTS)
        self._process = self._start(EngineError)
        try:
            self._facts = self._process.ready.result()
        except BaseException:
            self._process.close()
            raise

    @classmethod
    def missing(cls) -> str | None:
        return cls.HOSTED.missing()

    @classmethod
    def version(cls) -> str:
        return cls.HOSTED.version()

    @property
    def capabilities(self) -> Capabilities:
        return self._facts.capabilities

    @property
    def precision(self) -> str:
        return self.fingerprint.precision

    @property
    def fingerprint(self) -> Fingerprint:
        return self._facts.fingerprint

    @property
    def active(self) -> int:
        return self._process.active

    @property
    def memory(self) -> Memory:
        """As of the last answer; `resident` as of now."""
        pid = self.pid
        return replace(self._process.memory, resident=resident_bytes(pid) if pid else 0)

    @property
    def pid(self) -> int | None:
        return None if self._process.over else self._process.pid

    async def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        began = time.monotonic()
        process = await self._live(request.deadline)
        waited = time.monotonic() - began
        caller = process.call(lambda number: Generate(number, request, _left(request.deadline)))
        try:
            with _expiry(caller, request.deadline, began):
                while True:
                    chunk = _chunk(await caller.replies.get())
                    if chunk.finish_reason is not None:
                        yield replace(chunk, timings=_shifted(chunk.timings, waited))
                        return
                    yield chunk
        finally:
            process.leave(caller)

    async def score(
        self,
        prompt: str | Sequence[Message],
        continuations: Sequence[str],
        adapter: Adapter | None = None,
        *,
        exact: bool = True,
    ) -> tuple[Scored, ...]:
        return cast(
            tuple[Scored, ...],
            await self._value(lambda number: Score(number, prompt, continuations, adapter, exact)),
        )

    @property
    def tokenizer_info(self) -> TokenizerInfo:
        found = self._facts.tokenizer
        if found is None:
            raise self.no_tokens()
        return found

    async def encode(self, texts: Sequence[str], *, special: bool = True) -> tuple[tuple[int, ...], ...]:
        return cast(
            tuple[tuple[int, ...], ...], await self._value(lambda number: Encode(number, texts, special))
        )

    async def score_tokens(
        self, pairs: Sequence[Pair], adapter: Adapter | None = None, *, exact: bool = True
    ) -> tuple[Scored, ...]:
        return cast(
            tuple[Scored, ...], await self._value(lambda number: ScoreTokens(number, pairs, adapter, exact))
        )

    async def render(self, messages: Sequence[Message], *, answer: bool = True) -> str:
        return cast(str, await self._value(lambda number: Render(number, messages, answer)))

    async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        return cast(tuple[tuple[float, ...], ...], await self._value(lambda number: Embed(number, texts)))

    async def classify(self, texts: Sequence[str]) -> tuple[dict[str, float], ...]:
        return cast(tuple[dict[str, float], ...], await self._value(lambda number: Classify(number, texts)))

    async def count_tokens(self, prompt: str | Sequence[Message]) -> int:
        return cast(int, await self._value(lambda number: Count(number, prompt)))

    @property
    def silence(self) -> float:
        return self._process.silence

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self._process.close()

    # -- the child -------------------------------------------------------------------------------------

    def _start(self, crash: type[EngineError]) -> Process:
        return Process(self._title, Load(self.name, self.model, self.options), crash)

    async def _live(self, deadline: float | None = None) -> Process:
        """The child with its model loaded; a fresh one where the last has ended."""
        with self._lock:
            if self._closed:
                raise EngineCrashedError("the model was unloaded before the request began")
            if self._process.over:
                self._process = self._restarted()
            process = self._process
        if not process.ready.done():
            try:
                async with asyncio.timeout(_left(deadline)):
                    await asyncio.wrap_future(process.ready)
            except TimeoutError:
                raise DeadlineExceededError(
                    f"the deadline passed while {self._title} was loaded again after a crash"
                ) from None
        self._facts = process.ready.result()
        return process

    def _restarted(self) -> Process:
        now = time.monotonic()
        if len(self._restarts) == RESTARTS and now - self._restarts[0] < WINDOW:
            pause = WINDOW - (now - self._restarts[0])
            raise EngineCrashedError(
                f"the process of {self._title} has ended {RESTARTS + 1} times within {WINDOW:.0f} s",
                hint=f"It is started again in {pause:.0f} s. Something that is sent may be what ends it.",
            )
        self._restarts.append(now)
        return self._start(EngineCrashedError)

    async def _value(self, make: Callable[[int], Call]) -> Any:
        process = await self._live()
        caller = process.call(make)
        try:
            reply = await caller.replies.get()
        finally:
            process.leave(caller)
        if isinstance(reply, Failure):
            raise reply.error
        assert isinstance(reply, Value)
        return reply.value


@functools.cache
def in_worker(hosted: type[Engine]) -> type[WorkerEngine]:
    """The class that runs an engine in a child process."""
    taken = {name: getattr(hosted, name) for name in ("name", "OPTIONS", "QUANTIZATIONS")}
    return type(f"Worker{hosted.__name__}", (WorkerEngine,), {"HOSTED": hosted, **taken})


def _chunk(reply: object) -> Chunk:
    if isinstance(reply, Failure):
        raise reply.error
    assert isinstance(reply, Piece)
    return reply.chunk


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else deadline - time.monotonic()


@contextlib.contextmanager
def _expiry(caller: Caller, deadline: float | None, began: float) -> Iterator[None]:
    """Ends the wait soon after the deadline also where the child hangs."""
    left = _left(deadline)
    if left is None:
        yield
        return
    passed = (
        f"the deadline passed after {left + time.monotonic() - began:.2f} s, and the process says nothing"
    )
    late = Failure(caller.id, DeadlineExceededError(passed))
    timer = caller.event_loop.call_later(max(left, 0) + _GRACE, caller.replies.put_nowait, late)
    try:
        yield
    finally:
        timer.cancel()


def _shifted(timings: Timings | None, by: float) -> Timings | None:
    """The child's timings begin when it has the request; a request may have waited for the child."""
    if timings is None:
        return None
    first = None if timings.first_token is None else timings.first_token + by
    return Timings(timings.queued + by, first, timings.total + by)
