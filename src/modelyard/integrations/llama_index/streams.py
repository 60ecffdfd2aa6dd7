"""Streams that LlamaIndex is told of, and that end when their reader leaves.

LlamaIndex's callbacks wrap a stream and leave its closing to the garbage collector. A request that nobody reads
any more would hold its place in the batch until then.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, TypeVar

T = TypeVar("T")


def told(
    callback: Callable[..., Any], llm: Any, given: Any, how: dict[str, Any], source: Generator[T, None, None]
) -> Generator[T, None, None]:
    """The source, its beginning, pieces and end reported by one of LlamaIndex's callbacks."""

    def begin(_llm: Any, _given: Any, **_how: Any) -> Generator[T, None, None]:
        return source

    return _closing(callback()(begin)(llm, given, **how), source)


async def atold(
    callback: Callable[..., Any], llm: Any, given: Any, how: dict[str, Any], source: AsyncGenerator[T, None]
) -> AsyncGenerator[T, None]:
    """The same for an asynchronous one."""

    async def begin(_llm: Any, _given: Any, **_how: Any) -> AsyncGenerator[T, None]:
        return source

    return _aclosing(await callback()(begin)(llm, given, **how), source)


def _closing(outer: Generator[T, None, None], source: Generator[T, None, None]) -> Generator[T, None, None]:
    try:
        yield from outer
    finally:
        source.close()


async def _aclosing(
    outer: AsyncGenerator[T, None], source: AsyncGenerator[T, None]
) -> AsyncGenerator[T, None]:
    try:
        async for one in outer:
            yield one
    finally:
        await outer.aclose()
        await source.aclose()
