"""pip in an environment: what it says on its way, and what its failures mean."""

from __future__ import annotations

import re
import shutil
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from modelyard.catalog.auth import redact
from modelyard.engines.workspace import guarded, lines_of
from modelyard.errors import DiskFullError, DownloadError, EngineError, ModelyardError

_KEPT = 300  # lines of a command's output
_SHOWN = 8  # lines of them in a message
_TOO_LITTLE = 4_000_000  # bytes that a disk has free which is full; venv does not always say why it failed
_GLANCE = 0.3  # seconds between two looks at a file that is being downloaded

INDEX_HINT = (
    "pip's own settings say where packages come from: PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, "
    "PIP_PROXY, pip.conf. `pip config list` shows them."
)
ROOM_HINT = "Free some room, or set MODELYARD_DATA to a folder on a larger disk."

_DOWNLOADING = re.compile(r"\s*Downloading (?:\S*/)?([^/\s]+)(?: \(([\d.]+) (bytes|kB|MB|GB)\))?$")
_UNITS = {"bytes": 1, "kB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}
_FULL = re.compile(r"No space left on device|Errno 28\b|Errno 122\b|Disk quota exceeded")
_CLASHES = re.compile(r"ResolutionImpossible|Failed building|subprocess-exited-with-error")
_UNREACHED = re.compile(
    r"Retrying \(|Connection ?Error|ConnectTimeout|ReadTimeout|ProxyError|SSLError|Could not fetch URL"
    r"|HTTP error \d|\b40[137] (?:Client )?Error|\b5\d\d Server Error|IncompleteRead|ProtocolError"
)
_TELLING = re.compile(r"^\s*(ERROR|WARNING|error)\b|Error\b")


class InstallProgress(Protocol):
    """Told about an installation as it goes on, always in the thread that asked for it."""

    def stage(self, text: str) -> None:
        """What is being done from now on."""

    def download(self, file: str, done: int, total: int | None) -> None:
        """So many bytes of a file have arrived; `total` is roughly its size, where pip says it."""

    def note(self, text: str) -> None:
        """Something the user should know, such as waiting for another process."""


class Silent:
    """Progress that nobody watches."""

    def stage(self, text: str) -> None:
        """Does nothing."""

    def download(self, file: str, done: int, total: int | None) -> None:
        """Does nothing."""

    def note(self, text: str) -> None:
        """Does nothing."""


def run(
    line: Sequence[str], environ: Mapping[str, str], progress: InstallProgress, temporary: Path
) -> tuple[int, list[str]]:
    """Runs a command to its end; gives its exit status and the last lines of what it said.

    Args:
        line: the command.
        environ: its environment variables.
        progress: told what pip does, where it is pip.
        temporary: an empty folder for its temporary files; pip downloads into it.
    """
    said: deque[str] = deque(maxlen=_KEPT)
    ear = _Ear(progress, temporary)
    with guarded(line, {**environ, "TMPDIR": str(temporary)}) as child:
        for text in lines_of(child, _GLANCE):
            if text is None:
                ear.look()
            else:
                said.append(text)
                ear.hear(text)
        return child.wait(), list(said)


class _Ear:
    """Turns pip's words into progress.

    Only newer versions of pip can print bytes as they come, and none that Python 3.11 brings along. The size
    of the file that is being written says it for all of them.
    """

    def __init__(self, progress: InstallProgress, temporary: Path) -> None:
        self._progress, self._temporary = progress, temporary
        self._file: str | None = None
        self._total: int | None = None

    def hear(self, line: str) -> None:
        """A line of pip's."""
        if self._file is not None and self._total is not None:
            self._progress.download(self._file, self._total, self._total)
        self._file = None
        if line.startswith("Installing collected packages:"):
            count = line.count(",") + 1
            self._progress.stage(f"unpacking {count} package{'s' if count > 1 else ''}")
        elif (match := _DOWNLOADING.match(line)) and not match[1].endswith(".metadata"):
            self._file = match[1]
            self._total = int(float(match[2]) * _UNITS[match[3]]) if match[2] else None
            self._progress.download(self._file, 0, self._total)

    def look(self) -> None:
        """pip is silent: how far is the download?"""
        if self._file is None:
            return
        for file in self._temporary.glob(f"pip-unpack-*/{self._file}"):
            size = file.stat().st_size
            self._progress.download(self._file, min(size, self._total or size), self._total)


def failure(what: str, lines: Iterable[str], folder: Path) -> ModelyardError:
    """The error for a pip (or a venv) that has failed in a folder, out of what it said."""
    said = [line for line in lines if line.strip()]
    text = "\n".join(said)
    if _FULL.search(text) or shutil.disk_usage(folder).free < _TOO_LITTLE:
        return DiskFullError(f"the disk filled up while {what} in {folder}", hint=ROOM_HINT)
    words = last_words(said)
    if _UNREACHED.search(text) and not _CLASHES.search(text):
        return DownloadError(
            f"{what} failed: the package index gives no answer; pip said:\n{words}", hint=INDEX_HINT
        )
    if "No matching distribution found" in text:
        reason = "no index that pip asks has a fitting package"
        return EngineError(f"{what} failed: {reason}; pip said:\n{words}", hint=INDEX_HINT)
    hint = "On Debian and Ubuntu the package python3-venv is needed." if "ensurepip" in text else None
    return EngineError(f"{what} failed; it said:\n{words}", hint=hint)


def last_words(lines: Sequence[str]) -> str:
    """The lines that tell most of what went wrong, without secrets."""
    telling = [line for line in lines if _TELLING.search(line)] or list(lines)
    words = dict.fromkeys(line.strip()[:400] for line in telling[-_SHOWN:])
    return redact("\n".join(f"  {line}" for line in words)) or "  nothing"
