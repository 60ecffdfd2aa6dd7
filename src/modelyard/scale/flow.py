"""Flow: work through a pool of workers, by Ray Data: it places, feeds, holds back, grows and repeats."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from modelyard.engines.ray_serve import raised_there
from modelyard.errors import EngineCrashedError, ModelyardError
from modelyard.scale.cluster import Share
from modelyard.scale.ledger import say_begun

AHEAD = 2
"""Batches that a worker has in hand: the next one is asked while the last answers of one are still awaited."""
_LISTEN = 0.5  # seconds between two looks at the ledger
_T = TypeVar("_T")
_END = object()
_LATE = 600.0  # seconds without one worker that is ready


class Worker(Protocol):
    """What one worker does; made once in its process, from what `flow` was given."""

    def __call__(self, batch: Sequence[Any]) -> list[Any]:
        """Does a batch of items, and gives what came of each. It is called by several threads."""


def packed(thing: Any) -> bytes:
    """Something as bytes, its code too where the other side cannot import it."""
    from ray import cloudpickle

    made: bytes = cloudpickle.dumps(thing)  # type: ignore[no-untyped-call]
    return made


class _Hand:
    """The worker inside of Ray Data's actor."""

    def __init__(self, make: bytes, ledger: Any) -> None:
        self._worker: Worker = pickle.loads(make)()  # noqa: S301  from our own command
        say_begun(ledger)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        made = self._worker([pickle.loads(one) for one in batch["item"]])  # noqa: S301
        return {"made": [packed(one) for one in made]}


def flow(
    ray: Any,
    items: Sequence[Any],
    make: Callable[[], Worker],
    share: Share,
    ledger: Any,
    *,
    batch: int,
    ahead: int = AHEAD,
    note: Callable[[str], None],
) -> Iterator[Any]:
    """What came of each item, in the order in which it comes.

    A worker that is lost is started again by Ray, and the batches that it had in hand are done again.

    Args:
        ray: connected.
        items: of work; each is pickled.
        make: makes the worker, in its own process.
        share: what a worker takes, and how many there are.
        ledger: hears of workers.
        batch: items that a worker does at once.
        ahead: batches that it does at the same time.
        note: told of lost workers.

    Raises:
        ModelyardError: as a worker raised it.
        EngineCrashedError: workers die again and again, or none can be started.
    """
    from ray.data import ActorPoolStrategy
    from ray.exceptions import RayError

    _quiet(ray)
    rows = [{"item": packed(one)} for one in items]
    least, most = share.workers
    blocks = max(1, -(-len(rows) // batch))
    # map_batches makes its batches within blocks, so a block is a batch.
    data = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
        _Hand,
        fn_constructor_args=(packed(make), ledger),
        batch_size=batch,
        zero_copy_batch=True,
        compute=ActorPoolStrategy(
            min_size=min(least, blocks),
            max_size=min(most, blocks),
            max_tasks_in_flight_per_actor=2 * ahead,
            max_concurrent_calls_per_actor=ahead,
            enable_true_multi_threading=ahead > 1,
        ),
        **share.remote(),
    )
    with _Listening(ray, ledger, note):
        try:
            for row in data.iter_rows():
                yield pickle.loads(row["made"])  # noqa: S301
        except RayError as error:
            raise ours(error) from error
        except Exception as error:
            found = raised_there(error)
            if found is None:
                raise
            raise found from error


async def stepping(source: Iterator[_T]) -> AsyncGenerator[_T, None]:
    """A blocking iterator, without blocking the event loop; leaving it early closes it."""
    try:
        while (item := await asyncio.to_thread(next, source, _END)) is not _END:
            yield item  # type: ignore[misc]
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            with contextlib.suppress(ValueError):  # it is waited in at this moment: it ends with its cluster
                await asyncio.to_thread(close)


def _quiet(ray: Any) -> None:
    """Ray Data's own bars and logs would be written between ours."""
    import logging

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.wait_for_min_actors_s = _LATE
    for name in ("ray.data", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)


class _Listening:
    """Hears the ledger while work flows."""

    def __init__(self, ray: Any, ledger: Any, note: Callable[[str], None]) -> None:
        self._ray, self._ledger, self._note = ray, ledger, note
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="ledger")

    def __enter__(self) -> _Listening:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        over = False
        while not over:
            over = self._over.wait(_LISTEN)  # once more after the end, for what came last
            try:
                notes = self._ray.get(self._ledger.notes.remote(), timeout=5)
            except self._ray.exceptions.RayError:
                continue  # the cluster goes away; who waits for rows is told so
            for one in notes:
                self._note(one)


def ours(error: Exception) -> ModelyardError:
    found = raised_there(error)
    if found is not None:
        return found
    said = str(error).strip().splitlines() or [type(error).__name__]
    return EngineCrashedError(
        f"the work on the Ray cluster has ended: {said[-1][:300]}",
        hint="What was kept is kept: the same command goes on, with --ray or without.",
    )
