"""The models that are served: each with its LLM, its places and its queue."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

from modelyard.catalog.auth import redact
from modelyard.catalog.load import Catalog
from modelyard.catalog.spec import HubSource, ModelSpec
from modelyard.engines.base import Capabilities
from modelyard.errors import (
    DeadlineExceededError,
    ModelNotFoundError,
    ModelyardError,
    UnavailableError,
    UnsupportedError,
    nearest,
)
from modelyard.llm import LLM
from modelyard.messages import Prompt
from modelyard.pool import ModelStatus, Pool
from modelyard.safety import policy_of
from modelyard.serving.admission import Admission
from modelyard.serving.feed import Feed
from modelyard.serving.logs import say
from modelyard.serving.metrics import Metrics
from modelyard.serving.record import Record
from modelyard.serving.settings import ServerSettings
from modelyard.types import Chunk

_LONGEST_PAUSE = 60.0  # seconds between two loads of a model that fails to load


class Served:
    """One model of the catalogue, as the server offers it.

    Attributes:
        spec: of it.
        llm: it.
        admission: its places and its queue.
        feed: how far its load has come.
        capabilities: None until it was loaded once.
        problem: why its last load failed; empty where it did not.
        stuck: whether its process gives no sign of life.
    """

    def __init__(self, llm: LLM, pool: Pool, settings: ServerSettings, metrics: Metrics) -> None:
        self.llm = llm
        self._pool = pool
        self.spec = llm.spec
        self.admission = Admission(f"'{llm.spec.alias}'", settings.running, settings.queue)
        self.feed = Feed()
        self.capabilities: Capabilities | None = None
        self.fingerprint = ""
        self.problem = ""
        self.stuck = False
        self._most = settings.running
        self._deadline = settings.deadline
        self._metrics = metrics
        self._loading: asyncio.Task[Capabilities] | None = None
        self._failures = 0
        self._not_before = 0.0  # after a load that failed, on time.monotonic()'s clock

    @property
    def name(self) -> str:
        """Its alias."""
        return self.spec.alias

    @property
    def loaded_name(self) -> str:
        """The alias under which the pool has it: an adapter is laid over its base."""
        return self.spec.base or self.name

    @property
    def repository(self) -> str:
        """Its id on the Hub, else its alias."""
        return next((one.repo for one in self.spec.sources if isinstance(one, HubSource)), self.name)

    async def load(self) -> Capabilities:
        """Loads it, once for all who ask at a time; who stops waiting does so for himself alone."""
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load())
            self._loading.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(self._loading)

    async def _load(self) -> Capabilities:
        began = time.monotonic()
        try:
            found = await self.llm.load_async()
            fingerprint = await self.llm.fingerprint_async()
        except ModelyardError as error:
            self.problem = error.message
            self._failures += 1
            self._not_before = time.monotonic() + min(_LONGEST_PAUSE, 2.0**self._failures)
            self._metrics.loaded(self.name, 0, "failed")
            say(
                "load failed",
                logging.WARNING,
                model=self.name,
                error=type(error).__name__,
                reason=redact(error.message),
            )
            if isinstance(
                error, ModelNotFoundError
            ):  # the name is known here; what it stands for is not there
                raise UnavailableError(
                    f"'{self.name}' cannot be loaded: {error.message}", hint=error.hint
                ) from None
            raise
        seconds = time.monotonic() - began
        self.problem, self._failures = "", 0
        self._metrics.loaded(self.name, seconds, "loaded")
        say("loaded", model=self.name, engine=fingerprint.engine, seconds=round(seconds, 2))
        self.capabilities = found
        self.fingerprint = f"{fingerprint.engine}-{fingerprint.engine_version}-{fingerprint.revision}"[:120]
        if found.parallel:
            self.admission.widen(min(self._most, found.parallel))
        return found

    def deadline(self, timeout: float | None) -> float:
        """When a request has to be answered, on `time.monotonic()`'s clock."""
        return time.monotonic() + min(self._deadline, timeout or self._deadline)

    def left(self, deadline: float) -> float:
        """Seconds until a deadline.

        Raises:
            DeadlineExceededError: there are none.
        """
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceededError("the deadline passed while the request waited")
        return left

    @contextlib.asynccontextmanager
    async def place(self, record: Record, deadline: float) -> AsyncIterator[None]:
        """A place on the loaded model."""
        if self.stuck:
            raise UnavailableError(f"'{self.name}' gives no sign of life; it is being started again")
        async with self.admission.place(record.client, deadline):
            await self._loaded(deadline)
            record.admit()
            yield

    async def stream(
        self, prompt: Prompt, how: Mapping[str, Any], record: Record, deadline: float
    ) -> AsyncGenerator[Chunk, None]:
        """One answer, piece by piece, once it has its place."""
        async with self.place(record, deadline):
            timeout = self.left(deadline)
            async with contextlib.aclosing(self.llm.stream_async(prompt, timeout=timeout, **how)) as chunks:
                async for chunk in chunks:
                    if record.first_token is None and chunk.tokens:
                        record.first_token = record.passed
                    if chunk.finish_reason is not None:
                        record.note(chunk)
                    yield chunk

    def refuse_task(self, *tasks: str) -> None:
        """Refuses what the model is not for.

        Raises:
            UnsupportedError: its task is none of these.
        """
        if self.spec.task not in tasks:
            raise UnsupportedError(
                f"parameter 'model' names '{self.name}', whose task is {self.spec.task}",
                hint=f"This route is for models with task {' or '.join(tasks)}.",
            )

    async def _loaded(self, deadline: float) -> None:
        """Has it loaded through here: the load is logged, and the places are known after it."""
        if self.capabilities is not None and self.loaded_name in self._pool.loaded():
            return
        pause = self._not_before - time.monotonic()
        if self.problem and pause > 0:
            raise UnavailableError(
                f"'{self.name}' could not be loaded: {self.problem}",
                hint=f"It is tried again in {pause:.0f} s; POST /models/{self.name}/load tries at once.",
            )
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await self.load()
        except TimeoutError:
            raise DeadlineExceededError(f"the deadline passed while '{self.name}' was loaded") from None


