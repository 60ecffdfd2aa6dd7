"""Tables: rows of cells as lines that a small model can read, one line a row, cells joined by ` | `.

Filings cut a number over several cells, such as `$`, `(0.41`, `)`; these are joined again. Columns that only
held padding vanish, an empty cell between two full ones stays, so that the columns can be counted.

>>> lines([[Cell(0, 1, "Basic"), Cell(1, 2, "$"), Cell(2, 3, "(0.41"), Cell(3, 4, ")"), Cell(5, 6, "0.30")]])
['Basic | $(0.41) | 0.30']
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

_CURRENCY = r"(?:US|C|A|HK|NT|R)?[$€£¥]"
_PREFIX = re.compile(rf"{_CURRENCY}\s*\(?|\(\s*(?:{_CURRENCY})?|[-−]")
_SUFFIX = re.compile(r"\)|%|\)\s*%|%\s*\)")
_AMOUNT_BEGINS = re.compile(r"[\d.(—–−-]")
_AMOUNT = re.compile(rf"[-−(\s]*(?:{_CURRENCY})?[-−(\s]*(?:[\d.,]*\d[\s)%]*|[—–-]+)")
_MARKER = re.compile(r"[•●▪■◦·∙*†‡§o\uf0b7\uf0a7–—-]|\(?(?:\d{1,2}|[a-zA-Z]|[ivx]{1,4})[.)]|\*+")
_TIDY = (
    (re.compile(rf"({_CURRENCY})\s+(?=[\d.(—–-])"), r"\1"),
    (re.compile(r"\(\s+(?=[\d.$€£¥])"), "("),
    (re.compile(r"(?<=\d)\s+(?=[)%])"), ""),
    (re.compile(r"(?<=\))\s+(?=%)"), ""),
)
_YEAR = re.compile(r"(?:19|20)\d\d")
_PERIOD = re.compile(
    r"\b(?:end(?:ed|ing)|months?|weeks?|days?|quarters?|years?|half|as (?:of|at)|(?:19|20)\d\d|Q[1-4]|[1-4]Q|FY"
    r"|jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec|january|february|march|april|august|september"
    r"|october|november|december)\b",
    re.IGNORECASE,
)
_LONGEST_REPEATED = 80
_LONGEST_HEADS = (
    180  # a head over so many columns that its line would be longer is said once, over all of them
)


@dataclass(frozen=True, slots=True)
class Cell:
    """The text over the grid columns from `start` up to, not including, `end`; lines in it end in `\\n`."""

    start: int
    end: int
    text: str


Row = list[Cell]


def lines(rows: list[Row]) -> list[str]:
    """One string a row, empty where the row is; several lines in one where a table has a single column."""
    rows = [joined(row) for row in rows]
    groups = _Groups(rows)
    if groups.count <= 1:
        return ["\n".join(cell.text for cell in row) for row in rows]
    return [_line(row, groups) for row in rows]


def tidy(text: str) -> str:
    """A cell's text with its number in one piece.

    >>> tidy("$ ( 0.41 )"), tidy("12 %")
    ('$(0.41)', '12%')
    """
    for pattern, good in _TIDY:
        text = pattern.sub(good, text)
    return text


def joined(row: Row) -> Row:
    """The cells that hold something, each number with its currency, brackets and percent sign."""
    whole: Row = []
    for cell in row:
        if not cell.text:
            continue
        if whole and _belongs(whole[-1], cell):
            last = whole.pop()
            cell = Cell(last.start, cell.end, last.text + cell.text)
        whole.append(cell)
    return [Cell(cell.start, cell.end, tidy(cell.text)) for cell in whole]


def _belongs(left: Cell, right: Cell) -> bool:
    gap = right.start - left.end
    if gap <= 1 and _SUFFIX.fullmatch(right.text):
        # A year or a day beside a percent sign are two headings.
        return _AMOUNT.fullmatch(left.text) is not None and not _YEAR.fullmatch(left.text)
    return gap <= 1 and bool(_PREFIX.fullmatch(left.text) and _AMOUNT_BEGINS.match(right.text))


class _Groups:
    """The columns a reader sees: grid columns that overlap, or that no row fills side by side, are one."""

    def __init__(self, rows: list[Row]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        narrow_first = {(cell.start, cell.end) for row in rows for cell in row}
        for start, end in sorted(narrow_first, key=lambda span: (span[1] - span[0], span)):
            self._place(start, end)
        self._group = self._merge(rows)
        self.count = self._group[-1] + 1 if self._group else 0

    def of(self, cell: Cell) -> range:
        """The visible columns that a cell stands over."""
        first, after = self._over(cell.start, cell.end)
        return range(self._group[first], self._group[after - 1] + 1)

    def _over(self, start: int, end: int) -> tuple[int, int]:
        return bisect_right(self._ends, start), bisect_left(self._starts, end)

    def _place(self, start: int, end: int) -> None:
        first, after = self._over(start, end)
        if first == after:
            self._starts.insert(first, start)
            self._ends.insert(first, end)
        elif after - first == 1:
            self._starts[first] = min(self._starts[first], start)
            self._ends[first] = max(self._ends[first], end)

    def _merge(self, rows: list[Row]) -> list[int]:
        filled: list[set[int]] = [set() for _ in self._starts]
        for number, row in enumerate(rows):
            for cell in row:
                first, after = self._over(cell.start, cell.end)
                if after - first == 1:
                    filled[first].add(number)
        group: list[int] = []
        together: set[int] = set()
        for here in filled:
            if not group:
                group.append(0)
            elif together.isdisjoint(here):
                group.append(group[-1])
            else:
                group.append(group[-1] + 1)
                together = set()
            together |= here
        return group


def _stands_alone(text: str, over: range) -> bool:
    """Whether the only cell of a row is a title or a label rather than the head of the columns under it."""
    short = len(text) <= _LONGEST_REPEATED and len(text) * len(over) <= _LONGEST_HEADS
    repeatable = short and not text.startswith("(") and _PERIOD.search(text)
    return over.start == 0 or (len(over) > 1 and not repeatable)


def _line(row: Row, groups: _Groups) -> str:
    texts = [" ".join(cell.text.split()) for cell in row]
    if len(row) == 2 and _MARKER.fullmatch(texts[0]):
        return " ".join(texts)
    if len(row) == 1 and _stands_alone(texts[0], groups.of(row[0])):
        return texts[0]
    shown = [""] * groups.count
    for cell, text in zip(row, texts, strict=True):
        over = groups.of(cell)
        # A heading over several columns is said over each, so that every column carries its period.
        heading = len(text) <= _LONGEST_REPEATED and (not _AMOUNT.fullmatch(text) or _YEAR.fullmatch(text))
        repeated = over if over.start > 0 and heading else over[:1]
        for column in repeated:
            shown[column] = f"{shown[column]} {text}" if shown[column] else text
    while shown and not shown[-1]:
        shown.pop()
    return " | ".join(shown).replace("|  |", "| |").replace("|  |", "| |").strip()
