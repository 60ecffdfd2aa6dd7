"""Admission: who may run on a model now, who waits, and who is told to come back.

A place is held by a request that runs. Requests beyond the places wait, and a place that becomes free goes
to the client that holds the fewest, so that one who sends a thousand does not keep another from his first.
When the queue is full too, the newcomer is refused; but where another client fills more of the queue than he
does, that client's latest request makes room (longest queue drop, as routers do it for flows).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import Counter, deque
from collections.abc import AsyncIterator

from modelyard.errors import DeadlineExceededError, ModelyardError, QueueFullError

_SEEN = 32  # ended requests, from which the time between two is taken


class Admission:
    """The places and the queue of one model.

    Args:
        title: the model, for messages.
        running: places.
        queue: requests that may wait.
    """

    def __init__(self, title: str, running: int, queue: int) -> None:
        self._title = title
        self.places = running
        self._queue = queue
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._ends: deque[float] = deque(maxlen=_SEEN)

    @property
    def running(self) -> int:
        """Requests that hold a place."""
        return self._running.total()

    @property
    def waiting(self) -> int:
        """Requests that wait for one."""
        return sum(map(len, self._waiting.values()))

    @contextlib.asynccontextmanager
    async def place(self, client: str, deadline: float | None = None) -> AsyncIterator[None]:
        """A place for as long as the context lasts; `deadline` is on `time.monotonic()`'s clock.

        Raises:
            QueueFullError: too many wait already.
            DeadlineExceededError: it passed while the request waited.
        """
        if self.running < self.places and not self._waiting:
            self._running[client] += 1
        else:
            await self._wait(client, deadline)
        try:
            yield
        finally:
            self._give_back(client)

    def widen(self, places: int) -> None:
        """Changes the number of places: what a model can run at a time is known once it is loaded."""
        self.places = places
        self._hand_out()

    def refuse_waiting(self, error: ModelyardError) -> None:
        """Tells all who wait that they wait in vain."""
        for waiting in self._waiting.values():
            for one in waiting:
                if not one.done():
                    one.set_exception(error)
        self._waiting.clear()

    async def _wait(self, client: str, deadline: float | None) -> None:
        if self.waiting >= self._queue:
            self._make_room(client)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        try:
            async with asyncio.timeout(None if deadline is None else deadline - time.monotonic()):
                await turn
        except TimeoutError:
            self._leave(client, turn)
            raise DeadlineExceededError(
                f"the deadline passed while the request waited for {self._title}"
            ) from None
        except BaseException:
            self._leave(client, turn)
            raise

    def _leave(self, client: str, turn: asyncio.Future[None]) -> None:
        """A waiting request goes; where it had been given a place in this very moment, that is passed on."""
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            self._give_back(client)
            return
        waiting = self._waiting.get(client)
        if waiting is not None and turn in waiting:
            waiting.remove(turn)
            if not waiting:
                del self._waiting[client]

    def _give_back(self, client: str) -> None:
        self._running[client] -= 1
        if not self._running[client]:
            del self._running[client]
        self._ends.append(time.monotonic())
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and self.running < self.places:
            client = min(self._waiting, key=lambda one: self._running[one])  # the first of them in a tie
            turns = self._waiting.pop(client)
            turn = turns.popleft()
            if turns:
                self._waiting[client] = turns  # behind the others now
            if not turn.done():
                self._running[client] += 1
                turn.set_result(None)

    def _make_room(self, client: str) -> None:
        mine = len(self._waiting.get(client, ()))
        greediest = max(self._waiting, key=lambda one: len(self._waiting[one]), default=client)
        if greediest == client or len(self._waiting[greediest]) <= mine + 1:
            raise self._full()
        turns = self._waiting[greediest]
        last = turns.pop()
        if not turns:
            del self._waiting[greediest]
        if not last.done():
            last.set_exception(self._full())

    def _full(self) -> QueueFullError:
        return QueueFullError(
            f"{self._title} is busy: {self.running} requests run and {self.waiting} wait",
            retry_after=self._soon(),
        )

    def _soon(self) -> float:
        """Seconds until about half of those who wait have had their turn, from how fast requests ended lately."""
        if len(self._ends) < 2:
            return 1.0
        gap = (time.monotonic() - self._ends[0]) / len(self._ends)
        return float(min(60, max(1, math.ceil(gap * (self.waiting + 1) / 2))))
