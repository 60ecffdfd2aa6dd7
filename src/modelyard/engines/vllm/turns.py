"""Turns: requests of one kind share a batch, and those of another kind wait until it is empty."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable


class Turns:
    """Lets in together who names the same key; who names another waits, in the order of coming.

    All in one event loop.

    >>> async def show() -> list[str]:
    ...     turns, seen = Turns(), []
    ...     async def one(key: str) -> None:
    ...         async with turns.turn(key):
    ...             seen.append(key)
    ...             await asyncio.sleep(0)
    ...     await asyncio.gather(*(one(key) for key in "aba"))
    ...     return seen
    >>> asyncio.run(show())
    ['a', 'b', 'a']
    """

    def __init__(self) -> None:
        self._key = ""
        self._inside = 0
        self._waiting: deque[tuple[str, asyncio.Future[None]]] = deque()

    @contextlib.asynccontextmanager
    async def turn(
        self, key: str, wait: Callable[[Awaitable[None]], Awaitable[None]] | None = None
    ) -> AsyncIterator[None]:
        """Holds a place; `wait` may end the waiting for it with an error."""
        if self._inside and (key != self._key or self._waiting):
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((key, place))
            try:
                await (place if wait is None else wait(place))
            except BaseException:
                if place.done() and not place.cancelled():
                    self._leave()  # it was let in, and has gone
                else:
                    self._waiting = deque(one for one in self._waiting if one[1] is not place)
                    self._let_in()
                raise
        else:
            self._key = key
            self._inside += 1
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        self._inside -= 1
        self._let_in()

    def _let_in(self) -> None:
        """The next in the row, and those behind him with the same key."""
        while self._waiting and (not self._inside or self._waiting[0][0] == self._key):
            self._key, place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                self._inside += 1
