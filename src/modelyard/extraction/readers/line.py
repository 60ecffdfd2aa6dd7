"""Lines: the derived text of a document as it grows, each line with the element that it is from."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple


class Line(NamedTuple):
    """One line of the derived text, and the element that it is from."""

    text: str
    where: str


class Places:
    """Counts elements as a reader of the document would.

    >>> places = Places()
    >>> [places.next(kind) for kind in ("paragraph", "table", "paragraph")]
    ['paragraph 1', 'table 1', 'paragraph 2']
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def next(self, kind: str) -> str:
        """The name of the next element of a kind."""
        self._counts[kind] += 1
        return f"{kind} {self._counts[kind]}"
