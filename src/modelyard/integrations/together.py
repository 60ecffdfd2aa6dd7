"""Many requests of a synchronous caller, some of them at a time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from modelyard import portal

T = TypeVar("T")


def together(jobs: Sequence[Callable[[], Coroutine[Any, Any, T]]], most: int) -> Iterator[tuple[int, T]]:
    """Results as they come, each with the place of its job; the first error ends the others and is raised.

    >>> async def square(x): return x * x
    >>> sorted(together([lambda: square(2), lambda: square(3)], most=2))
    [(0, 4), (1, 9)]

    Args:
        jobs: what makes each coroutine, called when its turn has come.
        most: how many run at a time.
    """
    return portal.iterate(_run(jobs, most))


async def _run(
    jobs: Sequence[Callable[[], Coroutine[Any, Any, T]]], most: int
) -> AsyncGenerator[tuple[int, T], None]:
    waiting = iter(enumerate(jobs))
    running: dict[asyncio.Task[T], int] = {}

    def fill() -> None:
        for at, job in itertools.islice(waiting, most - len(running)):
            running[asyncio.create_task(job())] = at

    try:
        fill()
        while running:
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            ended = [(running.pop(task), task.result()) for task in done]
            fill()
            for one in ended:
                yield one
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
