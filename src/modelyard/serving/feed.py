"""Feed: how far a model's load has come, for whoever looks."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

_NOTES = 20


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """A moment of a load.

    Attributes:
        label: what is being fetched or made.
        done, total: bytes of it; total None where it is not known.
        notes: what the user should know.
    """

    label: str = ""
    done: int = 0
    total: int | None = None
    notes: tuple[str, ...] = ()


class Feed:
    """A `Progress` that keeps its latest moment; told from the threads that load, read from the event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = LoadProgress()

    @property
    def now(self) -> LoadProgress:
        """The latest moment."""
        return self._now

    def clear(self) -> None:
        """A load begins."""
        self._change(label="", done=0, total=None, notes=())

    def start(self, label: str, total: int | None) -> None:
        self._change(label=label, done=0, total=total)

    def advance(self, count: int) -> None:
        with self._lock:
            self._now = replace(self._now, done=self._now.done + count)

    def note(self, text: str) -> None:
        with self._lock:
            self._now = replace(self._now, notes=(*self._now.notes, text)[-_NOTES:])

    def done(self) -> None:
        self._change(label="", done=0, total=None)

    def _change(self, **values: object) -> None:
        with self._lock:
            self._now = replace(self._now, **values)  # type: ignore[arg-type]  # the names are the fields'
