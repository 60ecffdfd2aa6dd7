"""Requests that are made again, where an error passes by itself (`modelyard.errors.TABLE` says which do)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

from modelyard.errors import ModelyardError, conduct

T = TypeVar("T")
_FIRST, _LONGEST = 0.5, 8.0  # seconds of the waits, each twice as long as the one before


async def retried(ask: Callable[[], Awaitable[T]], most: int) -> T:
    """What is asked for; made again up to `most` times.

    >>> async def one() -> int: return 1
    >>> asyncio.run(retried(one, 2))
    1
    """
    for attempt in range(most):
        try:
            return await ask()
        except ModelyardError as error:
            await _wait(error, attempt)
    return await ask()


async def stream_retried(ask: Callable[[], AsyncGenerator[T, None]], most: int) -> AsyncGenerator[T, None]:
    """The same for a stream, as long as nothing of it has been given."""
    for attempt in range(most + 1):
        begun = False
        try:
            async with contextlib.aclosing(ask()) as pieces:
                async for piece in pieces:
                    begun = True
                    yield piece
            return
        except ModelyardError as error:
            if begun or attempt == most:
                raise
            await _wait(error, attempt)


async def _wait(error: ModelyardError, attempt: int) -> None:
    """Waits for as long as the error says, or as is usual; raises one that does not pass."""
    if not conduct(error).retryable:
        raise error
    await asyncio.sleep(getattr(error, "retry_after", min(_FIRST * 2**attempt, _LONGEST)))
