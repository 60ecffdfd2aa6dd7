"""The page: a benchmark's result as one HTML file, with every answer in it.

It loads nothing from outside, and everything that comes from a model or a document is only ever text.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.bench.outcome import OUTCOMES
from modelyard.bench.report import figures, notes, standings
from modelyard.bench.report.plot import Plot, Point, scatter
from modelyard.bench.report.samples import pack
from modelyard.extraction.pages.markup import digest, environment, join_scripts, script_json, trusted

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent
_SCRIPTS = ("dom.js", "store.js", "matching.js", "list.js", "tokens.js", "detail.js", "page.js")
_COLOURS = 6  # in base.css
_WIDE, _NARROW = (548.0, 340.0), (356.0, 320.0)  # a plot on a desk and on a phone


@dataclass(slots=True, frozen=True)
class Chart:
    """A plot in its two sizes, and the models that have no place in it."""

    sizes: tuple[tuple[str, Plot], ...]
    title: str
    missing: tuple[str, ...]


def render_page(result: Mapping[str, Any]) -> str:
    """One self-contained HTML page of a benchmark's result.

    Args:
        result: what `BenchmarkResult.to_dict()` gives, or the JSON of it.

    Raises:
        InvalidArgumentError: the result has another format than this modelyard reads.
    """
    standings.check_format(result)
    head = figures.clean({key: given for key, given in result.items() if key != "samples"})
    names = standings.names(head)
    colours = {alias: at % _COLOURS for at, alias in enumerate(names)}
    groups = standings.groups(head["models"])
    packed = pack(result)
    script = join_scripts(_FOLDER, _SCRIPTS)
    return (
        _environment()
        .get_template("page.html")
        .render(
            result=head,
            run=head["run"],
            models=head["models"],
            tasks=head["tasks"],
            names=names,
            colours=colours,
            groups=groups,
            ordered=[model for group in groups for model in group.models],
            final_axis=_final_axis(head["models"]),
            charts=_charts(head["models"], names, colours),
            created=_date(head["run"]["created"]),
            samples=len(result.get("samples", ())),
            words=trusted(script_json(_words(head, names, colours))),
            index=trusted(packed.index),
            blocks=packed.blocks,
            script=trusted(script),
            script_hash=digest(script),
        )
    )


def _words(head: Mapping[str, Any], names: Mapping[str, str], colours: Mapping[str, int]) -> dict[str, Any]:
    """What the script calls models, tasks and outcomes, each by its number."""
    return {
        "models": [{"alias": alias, "name": name, "colour": colours[alias]} for alias, name in names.items()],
        "tasks": [{"name": task["name"], "title": task["title"]} for task in head["tasks"]],
        "outcomes": [{"name": one, "sign": standings.SIGNS[one]} for one in OUTCOMES],
    }


def _final_axis(models: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """The ends of the axis of final scores: 0 and 1, unless one lies outside."""
    ends = [score[end] for model in models if (score := model["final_score"]) for end in ("low", "high")]
    known = [one for one in ends if one is not None]
    return min([0.0, *known]), max([1.0, *known])


def _charts(
    models: Sequence[Mapping[str, Any]], names: Mapping[str, str], colours: Mapping[str, int]
) -> tuple[Chart, ...]:
    """Quality against time and against memory, of the models that have a score, in the order of their ranks."""
    ordered = [model for group in standings.groups(models) for model in group.models]
    scored = [one for one in ordered if one["final_score"] and one["final_score"]["value"] is not None]
    times = {one["alias"]: standings.cost(one, "seconds_per_sample") for one in scored}
    memory = {one["alias"]: one["peak_memory"] for one in scored}
    return (
        _chart(scored, times, "time a sample", figures.seconds, names, colours),
        _chart(scored, memory, "peak memory", figures.size, names, colours),
    )


def _chart(
    models: Sequence[Mapping[str, Any]],
    costs: Mapping[str, float | None],
    title: str,
    say: Callable[[float], str],
    names: Mapping[str, str],
    colours: Mapping[str, int],
) -> Chart:
    points: list[Point] = []
    for model in models:
        alias, final, cost = model["alias"], model["final_score"], costs[model["alias"]]
        if cost is None or cost <= 0:
            continue
        low, high = (final["value"] if final[end] is None else final[end] for end in ("low", "high"))
        points.append(Point(names[alias], colours[alias], cost, final["value"], low, high))
    missing = tuple(names[model["alias"]] for model in models if not costs[model["alias"]])
    if not points:
        return Chart((), title, missing)
    sizes = (("wide", _WIDE), ("narrow", _NARROW))
    return Chart(
        tuple((name, scatter(points, title, say, size=size)) for name, size in sizes), title, missing
    )


def _date(created: str) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(created)
    except ValueError:
        return None  # shown as it is written


def _along(given: float | None, axis: tuple[float, float]) -> float:
    """How far along an axis a value lies, in percent.

    >>> _along(0.25, (0.0, 1.0))
    25.0
    """
    low, high = axis
    return 0.0 if given is None else round(100 * (min(max(given, low), high) - low) / (high - low), 2)


@functools.cache
def _environment() -> Environment:
    found = environment(_FOLDER)
    found.globals.update(
        figures=figures,
        notes=notes,
        standings=standings,
        outcome_names=OUTCOMES,
        along=_along,
    )
    return found
