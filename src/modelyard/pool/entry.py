"""Entry: one model of a pool, from the first who asks for it to its end."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from modelyard.catalog.spec import ModelSpec
from modelyard.engines.base import Engine

if TYPE_CHECKING:
    from modelyard.pool.loading import Forecast

State = Literal["fetching", "waiting", "loading", "in use", "idle", "closing"]


@dataclass(slots=True, frozen=True)
class ModelStatus:
    """A row of `Pool.status()`.

    Attributes:
        alias: of the model.
        engine: that runs it; empty until it is picked.
        state: `fetching` its files, `waiting` for memory or for its turn, `loading`, `in use`, `idle`, or
            `closing` (no new request gets it; it is closed when the last that runs on it ends).
        leases: requests that hold it or wait for it.
        predicted: bytes that it was expected to take.
        measured: bytes that it holds, None before it is loaded.
        last_used: when it was last asked for or given back, in seconds on `time.time()`'s clock.
        pid: of its process, where it has one of its own.
    """

    alias: str
    engine: str
    state: State
    leases: int
    predicted: int
    measured: int | None
    last_used: float
    pid: int | None


@dataclass(slots=True, eq=False)
class Entry:
    """A model of the pool. Everything here is changed under the pool's lock.

    Attributes:
        loaded: done when the engine is there, or fails with why it is not.
        retired: no new request gets it; it is closed when the last lease ends.
        dropped: the pool was closed.
        grown: bytes that the process grew by while it loaded, without the KV cache.
        fixed: whether the size is the catalogue's or the caller's word, which no measurement corrects.
        ending: bytes that it holds while it is closed.
        turn: orders entries by when they were last used.
    """

    key: str
    spec: ModelSpec
    loaded: Future[None] = field(default_factory=Future)
    engine: Engine | None = None
    engine_name: str = ""
    state: State = "fetching"
    leases: int = 0
    retired: bool = False
    dropped: bool = False
    predicted: int = 0
    grown: int = 0
    forecast: Forecast | None = None
    fixed: bool = False
    ending: int = 0
    turn: int = 0
    last_used: float = field(default_factory=time.time)

    @property
    def unused(self) -> bool:
        """Whether it can be closed to make room."""
        return self.engine is not None and self.leases == 0

    def held(self) -> int:
        """Bytes that it takes now."""
        if self.engine is None:
            return self.ending
        if self.fixed:
            return self.predicted
        memory = self.engine.memory
        if memory.resident:
            return max(memory.resident, memory.weights + memory.kv_cache)
        return max(self.grown, memory.weights) + memory.kv_cache

    def compare(self) -> None:
        """Keeps what the model holds beside what was predicted of it, once it has answered."""
        if self.engine is None or self.forecast is None:
            return
        memory = self.engine.memory
        if memory.resident or self.grown:
            self.forecast.compare(self.held() - memory.kv_cache, alone=memory.resident > 0)

    def status(self) -> ModelStatus:
        """The entry for people."""
        state: State = "closing" if self.retired else self.state
        if state == "idle" and self.leases:
            state = "in use"
        return ModelStatus(
            alias=self.spec.alias,
            engine=self.engine_name,
            state=state,
            leases=self.leases,
            predicted=self.predicted,
            measured=self.held() if self.engine is not None or self.ending else None,
            last_used=self.last_used,
            pid=None if self.engine is None else self.engine.pid,
        )
