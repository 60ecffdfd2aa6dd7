"""Values: whether two of them are the same, numbers as numbers, dates as dates, texts but for their look.

>>> same("$1,234.50", 1234.5), same("June 30, 2023", "2023-06-30"), same(1, True)
(True, True, False)
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any

from modelyard.errors import InvalidArgumentError
from modelyard.extraction.dates import parse_date
from modelyard.extraction.numbers import numbers, parse_number

_LOOKS = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d", "-"),
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u00b4\u0060", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u00ad\u200b\u2060\ufeff", None),
    }
)
_SCIENTIFIC = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?[eE][+-]?[0-9]{1,3}")
_BEFORE_A_NUMBER = re.compile(r"[\s+\-−–‐‑—]*")
_AFTER_A_NUMBER = re.compile(
    r"\s*(?:[$€£¥%]|(?:USD|EUR|GBP|CHF|JPY|CAD|AUD|dollars?|euros?)\b)?\s*", re.IGNORECASE
)
_REMEMBERED = 4096  # texts: each item of a list is compared with every other
_CODE = re.compile(r"0[0-9]+")


def same(found: Any, expected: Any, *, tolerance: float = 0.0, relative: float = 0.0) -> bool:
    """Whether a found value is the expected one.

    Numbers are compared as decimals, so that 1.45 and 1.42 are exactly 0.03 apart; a text that is wholly a
    number is that number. Of two texts neither of which is a date or a number, white space, case, the forms of
    dashes and quotation marks and compatible characters (NFKC, https://unicode.org/reports/tr15/) do not
    count. A text with a leading zero, such as `007`, is a code, and another code than `7`. Booleans equal
    only booleans, None only None, and nan nothing. Lists are the same item by item, in order, and objects key
    by key; `score_fields` is for partial agreement and for lists in any order.

    Args:
        found: what was answered.
        expected: the label.
        tolerance: largest difference of two numbers that count as the same.
        relative: the same as a share of the expected number; the larger of the two counts.

    Raises:
        InvalidArgumentError: a tolerance is negative or no number.

    >>> same(1.45, 1.42, tolerance=0.03), same(1.45, 1.42, tolerance=0.005), same(105, 100, relative=0.05)
    (True, False, True)
    """
    for name, one in (("tolerance", tolerance), ("relative", relative)):
        if not one >= 0:
            raise InvalidArgumentError(f"{name} has value {one!r}", hint="It is a number, 0 or more.")
    return _same(found, expected, Decimal(str(tolerance)), Decimal(str(relative)))


@lru_cache(_REMEMBERED)
def fold_text(text: str) -> str:
    """A text without what does not count when texts are compared.

    >>> fold_text("Net\\u00a0 loss \\u2013 \\u201cﬁscal\\u201d")
    'net loss - "fiscal"'
    """
    text = unicodedata.normalize("NFKC", text.translate(_LOOKS)).casefold()
    return " ".join(unicodedata.normalize("NFKC", text).translate(_LOOKS).split())


@lru_cache(_REMEMBERED)
def whole_number(text: str) -> Decimal | None:
    """The number that a text wholly is, with sign, brackets, currency, scale and percent sign; else None.

    >>> [whole_number(one) for one in ("(0.23)", "1.2 million USD", "1.5e-3", "Room 12", "1 or 2")]
    [Decimal('-0.23'), Decimal('1200000.0'), Decimal('0.0015'), None, None]
    """
    text = text.strip()
    if _SCIENTIFIC.fullmatch(text):
        return Decimal(text)
    only = next(numbers(text), None)
    if only is None or not _BEFORE_A_NUMBER.fullmatch(text, 0, only.outer_start):
        return None
    return parse_number(text) if _AFTER_A_NUMBER.fullmatch(text, only.outer_end) else None


def _same(found: Any, expected: Any, tolerance: Decimal, relative: Decimal) -> bool:
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        return found.keys() == expected.keys() and all(
            _same(found[key], one, tolerance, relative) for key, one in expected.items()
        )
    if isinstance(found, list | tuple) and isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(
            _same(one, other, tolerance, relative) for one, other in zip(found, expected, strict=True)
        )
    if found is None or expected is None or isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    if isinstance(found, str) and isinstance(expected, str):
        return _same_text(found, expected, tolerance, relative)
    if isinstance(found, date) or isinstance(expected, date):
        day = _date(found)
        return day is not None and day == _date(expected)
    return _close(_number(found), _number(expected), tolerance, relative)


def _same_text(found: str, expected: str, tolerance: Decimal, relative: Decimal) -> bool:
    if fold_text(found) == fold_text(expected):
        return True
    day = _date(found)
    if day is not None:
        return day == _date(expected)
    if _CODE.fullmatch(found.strip()) or _CODE.fullmatch(expected.strip()):
        return False
    return _close(whole_number(found), whole_number(expected), tolerance, relative)


@lru_cache(_REMEMBERED)
def _written_date(text: str) -> date | None:
    return parse_date(fold_text(text))


def _date(value: Any) -> date | None:
    if isinstance(value, str):
        return _written_date(value)
    if isinstance(value, datetime) and value.time() == time.min:
        return value.date()
    return value if isinstance(value, date) else None


def _number(value: Any) -> Decimal | None:
    if isinstance(value, str):
        return whole_number(value)
    if isinstance(value, int | Decimal):
        return Decimal(value)
    return Decimal(str(value)) if isinstance(value, float) else None


def _close(found: Decimal | None, expected: Decimal | None, tolerance: Decimal, relative: Decimal) -> bool:
    if found is None or expected is None or found.is_nan() or expected.is_nan():
        return False
    if found == expected:
        return True
    if found.is_infinite() or expected.is_infinite():
        return False
    return abs(found - expected) <= max(tolerance, relative * abs(expected))