class Models:
    """All that is served, by name."""

    def __init__(
        self,
        catalog: Catalog,
        specs: Iterable[ModelSpec],
        pool: Pool,
        settings: ServerSettings,
        metrics: Metrics,
    ) -> None:
        self.catalog = catalog
        self.pool = pool
        self._by_name = {
            spec.alias: Served(_llm(spec, catalog, pool), pool, settings, metrics) for spec in specs
        }

    def __iter__(self) -> Iterator[Served]:
        return iter(self._by_name.values())

    def find(self, name: str) -> Served:
        """The model of that name.

        Raises:
            ModelNotFoundError: there is none.
        """
        if name not in self._by_name:
            raise ModelNotFoundError(
                f"parameter 'model' names '{name:.100}', which is not served.{nearest(name, self._by_name)}",
                hint="GET /v1/models lists what is.",
            )
        return self._by_name[name]

    def status(self) -> dict[str, ModelStatus]:
        """What the pool says of each model that it has, by alias; the last used where there are two."""
        found: dict[str, ModelStatus] = {}
        for row in self.pool.status():
            found.setdefault(row.alias, row)
        return found

    def running(self) -> int:
        """Requests that run or wait on any model."""
        return sum(one.admission.running + one.admission.waiting for one in self)

    def gauges(self) -> list[tuple[str, str, dict[str, float]]]:
        """What is now, for the metrics."""
        status = self.status()
        waiting = {one.name: float(one.admission.waiting) for one in self}
        running = {one.name: float(one.admission.running) for one in self}
        memory = {name: float(row.measured or 0) for name, row in status.items() if row.measured is not None}
        ready = {one.name: float(one.loaded_name in status and not one.stuck) for one in self}
        return [
            ("queue_length", "Requests that wait for a place.", waiting),
            ("running", "Requests that hold a place.", running),
            ("memory_bytes", "Bytes that a loaded model holds.", memory),
            ("model_loaded", "Whether a model is loaded and gives signs of life.", ready),
        ]


def _llm(spec: ModelSpec, catalog: Catalog, pool: Pool) -> LLM:
    return LLM(spec, pool=pool, catalog=catalog, safety=policy_of(spec, catalog=catalog, pool=pool))
