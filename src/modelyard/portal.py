"""The synchronous face of the asynchronous core: one event loop in a thread, for the whole process.

The logic is written once, as coroutines; `run` and `iterate` call it from synchronous code. Ctrl-C in the
caller cancels what it waits for.
"""

from __future__ import annotations

import asyncio
import functools
import queue
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
_END = object()


@functools.cache
def _event_loop() -> asyncio.AbstractEventLoop:
    event_loop = asyncio.new_event_loop()
    threading.Thread(target=event_loop.run_forever, name="modelyard-async", daemon=True).start()
    return event_loop


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end and returns its result.

    >>> async def double(x): return 2 * x
    >>> run(double(21))
    42
    """
    future = asyncio.run_coroutine_threadsafe(coroutine, _event_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def iterate(source: AsyncIterator[T]) -> Iterator[T]:
    """Iterates over an asynchronous iterator; leaving early closes it."""
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()

    async def pump() -> None:
        try:
            async for item in source:
                items.put(item)
        except BaseException as error:
            items.put(error)
            raise
        finally:
            await source.aclose()  # type: ignore[attr-defined]  # an async generator, typed as its iterator
            items.put(_END)

    future = asyncio.run_coroutine_threadsafe(pump(), _event_loop())
    try:
        while (item := items.get()) is not _END:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        future.cancel()
