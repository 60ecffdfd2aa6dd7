"""Structures: how many fields of nested objects and lists are right, as precision, recall and F1.

>>> score = score_fields({"name": "Desk", "price": 249, "size": "L"}, {"name": "desk", "price": 245, "note": None})
>>> score.parts
{'name': 'right', 'price': 'wrong', 'note': 'right', 'size': 'extra'}
>>> score.matched, score.found, score.expected, round(score.f1, 3)
(1, 3, 2, 0.4)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from modelyard.bench.compare.values import same
from modelyard.bench.statistics.needed import scipy

FieldOutcome = Literal["right", "wrong", "not answered", "extra"]
"""`right`: the value of the label, or none where the label has none. `wrong`: another value. `not answered`: none
where there is one. `extra`: a value of which the label knows nothing."""

_Parts = dict[str, FieldOutcome]
_ROOT = "$"
_PLAIN_KEY = re.compile(r"[^.\[\]\"$]+")
_INDEX = re.compile(r"\[[0-9]+\]")


@dataclass(slots=True, frozen=True)
class StructureScore:
    """What a found structure has of the expected one.

    Attributes:
        matched: values that are the same in both.
        expected, found: values other than null on each side.
        parts: the outcome of each field by its path, such as `lines[0].price`; an item of a list bears the index
            of the label's item that it was matched with, or one behind the label's last.
    """

    matched: int
    expected: int
    found: int
    parts: Mapping[str, FieldOutcome] = field(default_factory=dict)

    @property
    def precision(self) -> float:
        """The share of the found values that are right."""
        return self._share(self.found)

    @property
    def recall(self) -> float:
        """The share of the expected values that were found."""
        return self._share(self.expected)

    @property
    def f1(self) -> float:
        """2 · matched / (expected + found), the harmonic mean of precision and recall."""
        return 1.0 if self._nothing else 2 * self.matched / (self.expected + self.found)

    @property
    def _nothing(self) -> bool:
        return self.expected == self.found == 0

    def _share(self, of: int) -> float:
        if self._nothing:
            return 1.0
        return self.matched / of if of else 0.0


def score_fields(
    found: Any,
    expected: Any,
    *,
    tolerance: float = 0.0,
    tolerances: Mapping[str, float] | None = None,
) -> StructureScore:
    """Compares two structures value by value.

    The values are the leaves other than null: E of them in the label, F in what was found, and M pairs at the
    same place that are the `same`. Precision is M/F, recall M/E, and F1 their harmonic mean 2M/(E+F) (van
    Rijsbergen, Information Retrieval, 1979, chapter 7). Objects are compared key by key. The items of a list
    have no order: they are paired one to one so that M is largest (an assignment problem: Kuhn, The Hungarian
    Method, 1955). A null, a missing key, and an empty list or object are all no value: where both sides have
    none, that is right, and counts neither for precision nor for recall; where there is none at all on either
    side, all three figures are 1.

    So F1 lies between 0 and 1, is 1 for a structure and itself (unless it holds nan), does not change with the
    order of a list, and precision becomes recall when the two sides are exchanged.

    Args:
        found: what was answered, as plain data.
        expected: the label, as plain data.
        tolerance: largest difference of two numbers that count as the same.
        tolerances: the same for single fields, by path without indices, such as `lines[].price`.

    Raises:
        InvalidArgumentError: a tolerance is negative or no number.
        EngineNotInstalledError: scipy, which pairs the items of lists, is not installed.

    >>> score_fields([3, 1, 2], [1, 2, 4]).parts
    {'[0]': 'right', '[1]': 'right', '[2]': 'wrong'}
    >>> score_fields({"lines": [{"price": 9.99}]}, {"lines": [{"price": 10}]}, tolerances={"lines[].price": 0.01}).f1
    1.0
    """
    return _Comparison(tolerance, tolerances or {}).score(found, expected)


class _Comparison:
    """One comparison; knows which tolerance holds where."""

    def __init__(self, tolerance: float, tolerances: Mapping[str, float]) -> None:
        self._tolerance = tolerance
        self._tolerances = tolerances

    def score(self, found: Any, expected: Any) -> StructureScore:
        parts: _Parts = {}
        matched = self._walk(found, expected, "", parts)
        return StructureScore(matched, _count(expected), _count(found), parts)

    def _walk(self, found: Any, expected: Any, path: str, parts: _Parts) -> int:
        """The matched values; what became of each is written to `parts`."""
        if expected and isinstance(found, Mapping) and isinstance(expected, Mapping):
            return self._objects(found, expected, path, parts)
        if expected and isinstance(found, list | tuple) and isinstance(expected, list | tuple):
            return self._lists(found, expected, path, parts)
        if _is_container(found) or _is_container(expected) or found is None or expected is None:
            _apart(found, expected, path, parts)
            return 0
        right = same(found, expected, tolerance=self._tolerance_at(path))
        parts[path or _ROOT] = "right" if right else "wrong"
        return int(right)

    def _objects(
        self, found: Mapping[Any, Any], expected: Mapping[Any, Any], path: str, parts: _Parts
    ) -> int:
        matched = sum(
            self._walk(found.get(key), one, _key(path, key), parts) for key, one in expected.items()
        )
        for key, one in found.items():
            if key not in expected:
                _mark_extra(one, _key(path, key), parts)
        return matched

    def _lists(self, found: Sequence[Any], expected: Sequence[Any], path: str, parts: _Parts) -> int:
        partners = self._pairs(found, expected, path)
        matched = sum(
            self._walk(found[partners[at]] if at in partners else None, one, f"{path}[{at}]", parts)
            for at, one in enumerate(expected)
        )
        paired = set(partners.values())
        alone = [one for at, one in enumerate(found) if at not in paired]
        for at, one in enumerate(alone, len(expected)):
            _mark_extra(one, f"{path}[{at}]", parts)
        return matched

    def _pairs(self, found: Sequence[Any], expected: Sequence[Any], path: str) -> dict[int, int]:
        """For items of the label the index of the found item each is compared with."""
        if not found:
            return {}
        # Of equally good pairings the one that keeps most items in their order.
        unit = min(len(found), len(expected)) + 1
        worth = [
            [
                self._walk(one, other, f"{path}[{at}]", {}) * unit + (at == place)
                for place, one in enumerate(found)
            ]
            for at, other in enumerate(expected)
        ]
        rows, columns = scipy("optimize").linear_sum_assignment(worth, maximize=True)
        return {int(at): int(place) for at, place in zip(rows, columns, strict=True)}

    def _tolerance_at(self, path: str) -> float:
        if not self._tolerances:
            return self._tolerance
        return self._tolerances.get(_INDEX.sub("[]", path), self._tolerance)


def _apart(found: Any, expected: Any, path: str, parts: _Parts) -> None:
    """Marks two sides that have no value in common: one is nothing, or they are of different build."""
    nothing = not _count(found)
    if not _is_container(expected) and expected is not None:
        parts[path or _ROOT] = "not answered" if nothing else "wrong"
    elif not _count(expected) and nothing:
        parts[path or _ROOT] = "right"
    else:
        for place, leaf in _leaves(expected, path):
            if _is_value(leaf):
                parts[place or _ROOT] = "not answered"
            elif nothing:
                parts[place or _ROOT] = "right"
    _mark_extra(found, path, parts)


def _mark_extra(found: Any, path: str, parts: _Parts) -> None:
    for place, leaf in _leaves(found, path):
        if _is_value(leaf):
            parts.setdefault(place or _ROOT, "extra")


def _count(value: Any) -> int:
    return sum(_is_value(leaf) for _, leaf in _leaves(value, ""))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Everything in a structure that holds nothing further, with its path; without recursion, as a model's
    answer may nest as deep as it likes."""
    stack = [(path, value)]
    while stack:
        place, one = stack.pop()
        if isinstance(one, Mapping) and one:
            stack.extend((_key(place, key), inner) for key, inner in reversed(list(one.items())))
        elif isinstance(one, list | tuple) and one:
            stack.extend((f"{place}[{at}]", one[at]) for at in reversed(range(len(one))))
        else:
            yield place, one


def _is_value(leaf: Any) -> bool:
    return leaf is not None and not _is_container(leaf)


def _is_container(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple)


def _key(path: str, key: Any) -> str:
    name = str(key)
    if not _PLAIN_KEY.fullmatch(name):
        return f"{path}[{json.dumps(name, ensure_ascii=False)}]"
    return f"{path}.{name}" if path else name
