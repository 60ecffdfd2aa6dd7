"""Standings: the models of a result in the order of their ranks, in groups that cannot be told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from modelyard.bench.outcome import OUTCOMES
from modelyard.errors import InvalidArgumentError

FORMAT = 1
"""The form of a result that this reads."""

SIGNS = dict(zip(OUTCOMES, "✓✗–?…!", strict=True))
"""A sign for each outcome, so that its colour is never all that says it."""

_LAST = 10**9  # a model without a rank comes after all that have one


@dataclass(slots=True, frozen=True)
class Group:
    """Models that share a rank: those that cannot be told apart from the best of them."""

    rank: int | None
    models: tuple[Mapping[str, Any], ...]

    @property
    def places(self) -> str:
        """The places that they take together.

        >>> Group(2, ({}, {})).places
        '2–3'
        """
        if self.rank is None:
            return "–"
        last = self.rank + len(self.models) - 1
        return str(self.rank) if last == self.rank else f"{self.rank}–{last}"

    @property
    def tied(self) -> bool:
        """Whether there are several of them."""
        return self.rank is not None and len(self.models) > 1


def check_format(result: Mapping[str, Any]) -> None:
    """Makes sure that a result is of the form that is read here.

    Raises:
        InvalidArgumentError: it is of another.
    """
    if result.get("format") != FORMAT:
        raise InvalidArgumentError(
            f"the benchmark's result has format {result.get('format')!r}; this modelyard reads {FORMAT}",
            hint="Render it with the modelyard that wrote it: its version stands in the result under run.modelyard.",
        )


def groups(models: Iterable[Mapping[str, Any]]) -> tuple[Group, ...]:
    """The models by rank, those of one rank together and the better score first; those without come last.

    >>> [one.places for one in groups([{"rank": 2, "final_score": None}, {"rank": 1, "final_score": None}])]
    ['1', '2']
    """
    ordered = sorted(models, key=lambda model: (model["rank"] or _LAST, -_final(model)))
    return tuple(Group(rank, tuple(found)) for rank, found in groupby(ordered, key=lambda one: one["rank"]))


def _final(model: Mapping[str, Any]) -> float:
    score = model["final_score"]
    return float(score["value"] or 0) if score else -1.0


def names(result: Mapping[str, Any]) -> dict[str, str]:
    """What each model is called, by its alias: its display name, with the alias where two share it.

    >>> names({"models": [{"alias": "a", "display_name": "A"}, {"alias": "b", "display_name": None}]})
    {'a': 'A', 'b': 'b'}
    """
    shown = {model["alias"]: model["display_name"] or model["alias"] for model in result["models"]}
    counts = Counter(shown.values())
    return {alias: name if counts[name] == 1 else f"{name} ({alias})" for alias, name in shown.items()}


def outcomes(model: Mapping[str, Any]) -> dict[str, int]:
    """How a model's samples ended, over all of its tasks."""
    tasks = model["tasks"].values()
    return {one: sum(task["outcomes"].get(one, 0) for task in tasks) for one in OUTCOMES}


def share(counts: Mapping[str, int], outcome: str) -> float:
    """The percentage of an outcome.

    >>> share({"right": 3, "wrong": 1}, "right")
    75.0
    """
    total = sum(counts.values())
    return 100 * counts.get(outcome, 0) / total if total else 0.0


def cost(model: Mapping[str, Any], figure: str) -> float | None:
    """One of a model's figures of cost, averaged over its tasks: each weighs as much as it has samples.

    `tokens_per_second` is all tokens, of prompts and answers, by the time that they took.
    """
    tasks = [task for task in model["tasks"].values() if task[figure] is not None and task["samples"]]
    if figure == "tokens_per_second":
        counts = [(task["prompt_tokens"] + task["completion_tokens"], task[figure]) for task in tasks]
        spent = sum(tokens / rate for tokens, rate in counts if rate)
        return sum(tokens for tokens, rate in counts if rate) / spent if spent else None
    samples = sum(task["samples"] for task in tasks)
    return sum(task[figure] * task["samples"] for task in tasks) / samples if samples else None


def ran(models: Iterable[Mapping[str, Any]], task: str) -> list[Mapping[str, Any]]:
    """The models that have a score on a task, by their rank there, then by their score."""
    found = [model for model in models if task in model["tasks"]]

    def place(model: Mapping[str, Any]) -> tuple[float, float]:
        one = model["tasks"][task]
        return one["rank"] or _LAST, -((one["score"] or {}).get("value") or 0)

    return sorted(found, key=place)


def compared(
    models: Iterable[Mapping[str, Any]], comparisons: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The models that were compared with another, in their own order."""
    found = {one[side] for one in comparisons for side in ("a", "b")}
    return [model for model in models if model["alias"] in found]


def fields(models: Iterable[Mapping[str, Any]], task: str) -> list[str]:
    """The fields of a task's answers, in the order in which they come."""
    return list(dict.fromkeys(name for model in models for name in model["tasks"][task]["parts"]))


def verdict(comparison: Mapping[str, Any]) -> str:
    """What a comparison says of its first model.

    >>> verdict({"told_apart": True, "difference": -0.2}), verdict({"told_apart": False, "difference": 0.1})
    ('worse', 'not told apart')
    """
    if not comparison["told_apart"]:
        return "not told apart"
    return "better" if (comparison["difference"] or 0) > 0 else "worse"


def comparison(comparisons: Iterable[Mapping[str, Any]], first: str, second: str) -> dict[str, Any] | None:
    """The test of two models, as of the first against the second; None where there is none."""
    for one in comparisons:
        if (one["a"], one["b"]) == (first, second):
            return dict(one)
        if (one["b"], one["a"]) == (first, second):
            flipped = {
                "difference": _minus(one["difference"]),
                "low": _minus(one["high"]),
                "high": _minus(one["low"]),
            }
            return {**one, "a": first, "b": second, **flipped}
    return None


def _minus(value: float | None) -> float | None:
    return None if value is None else 0.0 - value
