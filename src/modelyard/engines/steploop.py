"""One thread that steps a batch, and async streams out of it.

A batching backend can only be touched from one thread, between steps. `StepLoop` owns that thread: it
takes new requests in, steps while any is running, turns the tokens of a step into chunks, and hands them
to the event loops that wait for them, one wake-up an event loop and step.

A request ends here for one of five reasons: the backend says so, a stop string, its deadline, its
caller's leaving, or an error. In each case its slot is free before the next step.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from modelyard.engines.detokenize import TextStream
from modelyard.errors import DeadlineExceededError, EngineCrashedError, EngineError, ModelyardError
from modelyard.types import Chunk, FinishReason, Timings, Token, TopLogprob, Usage, Warning

_GATHER_PAUSE = 0.0015  # seconds without a new request, after which the first step begins
_LONE_PAUSE = 0.0002  # seconds, the same where the last request that came to an idle batch was alone
_TOGETHER = 0.05  # seconds after the first request in which others count as having come with it
_FIRST_TOKEN_PAUSE = 0.0015  # seconds
_GATHER_LONGEST = 0.03  # seconds after which it begins in any case


@dataclass(slots=True, frozen=True)
class Delta:
    """What one step made for one job: token ids, their logprobs, and why it ended, if it did.

    `tops` has the likeliest tokens at the place of each, where they were asked for.
    """

    job: Job
    ids: Sequence[int]
    logprobs: Sequence[float | None]
    finish: FinishReason | None = None
    error: ModelyardError | None = None
    tops: Sequence[tuple[TopLogprob, ...]] = ()


class Backend(Protocol):
    """What the loop drives; every method is called from the loop's thread alone."""

    def add(self, job: Job) -> None:
        """Takes a job in; raises to refuse it alone."""

    def step(self) -> Iterable[Delta]:
        """Advances every job by one step."""

    def drop(self, job: Job) -> None:
        """Frees a job's slot at once."""

    def close(self) -> None:
        """Gives back everything; nothing is called after it."""


@dataclass(slots=True, eq=False)
class Job:
    """One request inside the loop: what the backend needs, and the way back to its caller."""

    prompt_ids: Any
    prompt_tokens: int
    config: Any
    text: TextStream
    deadline: float | None
    warnings: tuple[Warning, ...]
    suspect: bool = False
    """It brings a grammar of its own: the first to be dropped when a step fails before its first token."""
    eos: frozenset[int] = frozenset()
    handle: Any = None
    completion_tokens: int = 0
    submitted: float = field(default_factory=time.monotonic)
    started: float | None = None
    first_token: float | None = None
    latest: float = 0.0
    done: bool = False
    event_loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    queue: asyncio.Queue[Chunk | ModelyardError] = field(default_factory=asyncio.Queue)


