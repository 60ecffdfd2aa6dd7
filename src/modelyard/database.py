"""Database: one SQLite file of ours, in WAL mode, its format checked, its errors told in our words."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from modelyard.errors import DiskFullError, InvalidArgumentError, ModelyardError


class Database:
    """One SQLite file; readers and a writer do not wait for each other.

    Args:
        path: of the file; it is made where it is not there.
        tables: the statements that make its tables, each ended by a semicolon.
        format: the version of these tables.

    Raises:
        InvalidArgumentError: it is no such file, cannot be written, or was made by a newer modelyard.
    """

    def __init__(self, path: Path, tables: str, format: int) -> None:  # noqa: A002  (the word for it)
        self.path = path
        with self.said():
            path.parent.mkdir(parents=True, exist_ok=True)
            self.base = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self.base.execute("PRAGMA journal_mode=WAL")
            self.base.execute("PRAGMA synchronous=NORMAL")
            self.base.execute("PRAGMA foreign_keys=ON")
            self._prepare(tables, format)

    def _prepare(self, statements: str, newest: int) -> None:
        with self.transaction():
            (version,) = self.base.execute("PRAGMA user_version").fetchone()
            tables = self.base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if version == 0 and tables == 0:
                for statement in filter(str.strip, statements.split(";")):
                    self.base.execute(statement)
                self.base.execute(f"PRAGMA user_version={newest}")
            elif version > newest:
                raise InvalidArgumentError(
                    f"{self.path} was made by a newer modelyard (its format is {version}, this one knows {newest})",
                    hint="Upgrade with `pip install -U modelyard`, or name another file with --store.",
                )
            elif version < 1:
                raise InvalidArgumentError(
                    f"{self.path} is an SQLite file of something else", hint="Name another file with --store."
                )

    def close(self) -> None:
        """Closes the file."""
        self.base.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing."""
        self.base.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # a full disk has rolled it back already
                self.base.execute("ROLLBACK")
            raise
        self.base.execute("COMMIT")

    @contextlib.contextmanager
    def said(self) -> Iterator[None]:
        """Turns SQLite's errors into ours."""
        try:
            yield
        except ModelyardError:
            raise
        except (sqlite3.Error, OSError) as error:
            raise _error(self.path, error) from error


def _error(path: Path, error: Exception) -> ModelyardError:
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_FULL or getattr(error, "errno", None) == 28:
        return DiskFullError(
            f"the disk is full: {path} cannot grow",
            hint="Free some room, or name a file elsewhere with --store. What was answered is kept: run it again.",
        )
    if code is not None and code & 0xFF == sqlite3.SQLITE_BUSY:
        return InvalidArgumentError(
            f"{path} is held by another process", hint="Wait for it, or name another file with --store."
        )
    if code is not None and code & 0xFF == sqlite3.SQLITE_NOTADB:
        return InvalidArgumentError(f"{path} is no SQLite file", hint="Name another file with --store.")
    return InvalidArgumentError(
        f"{path} cannot be used: {getattr(error, 'strerror', None) or error}",
        hint="Name another file with --store.",
    )
