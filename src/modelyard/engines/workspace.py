"""Conversions: their temporary folders and child processes, gone also when this process is told to stop."""

from __future__ import annotations

import contextlib
import glob
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
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

# The pipe to a guard ends with the process that holds its other end, however that ends: then the guard ends
# the command with all that it has started. The group is the guard's own.
_GUARD = """
import os, signal, subprocess, sys, threading
def watch():
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
sys.exit(subprocess.call(sys.argv[1:], stdin=subprocess.DEVNULL) & 255)
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


@contextlib.contextmanager
def built_in_place(folder: Path) -> Iterator[None]:
    """A new folder at the place where it will stay, gone again unless the block ends well.

    What stands there is removed first: the caller holds the name's lock, and wants none of it.
    """
    _remove(folder)
    folder.mkdir(parents=True)
    _OPEN.add(folder)
    try:
        yield
    except BaseException:
        _remove(folder)
        raise
    finally:
        _OPEN.discard(folder)


@contextlib.contextmanager
def guarded(line: Sequence[str], environ: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Runs a command; it ends with the block or with this process, and all that it has started with it.

    What it writes, to stdout or to stderr, is read from the process's `stdout`.
    """
    child = subprocess.Popen(  # noqa: S603 (a command of ours)
        [sys.executable, "-I", "-c", _GUARD, *line],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env=dict(environ),
        process_group=0,  # Ctrl-C in the terminal is ours to handle
    )
    _CHILDREN.add(child)
    try:
        yield child
    finally:
        _kill(child)
        child.wait()
        _CHILDREN.discard(child)
        for pipe in (child.stdin, child.stdout):
            assert pipe is not None
            pipe.close()


def lines_of(child: subprocess.Popen[str], glance: float) -> Iterator[str | None]:
    """What a child says, line by line as it comes; None after each `glance` seconds of silence."""
    assert child.stdout is not None
    pipe = child.stdout
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        with contextlib.suppress(ValueError):  # closed, since nobody waits any more
            for text in pipe:
                lines.put(text.rstrip())
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            text = lines.get(timeout=glance)
        except queue.Empty:
            yield None
            continue
        if text is None:
            return
        yield text


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
        _kill(child)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(1)
    for folder in tuple(_OPEN):
        _remove(folder)


def _kill(child: subprocess.Popen[str]) -> None:
    """Ends a child, and where it leads a group, the group."""
    if child.poll() is not None:
        return
    with contextlib.suppress(OSError):
        if os.getpgid(child.pid) == child.pid:
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _OPEN.discard(folder)
