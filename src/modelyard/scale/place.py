"""Place: a worker's own process, where models load in a process of their own beside it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from modelyard.engines.base import Capabilities
from modelyard.llm import LLM
from modelyard.pool import Pool, default_pool
from modelyard.types import Fingerprint


@dataclass(frozen=True, slots=True)
class Place:
    """How models are had where a worker runs: as in the command's own pool.

    Attributes:
        offline: use only what is on that machine.
        token: a Hub token that was given to the command's pool; else each machine has its own.
    """

    offline: bool = False
    token: str | None = field(default=None, repr=False)

    @classmethod
    def like(cls, pool: Pool) -> Place:
        """That of a pool here."""
        return cls(pool.offline, pool.token)

    def take(self) -> None:
        """Prepares the pool of this process: an engine that dies must not take the worker, and what it holds, with it."""
        pool = default_pool()
        pool.worker, pool.offline, pool.token = True, self.offline, self.token


@dataclass(frozen=True, slots=True)
class Tried:
    """What a model says of itself where a worker will run, and how long it took to load."""

    fingerprint: Fingerprint
    capabilities: Capabilities
    seconds: float


async def tried(llm: LLM, place: Place) -> Tried:
    """Fetches and loads a model once, in a worker's place; what is wrong with it is said here, once.

    Raises:
        ModelyardError: it cannot be loaded.
    """
    place.take()
    if llm.spec.sources and not llm.spec.elsewhere:
        await asyncio.to_thread(llm.pull)  # a download is no part of the time to load
    began = time.monotonic()
    capabilities = await llm.load_async()
    seconds = time.monotonic() - began
    found = Tried(await llm.fingerprint_async(), capabilities, seconds)
    await asyncio.to_thread(llm.close)
    return found
