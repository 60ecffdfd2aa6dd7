"""Figures: numbers and values as people read them, the same on the page and in Markdown."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

MISSING = "–"
"""What stands where there is no figure."""

_UNSAYABLE = re.compile("[\ud800-\udfff]")  # half a character, which no encoding of text holds


def plain(text: str) -> str:
    """A text that HTML and UTF-8 can hold: NUL becomes its symbol, half a character the sign for one.

    >>> plain("a" + chr(0) + "b" + chr(0xD800))
    'a␀b�'
    """
    return _UNSAYABLE.sub("\ufffd", text.replace("\0", "\u2400"))


def clean(data: Any) -> Any:
    """Plain data with every text `plain`, and None for the floats that are no number.

    >>> clean({"p": float("nan"), "of": [1.5, float("inf")]})
    {'p': None, 'of': [1.5, None]}
    """
    if isinstance(data, str):
        return plain(data)
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {clean(key): clean(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [clean(one) for one in data]
    return data


def score(value: float | None) -> str:
    """A score with three digits.

    >>> score(0.8125), score(-0.0001), score(None)
    ('0.812', '0.000', '–')
    """
    return MISSING if value is None else f"{value:.3f}".replace("-0.000", "0.000").replace("-", "−")


def signed(value: float | None) -> str:
    """A difference of scores, with its sign.

    >>> signed(0.0832), signed(-0.02), signed(0.0)
    ('+0.083', '−0.020', '0.000')
    """
    return score(value) if value is None or abs(value) < 0.0005 else f"{value:+.3f}".replace("-", "−")


def interval(low: float | None, high: float | None) -> str:
    """The ends of an interval.

    >>> interval(0.71, 0.89), interval(-0.02, 0.1)
    ('0.710–0.890', '−0.020 to 0.100')
    """
    if low is None or high is None:
        return MISSING
    between = " to " if min(low, high) < 0 else "–"
    return f"{score(low)}{between}{score(high)}"


def p_value(value: float | None) -> str:
    """A p-value with three digits, never 0.

    >>> p_value(0.0123), p_value(2e-7), p_value(1.0)
    ('0.012', '<0.001', '1')
    """
    if value is None:
        return MISSING
    if value < 0.001:
        return "<0.001"
    return "1" if value > 0.9995 else f"{value:.3f}"


def seconds(value: float | None) -> str:
    """A time.

    >>> seconds(0.0123), seconds(1.234), seconds(41.26), seconds(754), seconds(8100)
    ('12 ms', '1.23 s', '41.3 s', '12 min 34 s', '2 h 15 min')
    """
    if value is None:
        return MISSING
    if value < 0.1:
        return f"{1000 * value:.2g} ms" if value < 0.00995 else f"{1000 * value:.0f} ms"
    if value < 99.95:
        return f"{value:.2f} s" if value < 9.995 else f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def number(value: float | None) -> str:
    """A number with three digits, or all of its digits before the point.

    >>> number(1234.6), number(41.26), number(3.456), number(0.0123), number(0)
    ('1,235', '41.3', '3.46', '0.0123', '0')
    """
    if value is None:
        return MISSING
    if isinstance(value, int) or abs(value) >= 99.95:
        return f"{value:,.0f}"
    if abs(value) >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.995 else f"{value:.3g}"


def size(count: float | None) -> str:
    """An amount of memory.

    >>> size(98_362_432), size(1_117_320_768), size(None)
    ('98.4 MB', '1.1 GB', '–')
    """
    if count is None:
        return MISSING
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def value(given: Any, *, wide: bool = False) -> str:
    """A value that was found or expected, as text; with `wide`, a nested one goes over several lines.

    >>> value(12.0), value("N/A"), value(None), value({"a": [1, None]})
    ('12', 'N/A', '–', '{"a": [1, null]}')
    """
    if given is None:
        return MISSING
    if isinstance(given, str):
        return given
    if isinstance(given, float) and given.is_integer() and abs(given) < 1e15:
        return str(int(given))
    flat = json.dumps(given, ensure_ascii=False, default=str)
    if wide and len(flat) > 40 and isinstance(given, Mapping | list | tuple):
        return json.dumps(given, ensure_ascii=False, default=str, indent=2)
    return flat


def brief(given: Any, label: Any) -> str:
    """A value in few characters: of fields only their values, in the order of the label's.

    >>> brief({"b": 2, "a": 1.5}, {"a": 1.4, "b": 2, "c": None})
    '1.5 · 2 · –'
    >>> brief("yes", "no")
    'yes'
    """
    if not (isinstance(given, Mapping) and isinstance(label, Mapping)):
        return value(given)
    beyond = [name for name in given if name not in label]
    parts = [value(given.get(name)) for name in label] + [f"{name}: {value(given[name])}" for name in beyond]
    return " · ".join(parts)


def shortened(text: str, length: int) -> str:
    """A text on one line, of at most so many characters.

    >>> shortened("one two\\n three", 8)
    'one two…'
    """
    start = text[: 4 * length]
    line = " ".join(start.split())
    if len(line) <= length and len(start) == len(text):
        return line
    return line[: length - 1].rstrip() + "…"
