"""Rules: how a conflict between candidates is settled."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple, get_args

from modelyard.errors import InvalidArgumentError, ModelyardError, nearest

Strategy = Literal["auto", "agreement", "priority", "logprob", "llm"]
"""`auto`: equal, then grounding, the priority list, the margin of weighted support, and a model. The others are
one way alone: `agreement` the most votes, `priority` the first document of the list that gives a value,
`logprob` the value with the surest vote, `llm` a model that reads the quotes."""

ALL_FIELDS = "*"
"""The name under which a priority list is that of every field without one of its own."""

_PRIORITY = "It lists patterns of document names, the first first: priority: {eps: [statement*, '*.pdf']}."


@dataclass(frozen=True, slots=True)
class MergeRules:
    """How candidates that differ are settled.

    Args:
        strategy: which way is gone, see `Strategy`.
        priority: for each field, or for `"*"`, the patterns of document names (`fnmatch`, on the whole name or
            on its last part) whose word counts first; one list alone is that of every field.
        margin: by how much of the votes' weight, 0 to 1, a value must lead for `auto` to take it for that. The
            default takes two of three and three of five, and leaves one of two open.
        tolerance: largest difference of two numbers that count as the same.
        weights: how much a voter counts, by name; for others what their candidates say.

    Raises:
        InvalidArgumentError: names key, value and remedy.

    >>> MergeRules(priority=["statement*"]).patterns("eps")
    ('statement*',)
    """

    strategy: Strategy = "auto"
    priority: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    margin: float = 0.2
    tolerance: float = 0.0
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        for mistake in _mistakes(values):
            raise InvalidArgumentError(f"merge: {mistake.message}", hint=mistake.hint)
        object.__setattr__(self, "priority", _lists(self.priority))
        object.__setattr__(self, "weights", dict(self.weights))

    def patterns(self, name: str) -> tuple[str, ...]:
        """The priority list of a field: its own, else that of all fields, else none."""
        return tuple(self.priority.get(name, self.priority.get(ALL_FIELDS, ())))


def read_rules(given: object, wrong: Callable[..., ModelyardError] | None = None) -> MergeRules:
    """The rules from plain data, such as the key `merge` of a task file.

    Args:
        given: a mapping with the arguments of `MergeRules`, or the name of a strategy.
        wrong: makes the error from a message, the place in the data and a hint, as `TaskFile.error` does.

    Raises:
        InvalidArgumentError: names key, value and remedy; where `wrong` is given, what that makes.

    >>> read_rules({"strategy": "priority", "priority": {"eps": "statement*"}}).patterns("eps")
    ('statement*',)
    """
    wrong = wrong or _plainly
    if isinstance(given, str):
        given = {"strategy": given}
    known = [one.name for one in fields(MergeRules)]
    if not isinstance(given, Mapping):
        raise wrong(f"key 'merge' has value {given!r:.80}", "merge", hint=f"Its keys are {', '.join(known)}.")
    for key in given:
        if key not in known:
            message = f"key 'merge' has '{key}'.{nearest(str(key), known)}"
            raise wrong(message, "merge", key, hint=f"Known are {', '.join(known)}.")
    for mistake in _mistakes(given):
        raise wrong(f"merge: {mistake.message}", "merge", mistake.key, hint=mistake.hint)
    return MergeRules(**given)


def matches(document: str, pattern: str) -> bool:
    """Whether a document's name, or the last part of it, has the form of a pattern.

    >>> matches("filings/statement.html", "statement*"), matches("filings/headline.html", "statement*")
    (True, False)
    """
    return fnmatchcase(document, pattern) or fnmatchcase(PurePosixPath(document).name, pattern)


class _Mistake(NamedTuple):
    key: str
    message: str
    hint: str


def _plainly(message: str, *where: str | int, hint: str) -> ModelyardError:
    return InvalidArgumentError(message, hint=hint)


def _mistakes(values: Mapping[str, Any]) -> Iterator[_Mistake]:
    strategy = values.get("strategy", "auto")
    known = get_args(Strategy)
    if strategy not in known:
        message = f"strategy has value {strategy!r:.80}.{nearest(str(strategy), known)}"
        yield _Mistake("strategy", message, f"It is one of {', '.join(known)}.")
    yield from _mistakes_of_priority(values.get("priority", {}))
    for key, most in (("margin", 1.0), ("tolerance", math.inf)):
        value = values.get(key, 0.0)
        if not _is_amount(value) or value > most:
            range_ = "0 to 1" if most == 1 else "0 or more"
            yield _Mistake(key, f"{key} has value {value!r:.80}", f"It is a number, {range_}.")
    weights = values.get("weights", {})
    if not isinstance(weights, Mapping):
        yield _Mistake("weights", f"weights has value {weights!r:.80}", "It maps voters' names to numbers.")
        return
    for voter, weight in weights.items():
        if not _is_amount(weight):
            message = f"weights: '{voter}' has value {weight!r:.80}"
            yield _Mistake("weights", message, "It is a number, 0 or more; 1 is an ordinary voter.")


def _mistakes_of_priority(given: object) -> Iterator[_Mistake]:
    if not isinstance(given, Mapping | list | tuple):
        yield _Mistake("priority", f"priority has value {given!r:.80}", _PRIORITY)
        return
    for name, patterns in (given if isinstance(given, Mapping) else {ALL_FIELDS: given}).items():
        listed = [patterns] if isinstance(patterns, str) else patterns
        texts = isinstance(listed, list | tuple) and all(isinstance(one, str) and one for one in listed)
        if not texts or not isinstance(name, str):
            yield _Mistake("priority", f"priority: '{name}' has value {patterns!r:.80}", _PRIORITY)


def _lists(given: Any) -> dict[str, tuple[str, ...]]:
    by_field = given if isinstance(given, Mapping) else {ALL_FIELDS: given}
    return {
        name: (patterns,) if isinstance(patterns, str) else tuple(patterns)
        for name, patterns in by_field.items()
    }


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
