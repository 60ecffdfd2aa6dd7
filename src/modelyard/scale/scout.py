"""Scout: one worker that only loads the model, and tells what a command has to know before the work begins."""

from __future__ import annotations

import asyncio
from typing import Any

from modelyard import portal
from modelyard.bench.seat import Here, Seated
from modelyard.llm import LLM
from modelyard.scale.cluster import Share
from modelyard.scale.flow import ours
from modelyard.scale.place import Place


async def ask_scout(ray: Any, share: Share, llm: LLM, place: Place) -> Seated:
    """What a model says of itself in a process with a worker's share of the cluster.

    Raises:
        ModelyardError: as it was raised there.
    """
    from ray.exceptions import RayError

    async def tried() -> Seated:
        place.take()
        seat = Here(llm)
        found = await seat.load()
        await seat.close()
        return found

    def there() -> Seated:
        return portal.run(tried())

    try:
        return await asyncio.wrap_future(
            ray.remote(max_calls=1)(there).options(**share.remote(), max_retries=2).remote().future()
        )
    except RayError as error:
        raise ours(error) from error
