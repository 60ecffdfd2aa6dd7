"""Result: what a run has found, worked out from its kept rows: scores, intervals, tests, ranks, cost."""

from __future__ import annotations

import itertools
import math
import statistics as plain
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import modelyard
from modelyard.bench.outcome import OUTCOMES, Outcome, Row
from modelyard.bench.statistics import (
    Comparison,
    Estimate,
    compare,
    compare_weighted,
    estimate,
    holm,
    legacy_quality,
    legacy_score,
    rank_groups,
    smallest_difference,
    weighted,
)
from modelyard.bench.store import Key, RunRecord, Store

ScoreKind = Literal["mean", "legacy"]
FORMAT = 1


@dataclass(slots=True, frozen=True)
class TaskMetrics:
    """One model on one task.

    Attributes:
        score: the task's own figure with its interval.
        rank: among the models of the run; those that cannot be told apart share one.
        outcomes: how many samples ended how.
        parts: of an answer with several fields, each field's outcomes.
        seconds_per_sample: of the wall clock, with as many in flight as there were.
        tokens_per_second: of prompts and answers together.
        drift: how far batching moved the answers; None where it was not looked at.
    """

    score: Estimate
    rank: int
    outcomes: Mapping[Outcome, int]
    parts: Mapping[str, Mapping[Outcome, int]]
    samples: int
    missing: int
    seconds_per_sample: float
    tokens_per_sample: float
    tokens_per_second: float
    prompt_tokens: int
    completion_tokens: int
    drift: Mapping[str, Any] | None = None


@dataclass(slots=True, frozen=True)
class ModelMetrics:
    """One model over all tasks.

    Attributes:
        final_score: the weighted mean of its tasks' scores; not a number where it answered nothing.
        final: the same with its interval; None where there is none.
        rank: by the final score; models that cannot be told apart share one. None for a model that answered not
            all of the tasks that the others did: its final score is over other tasks than theirs.
        skipped: tasks that it could not be asked, and why.
        error: why it did not come to its end.
    """

    alias: str
    display_name: str
    final_score: float
    final: Estimate | None
    rank: int | None
    tasks: Mapping[str, TaskMetrics]
    fingerprint: Mapping[str, Any] | None
    load_seconds: float | None
    peak_memory: int | None
    seconds: float
    skipped: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None


@dataclass(slots=True, frozen=True)
class Paired:
    """Two models on the samples that both have answered; `p_holm` is corrected for the task's other pairs."""

    a: str
    b: str
    comparison: Comparison
    p_holm: float
    told_apart: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        one = self.comparison
        return {
            "a": self.a, "b": self.b, "difference": one.difference, "low": one.low, "high": one.high, "p": one.p,
            "p_holm": self.p_holm, "test": one.test, "samples": one.samples, "told_apart": self.told_apart,
        }  # fmt: skip


@dataclass(slots=True, frozen=True)
class TaskReport:
    """What a run says about a task itself.

    Attributes:
        about: how its score is computed.
        smallest_difference: the smallest true difference between two models that these samples would show with
            power 0.8; the smallest over the pairs of models, or for the worst case where there is one model.
    """

    name: str
    title: str
    kind: str
    about: str
    weight: float
    tier: int
    samples: int
    documents: int
    source: str
    licence: str
    fingerprint: str
    smallest_difference: float | None
    comparisons: tuple[Paired, ...]


@dataclass(slots=True, frozen=True)
class BenchmarkResult:
    """A run: its models, its tasks, and every sample.

    Attributes:
        model_metrics: by alias, the best first; those without a rank come last.
        rows: the answers, by model and task.
    """

    name: str
    description: str
    created: datetime
    score: ScoreKind
    level: float
    settings: Mapping[str, Any]
    model_metrics: Mapping[str, ModelMetrics]
    tasks: Mapping[str, TaskReport]
    final_comparisons: tuple[Paired, ...]
    rows: Mapping[tuple[str, str], Sequence[Row]] = field(repr=False)

    def to_dict(self, *, samples: bool = True) -> dict[str, Any]:
        """Plain data, ready for `json.dumps`; with every sample unless told otherwise."""
        settings = {key: self.settings.get(key) for key in ("machine", "seed", "repeats", "exact", "limit")}
        found: dict[str, Any] = {
            "format": FORMAT,
            "run": {
                "name": self.name, "description": self.description, "created": self.created.isoformat(),
                "modelyard": modelyard.__version__, **settings, "level": self.level,
            },
            "score": self.score,
            "models": [_model(one) for one in self.model_metrics.values()],
            "tasks": [
                {**_plain(one), "comparisons": [pair.to_dict() for pair in one.comparisons]}
                for one in self.tasks.values()
            ],
            "comparisons": [pair.to_dict() for pair in self.final_comparisons],
        }  # fmt: skip
        if samples:
            found["samples"] = [
                _sample(model, task, row) for (model, task), rows in self.rows.items() for row in rows
            ]
        return found


