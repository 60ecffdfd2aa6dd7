"""RaySeat: one model of a benchmark, asked by workers of a Ray cluster; the answers come back into the same store."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from modelyard import portal
from modelyard.bench.outcome import Row
from modelyard.bench.seat import Answered, CannotGoOnError, Here, Manner, Part, Seated
from modelyard.bench.task import BenchTask, Sample
from modelyard.errors import ModelyardError
from modelyard.llm import LLM
from modelyard.scale.cluster import Where, share_of, with_threads
from modelyard.scale.flow import AHEAD, flow, stepping
from modelyard.scale.ledger import opened
from modelyard.scale.place import Place
from modelyard.scale.scout import ask_scout

_LARGEST = 32  # samples of a batch: what is lost with a worker is done again
_ROUNDS = 4  # batches that each worker gets, at least: the last ones end together


class RaySeat:
    """A model on a cluster.

    Args:
        ray: connected.
        where: how much of the cluster.
        llm: the model.
        note: told what else is to be said.
    """

    mixed = True
    peak: int | None = None

    def __init__(self, ray: Any, where: Where, llm: LLM, note: Callable[[str], None]) -> None:
        self._ray, self._where, self._llm, self._note = ray, where, llm, note
        self._place = Place.like(llm.pool)

    async def load(self) -> Seated:
        self._share = await asyncio.to_thread(share_of, self._ray, self._where, [self._llm])
        self._llm = with_threads(self._llm, self._share.cpus)
        least, most = self._share.workers
        self._note(f"Ray: {least} to {most} workers for {self._llm.spec.alias}, each {self._share.why}")
        return await ask_scout(self._ray, self._share, self._llm, self._place)

    async def prepare(self, parts: Sequence[Part], how: Manner) -> None:
        return  # each worker does it for itself, while others already ask

    async def ask(self, parts: Sequence[Part], how: Manner) -> AsyncGenerator[Answered, None]:
        items = [(at, *pair) for at, part in enumerate(parts) for pair in part.left]
        if not items:
            return
        ahead = 1 if how.exact else AHEAD
        together = None if how.together is None else max(1, how.together // ahead)
        manner = Manner(how.seed, how.exact, together)
        make = functools.partial(_Asker, self._llm, [one.task for one in parts], manner, self._place)
        size = max(1, min(_LARGEST, -(-len(items) // (self._share.workers[1] * _ROUNDS))))
        ledger = opened(self._ray, None)
        rows = flow(self._ray, items, make, self._share, ledger, batch=size, ahead=ahead, note=self._note)
        try:
            async with contextlib.aclosing(stepping(rows)) as found:
                async for at, sample, row in found:
                    yield parts[at].task, sample, row
        except ModelyardError as error:
            raise CannotGoOnError(error) from error

    async def alone(self, task: BenchTask, sample: Sample, how: Manner) -> Row | None:
        return None

    async def close(self) -> None:
        return


class _Asker:
    """Asks a batch of samples, those of one task after those of another."""

    def __init__(self, llm: LLM, tasks: Sequence[BenchTask], how: Manner, place: Place) -> None:
        place.take()
        self._tasks, self._how = tasks, how
        self._seat = Here(llm)
        portal.run(self._seat.load())

    def __call__(self, batch: Sequence[tuple[int, Sample, int]]) -> list[tuple[int, Sample, Row]]:
        return portal.run(self._ask(batch))

    async def _ask(self, batch: Iterable[tuple[int, Sample, int]]) -> list[tuple[int, Sample, Row]]:
        found = []
        for at, items in groupby(sorted(batch, key=itemgetter(0)), key=itemgetter(0)):
            left = [(sample, repeat) for _, sample, repeat in items]
            part = Part(self._tasks[at], left, [sample for sample, _ in left])
            try:
                async with contextlib.aclosing(self._seat.ask([part], self._how)) as rows:
                    found += [(at, sample, row) async for _, sample, row in rows]
            except CannotGoOnError as stop:
                raise stop.error from stop
        return found
