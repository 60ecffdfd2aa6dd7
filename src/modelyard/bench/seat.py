"""Seat: where one model is asked its samples. Here it is loaded in this process's pool; it may be elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from modelyard.bench.outcome import Judgement, Row
from modelyard.bench.task import Asked, BenchTask, Sample
from modelyard.bench.width import widest
from modelyard.errors import (
    EngineCrashedError,
    InvalidArgumentError,
    ModelyardError,
    ResourceExhaustedError,
    conduct,
)
from modelyard.llm import LLM
from modelyard.types import Fingerprint

_ATTEMPTS = 3
_GIVE_UP = 5  # crashes in a row: a model that dies of every sample is not started for each of them
_LOOK = 0.25  # seconds between two looks at the memory of a model
_CRASHES = (EngineCrashedError, ResourceExhaustedError)
_T = TypeVar("_T")


class CannotGoOnError(Exception):
    """What ends a model's part of a run, and only that."""

    def __init__(self, error: ModelyardError) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(slots=True, frozen=True)
class Seated:
    """A model that is ready to be asked: what answers, whether it gives scores, and how long it took to load."""

    fingerprint: Fingerprint
    scores: bool
    load_seconds: float


@dataclass(slots=True, frozen=True)
class Manner:
    """How samples are put to a model.

    Attributes:
        seed: of the first repeat; each further one has the next.
        exact: alone, and in the engine's exact numbers.
        together: requests at once; as many as memory allows where None.
    """

    seed: int = 0
    exact: bool = False
    together: int | None = None


@dataclass(slots=True, frozen=True)
class Part:
    """What of one task is left to ask: samples with their repeats, and all samples that the task has."""

    task: BenchTask
    left: Sequence[tuple[Sample, int]]
    samples: Sequence[Sample]


Answered = tuple[BenchTask, Sample, Row]


class Seat(Protocol):
    """Where one model is asked."""

    mixed: bool
    """Whether answers to several tasks come mixed."""

    async def load(self) -> Seated:
        """Makes the model ready.

        Raises:
            ModelyardError: it cannot be loaded.
        """

    async def prepare(self, parts: Sequence[Part], how: Manner) -> None:
        """Makes ready what these parts need beside the loaded model; the time it takes is the load's."""

    def ask(self, parts: Sequence[Part], how: Manner) -> AsyncGenerator[Answered, None]:
        """Asks what is left, and gives answers as they come.

        Raises:
            CannotGoOnError: the model dies again and again.
        """

    async def alone(self, task: BenchTask, sample: Sample, how: Manner) -> Row | None:
        """One sample again, alone and in exact numbers; None where that is not done here."""

    @property
    def peak(self) -> int | None:
        """Most bytes that the model held, None where nobody has looked."""

    async def close(self) -> None:
        """Gives the model back."""


