"""Scout: one worker that only loads the model, and tells what a command has to know before the work begins."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from modelyard import portal
from modelyard.scale.cluster import Share
from modelyard.scale.flow import ours

_T = TypeVar("_T")


async def ask_scout(ray: Any, share: Share, what: Callable[[], Awaitable[_T]]) -> _T:
    """What a coroutine comes to in a process with a worker's share of the cluster.

    Raises:
        ModelyardError: as it was raised there.
    """
    from ray.exceptions import RayError

    def there() -> _T:
        return portal.run(what())  # type: ignore[arg-type]

    try:
        return await asyncio.wrap_future(
            ray.remote(max_calls=1)(there).options(**share.remote(), max_retries=2).remote().future()
        )
    except RayError as error:
        raise ours(error) from error
