"""Markdown: the tables of a benchmark's result, for a README, a pull request or a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from modelyard.bench.outcome import OUTCOMES
from modelyard.bench.report import figures, notes, standings

_SPECIAL = re.compile(r"([\\`*\[\]|~#])|(?<![^\W_])(_)|(_)(?![^\W_])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def render_markdown(result: Mapping[str, Any]) -> str:
    """The report as Markdown: ranks, scores with intervals, outcomes, costs, comparisons, and how it was made.

    Args:
        result: what `BenchmarkResult.to_dict()` gives, or the JSON of it.

    Raises:
        InvalidArgumentError: the result has another format than this modelyard reads.
    """
    standings.check_format(result)
    head = figures.clean({key: given for key, given in result.items() if key != "samples"})
    names = standings.names(head)
    parts = [
        f"# {escape(head['run']['name'])}",
        escape(head["run"]["description"]),
        f"{notes.extent(head, len(result.get('samples', ())))}.",
        *_leaderboard(head, names),
        *(part for task in head["tasks"] for part in _task(task, head["models"], names)),
        *_made(head, names),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: object) -> str:
    """Text on one line in which nothing is Markdown or HTML.

    >>> print(escape("a|b <i> *c* eps_basic"), escape(1))
    a\\|b &lt;i&gt; \\*c\\* eps_basic 1
    """
    line = re.sub("[&<>]", lambda one: _ENTITIES[one[0]], " ".join(str(text).split()))
    return _SPECIAL.sub(r"\\\g<0>", line)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int) -> str:
    """A table; the first columns are words, the others figures. What it is given is escaped already."""
    rules = ["---" if at < left else "---:" for at in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rules, *rows))


def _estimate(score: Mapping[str, Any] | None) -> str:
    if not score or score["value"] is None:
        return figures.MISSING
    return f"{figures.score(score['value'])} ({figures.interval(score['low'], score['high'])})"


def _counts(found: Mapping[str, int]) -> list[str]:
    return [figures.number(found.get(one, 0)) for one in OUTCOMES]


def _leaderboard(head: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    found = standings.groups(head["models"])
    models = [model for group in found for model in group.models]
    yield "## Leaderboard"
    titles = [escape(task["title"]) for task in head["tasks"]]
    scores = [
        [
            figures.MISSING if model["rank"] is None else str(model["rank"]),
            escape(names[model["alias"]]),
            _estimate(model["final_score"]),
            *(_estimate(model["tasks"].get(task["name"], {}).get("score")) for task in head["tasks"]),
        ]
        for model in models
    ]
    yield _table(["Rank", "Model", "Final score", *titles], scores, left=2)
    tied = [f"{group.places} cannot be told apart" for group in found if group.tied]
    yield " ".join([*(f"{one}." for one in tied), notes.final_score(head), notes.ranks(models)])
    yield from (line for model in models for line in _lacking(model, escape(names[model["alias"]])))
    if head.get("comparisons") and len(head["tasks"]) > 1:
        yield "### Which can be told apart"
        yield _pairs(head["comparisons"], names)
        yield escape(notes.pairs(head["comparisons"]))
    ran = [model for model in models if model["tasks"]]
    if ran:
        yield "## Outcomes and costs"
        yield _table(
            ["Model", *OUTCOMES, "Time a sample", "Tokens/s", "Peak memory", "Loading"],
            (
                [escape(names[model["alias"]]), *_counts(standings.outcomes(model)), *_costs(model)]
                for model in ran
            ),
            left=1,
        )
        yield notes.SPEED


def _lacking(model: Mapping[str, Any], name: str) -> Iterator[str]:
    """What a model did not do, and why."""
    if model["error"]:
        what = "stopped early" if model["tasks"] else "could not be run"
        yield f"**{name}** {what}: {escape(model['error'])}"
    for task, why in model.get("skipped", {}).items():
        yield f"**{name}** did not run {escape(task)}: {escape(why)}"
    for task, found in model["tasks"].items():
        if found.get("missing"):
            yield f"**{name}** has no answer to {notes.plural(found['missing'], 'sample')} of {escape(task)}."


def _costs(model: Mapping[str, Any]) -> list[str]:
    return [
        figures.seconds(standings.cost(model, "seconds_per_sample")),
        figures.number(standings.cost(model, "tokens_per_second")),
        figures.size(model["peak_memory"]),
        figures.seconds(model["load_seconds"]),
    ]


def _task(
    task: Mapping[str, Any], models: Sequence[Mapping[str, Any]], names: Mapping[str, str]
) -> Iterator[str]:
    yield f"## {escape(task['title'])}"
    yield escape(task["about"])
    yield _facts(task)
    ran = standings.ran(models, task["name"])
    if not ran:
        yield "No model ran this task."
        return
    yield _table(
        ["Rank", "Model", "Score", *OUTCOMES, "Time a sample", "Tokens/s", "Tokens a sample"],
        (_scored(model["tasks"][task["name"]], escape(names[model["alias"]])) for model in ran),
        left=2,
    )
    yield "\n".join(
        f"- {escape(names[model['alias']])}: {notes.drift(drift)}"
        for model in ran
        if (drift := model["tasks"][task["name"]]["drift"]) and drift["samples"]
    )
    fields = standings.fields(ran, task["name"])
    if fields:
        yield "### Fields"
        yield _table(
            ["Field", *(escape(names[model["alias"]]) for model in ran)],
            (
                [escape(one), *(_part(model["tasks"][task["name"]]["parts"].get(one)) for model in ran)]
                for one in fields
            ),
            left=1,
        )
    if task["comparisons"]:
        yield "### Which can be told apart"
        yield _pairs(task["comparisons"], names)
        yield escape(notes.pairs(task["comparisons"], task["smallest_difference"]))


def _facts(task: Mapping[str, Any]) -> str:
    extent = f"{notes.plural(task['samples'], 'sample')} of {notes.plural(task['documents'], 'document')}"
    facts = {
        "Data": extent,
        "Kind": task["kind"],
        "Weight": figures.value(task["weight"]),
        "Smallest difference to be seen": figures.score(task["smallest_difference"]),
        "Source": task["source"] or figures.MISSING,
        "Licence": task["licence"] or figures.MISSING,
    }
    return "\n".join(f"- {name}: {escape(given)}" for name, given in facts.items())


def _scored(found: Mapping[str, Any], name: str) -> list[str]:
    return [
        figures.MISSING if found["rank"] is None else str(found["rank"]),
        name,
        _estimate(found["score"]),
        *_counts(found["outcomes"]),
        figures.seconds(found["seconds_per_sample"]),
        figures.number(found["tokens_per_second"]),
        figures.number(found["tokens_per_sample"]),
    ]


def _part(found: Mapping[str, int] | None) -> str:
    if not found:
        return figures.MISSING
    return f"{figures.number(found.get('right', 0))} of {figures.number(sum(found.values()))}"


def _pairs(comparisons: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> str:
    rows = (
        [
            f"{escape(names[one['a']])} less {escape(names[one['b']])}",
            standings.verdict(one),
            figures.signed(one["difference"]),
            figures.interval(one["low"], one["high"]),
            figures.p_value(one["p_holm"]),
        ]
        for one in comparisons
    )
    return _table(["Pair", "The first is", "Difference", "Interval", "p (Holm)"], rows, left=2)


def _made(head: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    run = head["run"]
    yield "## How it was made"
    yield escape(
        f"modelyard {run['modelyard']}, {run['created']}; {notes.machine(run)}; {notes.conduct(run)}."
    )
    yield escape(notes.methods(head["models"]))
    columns = ("model", "source", "revision", "engine", "engine_version", "precision", "adapter")
    known = [model for model in head["models"] if model["fingerprint"]]
    if known:
        rows = (
            [
                escape(names[model["alias"]]),
                *(escape(figures.value(model["fingerprint"][one])) for one in columns),
            ]
            for model in known
        )
        head_row = ["Name", *(one.replace("_", " ").capitalize() for one in columns)]
        yield _table(head_row, rows, left=len(head_row))
