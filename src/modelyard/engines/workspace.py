"""Temporary folders for conversions, removed also when the process is told to stop in the middle."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_OPEN: set[Path] = set()


@contextlib.contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A new folder inside `parent` (so that it can be renamed into place), gone afterwards."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=".making-"))
    _OPEN.add(folder)
    try:
        yield folder
    finally:
        _remove(folder)


def clean_up() -> None:
    """Removes what is still open; for a process that is about to end without unwinding its threads."""
    for folder in tuple(_OPEN):
        _remove(folder)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _OPEN.discard(folder)
