"""Locate: which files are meant by paths, folders and patterns, and which of them cannot be read.

located = locate(["reports/**/*.pdf", "release.html"])
located.files, located.left_out
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelyard.errors import DocumentError
from modelyard.extraction.documents import READABLE, SUFFIXES


@dataclass(frozen=True, slots=True)
class Located:
    """What was found.

    Attributes:
        files: the files to read, those of one argument sorted, none twice.
        left_out: what stands beside them in a folder, or fits a pattern, and cannot be read: files of other
            types and folders that may not be opened; sorted.
    """

    files: tuple[Path, ...]
    left_out: tuple[Path, ...] = ()

    @property
    def warning(self) -> str:
        """One sentence about what was left out, empty where nothing was."""
        if not self.left_out:
            return ""
        named = ", ".join(str(path) for path in self.left_out[:5])
        more = f" and {len(self.left_out) - 5} more" if len(self.left_out) > 5 else ""
        return f"left out, as their type cannot be read: {named}{more}"


def locate(paths: Iterable[Path | str]) -> Located:
    """The documents that are meant by files, folders and patterns.

    A file that is named is taken whatever its type, so that reading it says what is wrong with it. Folders
    are searched to the bottom; hidden files and the lock files of word processors are left out.

    Args:
        paths: files, folders, and patterns such as `reports/**/*.pdf` (`**` is any depth). A path that
            exists is never taken for a pattern.

    Raises:
        DocumentError: a path that is not there, a pattern that nothing fits, or a folder or pattern with
            nothing readable; the message names it.
    """
    files: dict[Path, Path] = {}
    left: dict[Path, Path] = {}
    for given in paths:
        for path in _meant(Path(given), left):
            files.setdefault(_same(path), path)
    missed = [path for real, path in left.items() if real not in files]
    return Located(tuple(files.values()), tuple(sorted(missed)))


def locate_documents(paths: Sequence[Path | str]) -> list[Path]:
    """The files of `locate` alone.

    Raises:
        DocumentError: as `locate` does.
    """
    return list(locate(paths).files)


def _meant(path: Path, left: dict[Path, Path]) -> list[Path]:
    if path.is_dir():
        inside = list(_walk(path, left))
    elif path.exists() or path.is_symlink():
        return [path]
    elif glob.has_magic(str(path)):
        inside = _fitting(path, left)
    else:
        raise DocumentError(f"there is no file {path}", hint="Check the path and the folder it starts from.")
    readable = [one for one in inside if _readable(one)]
    left.update((_same(one), one) for one in inside if not _readable(one))
    if not readable:
        what = f"{path} holds no document" if path.is_dir() else f"nothing readable fits the pattern {path}"
        raise DocumentError(f"{what} ({len(inside)} files of other types)", hint=READABLE)
    return sorted(readable)


def _fitting(pattern: Path, left: dict[Path, Path]) -> list[Path]:
    found = [Path(one) for one in glob.glob(str(pattern), recursive=True)]  # noqa: PTH207 - absolute patterns
    if not found:
        hint = "Put it in quotes, as in 'reports/**/*.pdf', and check the folder that it starts from."
        raise DocumentError(f"no file fits the pattern {pattern}", hint=hint)
    # With ** what is in a folder fits for itself, or was not meant.
    folders = [] if "**" in pattern.parts else [one for one in found if one.is_dir()]
    inside = [one for folder in folders for one in _walk(folder, left)]
    return [one for one in {*found, *inside} if not one.is_dir()]


def _walk(folder: Path, left: dict[Path, Path]) -> Iterator[Path]:
    def closed(error: OSError) -> None:
        path = Path(error.filename or folder)
        left[_same(path)] = path

    for root, _, names in os.walk(folder, onerror=closed):
        yield from (Path(root, name) for name in names)


def _readable(path: Path) -> bool:
    hidden = path.name.startswith((".", "~$"))
    return not hidden and path.suffix.lower() in SUFFIXES and path.is_file()


def _same(path: Path) -> Path:
    """One name for a file that is reached in several ways."""
    return Path(os.path.realpath(path))
