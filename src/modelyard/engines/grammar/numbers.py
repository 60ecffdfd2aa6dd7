"""Numbers: integers and decimals between bounds, digit by digit."""

from __future__ import annotations

import math
from typing import Any

from modelyard.engines.grammar.ebnf import Rules
from modelyard.engines.grammar.keywords import BY_TYPE
from modelyard.engines.grammar.limits import MAX_DIGITS
from modelyard.engines.grammar.nodes import Alt, Chars, Lit, Node, Rep, alt, chars, optional, seq

_DIGIT = chars("09")


def bounds(schema: dict[str, Any], *, whole: bool) -> tuple[int | None, int | None, bool]:
    """Whole bounds around the allowed numbers, and whether they say everything."""
    low = high = None
    exact = True
    for key, value in ((k, schema[k]) for k in BY_TYPE["number"] & schema.keys()):
        if abs(value) >= 10 ** (2 * MAX_DIGITS):
            exact = False
            continue
        exact = exact and (whole or (value == int(value) and not key.startswith("exclusive")))
        step = 1 if whole and key.startswith("exclusive") else 0
        if key.endswith("inimum"):
            bound = math.floor(value) + step if step or not whole else math.ceil(value)
            low = bound if low is None else max(low, bound)
        else:
            bound = math.ceil(value) - step if step or not whole else math.floor(value)
            high = bound if high is None else min(high, bound)
    return low, high, exact


def number(low: int | None, high: int | None, *, whole: bool, rules: Rules) -> Node:
    """Numbers from low to high, both in; no bound where None, but never more than MAX_DIGITS digits."""
    if low is None and high is None:
        return _any_integer() if whole else _any_number()
    largest = 10 ** max(MAX_DIGITS, *(len(str(abs(b))) + 1 for b in (low, high) if b is not None)) - 1
    low, high = -largest if low is None else low, largest if high is None else high
    parts: list[Node] = []
    if high >= 0:
        parts.append(_unsigned(max(0, low), high, whole=whole))
    if low < 0:
        below = _unsigned(max(0, -high), -low, whole=whole)
        parts.append(seq(Lit("-"), rules.share(below) if isinstance(below, Alt) else below))
    return alt(*parts)


def _any_integer() -> Node:
    return alt(Lit("0"), seq(optional(Lit("-")), chars("19"), Rep(_DIGIT, 0, MAX_DIGITS - 1)))


def _fraction() -> Node:
    return optional(seq(Lit("."), Rep(_DIGIT, 1, MAX_DIGITS)))


def _any_number() -> Node:
    # Two digits of exponent: three could write 1e999, which reads as infinity.
    exponent = seq(chars("EEee"), optional(chars("++--")), Rep(_DIGIT, 1, 2))
    whole = alt(Lit("0"), seq(chars("19"), Rep(_DIGIT, 0, MAX_DIGITS - 1)))
    return seq(optional(Lit("-")), whole, _fraction(), optional(exponent))


def _unsigned(low: int, high: int, *, whole: bool) -> Node:
    """Numbers from low to high, both in; with a fraction unless whole."""
    if whole:
        return _digits(low, high)
    zeros = optional(seq(Lit("."), Rep(Lit("0"), 1, MAX_DIGITS)))
    last = seq(Lit(str(high)), zeros)
    return last if low == high else alt(seq(_digits(low, high - 1), _fraction()), last)


def _digits(low: int, high: int) -> Node:
    """Whole numbers from low to high, both in, without leading zeros."""
    parts: list[Node] = []
    for length in range(len(str(low)), len(str(high)) + 1):
        start, end = max(low, 10 ** (length - 1) if length > 1 else 0), min(high, 10**length - 1)
        parts.append(_same_length(str(start), str(end)))
    return alt(*parts)


def _same_length(low: str, high: str) -> Node:
    if low == high:
        return Lit(low)
    size = len(low) - 1
    if low[0] == high[0]:
        return seq(Lit(low[0]), _same_length(low[1:], high[1:]))
    first, last, parts = int(low[0]), int(high[0]), list[Node]()
    if low[1:] != "0" * size:
        parts.append(seq(Lit(low[0]), _same_length(low[1:], "9" * size)))
        first += 1
    end = None
    if high[1:] != "9" * size:
        end = seq(Lit(high[0]), _same_length("0" * size, high[1:]))
        last -= 1
    if first <= last:
        middle: Node = Chars(((48 + first, 48 + last),))
        parts.append(seq(middle, Rep(_DIGIT, size, size)) if size else middle)
    return alt(*parts, *([end] if end is not None else []))
