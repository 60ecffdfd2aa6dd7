"""Conversions: their temporary folders and child processes, gone also when this process is told to stop."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

_OPEN: set[Path] = set()
_CHILDREN: set[subprocess.Popen[str]] = set()

# A child whose parent is killed would go on writing into a folder that the next process has taken over.
_DIE_WITH_PARENT = """
import os, sys
parent = int(sys.argv.pop(1))
if sys.platform == "linux":
    import ctypes, signal
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        sys.exit("the process that wanted this has gone")  # before it could be asked for above
"""


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


def run_apart(code: str, *args: str) -> tuple[int, str]:
    """Runs Python code in a process of its own; gives its exit status and what it wrote to stderr."""
    child = subprocess.Popen(  # noqa: S603 (this Python, and code of ours)
        [sys.executable, "-P", "-c", _DIE_WITH_PARENT + code, str(os.getpid()), *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    _CHILDREN.add(child)
    try:
        said = child.communicate()[1]
    finally:
        _CHILDREN.discard(child)
    return child.returncode, said


def clean_up() -> None:
    """Removes what is still open; for a process that is about to end without unwinding its threads."""
    for child in tuple(_CHILDREN):
        child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(1)
    for folder in tuple(_OPEN):
        _remove(folder)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _OPEN.discard(folder)