class StepLoop:
    """Runs a backend in a thread of its own.

    Args:
        backend: built by the caller; used from the loop's thread alone from now on.
        name: of the thread, for people who look at one.

    Attributes:
        steps: made so far.
    """

    def __init__(self, backend: Backend, name: str) -> None:
        self._backend = backend
        self._inbox: deque[tuple[str, Job]] = deque()
        self._jobs: dict[int, Job] = {}
        self._callers: set[Job] = set()  # taken in, and not yet told how they ended
        self._wake = threading.Condition()
        self._closing = False
        self._ended = ""
        self._began = 0.0  # when the batch was last idle no longer
        self._company = 2  # requests that came together then
        self.steps = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def active(self) -> int:
        """Jobs in the batch now."""
        return len(self._jobs)

    async def stream(self, job: Job) -> AsyncGenerator[Chunk, None]:
        """Runs a job and yields its chunks; leaving the iterator drops the job.

        Raises:
            EngineCrashedError: the loop is closed, or its backend failed.
        """
        self._post("add", job)
        try:
            while True:
                item = await job.queue.get()
                if isinstance(item, ModelyardError):
                    raise item
                yield item
                if item.finish_reason is not None:
                    return
        finally:
            if not job.done:
                self._post("drop", job)

    def close(self) -> None:
        """Ends all jobs and the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _post(self, what: str, job: Job) -> None:
        with self._wake:
            if self._closing or not self._thread.is_alive():
                if what == "drop":
                    return
                raise EngineCrashedError(self._ended or "the model was unloaded before the request began")
            self._inbox.append((what, job))
            self._wake.notify()

    # -- the thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._take_in():
                chunks = self._expire()
                if self._jobs:
                    chunks += self._advance()
                self._deliver(chunks)
                if any(job.first_token == job.latest for job, _ in chunks):
                    # The next step takes every core: a first token would reach its reader a step late.
                    time.sleep(_FIRST_TOKEN_PAUSE)
            reason = "the model was unloaded while the request ran"
        except Exception as error:
            # The backend failed outside a step, and what state it is in is unknown: nobody may wait for it.
            reason = self._ended = f"the engine failed: {_first_line(error)}"
        self._abandon(EngineCrashedError(reason))

    def _abandon(self, error: ModelyardError) -> None:
        with self._wake:
            self._closing = True
            waiting = [job for what, job in self._inbox if what == "add"]
            self._inbox.clear()
        # A job may have left the batch without its caller having been told: everyone is told who was not.
        jobs = [*self._callers, *waiting]
        self._jobs.clear()
        self._fail(jobs, error)
        with contextlib.suppress(Exception):
            self._backend.close()

    def _take_in(self) -> bool:
        """Waits for work, then admits and drops jobs; False when the loop is to end."""
        with self._wake:
            while not self._inbox and not self._jobs and not self._closing:
                self._wake.wait()
            if not self._jobs:
                pause = _GATHER_PAUSE if self._company > 1 else _LONE_PAUSE
                self._began, self._company = time.monotonic(), 0
                self._gather(pause)
            news = list(self._inbox)
            self._inbox.clear()
            if self._closing:
                self._inbox.extend(news)
                return False
        for what, job in news:
            if what == "drop":
                self._callers.discard(job)
                self._end(job)
            else:
                self._admit(job)
        return True

    def _gather(self, pause: float) -> None:
        """Before the first step of a batch, lets requests that come together arrive together.

        Once steps run, they and the tokenizer share the cores: of 64 requests sent at once the last was then
        admitted half a second late, and the batch made 0.94 of the tokens a second it makes this way. One who
        talks alone does not pay for that: where nobody came with the last one, hardly anybody is waited for.
        """
        latest = time.monotonic() + _GATHER_LONGEST
        count = 0
        while count < len(self._inbox) and not self._closing and time.monotonic() < latest:
            count = len(self._inbox)
            self._wake.wait(pause)

    def _admit(self, job: Job) -> None:
        self._callers.add(job)
        self._company += time.monotonic() - self._began < _TOGETHER
        try:
            self._backend.add(job)
        except ModelyardError as error:
            self._fail([job], error)
        except Exception as error:
            self._fail([job], _wrapped(error))
        else:
            job.started = time.monotonic()
            self._jobs[id(job)] = job

    def _expire(self) -> list[tuple[Job, Chunk | ModelyardError]]:
        now = time.monotonic()
        late = [job for job in self._jobs.values() if job.deadline is not None and now >= job.deadline]
        chunks: list[tuple[Job, Chunk | ModelyardError]] = []
        for job in late:
            self._end(job)
            made = job.completion_tokens
            passed = now - job.submitted
            chunks.append(
                (job, DeadlineExceededError(f"the deadline passed after {passed:.2f} s and {made} tokens"))
            )
        return chunks

    def _advance(self) -> list[tuple[Job, Chunk | ModelyardError]]:
        try:
            deltas = list(self._backend.step())
            self.steps += 1
        except Exception as error:
            self._recover(error)
            return []
        now = time.monotonic()
        return [(delta.job, chunk) for delta in deltas if (chunk := self._chunk(delta, now)) is not None]

    def _recover(self, error: Exception) -> None:
        """A step failed: the newest job that may be the cause is dropped, else all of them are."""
        suspects = [job for job in self._jobs.values() if job.suspect and job.first_token is None]
        if suspects:
            self._end(suspects[-1])
            self._fail([suspects[-1]], _wrapped(error))
        else:
            self._fail_all(EngineCrashedError(f"the engine failed in a step: {_first_line(error)}"))

    def _chunk(self, delta: Delta, now: float) -> Chunk | ModelyardError | None:
        job = delta.job
        if job.done:
            return None
        if delta.error is not None:
            self._end(job)
            return delta.error
        job.latest = now
        if job.first_token is None and delta.ids:
            job.first_token = now
        job.completion_tokens += len(delta.ids)
        ids, logprobs = delta.ids, delta.logprobs
        if delta.finish == "stop" and ids and ids[-1] in job.eos:
            ids, logprobs = ids[:-1], logprobs[:-1]
        tokens = job.text.push(ids, logprobs, delta.tops)
        finish: FinishReason | None = "stop" if job.text.stopped else delta.finish
        if finish is None:
            return Chunk(_joined(tokens), tuple(tokens)) if tokens else None
        tokens += job.text.finish()
        self._end(job, free=delta.finish is None)
        return Chunk(
            _joined(tokens),
            tuple(tokens),
            finish,
            Usage(job.prompt_tokens, job.completion_tokens),
            _timings(job, now),
            job.warnings,
        )

    def _end(self, job: Job, *, free: bool = True) -> None:
        if self._jobs.pop(id(job), None) is not None and free:
            self._backend.drop(job)
        job.done = True
        job.handle = None

    def _fail(self, jobs: Iterable[Job], error: ModelyardError) -> None:
        jobs = list(jobs)
        for job in jobs:
            job.done = True
        self._deliver([(job, error) for job in jobs])

    def _fail_all(self, error: ModelyardError) -> None:
        jobs = list(self._jobs.values())
        for job in jobs:
            self._end(job)
        self._fail(jobs, error)

    def _deliver(self, chunks: list[tuple[Job, Chunk | ModelyardError]]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Job, Chunk | ModelyardError]]] = defaultdict(list)
        for job, chunk in chunks:
            by_loop[job.event_loop].append((job, chunk))
            if isinstance(chunk, ModelyardError) or chunk.finish_reason is not None:
                self._callers.discard(job)
        for event_loop, items in by_loop.items():
            with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody waits there any more
                event_loop.call_soon_threadsafe(_put, items)


def _put(items: list[tuple[Job, Chunk | ModelyardError]]) -> None:
    for job, item in items:
        job.queue.put_nowait(item)


def _joined(tokens: Sequence[Token]) -> str:
    return "".join(token.text for token in tokens)


def _timings(job: Job, now: float) -> Timings:
    queued = (job.started or now) - job.submitted
    first = None if job.first_token is None else job.first_token - job.submitted
    return Timings(queued, first, now - job.submitted)


def _wrapped(error: Exception) -> ModelyardError:
    return (
        error
        if isinstance(error, ModelyardError)
        else EngineError(f"the engine refused: {_first_line(error)}")
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
