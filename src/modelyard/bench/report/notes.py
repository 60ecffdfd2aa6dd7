"""Notes: what a report says in sentences, on the page as in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from modelyard.bench.report import figures


def plural(count: int, noun: str) -> str:
    """A count and its noun.

    >>> plural(1, "sample"), plural(1200, "sample")
    ('1 sample', '1,200 samples')
    """
    return f"{figures.number(count)} {noun}{'' if count == 1 else 's'}"


def extent(result: Mapping[str, Any], samples: int) -> str:
    """How much was measured."""
    run = result["run"]
    models, tasks = plural(len(result["models"]), "model"), plural(len(result["tasks"]), "task")
    limit = f"; {plural(run['limit'], 'sample')} of each task, spread over all" if run["limit"] else ""
    return f"{models}, {tasks}, {plural(samples, 'answer')}, {level(run)} intervals{limit}"


def level(run: Mapping[str, Any]) -> str:
    """The level of the intervals.

    >>> level({"level": 0.95})
    '95 %'
    """
    return f"{100 * run['level']:g} %"


def machine(run: Mapping[str, Any]) -> str:
    """What it ran on.

    >>> machine({"machine": {"cpu": "Xeon", "cores": 2, "memory": 8_000_000_000}})
    'Xeon, 2 cores, 8.0 GB of memory'
    """
    found = run["machine"]
    said = [found.get("cpu"), plural(found["cores"], "core") if found.get("cores") else None]
    if found.get("memory"):
        said.append(f"{figures.size(found['memory'])} of memory")
    if found.get("gpu"):
        said.append(f"{found['gpu']} with {figures.size(found.get('gpu_memory'))} of memory")
    return ", ".join(one for one in said if one)


def conduct(run: Mapping[str, Any]) -> str:
    """How the models were asked.

    >>> conduct({"seed": 0, "repeats": 1, "exact": False})
    'seed 0, each sample asked once, several at a time'
    """
    asked = "once" if run["repeats"] == 1 else f"{run['repeats']} times"
    return f"seed {run['seed']}, each sample asked {asked}, {'one' if run['exact'] else 'several'} at a time"


def final_score(result: Mapping[str, Any]) -> str:
    """How the final score is computed."""
    if result["score"] == "legacy":
        return (
            "The final score is 0.9 × quality + 0.1 × efficiency, the formula named legacy; efficiency is the time "
            "of the fastest model over a model's own."
        )
    weighted = len({task["weight"] for task in result["tasks"]}) > 1
    return f"The final score is the {'weighted ' if weighted else ''}mean of the tasks' scores."


def ranks(models: Iterable[Mapping[str, Any]]) -> str:
    """How models come to their ranks."""
    said = "Models that cannot be told apart from the best of their group share its rank."
    if any(model["rank"] is None and model["tasks"] for model in models):
        return f"{said} A model that did not answer every task that others did has none."
    return said


SPEED = (
    "Tokens are those of prompts and answers together; times are of the wall clock, with as many requests at once "
    "as there were."
)
"""What the figures of speed count."""


def methods(models: Iterable[Mapping[str, Any]]) -> str:
    """How the intervals of the tasks' scores were computed; empty where nothing was scored."""
    scores = (task["score"] for model in models for task in model["tasks"].values())
    found = dict.fromkeys(str(one["method"]) for one in scores if one)
    return f"Intervals of the tasks' scores: {'; '.join(found)}." if found else ""


def pairs(comparisons: Iterable[Mapping[str, Any]], smallest: float | None = None) -> str:
    """How pairs of models were compared, and the smallest difference that such a comparison shows."""
    tests = ", ".join(dict.fromkeys(str(one["test"]) for one in comparisons))
    said = (
        f"Each difference of two scores comes with its interval and the p-value of a paired test ({tests}), "
        "corrected by Holm's method for all pairs in the table."
    )
    if smallest is None:
        return said
    return (
        f"{said} A true difference below {figures.score(smallest)} would mostly go unseen in so few samples."
    )


def drift(found: Mapping[str, Any]) -> str:
    """What changed when samples were asked again, each alone.

    >>> drift({"samples": 9, "changed_answers": 2, "changed_outcomes": 1, "largest_logprob_difference": None})
    'of 9 samples asked again alone, 2 had another answer and 1 another outcome'
    """
    said = (
        f"of {plural(found['samples'], 'sample')} asked again alone, {figures.number(found['changed_answers'])} had "
        f"another answer and {figures.number(found['changed_outcomes'])} another outcome"
    )
    largest = found["largest_logprob_difference"]
    return said if largest is None else f"{said}; logprobs moved by up to {figures.number(largest)}"
