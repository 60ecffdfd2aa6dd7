"""Dates: the usual ways to write one day, in figures or with the English name of its month.

>>> parse_date("30 June 2023") == parse_date("2023-06-30") == parse_date("Friday, June 30th, 2023")
True
>>> parse_date("03/04/2023")  # the fourth of March or the third of April: not guessed
"""

from __future__ import annotations

import re
from datetime import date

MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?"
    r"|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\b\.?"
)
"""The name of a month, in full or short."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAY = r"(?:(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?\.?,? )?"
_DAY = r"(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>[0-9]{4})"
_MIDNIGHT = r"(?:[T ]00:00(?::00(?:\.0{1,9})?)?(?:Z|\+00:00)?)?"
_NAMED = tuple(
    re.compile(_WEEKDAY + form, re.IGNORECASE)
    for form in (
        rf"(?P<month>{MONTH}) {_DAY},? {_YEAR}",
        rf"{_DAY}[ -](?:of )?(?P<month>{MONTH}),?[ -]{_YEAR}",
    )
)
_YEAR_FIRST = re.compile(
    rf"{_YEAR}(?P<mark>[-/.])(?P<month>[0-9]{{1,2}})(?P=mark)(?P<day>[0-9]{{1,2}}){_MIDNIGHT}", re.IGNORECASE
)
_YEAR_LAST = re.compile(r"([0-9]{1,2})([-/.])([0-9]{1,2})\2([0-9]{4})")


def parse_date(text: str) -> date | None:
    """The day that a text names; None where it names none, or where it could be two.

    Of day and month in figures before the year one must be over 12, or both the same; years have four digits;
    a time of day is no date, except midnight as programs write it.

    >>> [str(parse_date(one)) for one in ("30.06.2023", "6/30/2023", "05/05/2023", "1 Sept. 2023", "31 June 2023")]
    ['2023-06-30', '2023-06-30', '2023-05-05', '2023-09-01', 'None']
    """
    text = " ".join(text.split())
    for form in _NAMED:
        if named := form.fullmatch(text):
            month = _MONTHS.index(named["month"][:3].lower()) + 1
            return _day(int(named["year"]), month, int(named["day"]))
    if figures := _YEAR_FIRST.fullmatch(text):
        return _day(int(figures["year"]), int(figures["month"]), int(figures["day"]))
    if figures := _YEAR_LAST.fullmatch(text):
        first, second, year = int(figures[1]), int(figures[3]), int(figures[4])
        possible = {_day(year, first, second), _day(year, second, first)} - {None}
        return possible.pop() if len(possible) == 1 else None
    return None


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:  # there is no such day
        return None