def collect(store: Store, run: str, *, score: ScoreKind = "mean", level: float = 0.95) -> BenchmarkResult:
    """Works a run's result out of what the store has of it.

    Raises:
        InvalidArgumentError: there is no such run, or the level is no level.
    """
    record = store.run(run)
    rows = _rows(store, record)
    scores = {task: _scores(rows, record.models, task) for task in record.tasks}
    pairs = {task: _paired(scores[task], level) for task in record.tasks}
    ranks = {
        task: _ranks({m: _mean(s) for m, s in scores[task].items()}, pairs[task]) for task in record.tasks
    }
    tasks = {
        name: _task_report(name, key, about, scores[name], pairs[name], level)
        for name, (key, about) in record.tasks.items()
    }
    metrics = {name: _task_metrics(store, record, rows, ranks, name, level) for name in record.models}
    overall, final_pairs = _overall(record, scores, metrics, score, level)
    models = [_model_metrics(store, record, name, metrics[name], overall) for name in record.models]
    models.sort(key=lambda one: (one.rank is None, -one.final_score if one.final else 0.0))
    return BenchmarkResult(
        name=run,
        description=record.data.get("description", ""),
        created=datetime.fromtimestamp(record.created, UTC),
        score=score,
        level=level,
        settings=record.data,
        model_metrics={one.alias: one for one in models},
        tasks=tasks,
        final_comparisons=final_pairs,
        rows=rows,
    )


# -- scores ------------------------------------------------------------------------------------------------------

_Scores = Mapping[tuple[str, int], tuple[float, str]]
"""Score and document, by sample and repeat."""


def _rows(store: Store, record: RunRecord) -> dict[tuple[str, str], list[Row]]:
    found = {}
    for alias, (model, _) in record.models.items():
        for name, (task, about) in record.tasks.items():
            if model is None:
                continue
            key = Key(model, task, record.data["asking"])
            rows = store.rows(key, [(one, two) for one, two in about["samples"]], record.data["repeats"])
            if rows:
                found[alias, name] = rows
    return found


def _scores(
    rows: Mapping[tuple[str, str], Sequence[Row]], models: Mapping[str, Any], task: str
) -> dict[str, _Scores]:
    return {
        model: {(row.sample, row.repeat): (row.score, row.document) for row in rows[model, task]}
        for model in models
        if (model, task) in rows
    }


def _mean(scores: _Scores) -> float:
    return plain.fmean(score for score, _ in scores.values())


def _common(one: _Scores, two: _Scores) -> tuple[list[float], list[float], list[str]]:
    """The scores of two models on the samples that both have."""
    shared = [key for key in one if key in two]
    return [one[key][0] for key in shared], [two[key][0] for key in shared], [one[key][1] for key in shared]


def _paired(scores: Mapping[str, _Scores], level: float) -> tuple[Paired, ...]:
    names, made = [], []
    for a, b in itertools.combinations(scores, 2):
        first, second, documents = _common(scores[a], scores[b])
        if first:
            names.append((a, b))
            made.append(compare(first, second, documents, level=level))
    return _corrected(names, made, level)


def _corrected(
    names: Sequence[tuple[str, str]], made: Sequence[Comparison], level: float
) -> tuple[Paired, ...]:
    adjusted = holm([one.p for one in made])
    return tuple(
        Paired(a, b, one, p, p < 1 - level) for (a, b), one, p in zip(names, made, adjusted, strict=True)
    )


