"""Drawing: the two curves of a reviewed or labelled result, as shapes that the page draws in SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 440.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 14.0, 28.0, 44.0
_MOST_POINTS = 400  # a line through more looks no different
_LEAST, _MOST = 3.0, 6.5  # radius of a bin's point


@dataclass(slots=True, frozen=True)
class Tick:
    """A place on an axis and what it says."""

    at: float
    text: str


@dataclass(slots=True, frozen=True)
class Point:
    """A point; `title` says it in words."""

    x: float
    y: float
    radius: float
    title: str


@dataclass(slots=True, frozen=True)
class Drawing:
    """All there is to draw; `line` and `even` are the points of a polyline."""

    title: str
    summary: str
    across: str
    up: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    line: str
    even: str
    points: tuple[Point, ...]
    width: float = WIDTH
    height: float = HEIGHT
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    bottom: float = HEIGHT - _BOTTOM


def draw_coverage(curve: dict[str, Any]) -> Drawing:
    """Accuracy of the accepted values against their share.

    Args:
        curve: `coverage`, `accuracy` and `threshold`, as `coverage_curve` gives them.

    >>> draw_coverage({"coverage": [0.5, 1.0], "accuracy": [1.0, 0.5], "threshold": [0.9, 0.2]}).summary
    'The surest half is right in 100 %, all values in 50 %.'
    """
    coverage, accuracy, threshold = curve["coverage"], curve["accuracy"], curve["threshold"]
    low = _floor(accuracy)
    places = [(_x(share), _y(good, low)) for share, good in zip(coverage, accuracy, strict=True)]
    half = next(at for at, share in enumerate(coverage) if share >= 0.5 - 1e-9)
    titles = [
        f"{share:.0%} accepted at confidence {least:.2f} and above: {good:.1%} right"
        for share, good, least in zip(coverage, accuracy, threshold, strict=True)
    ]
    few = len(places) <= 40
    return Drawing(
        "Coverage and accuracy",
        f"The surest half is right in {accuracy[half]:.0%}, all values in {accuracy[-1]:.0%}.".replace(
            "%", " %"
        ),
        "share of values accepted, the surest first",
        "right among them",
        _ticks(0.0, _x),
        _ticks(low, lambda value: _y(value, low)),
        _line(_thinned(places)),
        "",
        tuple(Point(*place, 2.5, title) for place, title in zip(places, titles, strict=True)) if few else (),
    )


def draw_reliability(found: dict[str, Any]) -> Drawing:
    """Accuracy against mean confidence, a point a bin; on the even line they are the same.

    Args:
        found: `bins` and `ece`, as `reliability` gives them.
    """
    bins: Sequence[dict[str, Any]] = found["bins"]
    most = max(one["count"] for one in bins)
    points = tuple(
        Point(
            _x(one["confidence"]),
            _y(one["accuracy"], 0.0),
            max(_LEAST, _MOST * (one["count"] / most) ** 0.5),
            f"confidence {one['confidence']:.2f}: {one['accuracy']:.0%} of {one['count']} right",
        )
        for one in bins
    )
    count = sum(one["count"] for one in bins)
    ece = found.get("ece")
    off = f" Mean distance (ECE) {ece:.3f}." if ece is not None else ""
    return Drawing(
        "Reliability",
        f"{count} labelled values in {len(bins)} bin{'' if len(bins) == 1 else 's'}.{off}",
        "mean confidence",
        "right",
        _ticks(0.0, _x),
        _ticks(0.0, lambda value: _y(value, 0.0)),
        _line([(one.x, one.y) for one in points]),
        _line([(_x(0.0), _y(0.0, 0.0)), (_x(1.0), _y(1.0, 0.0))]),
        points,
    )


def _floor(accuracy: Sequence[float]) -> float:
    """Where the axis of accuracy begins: a round place below the lowest."""
    least = min(accuracy)
    return next((one for one in (0.9, 0.8, 0.6, 0.5) if one <= least), 0.0)


def _x(value: float) -> float:
    return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * value, 1)


def _y(value: float, low: float) -> float:
    return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * (value - low) / (1 - low), 1)


def _ticks(low: float, place: Any) -> tuple[Tick, ...]:
    step = next(one for one in (0.02, 0.05, 0.1, 0.25) if (1 - low) / one <= 5.01)
    count = round((1 - low) / step)
    return tuple(
        Tick(place(value), f"{100 * value:.0f} %") for value in (low + at * step for at in range(count + 1))
    )


def _line(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in places)


def _thinned(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    step = max(1, len(places) // _MOST_POINTS)
    return [*places[:-1:step], places[-1]]
