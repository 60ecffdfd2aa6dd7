"""Place: a worker's own process, where models load in a process of their own beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

from modelyard.pool import Pool, default_pool


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
