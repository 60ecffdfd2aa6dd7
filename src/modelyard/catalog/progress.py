"""Progress: what a download tells whoever watches it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told about downloads as they go on; the command line draws bars from it."""

    def start(self, label: str, total: int | None) -> None:
        """A piece of work begins; `total` is its bytes where they are known."""

    def advance(self, count: int) -> None:
        """So many more bytes have arrived; negative where a download had to start again."""

    def note(self, text: str) -> None:
        """Something the user should know: waiting for another process, going to the next source."""

    def done(self) -> None:
        """The piece of work is over."""


class Silent:
    """Progress that nobody watches."""

    def start(self, label: str, total: int | None) -> None:
        """Does nothing."""

    def advance(self, count: int) -> None:
        """Does nothing."""

    def note(self, text: str) -> None:
        """Does nothing."""

    def done(self) -> None:
        """Does nothing."""
