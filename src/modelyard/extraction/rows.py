"""Rows: the figures of a text's tables, each with its row's label and its column's head.

Filings, reports and their PDFs come as lines in which a table has lost its grid: `Basic $ 0.79 $ 0.73` under
`Three Months Ended` under `2023 2022`. A reader who has to say which of four figures is meant needs the head
of each. Two forms are read: cells between ` | `, as the readers of HTML, DOCX and PDF write them, and plain
lines that end in figures, also those with one figure a line.

>>> text = "Three Months Ended March 31,\\n2024 2023\\nNet income per share:\\nBasic $ 0.79 $ ( 0.73 )"
>>> [row] = read_rows(text)
>>> row.label, row.section
('Basic', 'Net income per share')
>>> [(cell.head, cell.of(text)) for cell in row.cells]
[('Three Months Ended March 31, 2024', '$ 0.79'), ('Three Months Ended March 31, 2023', '$ ( 0.73 )')]
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from modelyard.extraction.heads import Heads, is_head
from modelyard.extraction.numbers import Number, numbers

_GAP = re.compile(r"[\s$€£¥|%)*†‡]*")  # what may stand between two figures of a row
_DASH = re.compile(r"(?<!\S)[$€£]?\s?[—–-](?!\S)")  # a cell that says there is nothing
_LEAD = re.compile(r"(?:(?<!\S)[$€£]?\s?[—–-]\s+)+[$€£]?\s?\Z")  # dashes before the first figure
_BARE = re.compile(r"[\s$€£¥()\-–—−%.,\d]*\d[\s$€£¥()\-–—−%.,\d]*|[\s$€£¥()\-–—−%]+")
_NOTE = re.compile(
    r"\s*\((?:Note|Notes)?\s*[0-9a-z]{1,2}(?:\s*(?:,|and)\s*[0-9a-z]{1,2})*\)\s*", re.IGNORECASE
)
_REFERENCE = re.compile(r"\(\s*(?:Notes?|Items?|Parts?|Tables?)\s*\Z", re.IGNORECASE)
_RAISED = re.compile(r"\^\S+")  # a note's mark, as the readers write it
_MARK = re.compile(r"\([0-9a-z]{1,2}\)")
_CLOSES = re.compile(r"total\b", re.IGNORECASE)  # rows that end the group above them
_LETTERS = re.compile(r"[^\W\d_]{2}")
_LONGEST_LABEL = 200
_FORGET = 40  # lines of running text after which a head is none any more
_JOINED_HEADS = 4  # lines of other text that may stand between the lines of one head


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure: its place in the text, and the head of its column; empty where that cannot be told."""

    start: int
    end: int
    head: str

    def of(self, text: str) -> str:
        """The figure as it stands, on one line."""
        return " ".join(text[self.start : self.end].split())


@dataclass(frozen=True, slots=True)
class Row:
    """A label and its figures.

    Attributes:
        start, end: the whole row in the text.
        label: what stands before the figures; the section's where there is nothing.
        section: the heading above the row inside its table.
        cells: the figures from left to right.
        table: rows under the same heads have the same number.
        heading: the lines of the heads as they stand.
    """

    start: int
    end: int
    label: str
    section: str
    cells: tuple[Cell, ...]
    table: int
    heading: str

    @property
    def name(self) -> str:
        """Section and label together."""
        return f"{self.section}: {self.label}" if self.section and self.section != self.label else self.label


class _Line(NamedTuple):
    start: int
    end: int
    text: str


def read_rows(text: str) -> tuple[Row, ...]:
    """Every row of figures, in the order of the text.

    Args:
        text: any; running text has no rows.
    """
    return tuple(_Reader(text).rows())


