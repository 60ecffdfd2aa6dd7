"""Compared: models of two runs beside each other, on the samples that both have answered."""

from __future__ import annotations

from modelyard.bench.outcome import Row
from modelyard.bench.result import Paired, collect
from modelyard.bench.statistics import compare, holm
from modelyard.bench.store import Store
from modelyard.errors import InvalidArgumentError, nearest

_Chosen = dict[str, dict[str, list[Row]]]
"""Rows by the model's label, and by task."""


def compare_runs(store: Store, first: str, second: str, *, level: float = 0.95) -> dict[str, list[Paired]]:
    """Every model of the first beside its namesake of the second, or one chosen model beside another.

    Args:
        store: that holds both.
        first: a run, or `RUN:MODEL`.
        second: another.
        level: of intervals and tests; p-values are Holm-corrected within a task.

    Returns:
        by task, the pairs.

    Raises:
        InvalidArgumentError: no such run or model, or nothing that both have answered.
    """
    one, two = _chosen(store, first), _chosen(store, second)
    pairs = _pairs(one, two)
    if not pairs:
        raise InvalidArgumentError(
            f"'{first}' and '{second}' have no model in common",
            hint="Choose the models, as in RUN:MODEL.",
        )
    found: dict[str, list[Paired]] = {}
    for task in dict.fromkeys(task for rows in one.values() for task in rows):
        made = []
        for a, b in pairs:
            shared = _shared(one[a].get(task, []), two[b].get(task, []))
            if shared:
                names = (f"{first.partition(':')[0]}: {a}", f"{second.partition(':')[0]}: {b}")
                columns = ([x.score for x, _ in shared], [y.score for _, y in shared])
                made.append((names, compare(*columns, [x.document for x, _ in shared], level=level)))
        if made:
            adjusted = holm([result.p for _, result in made])
            found[task] = [
                Paired(*names, result, p, p < 1 - level)
                for (names, result), p in zip(made, adjusted, strict=True)
            ]
    if not found:
        raise InvalidArgumentError(
            f"'{first}' and '{second}' have no samples in common",
            hint="They need a task that both were asked.",
        )
    return found


def _chosen(store: Store, wanted: str) -> _Chosen:
    names = {run.name for run in store.runs()}
    run, model = wanted, ""
    if wanted not in names and ":" in wanted:
        run, _, model = wanted.rpartition(":")
    found: _Chosen = {}
    for (alias, task), rows in collect(store, run).rows.items():
        found.setdefault(alias, {})[task] = list(rows)
    if not model:
        return found
    if model not in found:
        raise InvalidArgumentError(
            f"run '{run}' has no answers of a model '{model}'.{nearest(model, found)}",
            hint=f"It has: {', '.join(found)}.",
        )
    return {model: found[model]}


def _pairs(one: _Chosen, two: _Chosen) -> list[tuple[str, str]]:
    if len(one) == len(two) == 1:
        return [(next(iter(one)), next(iter(two)))]
    return [(model, model) for model in one if model in two]


def _shared(one: list[Row], two: list[Row]) -> list[tuple[Row, Row]]:
    """Rows of the same sample, asked with the same prompt's label: a sample that has changed is another."""
    others = {(row.sample, row.repeat): row for row in two}
    return [
        (row, others[row.sample, row.repeat])
        for row in one
        if (row.sample, row.repeat) in others and others[row.sample, row.repeat].expected == row.expected
    ]
