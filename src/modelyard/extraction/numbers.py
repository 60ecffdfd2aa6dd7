"""Numbers: the figures in a text, whole ones only, with the sign, brackets and scale that stand around them.

>>> parse_number("$ (1,234.50)")
Decimal('-1234.50')
>>> [number.value for number in numbers("Basic | $(0.41) | 0.34, up from COVID-19's Q1")]
[Decimal('-0.41'), Decimal('0.34')]
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

_FIGURES = re.compile(r"(?:(?<![\w.])(?<![0-9],)\.)?[0-9](?:[0-9]|[.,](?=[0-9]))*")
_PLAIN = re.compile(r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?(?:\.[0-9]+)?")
_CURRENCY = r"(?:(?:US|CA|C|AU|A|HK|NT|NZ|S|R)?[$€£¥]|(?:USD|EUR|GBP|CHF|JPY|CAD|AUD)(?![A-Za-z]))\s{0,3}"
_NEGATIVE = re.compile(rf"(?<![\w.)%])[-−–‐‑](?:{_CURRENCY})?\Z")
_OPENED = re.compile(rf"\(\s{{0,3}}(?:{_CURRENCY})?\Z")
_CLOSED = re.compile(r"\s{0,3}(?:%\s{0,3})?\)")
_BEFORE = re.compile(rf"(?:{_CURRENCY})?(?:\(\s{{0,3}})?[-−–‐‑]?(?:{_CURRENCY})?(?:\(\s{{0,3}})?\Z")
_PART_OF_A_NAME = re.compile(r"(?:[^\W\d]|_|[^\W\d][-‐‑]|\^\(?)\Z")
_CURRENCY_CODE = re.compile(rf"(?<![A-Za-z]){_CURRENCY}\Z")
_EXPONENT = re.compile(r"[eE][+-]?[0-9]")
_SCALE = re.compile(r"\s{0,3}(thousand|million|billion|trillion|cents?|¢)(?![A-Za-z])", re.IGNORECASE)
_SCALES = {
    "thousand": Decimal(1000),
    "million": Decimal(10**6),
    "billion": Decimal(10**9),
    "trillion": Decimal(10**12),
    "cent": Decimal("0.01"),
    "cents": Decimal("0.01"),
    "¢": Decimal("0.01"),
}
_LEADING_DASH = re.compile(r"\A\s*[-−–‐‑—]\s*")
_MOST_DIGITS = 40
_AROUND = 16


class Number(NamedTuple):
    """One figure of a text.

    Attributes:
        start, end: the digits.
        outer_start, outer_end: with currency, sign, brackets and percent sign.
        value: the first reading: brackets are a minus, `million` and `cents` are counted in.
        readings: every reading: for `1.2 million` also 1.2; for `(12)` and `(41%)` also without the minus,
            as brackets hold counts and shares in prose; never for amounts such as `(0.41)`.
    """

    start: int
    end: int
    outer_start: int
    outer_end: int
    value: Decimal
    readings: tuple[Decimal, ...]


def parse_number(surface: str) -> Decimal | None:
    """The one number in a short text; None where there is none, several, or a form to be guessed.

    Brackets and a leading dash are a minus; thousands have commas; `cents`, `thousand`, `million`, `billion`
    and `trillion` are counted in; a percentage keeps its figure; European forms (`1.234,5`) are not guessed.

    >>> [parse_number(one) for one in ("(0.23)", "-$0.23", ".41", "27 cents", "2 million", "12%")]
    [Decimal('-0.23'), Decimal('-0.23'), Decimal('0.41'), Decimal('0.27'), Decimal('2000000'), Decimal('12')]
    >>> [parse_number(one) for one in ("N/A", "nan", "1.14 or 1.15", "1.234,5", "2020-03-31", "Q1")]
    [None, None, None, None, None, None]
    """
    surface = _LEADING_DASH.sub("-", surface.strip())
    if "(" in surface[:4] and ")" not in surface:
        surface += ")"  # a cell cut off before its closing bracket is still a loss
    places = _FIGURES.finditer(surface)
    only = next(places, None)
    if only is None or next(places, None) is not None:
        return None
    number = _number(surface, only.start(), only.end())
    return number.value if number else None


def numbers(text: str) -> Iterator[Number]:
    """Every whole number of a text, in order; parts of names such as `Q1` and `COVID-19` are none."""
    for match in _FIGURES.finditer(text):
        number = _number(text, match.start(), match.end())
        if number is not None:
            yield number


def figures(text: str) -> list[str]:
    """The runs of digits, with the points and commas inside them.

    >>> figures("1,234.5 in Q1")
    ['1,234.5', '1']
    """
    return _FIGURES.findall(text)


def cuts(text: str, place: int) -> bool:
    """Whether a place lies inside a number.

    >>> cuts("1.45", 3), cuts("1,234", 1), cuts("EPS 1.45", 4), cuts("1, 2", 1)
    (True, True, False, False)
    """
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    if after.isdecimal():
        figure_before = place > 1 and text[place - 2].isdecimal()
        return (
            before.isdecimal()
            or (before == "." and _point(text, place - 1))
            or (before == "," and figure_before)
        )
    within = after in ".," and place + 1 < len(text) and text[place + 1].isdecimal()
    return within and before.isdecimal()


def _point(text: str, place: int) -> bool:
    """Whether the full stop here is a decimal point rather than the end of a word, as in `No.5`, or of `1,`."""
    if place > 1 and text[place - 1] == "," and text[place - 2].isdecimal():
        return False
    return place == 0 or not (text[place - 1].isalpha() or text[place - 1] == ".")


def _number(text: str, start: int, end: int) -> Number | None:
    digits = text[start:end]
    before = text[max(0, start - _AROUND) : start]
    if len(digits) > _MOST_DIGITS or not _PLAIN.fullmatch(digits) or _EXPONENT.match(text, end):
        return None
    if _PART_OF_A_NAME.search(before) and not _CURRENCY_CODE.search(before):
        return None
    closed = _CLOSED.match(text, end) if _OPENED.search(before) else None
    size = Decimal(digits.replace(",", ""))
    signed = -size if closed or _NEGATIVE.search(before) else size
    outer_end, readings = _readings(text, end, signed)
    if closed:
        outer_end = closed.end()
        if "." not in digits or "%" in closed[0]:
            readings = (*readings, size)
    lead = _BEFORE.search(before)
    outer_start = start - len(lead[0]) if lead else start
    if closed is None:
        outer_start += text[outer_start:start].rfind("(") + 1
    if signed == size and text[outer_start : outer_start + 1] in tuple("-−–‐‑"):
        outer_start += 1  # the dash of a range
    return Number(start, end, outer_start, _with_percent(text, outer_end), readings[0], readings)


def _readings(text: str, end: int, signed: Decimal) -> tuple[int, tuple[Decimal, ...]]:
    scale = _SCALE.match(text, end)
    if scale is None:
        return end, (signed,)
    return scale.end(), (signed * _SCALES[scale[1].lower()], signed)


def _with_percent(text: str, end: int) -> int:
    return end + 1 if text[end : end + 1] == "%" else end
