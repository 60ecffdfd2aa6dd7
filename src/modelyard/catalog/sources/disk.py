"""Disk room: asked for beforehand, and its lack named when it comes anyway."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelyard.errors import DiskFullError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def check_room(folder: Path, needed: int, what: str) -> None:
    """Raises DiskFullError where the folder's disk has fewer free bytes than needed."""
    existing = next(one for one in (folder, *folder.parents) if one.exists())
    available = shutil.disk_usage(existing).free
    if available < needed:
        raise DiskFullError(f"{what} needs {needed:,} bytes in {folder}; {available:,} are available")


@contextmanager
def naming_full_disk(folder: Path, what: str) -> Iterator[None]:
    """Turns "no space left" of anything inside into a DiskFullError that says how much is left."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        available = shutil.disk_usage(folder).free
        raise DiskFullError(
            f"the disk filled up while writing {what} in {folder}; {available:,} bytes are available"
        ) from None
