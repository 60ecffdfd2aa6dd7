"""Unit: what the number of a reply is to count, and a number of the reply read in it.

>>> from modelyard.extraction.numbers import numbers
>>> unit, text = Unit.of("million EUR"), "about 1.2 billion euros"
>>> [unit.read(one, text).value for one in numbers(text)]
[Decimal('1200.0')]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from modelyard.extraction.numbers import Number

_CURRENCY = re.compile(r"[$€£¥¢]|\b(?:USD|EUR|GBP|CHF|JPY|CAD|AUD|dollars?|euros?|cents?)\b", re.IGNORECASE)
_PERCENT_UNIT = re.compile(r"%|\bper\s?cent(?:age)?\b|\bpct\b", re.IGNORECASE)
_PERCENT_AFTER = re.compile(rf"\s*(?:{_PERCENT_UNIT.pattern})", re.IGNORECASE)
_SCALE = re.compile(r"\b(?:(thousand|million|billion|trillion)s?|(cents?))\b|(¢)", re.IGNORECASE)
_SCALES = {
    "thousand": Decimal(1000),
    "million": Decimal(10**6),
    "billion": Decimal(10**9),
    "trillion": Decimal(10**12),
}
_CENT = Decimal("0.01")


@dataclass(slots=True, frozen=True)
class NumberReading:
    """What a reply gives as its number.

    Attributes:
        value: the number; None where there is none.
        problem: why no number can be read, in words; None also where the reply says that there is none.
        alternatives: what else might be meant: the numbers between which the reply does not choose, or other
            readings of its number, such as 12 for `(12)`.
    """

    value: Decimal | None
    problem: str | None = None
    alternatives: tuple[Decimal, ...] = ()

    @property
    def not_answered(self) -> bool:
        """Whether the reply is empty, or says that there is no number."""
        return self.value is None and self.problem is None


@dataclass(slots=True, frozen=True)
class Unit:
    """What a number counts.

    Attributes:
        name: as it was given; None where it is not known.
        scale: how many of the plain unit it is: 1,000,000 for `million EUR`, 0.01 for `cents`.
    """

    name: str | None
    money: bool
    percent: bool
    scale: Decimal

    @classmethod
    def of(cls, name: str | None) -> Unit:
        """The unit that a name such as `USD per share`, `million EUR` or `%` means."""
        given = name or ""
        scale = _SCALE.search(given)
        return cls(
            name or None,
            money=has_currency(given),
            percent=bool(_PERCENT_UNIT.search(given)),
            scale=_size(scale) if scale else Decimal(1),
        )

    def choose(self, found: Sequence[Number], text: str) -> list[Number]:
        """Percentages where they are wanted; where not, what stands beside them; what there is otherwise."""
        shares = [one for one in found if _is_percentage(one, text)]
        others = [one for one in found if one not in shares]
        return (shares or others) if self.percent else (others or shares)

    def read(self, number: Number, text: str) -> NumberReading:
        """A number of the text in this unit, or what keeps it from being one."""
        percentage = _is_percentage(number, text)
        surface = text[number.outer_start : percentage or number.outer_end].strip()
        if percentage and self.name and not self.percent:
            return NumberReading(
                None, f"{surface!r} is a percentage, and {self.name} is wanted", number.readings
            )
        scale = _SCALE.search(text, number.end, number.outer_end)
        if scale is None:
            return _reading(number.value, number.readings)
        if not scale[1] and has_currency(text[number.outer_start : number.end]):
            return NumberReading(None, f"{surface!r} names cents and a currency", number.readings)
        if not scale[1] and self.name and not self.money:
            return NumberReading(None, f"{surface!r} is money, and {self.name} is wanted", number.readings)
        return _reading(number.value / self.scale, number.readings)


def has_currency(text: str) -> bool:
    """Whether a text names a currency.

    >>> has_currency("US$ 5"), has_currency("5 people")
    (True, False)
    """
    return bool(_CURRENCY.search(text))


def _is_percentage(number: Number, text: str) -> int:
    """Where the percent sign after a number ends; 0 where there is none."""
    if text[: number.outer_end].endswith("%"):
        return number.outer_end
    sign = _PERCENT_AFTER.match(text, number.outer_end)
    return sign.end() if sign else 0


def _size(scale: re.Match[str]) -> Decimal:
    return _SCALES[scale[1].lower()] if scale[1] else _CENT


def _reading(value: Decimal, readings: Sequence[Decimal]) -> NumberReading:
    return NumberReading(value, None, tuple(one for one in readings if one != value))