class Here:
    """A model in this process's pool.

    Args:
        llm: the model.
    """

    mixed = False

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._crashes = 0
        self.peak: int | None = None

    async def load(self) -> Seated:
        spec = self._llm.spec
        if spec.sources and not spec.elsewhere:
            await asyncio.to_thread(self._llm.pull)  # a download is no part of the time to load
        began = time.monotonic()
        capabilities = await self._llm.load_async()
        seconds = time.monotonic() - began
        return Seated(await self._llm.fingerprint_async(), capabilities.score, seconds)

    async def prepare(self, parts: Sequence[Part], how: Manner) -> None:
        """An engine makes what it scores with when the first score is asked."""
        if not self._llm.spec.elsewhere and any(one.left and one.task.work == "score" for one in parts):
            # What is wrong with scoring is said of each sample.
            with contextlib.suppress(ModelyardError):
                await self._llm.score_async("The", [" first"], raw=True, exact=how.exact)

    async def ask(self, parts: Sequence[Part], how: Manner) -> AsyncGenerator[Answered, None]:
        async with self._memory():
            for part in parts:
                width = 1 if how.exact else how.together or await self.widest(part)
                async with contextlib.aclosing(self._part(part, how, width)) as rows:
                    async for row in rows:
                        yield row

    async def widest(self, part: Part) -> int:
        """As many of a task's samples at once as memory allows."""
        return await asyncio.to_thread(widest, self._llm, part.task, part.samples)

    async def _part(self, part: Part, how: Manner, width: int) -> AsyncGenerator[Answered, None]:
        async def one(sample: Sample, repeat: int) -> Answered:
            return part.task, sample, await self.row(part.task, sample, repeat, how)

        async with contextlib.aclosing(at_once(width, [one(*pair) for pair in part.left])) as rows:
            async for row in rows:
                yield row

    async def alone(self, task: BenchTask, sample: Sample, how: Manner) -> Row | None:
        return await self.row(task, sample, 0, Manner(how.seed, exact=True))

    async def row(self, task: BenchTask, sample: Sample, repeat: int, how: Manner) -> Row:
        """One sample, asked and judged; what goes wrong with it is in the row.

        Raises:
            CannotGoOnError: the model has died of this one and of those before it.
        """
        began = time.monotonic()
        try:
            asked = await self._asked(task, sample, repeat, how)
        except ModelyardError as error:
            if isinstance(error, _CRASHES):
                self._crashes += 1
                if self._crashes >= _GIVE_UP:
                    raise CannotGoOnError(error) from error
            failed = Judgement("failed", 0.0, reason=str(error))
            return _row_of(sample, repeat, Asked("", "", "error", seconds=time.monotonic() - began), failed)
        self._crashes = 0
        return _row_of(sample, repeat, asked, _ours(task, lambda: task.judge(sample, asked)))

    async def _asked(self, task: BenchTask, sample: Sample, repeat: int, how: Manner) -> Asked:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await _ours_async(
                    task, task.ask(self._llm, sample, seed=how.seed + repeat, exact=how.exact)
                )
            except ModelyardError as error:
                if attempt == _ATTEMPTS or not conduct(error).retryable:
                    raise
                wait = getattr(error, "retry_after", None)
                await asyncio.sleep(wait if isinstance(wait, int | float) else 0.2 * attempt)
        raise AssertionError

    @contextlib.asynccontextmanager
    async def _memory(self) -> Any:
        """Looks at what the model holds, now and then, and keeps the most."""

        async def look() -> None:
            while True:
                for row in self._llm.pool.status():
                    if row.alias == self._llm.spec.alias and row.measured:
                        self.peak = max(self.peak or 0, row.measured)
                await asyncio.sleep(_LOOK)

        looking = asyncio.create_task(look())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def close(self) -> None:
        await asyncio.to_thread(self._llm.close)


def _row_of(sample: Sample, repeat: int, asked: Asked, judgement: Judgement) -> Row:
    return Row(
        sample=sample.id, repeat=repeat, document=sample.document, judgement=judgement, prompt=asked.prompt,
        answer=asked.answer, expected=sample.expected, tokens=asked.tokens, seconds=asked.seconds,
        prompt_tokens=asked.prompt_tokens, completion_tokens=asked.completion_tokens, warnings=asked.warnings,
    )  # fmt: skip


async def at_once(width: int, work: Sequence[Coroutine[Any, Any, _T]]) -> AsyncGenerator[_T, None]:
    """What all of it comes to, as it comes, so many at once, the first ones first; the first error ends the others.

    Nobody begins with the next one before what he brought has been taken: who cannot keep an answer asks for no more.
    """
    waiting = iter(work)
    done: asyncio.Queue[tuple[_T, asyncio.Event] | BaseException | None] = asyncio.Queue()

    async def lane() -> None:
        try:
            for one in waiting:
                found, taken = await one, asyncio.Event()
                done.put_nowait((found, taken))
                await taken.wait()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            done.put_nowait(error)
        finally:
            done.put_nowait(None)

    lanes = [asyncio.create_task(lane()) for _ in range(min(width, len(work)))]
    left = len(lanes)
    try:
        while left:
            item = await done.get()
            if item is None:
                left -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                found, taken = item
                yield found
                taken.set()
    finally:
        for task in lanes:
            task.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)
        for never in waiting:
            never.close()


def _ours(task: BenchTask, judge: Callable[[], Judgement]) -> Judgement:
    """The judgement; what a task class of the user's raises is a failure of its sample, with its words."""
    try:
        return judge()
    except ModelyardError:
        raise
    except Exception as error:
        if task.kind != "python":
            raise
        return Judgement("failed", 0.0, reason=f"judge of task '{task.name}' raised {error!r}")


async def _ours_async(task: BenchTask, asking: Awaitable[Asked]) -> Asked:
    try:
        return await asking
    except ModelyardError:
        raise
    except Exception as error:
        if task.kind != "python":
            raise
        raise InvalidArgumentError(f"ask of task '{task.name}' raised {error!r}", hint="Mend it.") from error