def _ranks(values: Mapping[str, float], pairs: Sequence[Paired]) -> dict[str, int]:
    names = list(values)
    apart = {frozenset((one.a, one.b)) for one in pairs if one.told_apart}
    ranks = rank_groups(list(values.values()), lambda one, two: frozenset((names[one], names[two])) in apart)
    return dict(zip(names, ranks, strict=True))


# -- tasks -------------------------------------------------------------------------------------------------------


def _task_report(
    name: str,
    key: str,
    about: Mapping[str, Any],
    scores: Mapping[str, _Scores],
    pairs: tuple[Paired, ...],
    level: float,
) -> TaskReport:
    documents = {document for one in scores.values() for _, document in one.values()}
    kept = ("title", "kind", "about", "weight", "tier", "source", "licence")
    return TaskReport(
        name=name,
        **{one: about[one] for one in kept},
        samples=len(about["samples"]),
        documents=len(documents),
        fingerprint=key,
        smallest_difference=_smallest(scores, level),
        comparisons=pairs,
    )


def _smallest(scores: Mapping[str, _Scores], level: float) -> float | None:
    found = []
    for a, b in itertools.combinations(scores.values(), 2):
        first, second, documents = _common(a, b)
        if first:
            differences = [one - two for one, two in zip(first, second, strict=True)]
            found.append(smallest_difference(differences, documents, level=level))
    if not found:
        only = next(iter(scores.values()), None)
        if only is None:
            return None
        return smallest_difference(None, [document for _, document in only.values()], level=level)
    return min((one for one in found if one is not None), default=None)


def _task_metrics(
    store: Store,
    record: RunRecord,
    rows: Mapping[tuple[str, str], Sequence[Row]],
    ranks: Mapping[str, Mapping[str, int]],
    model: str,
    level: float,
) -> dict[str, TaskMetrics]:
    key, about = record.models[model]
    found = {}
    for name, (task, description) in record.tasks.items():
        some = rows.get((model, name))
        if not some or key is None:
            continue
        wanted = len(description["samples"]) * record.data["repeats"]
        busy = about.get("busy", {}).get(name)
        seconds = busy[0] / busy[1] if busy else plain.fmean(row.seconds for row in some)
        prompt, made = sum(row.prompt_tokens for row in some), sum(row.completion_tokens for row in some)
        tokens = (prompt + made) / len(some)
        found[name] = TaskMetrics(
            score=estimate([row.score for row in some], [row.document for row in some], level=level),
            rank=ranks[name][model],
            outcomes=_counted([row.outcome for row in some]),
            parts=_parts(some),
            samples=len(some),
            missing=wanted - len(some),
            seconds_per_sample=seconds,
            tokens_per_sample=tokens,
            tokens_per_second=tokens / seconds if seconds else 0.0,
            prompt_tokens=prompt,
            completion_tokens=made,
            drift=store.drift(Key(key, task, record.data["asking"])),
        )
    return found


def _counted(outcomes: Sequence[Outcome]) -> dict[Outcome, int]:
    counts = Counter(outcomes)
    return {outcome: counts[outcome] for outcome in OUTCOMES}


def _parts(rows: Sequence[Row]) -> dict[str, dict[Outcome, int]]:
    names = dict.fromkeys(name for row in rows for name in row.judgement.parts)
    return {
        name: _counted([row.judgement.parts[name] for row in rows if name in row.judgement.parts])
        for name in names
    }


# -- all tasks together --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Overall:
    estimates: dict[str, Estimate]
    ranks: dict[str, int]


def _overall(
    record: RunRecord,
    scores: Mapping[str, Mapping[str, _Scores]],
    metrics: Mapping[str, Mapping[str, TaskMetrics]],
    score: ScoreKind,
    level: float,
) -> tuple[_Overall, tuple[Paired, ...]]:
    weights = {name: float(about["weight"]) for name, (_, about) in record.tasks.items()}
    estimates = {}
    for model, tasks in metrics.items():
        if tasks:
            parts = [(weights[name], *_columns(scores[name][model])) for name in tasks]
            estimates[model] = weighted(parts, level=level)
    whole = _comparable(metrics)
    names, made = [], []
    for a, b in itertools.combinations(whole, 2):
        columns = [(weights[name], *_common(scores[name][a], scores[name][b])) for name in metrics[a]]
        if all(first for _, first, _, _ in columns):
            names.append((a, b))
            made.append(compare_weighted(columns, level=level))
    pairs = _corrected(names, made, level)
    if score == "legacy":
        estimates = _legacy(record, metrics, estimates)
    ranks = _ranks({model: estimates[model].value for model in whole}, pairs)
    return _Overall(estimates, ranks), pairs


