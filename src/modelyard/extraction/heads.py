"""Heads: which column of a table is which, from the lines above it.

A head is made of periods (`Three Months Ended`), days (`June 30,`) and years. In a table whose grid is lost
they stand in the order of the columns, a period once for all of its columns; so the k-th of p periods belongs to
the k-th part of the columns, and n days or years to the n columns.

>>> Heads(["Three Months Ended Six Months Ended", "June 30, June 30,", "2024 2023 2024 2023"]).of_columns([False] * 4)
['Three Months Ended June 30, 2024', 'Three Months Ended June 30, 2023', 'Six Months Ended June 30, 2024', \
'Six Months Ended June 30, 2023']
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_COUNT = (
    r"one|two|three|four|six|nine|twelve|thirteen|twenty[- ]six|thirty[- ]nine|fifty[- ](?:two|three)|"
    r"3|4|6|9|12|13|14|16|24|26|27|28|36|39|40|52|53"
)
_ORDER = r"first|second|third|fourth|1st|2nd|3rd|4th"
_MONTH = (
    r"(?:january|february|march|april|may|june|july|august|september|october|november|december|"
    r"jan|feb|mar|apr|jun|jul|aug|sept|sep|oct|nov|dec)\b\.?"
)
_PERIOD = re.compile(
    rf"(?:(?:{_COUNT})[- ](?:month|week)s?(?: period)?(?: (?:ended|ending))?"
    rf"|(?:fiscal )?(?:(?:{_ORDER}) )?(?:fiscal )?(?:quarter|year|half|period)(?:s|ly period)?,? (?:ended|ending)"
    rf"|(?:(?:{_ORDER}) )(?:fiscal )?(?:quarter|half)|year[- ]to[- ]date|(?:full|fiscal) year)(?!\w)",
    re.IGNORECASE,
)
_QUARTER = re.compile(r"(?:[1-4]Q|Q[1-4]|FY)\s?['’]?(?:(?:19|20)?\d\d)?(?!\w)", re.IGNORECASE)
_DAY = re.compile(
    rf"(?<!\w){_MONTH} ?\d{{1,2}}(?:/\d{{1,2}})?(?!\d),?|(?<!\w)\d{{1,2}} {_MONTH}", re.IGNORECASE
)
_DATE = re.compile(
    r"(?<![\d/])\d{1,2}/\d{1,2}/(?:\d\d){1,2}(?![\d/])|(?<![\d-])(?:19|20)\d\d-\d\d-\d\d(?![\d-])"
)
_YEAR = re.compile(r"(?<![\d$.,])(?:19|20)\d\d(?![\d%]|[.,]\d)")
_ASIDE = re.compile(r"\([^()]*\)|%|\$")
_FILLER = re.compile(
    r"\b(?:for|the|as|of|at|and|or|in|periods?|ended|ending|fiscal|unaudited|audited|change|percent|amount|sales|to|"
    r"millions?|thousands?|billions?|dollars?|except|per|share|shares|data|amounts|current|earnings|restated|total|"
    r"increase|decrease|consolidated|gaap|variance|versus|vs|yoy|actual|pro|forma|reported)\b",
    re.IGNORECASE,
)
_MARK = re.compile(r"\^\S+")  # of a note, as the readers write it
_WORD = re.compile(r"[^\W\d_]{2,}")
_LONGEST = 220
_LEFT = 3  # words that may be left of a head, when everything that heads are made of is taken away


def is_head(line: str, *, piped: bool = False) -> bool:
    """Whether a line says what columns are, and nothing else.

    >>> is_head("2024 2023 2024 2023"), is_head("For the Three Months Ended"), is_head("Basic $ 0.79 $ 0.73")
    (True, True, False)
    >>> is_head("Sales rose in the three months ended June 30, 2024 on stronger demand")
    False
    """
    line = _MARK.sub("", " ".join(line.split()))
    if len(line) > _LONGEST:
        return False
    rest, found = line, 0
    for pattern in (_PERIOD, _QUARTER, _DATE, _DAY, _YEAR):
        rest, count = pattern.subn(" ", rest)
        found += count
    if not found:
        return False
    rest = _FILLER.sub(" ", _ASIDE.sub(" ", rest))
    if any(character.isdigit() for character in re.sub(r"\(\d\)", "", rest)):
        return False
    return len(_WORD.findall(rest)) <= (_LEFT + 3 if piped else _LEFT)


class Heads:
    """The lines above a table, read once for all of its rows."""

    def __init__(self, lines: Sequence[str]) -> None:
        lines = [_MARK.sub("", line) for line in lines]
        self._piped = [line for line in lines if "|" in line]
        plain = [" ".join(line.split()) for line in lines if "|" not in line]
        # A title may stand above the heads and look like one: the lines from the second on are tried as well.
        self._parts = [_Parts(" ".join(plain[first:])) for first in range(max(1, len(plain)))]

    @property
    def columns(self) -> int:
        """How many columns the plain lines tell apart; 0 where they say nothing."""
        return max((parts.count for parts in self._parts), default=0)

    def of_columns(self, percent: Sequence[bool], *, columns: Sequence[int] | None = None) -> list[str]:
        """The head of each figure of a row; empty where the heads do not say it.

        Args:
            percent: for each figure whether it is a share: those have columns of their own, or none.
            columns: the number of its cell, where the row has cells.
        """
        if columns is not None and self._piped:
            return [self._of_cell(column) for column in columns]
        count = len(percent)
        plain = [at for at, share in enumerate(percent) if not share]
        for parts in self._parts:
            if (heads := parts.spread(count)) is not None and parts.tells(count):
                return heads
            if 0 < len(plain) < count and parts.tells(len(plain)) and (heads := parts.spread(len(plain))):
                named = dict(zip(plain, heads, strict=True))
                return [named.get(at, "") for at in range(count)]
        return next((heads for parts in self._parts if (heads := parts.spread(count))), [""] * count)

    def _of_cell(self, column: int) -> str:
        if column < 0:
            return ""
        words: list[str] = []
        for line in self._piped:
            cells = [" ".join(cell.split()) for cell in line.split("|")]
            first = cells[0] if _PERIOD.search(cells[0]) else ""
            own = cells[column] if column < len(cells) else ""
            words += [part for part in (first if column else "", own) if part and part not in words]
        above = self._parts[0].above
        return " ".join([above, *words] if above and above not in " ".join(words) else words)


class _Parts:
    """What heads are made of, in the order of the columns."""

    def __init__(self, line: str) -> None:
        self._periods, rest = _taken(_PERIOD, line)
        quarters, rest = _taken(_QUARTER, rest)
        self._periods += quarters
        self._days, self._years = _days_and_years(rest)

    @property
    def above(self) -> str:
        """Of heads in cells, what the plain lines over them say."""
        return " ".join(self._periods + self._days[:1]) if len(self._periods) <= 1 else ""

    @property
    def count(self) -> int:
        """How many columns the parts tell apart."""
        return max(len(self._days), len(self._years), len(self._periods))

    def tells(self, count: int) -> bool:
        """Whether each of so many columns gets a head of its own."""
        return count > 0 and self.count == count

    def spread(self, count: int) -> list[str] | None:
        """The heads of so many columns; None where the parts cannot be shared out."""
        parts = [_share(part, count) for part in (self._periods, self._days, self._years)]
        if any(part is None for part in parts):
            return None
        return [" ".join(filter(None, words)) for words in zip(*(part or () for part in parts), strict=True)]


def _taken(pattern: re.Pattern[str], text: str) -> tuple[list[str], str]:
    return [match[0].strip() for match in pattern.finditer(text)], pattern.sub(" ", text)


def _days_and_years(text: str) -> tuple[list[str], list[str]]:
    """The days and the years; a day with its own year is one, where every day has one."""
    dates = [match[0] for match in _DATE.finditer(text)]
    text = _DATE.sub(" ", text)
    if dates:
        return dates, []
    found = sorted(
        [(match.start(), "day", match[0].strip()) for match in _DAY.finditer(text)]
        + [(match.start(), "year", match[0]) for match in _YEAR.finditer(text)]
    )
    kinds = [kind for _, kind, _ in found]
    days = [said for _, kind, said in found if kind == "day"]
    years = [said for _, kind, said in found if kind == "year"]
    if kinds == ["day", "year"] * len(days):
        return [f"{day} {year}" for day, year in zip(days, years, strict=True)], []
    return days, years


def _share(parts: Sequence[str], count: int) -> list[str] | None:
    """The part of each column; None where they cannot be shared out."""
    if not parts:
        return [""] * count
    if count % len(parts):
        same = len(set(parts)) == 1
        return [parts[0]] * count if same else None
    return [parts[at * len(parts) // count] for at in range(count)]
