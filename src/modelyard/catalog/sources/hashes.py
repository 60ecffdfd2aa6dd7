"""Hashes of files: read once, then remembered by path, size and time of change."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from modelyard.errors import IntegrityError
from modelyard.paths import cache_dir


def file_sha256(path: Path) -> str:
    """The file's sha256; the file is read again only when its size or time of change differs."""
    real = path.resolve()
    state = real.stat()
    stamp = [state.st_size, state.st_mtime_ns]
    note = cache_dir() / "hashes" / f"{hashlib.sha256(os.fsencode(real)).hexdigest()}.json"
    known = read_json(note)
    if known.get("stamp") == stamp and isinstance(known.get("sha256"), str):
        return str(known["sha256"])
    with real.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    # The memory is a convenience: on a full or read-only disk the hash is simply read again next time.
    try:
        write_json(note, {"stamp": stamp, "sha256": digest})
    except OSError:
        note.with_suffix(".new").unlink(missing_ok=True)
    return digest


def check_sha256(path: Path, expected: str, what: str) -> None:
    """Raises IntegrityError, naming both hashes, where the file has another than expected."""
    found = file_sha256(path)
    if found != expected:
        raise IntegrityError(
            f"{what} has sha256 {found}; expected {expected}",
            hint="The bad file is removed; the same hash on the next try means that the source changed.",
        )


def write_json(path: Path, value: Any) -> None:
    """Writes a small JSON file so that a reader sees the old one or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(value), encoding="utf-8")
    fresh.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """A small JSON object, empty where it is missing or broken."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
