"""Watchdog: tells a model that is busy from one that is stuck, and ends the one that is.

Busy is fine: a long prompt, a full batch, a queue. Stuck is a model with work to do that shows no sign of life:
its process does not answer, or answers and has not advanced by a single step for too long. Its process is then
ended; its requests fail with a retryable error, and the next one finds a fresh process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from types import TracebackType
from typing import Self

from modelyard.serving.logs import say
from modelyard.serving.metrics import Metrics
from modelyard.serving.models import Models, Served

_EVERY = 1.0  # seconds between two looks, at most


class Watchdog:
    """Looks at every model from time to time, as a context.

    Args:
        models: that are watched.
        stuck_after: seconds without a sign of life.
        metrics: where it is counted.
    """

    def __init__(self, models: Models, stuck_after: float, metrics: Metrics) -> None:
        self._models = models
        self._after = stuck_after
        self._metrics = metrics
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(min(_EVERY, self._after / 4))
            silent = self._models.pool.silence()
            for served in self._models:
                await self._look(served, silent.get(served.loaded_name, 0.0))

    async def _look(self, served: Served, silent: float) -> None:
        served.stuck = silent > self._after / 2
        if silent > self._after:
            say("stuck", logging.ERROR, model=served.name, silent=round(silent, 1))
            self._metrics.stuck(served.name)
            self._models.pool.kill(served.loaded_name, self._after)
            served.stuck = False  # the next request finds a fresh process
