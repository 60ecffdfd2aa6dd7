"""Work: what runs for clients now, and everything that can end it before its own end.

A client who hangs up, a reader who takes nothing, a server that has to stop: each cancels the work, whatever
it was at (in the queue, in a load, in the prompt, in the middle of an answer), and says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any, Self

from modelyard.errors import ModelyardError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Left(Exception):  # noqa: N818  (no error: nobody is there any more to be told)
    """The client has hung up."""


class SlowReader(Exception):  # noqa: N818  (the same)
    """The client has taken nothing for too long."""


class Works:
    """All work that runs for clients.

    >>> Works().count
    0
    """

    def __init__(self) -> None:
        self._running: set[Work] = set()
        self._none = asyncio.Event()
        self._none.set()

    @property
    def count(self) -> int:
        """How much there is."""
        return len(self._running)

    def enter(self, work: Work) -> None:
        """A piece begins."""
        self._running.add(work)
        self._none.clear()

    def leave(self, work: Work) -> None:
        """A piece has ended."""
        self._running.discard(work)
        if not self._running:
            self._none.set()

    async def ended_within(self, seconds: float) -> bool:
        """Waits until there is none; False when there still is after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._none.wait()
        return not self._running

    def end(self, why: ModelyardError) -> int:
        """Ends all of it; how much that was."""
        ended = list(self._running)
        for one in ended:
            one.end(why)
        return len(ended)


class Work:
    """A piece of work in the current task, as a context.

    Args:
        receive: of the request, whose body has been read; it says when the client hangs up.
        works: where it is counted.
        patience: seconds that a reader may take nothing while `send` waits.

    Raises:
        Left, SlowReader, ModelyardError: what has ended it.
    """

    def __init__(self, receive: Receive, works: Works, patience: float = 0.0) -> None:
        self._receive = receive
        self._works = works
        self._patience = patience
        self._why: Exception | None = None
        self._over = False
        self._blocked: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._works.enter(self)
        self._watcher = asyncio.create_task(self._watch())
        if self._patience:
            self._look()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._works.leave(self)
        if self._timer is not None:
            self._timer.cancel()
        self._watcher.cancel()
        if self._why is not None and kind is asyncio.CancelledError:
            self._task.uncancel()
            raise self._why from None

    def finish(self) -> None:
        """Nothing ends it from here on: its last words are about to be sent."""
        self._over = True

    def end(self, why: Exception) -> None:
        """Cancels it; the first reason holds."""
        if not self._over and self._why is None:
            self._why = why
            self._task.cancel()

    async def send(self, send: Send, message: MutableMapping[str, Any]) -> None:
        """Sends, watched for a reader who takes nothing."""
        self._blocked = time.monotonic()
        await send(message)
        self._blocked = None

    async def _watch(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while (await self._receive())["type"] != "http.disconnect":
                pass
            self.end(Left())

    def _look(self) -> None:
        if self._blocked is not None and time.monotonic() - self._blocked > self._patience:
            self.end(SlowReader())
            return
        self._timer = asyncio.get_running_loop().call_later(self._patience / 2, self._look)
