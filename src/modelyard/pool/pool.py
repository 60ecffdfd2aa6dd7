"""Pool: lends loaded models, and closes them when told or when another needs the room.

Each model that is asked for has a thread of its own until it is loaded: it gets the files, waits for its
turn and for room, and loads. One model loads at a time, in the order in which their files were there. Room
is made by closing idle models, the one that was used longest ago first; never one that a lease holds.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import itertools
import json
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any

from modelyard.catalog.lock import Lock
from modelyard.catalog.model import Model
from modelyard.catalog.progress import Progress, Silent
from modelyard.catalog.spec import ModelSpec
from modelyard.engines.base import Engine
from modelyard.engines.worker.resident import resident_bytes
from modelyard.errors import EngineCrashedError
from modelyard.pool.budget import default_budget, give_back, read_bytes, share_arenas
from modelyard.pool.entry import Entry, ModelStatus
from modelyard.pool.loading import Loading, Placement, prepare, too_large

_LOOK_AGAIN = 1.0  # seconds: a KV cache that shrinks makes room too, and nobody tells


class Pool:
    """Loads models and lends them.

    Args:
        offline: use only what is on this machine.
        progress: where downloads report, and what is closed to make room.
        token: a Hub token, before those of the environment.
        worker: run each engine in a child process; a model's own option `worker` wins.
        memory_budget: bytes (or a text such as `16GB`) that the models may take together; else what
            `MODELYARD_MEMORY` says, else four fifths of what is available when the first one is loaded.
        progress_of: where the load of one model reports, in place of `progress`.
        patience: seconds that a load waits for models in use to become idle by themselves. After that no
            new request joins those used longest ago, so that traffic on two models cannot lock a third out.
    """

    def __init__(
        self,
        *,
        offline: bool = False,
        progress: Progress | None = None,
        token: str | None = None,
        worker: bool = False,
        memory_budget: int | str | None = None,
        progress_of: Callable[[ModelSpec], Progress] | None = None,
        patience: float = 5.0,
    ) -> None:
        self.offline = offline
        self.progress: Progress = progress or Silent()
        self._progress_of = progress_of or (lambda _: self.progress)
        self.worker = worker
        self.token = token
        self._budget = None if memory_budget is None else read_bytes(memory_budget, "memory_budget")
        self._patience = patience
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._entries: dict[str, Entry] = {}  # those that a new request can join
        self._live: set[Entry] = set()  # all, until they are closed or failed to load
        self._queue: deque[Entry] = (
            deque()
        )  # those that wait for their turn; the first waits for room, or loads
        self._taken: dict[str, int] = {}  # bytes that a model took when it was last loaded
        self._turns = itertools.count(1)

    @property
    def memory_budget(self) -> int:
        """Bytes that the models may take together."""
        if self._budget is None:
            self._budget = default_budget()
        return self._budget

    @asynccontextmanager
    async def lease(
        self, spec: ModelSpec, options: Mapping[str, Any] | None = None, *, lock: Lock | None = None
    ) -> AsyncIterator[Engine]:
        """The loaded engine of a spec, kept for as long as the context lasts.

        Raises:
            ResourceExhaustedError: the model alone is larger than the budget.
        """
        entry = self._join(spec, dict(options or {}), lock)
        engine: Engine | None = None
        try:
            await asyncio.wrap_future(entry.loaded)
            engine = entry.engine
            if engine is None:
                raise EngineCrashedError("the pool was closed while the model was loaded")
            yield engine
        except EngineCrashedError:
            if engine is not None and not engine.heals:
                self._retire(entry)  # the next request finds a fresh one
            raise
        finally:
            del engine
            if self._leave(entry):
                await asyncio.wrap_future(_in_thread(lambda: self._shut(entry), "modelyard-close"))

    def pull(self, spec: ModelSpec, lock: Lock | None = None) -> Model:
        """A model's files, fetched as this pool fetches them. Blocks."""
        from modelyard.catalog.pull import pull

        progress = self._progress_of(spec)
        return pull(spec, offline=self.offline, progress=progress, token=self.token, lock=lock)

    def unload(self, alias: str) -> bool:
        """Closes the models of this alias, each as soon as no request runs on it; False when none is loaded."""
        with self._changed:
            retired = [entry for entry in self._entries.values() if entry.spec.alias == alias]
            for entry in retired:
                self._forget(entry)
            unused = [entry for entry in retired if entry.unused]
            self._changed.notify_all()
        for entry in unused:
            self._shut(entry)
        return bool(retired)

    def loaded(self) -> tuple[str, ...]:
        """The aliases of the models that are loaded."""
        with self._lock:
            return tuple(one.spec.alias for one in self._entries.values() if one.engine is not None)

    def silence(self) -> dict[str, float]:
        """Seconds without a sign of life of each model with work to do in a process of its own, by alias."""
        with self._lock:
            engines = [(one.spec.alias, one.engine) for one in self._live if one.engine is not None]
        found: dict[str, float] = {}
        for alias, engine in engines:
            found[alias] = max(found.get(alias, 0.0), engine.silence)
        return found

    def kill(self, alias: str, silent: float) -> None:
        """Ends the processes of this alias that have given no sign of life for so many seconds."""
        with self._lock:
            engines = [one.engine for one in self._live if one.spec.alias == alias and one.engine is not None]
        for engine in engines:
            if engine.silence > silent:
                engine.kill()

    def status(self) -> tuple[ModelStatus, ...]:
        """Every model that is loaded, about to be, or about to be closed; the last used first."""
        with self._lock:
            return tuple(one.status() for one in sorted(self._live, key=lambda one: -one.turn))

    def close(self) -> None:
        """Closes every model, in use or not; a load under way is left to its thread and dropped."""
        with self._changed:
            entries = list(self._live)
            for entry in entries:
                self._forget(entry)
                entry.dropped = True
            self._changed.notify_all()
        for entry in entries:
            self._shut(entry)

    # -- leases ----------------------------------------------------------------------------------------

    def _join(self, spec: ModelSpec, options: dict[str, Any], lock: Lock | None) -> Entry:
        key = spec.model_dump_json() + json.dumps(options, sort_keys=True, default=repr)
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                placement = Placement.read({**spec.options, **options}, worker=self.worker)
                entry = self._entries[key] = Entry(key, spec)
                self._live.add(entry)
                entry.loaded.set_running_or_notify_cancel()  # who stops waiting does so for himself alone
                _in_thread(functools.partial(self._load, entry, placement, lock), "modelyard-load")
            entry.leases += 1
            self._touch(entry)
            return entry

    def _leave(self, entry: Entry) -> bool:
        """Ends a lease; True when the entry is now to be closed."""
        with self._changed:
            entry.leases -= 1
            self._touch(entry)
            self._changed.notify_all()
            return entry.retired and entry.unused

    def _touch(self, entry: Entry) -> None:
        entry.turn = next(self._turns)
        entry.last_used = time.time()

    def _retire(self, entry: Entry) -> None:
        with self._lock:
            self._forget(entry)

    def _forget(self, entry: Entry) -> None:
        """Lets no new request join; under the lock."""
        entry.retired = True
        if self._entries.get(entry.key) is entry:
            del self._entries[entry.key]

    def _shut(self, entry: Entry) -> None:
        """Closes an engine and gives its memory back; what it held counts until then."""
        entry.compare()
        with self._lock:
            entry.ending = entry.held()
            engine, entry.engine = entry.engine, None
        if engine is None:
            with self._changed:  # another thread closes it: who asked for it finds it closed all the same
                while entry.ending and entry in self._live:
                    self._changed.wait()
            return
        try:
            engine.close()
        finally:
            del engine
            if entry.predicted:
                give_back()
            with self._changed:
                self._live.discard(entry)
                self._changed.notify_all()

    # -- loads, each in a thread of its own ------------------------------------------------------------

    def _load(self, entry: Entry, placement: Placement, lock: Lock | None) -> None:
        how: dict[str, Any] = {"offline": self.offline, "token": self.token}
        try:
            found = prepare(entry.spec, placement, lock=lock, progress=self._progress_of(entry.spec), **how)
            with self._lock:
                entry.engine_name = found.engine.name
                entry.fixed = placement.memory is not None
                entry.predicted = self._expected(entry, found)
                entry.forecast = found.forecast
            if entry.predicted:
                self._load_in_turn(entry, found)
            else:
                self._arrived(entry, found.load(), 0)
        except BaseException as error:
            with self._changed:
                self._forget(entry)
                self._live.discard(entry)
            entry.loaded.set_exception(error)
            return
        entry.loaded.set_result(None)
        with self._lock:
            unwanted = entry.dropped or (entry.retired and entry.unused)
        if unwanted:
            self._shut(entry)

    def _expected(self, entry: Entry, found: Loading) -> int:
        """Bytes to make room for: as measured when it was last loaded, else as predicted.

        Raises:
            ResourceExhaustedError: it does not fit. One that was loaded once is not refused because it took
                more than was predicted; it then waits until it is alone.
        """
        taken = self._taken.get(entry.key)
        if taken is not None and not entry.fixed:
            return min(taken, self.memory_budget)
        if found.predicted > self.memory_budget:
            raise too_large(entry.spec, found, self.memory_budget)
        return found.predicted

    def _load_in_turn(self, entry: Entry, found: Loading) -> None:
        with self._lock:
            entry.state = "waiting"
            self._queue.append(entry)
            busy = self._missing(entry) > sum(one.held() for one in self._idle())
        if busy:
            self._progress_of(entry.spec).note(
                f"{entry.spec.alias} waits for memory until a request has ended"
            )
        try:
            while (idle := self._next_to_close(entry)) is not None:
                self._progress_of(entry.spec).note(
                    f"unloading {idle.spec.alias} to make room for {entry.spec.alias}"
                )
                self._shut(idle)
            if not found.placement.worker:
                share_arenas()
            before = resident_bytes()
            engine = found.load()
            self._arrived(entry, engine, resident_bytes() - before)
            while (idle := self._too_much(entry)) is not None:
                self._progress_of(entry.spec).note(
                    f"unloading {idle.spec.alias}: {entry.spec.alias} took more than was expected"
                )
                self._shut(idle)
        finally:
            with self._changed:
                self._queue.remove(entry)
                self._changed.notify_all()

    def _arrived(self, entry: Entry, engine: Engine, grown: int) -> None:
        with self._lock:
            entry.engine, entry.state = engine, "idle"
            entry.grown = max(0, grown - engine.memory.kv_cache)
            self._taken[entry.key] = entry.held()

    # -- room, under the lock --------------------------------------------------------------------------

    def _next_to_close(self, entry: Entry) -> Entry | None:
        """Waits for the entry's turn; then an idle model to close first, or None when there is room."""
        with self._changed:
            since: float | None = None
            while True:
                if entry.dropped:
                    raise EngineCrashedError("the pool was closed while the model waited to be loaded")
                if self._queue[0] is entry:
                    missing = self._missing(entry)
                    if missing <= 0 and (entry.leases or not entry.retired):
                        entry.state = "loading"
                        return None
                    idle = self._idle()
                    if 0 < missing <= sum(one.held() for one in idle):
                        self._forget(idle[0])
                        return idle[0]
                    since = since or time.monotonic()
                    if time.monotonic() - since >= self._patience:
                        self._drain(missing)
                if entry.leases == 0:
                    raise EngineCrashedError("nobody waits for the model any more")
                self._changed.wait(min(_LOOK_AGAIN, max(self._patience, 0.01)))

    def _missing(self, entry: Entry) -> int:
        """Bytes by which the entry does not fit; what is being closed still counts."""
        return sum(one.held() for one in self._live) + entry.predicted - self.memory_budget

    def _idle(self) -> list[Entry]:
        """The models that can be closed, the one used longest ago first."""
        return sorted((one for one in self._entries.values() if one.unused), key=lambda one: one.turn)

    def _drain(self, missing: int) -> None:
        """Lets no new request join the models in use that were used longest ago, as many as are in the way."""
        missing -= sum(one.held() for one in self._live if one.retired or one.unused)
        for one in sorted(self._entries.values(), key=lambda one: one.turn):
            if missing <= 0:
                return
            if one.engine is not None and one.leases:
                self._forget(one)
                missing -= one.held()

    def _too_much(self, entry: Entry) -> Entry | None:
        """An idle model to close because what was loaded is larger than was expected."""
        with self._lock:
            idle = [one for one in self._idle() if one is not entry]
            if not idle or sum(one.held() for one in self._live) <= self.memory_budget:
                return None
            self._forget(idle[0])
            return idle[0]


def _in_thread(work: Callable[[], None], name: str) -> Future[None]:
    """Runs in a daemon thread: one that an executor starts would hold up Ctrl-C until the work is done."""
    future: Future[None] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


@functools.cache
def default_pool() -> Pool:
    """The process's own pool, closed at its end."""
    pool = Pool()
    atexit.register(pool.close)
    return pool
