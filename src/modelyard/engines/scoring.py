"""The scores that several callers wait for: one thread works them off, and takes short ones together.

One thread, because torch keeps a team of threads for each thread that calls it, and two teams on the same cores wait
for each other. Together, because a pass over a few tokens costs nearly as much as one over a few hundred.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from modelyard.engines.continuations import Pair
from modelyard.errors import EngineCrashedError
from modelyard.types import Score

How = TypeVar("How", bound=Hashable)
Scores = tuple[Score, ...]


@dataclass(slots=True, eq=False)
class _Job(Generic[How]):
    """What one caller waits for; `prompts` and `longest` are those of its different prompts."""

    pairs: Sequence[Pair]
    how: How
    alone: bool
    prompts: int
    longest: int
    done: Future[Scores] = field(default_factory=Future)


class ScoringQueue(Generic[How]):
    """Scores of several callers, one pass after another.

    Args:
        score: the scores of pairs, in order; called in the queue's thread.
        tokens: how large a pass for several callers may be: prompts times the longest one.
        name: of the thread.
    """

    def __init__(
        self, score: Callable[[Sequence[Pair], How], Scores], *, tokens: int, name: str = "scoring"
    ) -> None:
        self._score, self._tokens, self._name = score, tokens, name
        self._waiting: deque[_Job[How]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def score(self, pairs: Sequence[Pair], how: How, *, alone: bool = False) -> Scores:
        """The scores, in order. Cancelling the caller while it waits takes it out of the queue.

        Args:
            pairs: to score.
            how: handed to `score`; only those of the same are taken together.
            alone: never with others.

        Raises:
            EngineCrashedError: the model was unloaded before its turn came.
        """
        prompts = {prompt for prompt, _ in pairs}
        job = _Job(pairs, how, alone, len(prompts), max(map(len, prompts)))
        with self._changed:
            if self._closed:
                raise _unloaded()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
            self._waiting.append(job)
            self._changed.notify()
        return await asyncio.wrap_future(job.done)

    def close(self) -> None:
        """Ends it: who still waits is told so, and who is being scored gets the scores. Safe to call twice."""
        with self._changed:
            self._closed = True
            left = list(self._waiting)
            self._waiting.clear()
            self._changed.notify()
        for job in left:
            if job.done.set_running_or_notify_cancel():
                job.done.set_exception(_unloaded())

    # -- in the thread ---------------------------------------------------------------------------------

    def _work(self) -> None:
        while group := self._next():
            self._answer([job for job in group if job.done.set_running_or_notify_cancel()])

    def _next(self) -> list[_Job[How]]:
        """The one who waits longest, and those who fit into its pass; nobody once the queue is closed."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if not self._waiting:
                return []
            first = self._waiting.popleft()
            group = [first]
            if not first.alone:
                # The nearest in length first: what a pass pads, it pays for.
                for job in sorted(self._waiting, key=lambda one: abs(one.longest - first.longest)):
                    if not job.alone and job.how == first.how and self._fit([*group, job]):
                        group.append(job)
                        self._waiting.remove(job)
            return group

    def _fit(self, group: Sequence[_Job[How]]) -> bool:
        return sum(job.prompts for job in group) * max(job.longest for job in group) <= self._tokens

    def _answer(self, group: Sequence[_Job[How]]) -> None:
        if len(group) > 1:
            try:
                found = self._score([pair for job in group for pair in job.pairs], group[0].how)
            except Exception:  # whose fault it is shows when each is asked alone
                found = ()
            if found:
                at = 0
                for job in group:
                    job.done.set_result(found[at : at + len(job.pairs)])
                    at += len(job.pairs)
                return
        for job in group:
            try:
                job.done.set_result(self._score(job.pairs, job.how))
            except BaseException as error:
                job.done.set_exception(error)


def _unloaded() -> EngineCrashedError:
    return EngineCrashedError("the model was unloaded before the scoring began")
