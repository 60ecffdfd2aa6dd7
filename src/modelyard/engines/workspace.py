"""Temporary folders for conversions, removed also when the process is told to stop in the middle."""

from __future__ import annotations

import contextlib
import glob
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_OPEN: set[Path] = set()


@contextlib.contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """A new folder inside `parent` (so that it can be renamed into place), gone afterwards.

    What a killed process has left of the same name is removed first: the caller holds the name's lock.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f".making-{glob.escape(name)}-*"):
        _remove(left)
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=f".making-{name}-"))
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
