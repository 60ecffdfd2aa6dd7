"""Output: files that the user has named, checked before the work and written whole after it."""

from __future__ import annotations

import os
from pathlib import Path

from modelyard.errors import InvalidArgumentError


def check_writable(path: Path) -> None:
    """Refuses a path where no file can be written, before models spend time on what goes there.

    Raises:
        InvalidArgumentError: the path is a folder, or its own folder is missing or read-only.
    """
    folder = path.absolute().parent
    if path.is_dir():
        raise _unwritable(path, "it is a folder")
    if not folder.is_dir():
        raise _unwritable(path, f"there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise _unwritable(path, f"{folder} is read-only")


def write_page(path: Path, page: str) -> None:
    """Writes a page whole or not at all.

    Raises:
        InvalidArgumentError: the path cannot be written.
    """
    # A lone surrogate of a broken document has no UTF-8; as a reference it is shown as what it is.
    write_whole(path, page.encode("utf-8", "xmlcharrefreplace"))


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all.

    Raises:
        InvalidArgumentError: the path cannot be written.
    """
    check_writable(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(data)
        unfinished.replace(path)
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from error
    finally:
        unfinished.unlink(missing_ok=True)


def _unwritable(path: Path, why: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"{path} cannot be written: {why}", hint="Give another path with --out.")
