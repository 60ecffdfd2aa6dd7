"""The pool: models load on first use, are shared by all who name them, and are closed when told.

One load however many wait for it; no model is closed while a request runs on it.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import functools
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from modelyard.catalog.lock import Lock
from modelyard.catalog.progress import Progress, Silent
from modelyard.catalog.spec import ModelSpec
from modelyard.engines.base import Engine
from modelyard.engines.registry import availability, installed_engine
from modelyard.errors import EngineCrashedError


@dataclass(slots=True)
class _Entry:
    """A model that is loaded or loading, and how many requests hold it."""

    spec: ModelSpec
    engine: concurrent.futures.Future[Engine]
    leases: int = 0
    retired: bool = False


class Pool:
    """Loads models and lends them.

    Args:
        offline: use only what is on this machine.
        progress: where downloads report.
        token: a Hub token, before those of the environment.
    """

    def __init__(
        self, *, offline: bool = False, progress: Progress | None = None, token: str | None = None
    ) -> None:
        self.offline = offline
        self._token = token
        self.progress: Progress = progress or Silent()
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()

    @asynccontextmanager
    async def lease(
        self, spec: ModelSpec, options: Mapping[str, Any] | None = None, *, lock: Lock | None = None
    ) -> AsyncIterator[Engine]:
        """The loaded engine of a spec, kept for as long as the context lasts."""
        entry = self._take(spec, dict(options or {}), lock)
        try:
            yield await asyncio.wrap_future(_shielded(entry.engine))
        except EngineCrashedError:
            self._retire(entry)  # the next request finds a fresh one
            raise
        finally:
            self._give_back(entry)

    def unload(self, alias: str) -> bool:
        """Closes the models of this alias, each as soon as no request runs on it; False when none is loaded."""
        with self._lock:
            keys = [key for key, entry in self._entries.items() if entry.spec.alias == alias]
            retired = [self._entries.pop(key) for key in keys]
            for entry in retired:
                entry.retired = True
            idle = [entry for entry in retired if entry.leases == 0]
        for entry in idle:
            _close(entry)
        return bool(retired)

    def loaded(self) -> tuple[str, ...]:
        """The aliases of the models that are loaded."""
        with self._lock:
            return tuple(
                e.spec.alias for e in self._entries.values() if e.engine.done() and not e.engine.exception()
            )

    def close(self) -> None:
        """Closes every model, in use or not; a load under way is left to its thread and dropped."""
        with self._lock:
            entries = list(self._entries.values())
            self._entries.clear()
        for entry in entries:
            _close(entry)

    def _take(self, spec: ModelSpec, options: dict[str, Any], lock: Lock | None) -> _Entry:
        key = spec.model_dump_json() + json.dumps(options, sort_keys=True, default=repr)
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.engine.done() and entry.engine.exception() is not None:
                entry = None  # a load that failed is tried again
            if entry is None:
                how: dict[str, Any] = {
                    "offline": self.offline,
                    "progress": self.progress,
                    "token": self._token,
                    "lock": lock,
                }
                entry = self._entries[key] = _Entry(
                    spec, _in_thread(lambda: load_engine(spec, options, **how))
                )
            entry.leases += 1
            return entry

    def _retire(self, entry: _Entry) -> None:
        with self._lock:
            entry.retired = True
            for key in [key for key, one in self._entries.items() if one is entry]:
                del self._entries[key]

    def _give_back(self, entry: _Entry) -> None:
        with self._lock:
            entry.leases -= 1
            close = entry.retired and entry.leases == 0
        if close:
            _close(entry)


def load_engine(
    spec: ModelSpec,
    options: Mapping[str, Any],
    *,
    offline: bool = False,
    progress: Progress | None = None,
    token: str | None = None,
    lock: Lock | None = None,
) -> Engine:
    """Gets a model's files and loads them on the engine that the plan picks. Blocks."""
    from modelyard.catalog.plan import plan
    from modelyard.catalog.pull import find_local, pull

    merged = {**spec.options, **options}
    model = find_local(spec, lock)
    if model is None:
        # Before the download: a model that no engine here can run is not fetched to be refused.
        installed_engine(plan(spec, availability(), lock=lock).engine)
        model = pull(spec, offline=offline, progress=progress, token=token, lock=lock)
    return installed_engine(plan(spec, availability(), model=model).engine)(model, merged)


def _in_thread(load: Callable[[], Engine]) -> concurrent.futures.Future[Engine]:
    """Loads in a daemon thread: one that an executor starts would hold up Ctrl-C until the load is done."""
    future: concurrent.futures.Future[Engine] = concurrent.futures.Future()

    def work() -> None:
        try:
            future.set_result(load())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="modelyard-load", daemon=True).start()
    return future


def _shielded(future: concurrent.futures.Future[Engine]) -> concurrent.futures.Future[Engine]:
    """A future that can be cancelled without cancelling the load, which others may wait for."""
    mirror: concurrent.futures.Future[Engine] = concurrent.futures.Future()

    def copy(done: concurrent.futures.Future[Engine]) -> None:
        if not mirror.set_running_or_notify_cancel():
            return
        error = done.exception()
        if error is not None:
            mirror.set_exception(error)
        else:
            mirror.set_result(done.result())

    future.add_done_callback(copy)
    return mirror


def _close(entry: _Entry) -> None:
    """Closes the engine: now, or as soon as its load is done."""

    def close(loaded: concurrent.futures.Future[Engine]) -> None:
        if loaded.exception() is None:
            loaded.result().close()

    entry.engine.add_done_callback(close)


@functools.cache
def default_pool() -> Pool:
    """The process's own pool, closed at its end."""
    pool = Pool()
    atexit.register(pool.close)
    return pool
