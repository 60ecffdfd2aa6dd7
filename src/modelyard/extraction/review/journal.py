"""Journal: the corrections file while it is written: each decision is on the disk before it is confirmed."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

from modelyard.errors import InvalidArgumentError
from modelyard.extraction.review.corrections import Correction, Corrections, read_corrections
from modelyard.extraction.review.sheet import FieldKey

_HINT = "Give another path with --corrections."


class Journal:
    """Appends decisions to a file.

    Args:
        path: of the file; made with the first decision.

    Raises:
        InvalidArgumentError: the file has a mistake, or its folder is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.absolute().parent.is_dir():
            said = f"{path} cannot be written: there is no folder {path.absolute().parent}"
            raise InvalidArgumentError(said, hint=_HINT)
        if path.is_dir():
            raise InvalidArgumentError(f"{path} cannot be written: it is a folder", hint=_HINT)
        found = read_corrections(path)
        self.torn = found.torn
        """The unfinished last line that was there; the first decision takes its place."""
        self._rows = list(found.rows)
        self._lock = threading.Lock()
        self._begun = False

    @property
    def decisions(self) -> dict[FieldKey, Correction]:
        """The last word on each field."""
        with self._lock:
            return Corrections(tuple(self._rows)).decisions

    def append(self, decision: Correction) -> None:
        """Writes a decision, whole or not at all, and waits until the disk has it.

        Raises:
            InvalidArgumentError: the file cannot be written.
        """
        with self._lock:
            try:
                self._write(decision.to_line().encode())
            except OSError as error:
                said = f"{self.path} cannot be written: {error.strerror or error}"
                raise InvalidArgumentError(said, hint=_HINT) from None
            self._rows.append(decision)

    def close(self) -> dict[FieldKey, Correction]:
        """Waits for a decision that is being written; none is taken any more. Returns what holds in the end."""
        self._lock.acquire()
        return Corrections(tuple(self._rows)).decisions

    def _write(self, line: bytes) -> None:
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            if not self._begun:
                _mend(file, self.torn)
                self._begun = True
            before = os.fstat(file).st_size
            try:
                if os.write(file, line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file)
            except OSError:
                os.ftruncate(file, before)
                raise
        finally:
            os.close(file)


def _mend(file: int, torn: str | None) -> None:
    """Lets the file end with a whole line: a torn one goes, one without a newline gets it."""
    size = os.fstat(file).st_size
    if torn is not None:
        os.ftruncate(file, size - len(torn.encode()))
    elif size and os.pread(file, 1, size - 1) != b"\n":
        os.write(file, b"\n")
