"""Where modelyard keeps things: `MODELYARD_CACHE` and `MODELYARD_DATA`, else the platform's folders."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Downloads and converted models. Safe to delete."""
    return _folder("MODELYARD_CACHE", "user_cache_path")


def data_dir() -> Path:
    """What the user would miss: run stores, engines' environments."""
    return _folder("MODELYARD_DATA", "user_data_path")


def _folder(variable: str, default: str) -> Path:
    given = os.environ.get(variable)
    if given:
        return Path(given).expanduser().absolute()
    import platformdirs

    path: Path = getattr(platformdirs, default)("modelyard", appauthor=False)
    return path


def write_atomically(file: Path, text: str) -> None:
    """Writes a small file whole: a reader sees the old one or the new one, also when this process is killed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(file)
