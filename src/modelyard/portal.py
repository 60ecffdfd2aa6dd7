"""The synchronous face of the asynchronous core: one event loop in a thread, for the whole process.

The logic is written once, as coroutines; `run` and `iterate` call it from synchronous code. Ctrl-C in the
caller cancels what it waits for. `call` and `bridge` bring coroutines of other event loops there: what holds
connections lives in one event loop, whatever becomes of its callers'.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import threading
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any, TypeVar

from modelyard.errors import InvalidArgumentError

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
    event_loop = _event_loop()
    try:
        _refuse_inside(event_loop)
    except InvalidArgumentError:
        coroutine.close()
        raise
    future = asyncio.run_coroutine_threadsafe(coroutine, event_loop)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def iterate(source: AsyncGenerator[T, None]) -> Iterator[T]:
    """Iterates over an asynchronous iterator, one item when it is asked for; leaving early closes it."""
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    event_loop = _event_loop()
    _refuse_inside(event_loop)
    wanted = asyncio.Semaphore(0)

    async def pump() -> None:
        try:
            # Not a step ahead of its reader: one who leaves must not find the answer finished behind him.
            await wanted.acquire()
            async for item in source:
                items.put(item)
                await wanted.acquire()
        except BaseException as error:
            items.put(error)
            raise
        finally:
            await source.aclose()
            items.put(_END)

    future = asyncio.run_coroutine_threadsafe(pump(), event_loop)
    try:
        while True:
            event_loop.call_soon_threadsafe(wanted.release)
            item = items.get()
            if item is _END:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        future.cancel()


async def call(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine in the portal's event loop, for one that runs in another; leaving cancels it."""
    event_loop = _event_loop()
    if asyncio.get_running_loop() is event_loop:
        return await coroutine
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, event_loop))


async def bridge(source: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Iterates in the portal's event loop, for one who runs in another; leaving closes the source there.

    The source is not held up by its reader. Items that come close together wake him once.
    """
    event_loop, here = _event_loop(), asyncio.get_running_loop()
    if here is event_loop:
        async with contextlib.aclosing(source):
            async for item in source:
                yield item
        return
    items: deque[Any] = deque()
    ready = asyncio.Event()
    woken = False

    def put(item: Any) -> None:
        nonlocal woken
        items.append(item)
        if not woken:
            woken = True
            with contextlib.suppress(RuntimeError):  # the reader's event loop is closed
                here.call_soon_threadsafe(ready.set)

    async def pump() -> None:
        try:
            async with contextlib.aclosing(source):
                async for item in source:
                    put(item)
            put(_END)
        except BaseException as error:
            put(_Raised(error))
            raise

    future = asyncio.run_coroutine_threadsafe(pump(), event_loop)
    try:
        while True:
            await ready.wait()
            ready.clear()
            woken = False
            while items:
                item = items.popleft()
                if item is _END:
                    return
                if isinstance(item, _Raised):
                    raise item.error
                yield item
    finally:
        future.cancel()


class _Raised:
    """An error on its way to another event loop."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def wait_until_closed(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs the last coroutine of something that closes; from the portal's own thread it is not waited for."""
    event_loop = _event_loop()
    try:
        inside = asyncio.get_running_loop() is event_loop
    except RuntimeError:
        inside = False
    future = asyncio.run_coroutine_threadsafe(coroutine, event_loop)
    if not inside:
        future.result()


def _refuse_inside(event_loop: asyncio.AbstractEventLoop) -> None:
    """A synchronous call from the portal's own thread would wait for itself for ever."""
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        return
    if here is event_loop:
        raise InvalidArgumentError(
            "a synchronous call is made from a callback or coroutine that modelyard itself runs",
            hint="Await its asynchronous twin there (generate_async, stream_async, …).",
        )