class _Reader:
    """Goes down the lines and keeps what stands above: the heads, and the section."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._heads: list[_Line] = []
        self._heads_open = False
        self._since = 0  # lines of other text since the last head or row
        self._group = self._sub = ""
        self._above = ("", "")  # the section before the lines of text just above
        self._after_text = False
        self._table = 0
        self._parsed: Heads | None = None

    def rows(self) -> Iterator[Row]:
        for line in _lines(self._text):
            if not line.text.strip():
                continue
            piped = " | " in f" {line.text} "
            cells = _piped(self._text, line) if piped else _flat(self._text, line)
            if is_head(line.text, piped=piped):
                self._head(line)
            elif cells and (row := self._row(line, cells, piped)) is not None:
                yield row
            else:
                self._other(line)

    def _head(self, line: _Line) -> None:
        if not self._heads_open or self._since > _JOINED_HEADS:
            self._heads = []
            self._heads_open = True
            self._table += 1
            self._group = self._sub = ""
        self._heads.append(line)
        self._parsed = None
        self._since = 0

    def _row(self, line: _Line, cells: Sequence[Number | None], piped: bool) -> Row | None:
        first = next(one for one in cells if one is not None)
        raw = self._text[line.start : first.outer_start]
        label = _label(raw.split("|")[0] if piped else raw)
        if len(label) > _LONGEST_LABEL or (not piped and not label and len(cells) < 2 and not self._sub):
            return None
        if len(cells) == 1 and not piped and not self._near_rows():
            return None
        wrapped = " ".join(filter(None, (self._group, self._sub)))
        if not label and self._after_text:
            # The line above was no heading but this row's own label.
            label = (
                wrapped if self._above != ("", "") and self._group != self._above[0] else self._sub or wrapped
            )
            self._group, self._sub = self._above
        self._heads_open = False
        self._since = 0
        self._after_text = False
        if self._parsed is None:
            self._parsed = Heads([one.text for one in self._heads])
        heads = self._parsed.of_columns(
            [
                number is not None and "%" in self._text[number.start : number.outer_end + 2]
                for number in cells
            ],
            columns=_columns(self._text, line, cells) if piped else None,
        )
        if len(cells) == 1 and not piped and not heads[0] and self._parsed.columns > 1:
            return None  # a page's number under a table of several columns
        section = " ".join(part for part in (self._group, self._sub) if part)
        found = Row(
            start=line.start, end=line.end, label=label or self._sub or self._group, section=section,
            cells=tuple(
                Cell(number.outer_start, number.outer_end, head)
                for number, head in zip(cells, heads, strict=True)
                if number is not None
            ),
            table=self._table, heading=" ".join(_label(one.text) for one in self._heads),
        )  # fmt: skip
        if _CLOSES.match(label):
            self._group = self._sub = ""
        return found

    def _near_rows(self) -> bool:
        """Whether a line with one figure is a row: under heads, and not far down in running text."""
        return bool(self._heads) and self._since < _JOINED_HEADS

    def _other(self, line: _Line) -> None:
        self._since += 1
        if self._since > _FORGET:
            self._heads, self._parsed, self._heads_open = [], None, False
            self._group = self._sub = ""
            return
        said = _label(line.text)
        if not _LETTERS.search(said) or len(said) > _LONGEST_LABEL:
            return
        if not self._after_text:
            self._above = (self._group, self._sub)
        if line.text.rstrip().endswith(":") or (not self._after_text and len(said.split()) > 2):
            self._group, self._sub = said, ""
        else:
            self._sub = said
        self._after_text = True


def _lines(text: str) -> Iterator[_Line]:
    """The lines; a label and the lines under it that hold one figure each are one."""
    start = 0
    held: _Line | None = None  # a label that bare figures may follow
    bare: list[_Line] = []
    for raw in text.split("\n"):
        line = _Line(start, start + len(raw), raw)
        start += len(raw) + 1
        if raw.strip() and "|" not in raw and _BARE.fullmatch(raw):
            bare.append(line)
            continue
        yield from _joined(text, held, bare)
        bare = []
        held = line
    yield from _joined(text, held, bare)


def _joined(text: str, held: _Line | None, bare: Sequence[_Line]) -> Iterator[_Line]:
    if len(bare) < 2 or held is None or not _LETTERS.search(held.text) or is_head(held.text):
        if held is not None:
            yield held
        years = bool(bare) and all(is_head(one.text) for one in bare)
        yield from bare if len(bare) < 2 or years else [_span(text, bare[0].start, bare[-1].end)]
    elif all(is_head(one.text) for one in bare):
        yield held
        yield from bare
    else:
        yield _span(text, held.start, bare[-1].end)


def _span(text: str, start: int, end: int) -> _Line:
    return _Line(start, end, text[start:end])


def _label(raw: str) -> str:
    said = _NOTE.sub(" ", _RAISED.sub("", " ".join(raw.replace("|", " ").split())))
    return said.lstrip(" :$€£.·…*†‡—–-").rstrip(" :$€£.·…*†‡(—–-")


def _flat(text: str, line: _Line) -> list[Number | None]:
    """The figures that a plain line ends with; None for a dash that stands for nothing."""
    found = _numbers(text, line.start, line.end)
    cells: list[Number | None] = []
    after = line.end
    for number in reversed(found):
        if _REFERENCE.search(text, line.start, number.start):
            break
        between = text[number.outer_end : after]
        dashes = len(_DASH.findall(between))
        if not _GAP.fullmatch(_DASH.sub(" ", between)):
            break
        cells[:0] = [None] * dashes
        cells.insert(0, number)
        after = number.outer_start
    figures = [one for one in cells if one is not None]
    if not figures or (len(cells) == 1 and _MARK.fullmatch(text[figures[0].outer_start : line.end].strip())):
        return []  # nothing, or the mark of a note
    lead = _LEAD.search(text[line.start : after])
    leading: list[Number | None] = [None] * len(_DASH.findall(lead[0])) if lead else []
    return leading + cells


def _piped(text: str, line: _Line) -> list[Number | None]:
    """The figures of the cells after the first; a cell of words ends up as none."""
    found: list[Number | None] = []
    for at, (start, end) in enumerate(_parts(line)):
        inside = _numbers(text, start, end)
        if at == 0 and not (len(inside) == 1 and _whole(text, start, end, inside[0])):
            continue
        if len(inside) == 1 and _whole(text, start, end, inside[0]):
            found.append(inside[0])
        elif (
            not text[start:end].strip()
            or _DASH.fullmatch(text[start:end].strip())
            or (inside and text[start:end].strip())
        ):
            found.append(None)
    while found and found[-1] is None:
        found.pop()
    return found if any(found) else []


def _columns(text: str, line: _Line, cells: Sequence[Number | None]) -> list[int]:
    """For each figure of a piped row the number of its cell."""
    parts = _parts(line)
    places: list[int] = []
    for number in cells:
        if number is None:
            places.append(-1)
        else:
            places.append(next(at for at, (start, end) in enumerate(parts) if start <= number.start < end))
    return places


def _parts(line: _Line) -> list[tuple[int, int]]:
    """Where the cells of a piped line start and end."""
    found, start = [], line.start
    for part in line.text.split("|"):
        found.append((start, start + len(part)))
        start += len(part) + 1
    return found


def _whole(text: str, start: int, end: int, number: Number) -> bool:
    rest = text[start : max(start, number.outer_start)] + text[number.outer_end : end]
    return not _LETTERS.search(rest)


def _numbers(text: str, start: int, end: int) -> list[Number]:
    found = numbers(text[start:end])
    return [
        one._replace(
            start=one.start + start, end=one.end + start,
            outer_start=one.outer_start + start, outer_end=one.outer_end + start,
        )
        for one in found
    ]  # fmt: skip
