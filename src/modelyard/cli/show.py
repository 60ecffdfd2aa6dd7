"""What the commands print: tables and progress for people, JSON for machines.

Answers go to stdout; progress, warnings and errors go to stderr, and bars only to a terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from modelyard.types import Warning


def stderr() -> Console:
    """The console for everything that is not the answer."""
    from rich.console import Console

    return Console(stderr=True)


def print_json(data: Any) -> None:
    """One JSON document on stdout."""
    json.dump(data, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """A table on stdout; a column whose name begins with `>` is aligned to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, title=Text(title) if title else None, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(
            column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # a quote may hold what rich would read as markup
    # Piped output is for grep: no column is cut to the width of a terminal that is not there.
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def print_warnings(warnings: Iterable[Warning]) -> None:
    """Each warning once, on stderr."""
    for message in dict.fromkeys(warning.message for warning in warnings):
        sys.stderr.write(f"warning: {message}\n")


class Bars:
    """Progress of downloads as bars on stderr; plain lines for the notes where it is no terminal."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._task: TaskID | None = None

    def start(self, label: str, total: int | None) -> None:
        if not sys.stderr.isatty():
            return
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        if self._bars is None:
            self._bars = Progress(
                TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
                TimeRemainingColumn(), console=stderr(), transient=True,
            )  # fmt: skip
            self._bars.start()
        self._task = self._bars.add_task(label, total=total)

    def advance(self, count: int) -> None:
        if self._bars is not None and self._task is not None:
            self._bars.advance(self._task, count)

    def note(self, text: str) -> None:
        if self._bars is not None:
            self._bars.console.print(text, highlight=False)
        else:
            sys.stderr.write(text + "\n")

    def done(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = self._task = None


class Counter:
    """A bar over a known number of items, with rate and time left; silent where stderr is no terminal."""

    def __init__(self, label: str, total: int, *, done: int = 0) -> None:
        self._label, self._total, self._done = label, total, done
        self._bars: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Counter:
        if sys.stderr.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bars = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), console=stderr(), transient=True,
            )  # fmt: skip
            self._bars.start()
            total = self._total or None  # without a number of items the bar only moves
            self._task = self._bars.add_task(self._label, total=total, completed=self._done, rate="")
        return self

    def step(self) -> None:
        if self._bars is not None and self._task is not None:
            self._bars.advance(self._task)
            speed = self._bars.tasks[0].speed
            self._bars.update(self._task, rate=f"{speed:.2g}/s" if speed else "")

    def __exit__(self, *exc: object) -> None:
        if self._bars is not None:
            self._bars.stop()


class Waiting:
    """A spinner on stderr while a model loads; silent where stderr is no terminal."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._status: Any = None

    def __enter__(self) -> Waiting:
        if sys.stderr.isatty():
            self._status = stderr().status(self._text)
            self._status.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


def size(count: int | None) -> str:
    """Bytes for people.

    >>> size(98_362_432)
    '98.4 MB'
    """
    if count is None:
        return "–"
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
