"""Periods: which of a row's columns a field asks for, where the heads are about time.

A small model picks the first or the last column whatever the heads say; how long a period is and when it ended
can be read without one.

>>> heads = ["Six Months Ended June 30, 2024", "Three Months Ended June 30, 2024", "Three Months Ended June 30, 2023"]
>>> wanted = wanted_period("sales of the most recent quarter (three months)")
>>> wanted.choose(heads)
[1]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_MONTHS = {
    name: at
    for at, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1
    )
}
_LENGTHS = (  # what is said, and how many months that is; the longest words first
    (12, r"twelve[- ]months?|12[- ]months?|(?:5[23]|fifty[- ](?:two|three))[- ]weeks?|(?:full|fiscal) year|year ended|\bfy"),
    (9, r"nine[- ]months?|9[- ]months?|(?:36|39|40|thirty[- ]nine)[- ]weeks?|three quarters"),
    (6, r"six[- ]months?|6[- ]months?|(?:24|26|27|28|twenty[- ]six)[- ]weeks?|half"),
    (3, r"three[- ]months?|3[- ]months?|(?:12|13|14|16|twelve|thirteen|fourteen)[- ]weeks?|quarter|\bq[1-4]\b|\b[1-4]q"),
    (1, r"\b(?:one|1|the)[- ]month\b|month ended"),
)  # fmt: skip
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_MONTH = re.compile(
    r"\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?\s*(\d{1,2})?(?!\d)", re.IGNORECASE
)
_DATE = re.compile(r"(?<!\d)(\d{1,2})/(\d{1,2})/(\d{4}|\d\d)(?!\d)|((?:19|20)\d\d)-(\d\d)-(\d\d)")
_QUARTER = re.compile(r"\b(?:q([1-4])|([1-4])q|(first|second|third|fourth)\b)", re.IGNORECASE)
_ORDER = {"first": 1, "second": 2, "third": 3, "fourth": 4}
_LATEST = re.compile(r"\b(?:most recent|latest|current|this)\b", re.IGNORECASE)
_PRIOR = re.compile(r"\b(?:prior|previous|last|preceding|year[- ]ago|earlier)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a field says of time: how many months, and whether it is the latest of several."""

    months: int | None
    latest: bool

    def choose(self, heads: Sequence[str]) -> list[int]:
        """The columns that are meant, by their place; all of them where the heads do not tell.

        None are left where every head says another length.
        """
        lengths = [months_of(head) for head in heads]
        places = list(range(len(heads)))
        if self.months is not None and any(lengths):
            # A head without a length stands beside others that have one: a change, a share, a note.
            places = [at for at in places if lengths[at] == self.months]
        if self.latest and places:
            ends = [end_of(heads[at]) for at in places]
            if max(ends) > (0, 0, 0):
                places = [at for at, end in zip(places, ends, strict=True) if end == max(ends)]
        return places


def wanted_period(description: str) -> Wanted | None:
    """What the description of a field says about time; None where it says nothing.

    >>> wanted_period("the current ratio of the firm") is wanted_period("dose") is None
    True
    """
    months = months_of(description)
    latest = bool(_LATEST.search(description)) and not _PRIOR.search(description)
    if months is None:
        return None
    return Wanted(months, latest)


def months_of(said: str) -> int | None:
    """How long a period is, in months; None where nothing is said of it.

    >>> months_of("13 Weeks Ended"), months_of("Second Quarter 2024"), months_of("2024")
    (3, 3, None)
    """
    lower = said.lower()
    found = [(match.start(), months) for months, pattern in _LENGTHS if (match := re.search(pattern, lower))]
    return min(found)[1] if found else None


def end_of(said: str) -> tuple[int, int, int]:
    """The last day that a head names: year, month, day; nought where it is not said.

    >>> end_of("Three Months Ended March 31, 2024"), end_of("2023"), end_of("Q3 2024"), end_of("9/3/22")
    ((2024, 3, 31), (2023, 0, 0), (2024, 9, 0), (2022, 9, 3))
    """
    if dates := _DATE.findall(said):
        month, day, year, iso_year, iso_month, iso_day = dates[-1]
        if iso_year:
            return int(iso_year), int(iso_month), int(iso_day)
        return int(year) % 100 + 2000 if len(year) == 2 else int(year), int(month), int(day)
    years, days = _YEAR.findall(said), _MONTH.findall(said)
    year = int(years[-1]) if years else 0
    if days:
        return year, _MONTHS[days[-1][0].lower()], int(days[-1][1] or 0)
    quarters = _QUARTER.findall(said)
    which = next((part.lower() for part in quarters[-1] if part), "") if quarters else ""
    return year, 3 * (_ORDER.get(which) or int(which or 0)), 0
