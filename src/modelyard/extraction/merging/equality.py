"""Equality: whether two values of a field are the same, and candidates in groups of the same value.

>>> eps, period = Field("eps", "number"), Field("period", "string")
>>> same_value(eps, 1.50, "$1.5"), same_value(eps, 1.45, 1.46), same_value(eps, 1.45, 1.46, tolerance=0.01)
(True, False, True)
>>> same_value(period, "June 30, 2023", "2023-06-30"), same_value(period, "Non\\u2013GAAP", "non-gaap")
(True, True)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from modelyard.errors import InvalidArgumentError
from modelyard.extraction.dates import parse_date
from modelyard.extraction.folding import fold, lower
from modelyard.extraction.merging.votes import weight
from modelyard.extraction.numbers import parse_number
from modelyard.extraction.result import Candidate
from modelyard.extraction.schema import Field

Key = tuple[Any, ...]
"""What is the same for the same values and differs for others; keys can be hashed and sorted."""

_LONGEST_DATE = 40
_NUMBERS = ("number", "integer")


def value_key(field: Field | None, value: Any) -> Key:
    """What is equal for two values exactly if they are the same without a tolerance.

    Numbers are decimals; in a field of numbers a text is the number that it wholly is. Texts are folded
    (`extraction.folding`): case, white space, dashes and quotation marks do not count; a text that names a
    day is that day. Lists have no order; objects are compared key by key. None is the same as None alone.

    >>> value_key(None, [2, "b", "B "]) == value_key(None, ["b", "B", 2.0])
    True
    """
    return _key(value, _reads_numbers(field))


def same_value(field: Field | None, a: Any, b: Any, tolerance: float = 0.0) -> bool:
    """Whether two values of a field are the same; symmetric, and true of every value and itself.

    Args:
        field: what they are values of; they are compared by their own types where it is None.
        a: one of them.
        b: the other.
        tolerance: largest difference of two numbers that count as the same, inside lists and objects too.

    Raises:
        InvalidArgumentError: the tolerance is negative or no number.
    """
    return _near(value_key(field, a), value_key(field, b), check_tolerance(tolerance))


def group(
    field: Field | None, candidates: Sequence[Candidate], tolerance: float = 0.0
) -> tuple[tuple[Candidate, ...], ...]:
    """The candidates in groups of the same value, the best supported first; their order makes no difference.

    With a tolerance a is the same as b and b as c, and a perhaps another than c. So each group has a centre:
    the value that has most votes within the tolerance around it takes them all; of what is left the next one.

    >>> read = [Candidate(who, "d", value, "found") for who, value in zip("abc", (1.20, 1.21, 1.22))]
    >>> [[one.voter for one in of] for of in group(Field("eps", "number"), read, tolerance=0.01)]
    [['b', 'a', 'c']]
    """
    allowed = check_tolerance(tolerance)
    left: dict[Key, list[Candidate]] = {}
    for one in canonical(field, candidates):
        left.setdefault(value_key(field, one.value), []).append(one)
    near = {key: [other for other in left if other == key or _near(key, other, allowed)] for key in left}
    groups = []
    while left:
        around = {key: [one for other in near[key] for one in left.get(other, ())] for key in left}
        centre = min(left, key=lambda key: (-weight(around[key]), key[0] == _NONE, key))
        # The centre's own candidates come first: their value is that of the group.
        members = sorted((key for key in near[centre] if key in left), key=lambda key: (key != centre, key))
        groups.append(tuple(one for key in members for one in left.pop(key)))
    return tuple(groups)


def canonical(field: Field | None, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates in an order of their own, whatever the order in which they came."""
    return sorted(
        candidates, key=lambda one: (one.document, one.voter, value_key(field, one.value), repr(one))
    )


def check_tolerance(tolerance: float) -> Decimal:
    """The tolerance as a decimal.

    Raises:
        InvalidArgumentError: it is negative or no number.
    """
    number = isinstance(tolerance, int | float) and not isinstance(tolerance, bool)
    if not number or not 0 <= tolerance < math.inf:
        raise InvalidArgumentError(f"tolerance has value {tolerance!r}", hint="It is a number, 0 or more.")
    return Decimal(str(tolerance))


_NONE = "none"


def _reads_numbers(field: Field | None) -> bool:
    if field is None or field.enum:
        return False
    return (field.items if field.type == "array" else field.type) in _NUMBERS


def _key(value: Any, numbers: bool) -> Key:
    if value is None:
        return (_NONE,)
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, int | float | Decimal):
        number = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
        return ("nan",) if number.is_nan() else ("number", number)
    if isinstance(value, date):
        return ("date", value.isoformat() if not isinstance(value, datetime) else str(value))
    if isinstance(value, Mapping):
        return ("object", tuple(sorted((str(name), _key(one, numbers)) for name, one in value.items())))
    if isinstance(value, list | tuple):
        return ("array", tuple(sorted(_key(one, numbers) for one in value)))
    return _key_of_text(str(value), numbers)


def _key_of_text(text: str, numbers: bool) -> Key:
    number = parse_number(text) if numbers else None
    if number is not None:
        return ("number", number)
    folded = lower(fold(text).text)
    day = parse_date(folded) if len(folded) <= _LONGEST_DATE else None
    return ("text", folded) if day is None else ("date", day.isoformat())


def _near(a: Key, b: Key, tolerance: Decimal) -> bool:
    if a == b:
        return True
    if not tolerance or a[0] != b[0]:
        return False
    if a[0] == "number":
        return bool(a[1].is_finite() and b[1].is_finite() and abs(a[1] - b[1]) <= tolerance)
    if a[0] == "object":
        return [name for name, _ in a[1]] == [name for name, _ in b[1]] and all(
            _near(one, other, tolerance) for (_, one), (_, other) in zip(a[1], b[1], strict=True)
        )
    return a[0] == "array" and _same_items(a[1], b[1], tolerance)


def _same_items(left: Sequence[Key], right: Sequence[Key], tolerance: Decimal) -> bool:
    """Whether all items can be paired one to one (augmenting paths: Kuhn, The Hungarian Method, 1955)."""
    if len(left) != len(right):
        return False
    partner: dict[int, int] = {}
    return all(_paired(start, left, right, tolerance, partner) for start in range(len(left)))


def _paired(
    start: int, left: Sequence[Key], right: Sequence[Key], tolerance: Decimal, partner: dict[int, int]
) -> bool:
    """Whether one more item finds a partner, others moving over where they can; `partner` is by the right."""
    came_from: dict[int, int] = {}
    waiting = [start]
    for item in waiting:
        for place, other in enumerate(right):
            if place in came_from or not _near(left[item], other, tolerance):
                continue
            came_from[place] = item
            if place in partner:
                waiting.append(partner[place])
                continue
            _move_over(place, start, came_from, partner)
            return True
    return False


def _move_over(place: int, start: int, came_from: Mapping[int, int], partner: dict[int, int]) -> None:
    """Gives each item on the path the partner that it was found through."""
    had = {item: at for at, item in partner.items()}
    while True:
        item = came_from[place]
        partner[place] = item
        if item == start:
            return
        place = had[item]
