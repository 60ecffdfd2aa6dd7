"""RayDesk: documents read by workers of a Ray cluster; every answer is kept in the same file, as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelyard import portal
from modelyard.extraction.asking.desk import Here, Progress, Source, Work
from modelyard.extraction.asking.keep import Answers, Known
from modelyard.extraction.result import DocumentResult
from modelyard.scale.cluster import Where, share_of, with_threads
from modelyard.scale.flow import AHEAD, flow, stepping
from modelyard.scale.ledger import RemoteAnswers, opened
from modelyard.scale.place import Place
from modelyard.scale.scout import ask_scout
from modelyard.types import Fingerprint

_LARGEST = 8  # documents of a batch
_ROUNDS = 4  # batches that each worker gets, at least: the last ones end together

_Item = tuple[int, Source, str]


class RayDesk:
    """Workers of a cluster, each with the run's models.

    Args:
        ray: connected.
        where: how much of the cluster.
        note: told what else is to be said.
    """

    def __init__(self, ray: Any, where: Where, note: Callable[[str], None]) -> None:
        self._ray, self._where, self._note = ray, where, note

    async def documents(
        self,
        work: Work,
        named: Sequence[tuple[Source, str]],
        answers: Known | None,
        on_result: Progress | None,
    ) -> tuple[list[DocumentResult], Fingerprint]:
        """As `Desk.documents`."""
        llms = list(work.models.values())
        share = await asyncio.to_thread(share_of, self._ray, self._where, llms)
        models = {name: with_threads(one, share.cpus) for name, one in work.models.items()}
        there = replace(work, models=models, together=max(1, work.together // AHEAD))
        least, most = share.workers
        self._note(f"Ray: {least} to {most} workers, each {share.why}")
        place = Place.like(work.models[""].pool)
        found = await ask_scout(self._ray, share, models[""], place)
        ledger = opened(self._ray, answers.path if isinstance(answers, Answers) else None)
        make = functools.partial(_Reader, there, ledger, place)
        items = [(at, _absolute(source), name) for at, (source, name) in enumerate(named)]
        size = max(1, min(_LARGEST, there.together, -(-len(items) // (most * _ROUNDS))))
        rows = flow(self._ray, items, make, share, ledger, batch=size, note=self._note)
        results: list[DocumentResult | None] = [None] * len(named)
        async with contextlib.aclosing(stepping(rows)) as read:
            async for at, result in read:
                results[at] = _as_named(result, named[at][0])
                if on_result is not None:
                    on_result(result)
        return [one for one in results if one is not None], found.fingerprint


def _absolute(source: Source) -> Source:
    return Path(source).absolute() if isinstance(source, str | Path) else source


def _as_named(result: DocumentResult, source: Source) -> DocumentResult:
    """A document that could not be read goes by the path that was given, and not by the worker's."""
    if (
        result.error is not None
        and isinstance(source, str | Path)
        and result.document == str(_absolute(source))
    ):
        return replace(result, document=str(source))
    return result


class _Reader:
    """Reads a batch of documents and asks their voters."""

    def __init__(self, work: Work, ledger: Any, place: Place) -> None:
        place.take()
        self._work, self._answers = work, RemoteAnswers(ledger)
        portal.run(work.models[""].load_async())

    def __call__(self, batch: Sequence[_Item]) -> list[tuple[int, DocumentResult]]:
        named = [(source, name) for _, source, name in batch]
        results, _ = portal.run(Here().documents(self._work, named, self._answers, None))
        return [(at, result) for (at, _, _), result in zip(batch, results, strict=True)]
