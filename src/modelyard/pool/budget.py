"""Budget: how much memory models may take, and giving it back to the system.

The budget is what `Pool(memory_budget=…)` says, else `MODELYARD_MEMORY`, else four fifths of the memory that
is available when the first model is loaded.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from modelyard.errors import InvalidArgumentError

SHARE = 0.8
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_CGROUP = Path("/sys/fs/cgroup")
_ARENA_MAX = -8  # mallopt's M_ARENA_MAX


def read_bytes(value: object, where: str) -> int:
    """A number of bytes: a whole number, or a text such as `16GB`, `1.5 GiB` or `800M`.

    >>> read_bytes("1.5GB", "MODELYARD_MEMORY"), read_bytes("2GiB", "MODELYARD_MEMORY")
    (1500000000, 2147483648)

    Raises:
        InvalidArgumentError: it is neither; names `where`.
    """
    found: float = -1
    if isinstance(value, int) and not isinstance(value, bool):
        found = value
    elif isinstance(value, str) and (
        match := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", value, re.IGNORECASE)
    ):
        number, unit, binary = match.groups()
        found = float(number) * (1024 if binary else 1000) ** _UNITS[unit.lower()]
    if not 0 <= found < 2**60:
        raise InvalidArgumentError(
            f"{where} has value {value!r:.80}", hint="It is bytes, or a text such as '16GB' or '800MB'."
        )
    return int(found)


def default_budget() -> int:
    """What `MODELYARD_MEMORY` says, else a share of the memory that is available now."""
    given = os.environ.get("MODELYARD_MEMORY")
    return read_bytes(given, "MODELYARD_MEMORY") if given else int(SHARE * available_bytes())


def available_bytes() -> int:
    """Memory that this process could take now without the system swapping, or ending it."""
    return min((free for free in (_of_machine(), *_of_container()) if free > 0), default=0)


def give_back() -> None:
    """Hands freed memory back to the system, as far as its allocator lets it."""
    gc.collect()
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


@functools.cache
def share_arenas() -> None:
    """Has threads share a few of glibc's heaps, unless the user has set their number.

    By default there are eight for each core, and one whose threads have ended keeps up to 64 MB at its end,
    which no `malloc_trim` gives back. Three models loaded and unloaded left up to 100 MB more behind each
    time on two cores; with two heaps nothing.
    """
    chosen = "MALLOC_ARENA_MAX" in os.environ or "arena_max" in os.environ.get("GLIBC_TUNABLES", "")
    if not chosen and (libc := _glibc()) is not None:
        libc.mallopt(_ARENA_MAX, max(2, (os.cpu_count() or 1) // 2))


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None


def _of_machine() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        # Not Linux: half of what there is stands for what is free.
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _of_container() -> Iterator[int]:
    for limit, usage in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            yield int((_CGROUP / limit).read_text()) - int((_CGROUP / usage).read_text())
        except (OSError, ValueError):  # no such file, or 'max'
            continue