def _columns(scores: _Scores) -> tuple[list[float], list[str]]:
    return [score for score, _ in scores.values()], [document for _, document in scores.values()]


def _comparable(metrics: Mapping[str, Mapping[str, TaskMetrics]]) -> list[str]:
    """The models that answered every task that any of them did."""
    every = {name for tasks in metrics.values() for name in tasks}
    return [model for model, tasks in metrics.items() if tasks and set(tasks) == every]


def _legacy(
    record: RunRecord, metrics: Mapping[str, Mapping[str, TaskMetrics]], estimates: Mapping[str, Estimate]
) -> dict[str, Estimate]:
    """0.9 of quality and 0.1 of efficiency.

    Quality is the mean of the tasks in each tier, the tiers weighted 0.3, 0.4 and 0.3. Efficiency is the time of
    the run's fastest model over one's own, the mean over the tasks: 1 for the fastest.
    """
    fastest: dict[str, float] = {}
    for tasks in metrics.values():
        for name, one in tasks.items():
            fastest[name] = min(fastest.get(name, math.inf), one.seconds_per_sample)
    found = {}
    for model, tasks in metrics.items():
        if not tasks:
            continue
        tiers: dict[int, list[float]] = {}
        for name, one in tasks.items():
            tiers.setdefault(record.tasks[name][1]["tier"], []).append(one.score.value)
        quality = legacy_quality({tier: plain.fmean(values) for tier, values in tiers.items()})
        shares = [
            fastest[name] / one.seconds_per_sample if one.seconds_per_sample else 1.0
            for name, one in tasks.items()
        ]
        value = legacy_score(quality, plain.fmean(shares))
        before = estimates[model]
        found[model] = Estimate(
            value,
            max(0.0, value - 0.9 * (before.value - before.low)),
            min(1.0, value + 0.9 * (before.high - before.value)),
            before.samples,
            before.clusters,
            f"legacy: {before.method} of the quality",
        )
    return found


def _model_metrics(
    store: Store, record: RunRecord, name: str, tasks: Mapping[str, TaskMetrics], overall: _Overall
) -> ModelMetrics:
    key, about = record.models[name]
    final = overall.estimates.get(name)
    return ModelMetrics(
        alias=name,
        display_name=about.get("display_name") or name,
        final_score=final.value if final else math.nan,
        final=final,
        rank=overall.ranks.get(name),
        tasks=tasks,
        fingerprint=store.model(key) if key else None,
        load_seconds=about.get("load_seconds"),
        peak_memory=about.get("peak_memory"),
        seconds=about.get("seconds", 0.0),
        skipped=about.get("skipped", {}),
        error=about.get("error"),
    )


# -- plain data ----------------------------------------------------------------------------------------------------


def _plain(report: TaskReport) -> dict[str, Any]:
    fields = asdict(report)
    del fields["comparisons"]
    return fields


def _model(one: ModelMetrics) -> dict[str, Any]:
    final = one.final
    return {
        "alias": one.alias,
        "display_name": one.display_name,
        "rank": one.rank,
        "final_score": None
        if final is None
        else {"value": final.value, "low": final.low, "high": final.high},
        "fingerprint": one.fingerprint,
        "error": one.error,
        "skipped": dict(one.skipped),
        "load_seconds": one.load_seconds,
        "peak_memory": one.peak_memory,
        "seconds": one.seconds,
        "tasks": {name: asdict(task) for name, task in one.tasks.items()},
    }


def _sample(model: str, task: str, row: Row) -> dict[str, Any]:
    judgement = row.judgement
    return {
        "model": model, "task": task, "sample": row.sample, "document": row.document, "repeat": row.repeat,
        "outcome": judgement.outcome, "score": judgement.score, "prompt": row.prompt, "answer": row.answer,
        "expected": row.expected, "found": judgement.found, "reason": judgement.reason,
        "parts": dict(judgement.parts), "tokens": [list(one) for one in row.tokens], "seconds": row.seconds,
        "warnings": list(row.warnings),
    }  # fmt: skip
