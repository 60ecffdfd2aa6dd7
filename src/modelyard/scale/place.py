"""Place: a worker's own process, where models load in a process of their own beside it."""

from __future__ import annotations

from modelyard.pool import default_pool


def at_home(offline: bool) -> None:
    """Prepares the pool of a worker: an engine that dies must not take the worker, and what it holds, with it."""
    pool = default_pool()
    pool.worker, pool.offline = True, offline
