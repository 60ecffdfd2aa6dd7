"""Plot: quality against a cost on a logarithmic axis, as shapes that the page draws in SVG."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from modelyard.bench.report.figures import interval, score, shortened
from modelyard.bench.report.labels import NEAR, Box, place

_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 12.0, 14.0, 44.0  # around the frame, for the axes' words
_LONGEST = 24  # characters of a name
_DOT = 5.5
_FAR = 60.0  # from a point to its name: farther away, and numbers with a key are easier to read
_APART = 58.0  # between two ticks of the cost, so that their words do not touch
_DIGITS = ((1, 1.5, 2, 3, 4, 6, 8), (1, 2, 5), (1, 3), (1,))
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass(slots=True, frozen=True)
class Point:
    """One model: what it costs, how good it is, and the interval of that."""

    name: str
    colour: int
    cost: float
    value: float
    low: float
    high: float


@dataclass(slots=True, frozen=True)
class Tick:
    """A place on an axis and what it says."""

    at: float
    text: str


@dataclass(slots=True, frozen=True)
class Label:
    """A name, the box that it stands in, and the line to its point where it stands apart.

    Attributes:
        x: where the text is anchored, by its `anchor` (as in SVG): at the end that looks at its point.
    """

    text: str
    box: Box
    x: float
    anchor: str
    line: tuple[float, float] | None

    def far(self, x: float, y: float) -> bool:
        """Whether it stands so far from its point that the two are hard to bring together."""
        return self.line is not None and math.dist((x, y), self.line) > _FAR


@dataclass(slots=True, frozen=True)
class Mark:
    """A point with its whisker in the plot's own coordinates; `title` says it in words."""

    name: str
    colour: int
    x: float
    y: float
    top: float
    bottom: float
    title: str
    label: Label | None


@dataclass(slots=True, frozen=True)
class Plot:
    """All there is to draw; `numbered` where the labels are the numbers of the points, from 1."""

    width: float
    height: float
    frame: Box
    title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]
    frontier: str
    numbered: bool


def scatter(
    points: Sequence[Point], title: str, say: Callable[[float], str], *, size: tuple[float, float]
) -> Plot:
    """Where everything of a plot stands.

    Args:
        points: at least one, each with a cost above 0.
        title: of the cost.
        say: a cost in words, for the ticks and titles.
        size: width and height of the whole.

    >>> plot = scatter([Point("a", 0, 2.0, 0.5, 0.4, 0.6)], "seconds", str, size=(400, 300))
    >>> plot.marks[0].title
    'a: 0.500 (0.400–0.600), 2.0'
    """
    across, down = size
    frame = Box(_LEFT, _TOP, across - _LEFT - _RIGHT, down - _TOP - _BOTTOM)
    least, most = _costs(points)
    bottom, top = _values(points)

    def x(cost: float) -> float:
        return frame.left + frame.width * (math.log(cost) - least) / (most - least)

    def y(value: float) -> float:
        return frame.bottom - frame.height * (value - bottom) / (top - bottom)

    shapes = [(x(one.cost), y(one.value), y(one.high), y(one.low)) for one in points]
    labels, numbered = _named(points, shapes, frame)
    return Plot(
        across,
        down,
        frame,
        title,
        tuple(Tick(x(one), _tick(say(one))) for one in _cost_ticks(least, most, frame.width)),
        tuple(Tick(y(one), f"{one:.2f}") for one in _value_ticks(bottom, top, points)),
        tuple(
            Mark(point.name, point.colour, *shape, _title(point, say), label)
            for point, shape, label in zip(points, shapes, labels, strict=True)
        ),
        " ".join(f"{x(one.cost):.1f},{y(one.value):.1f}" for one in frontier(points)),
        numbered,
    )


def frontier(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in both, cheapest first.

    >>> a, b, c = Point("a", 0, 1, 0.5, 0, 1), Point("b", 0, 2, 0.4, 0, 1), Point("c", 0, 3, 0.9, 0, 1)
    >>> [one.name for one in frontier([c, b, a])]
    ['a', 'c']
    """
    best: list[Point] = []
    for one in sorted(points, key=lambda point: (point.cost, -point.value)):
        if not best or one.value > best[-1].value:
            best.append(one)
    return best


def _title(point: Point, say: Callable[[float], str]) -> str:
    return f"{point.name}: {score(point.value)} ({interval(point.low, point.high)}), {say(point.cost)}"


Shape = tuple[float, float, float, float]
"""Where a point is drawn: x, y, and the ends of its whisker."""


def _named(points: Sequence[Point], shapes: Sequence[Shape], frame: Box) -> tuple[list[Label | None], bool]:
    """The labels, and whether they are numbers: in a crowd, where names would stand far from their points."""
    names = _labels([shortened(one.name, _LONGEST) for one in points], shapes, frame)
    far = [one for one, (x, y, *_) in zip(names, shapes, strict=True) if one is None or one.far(x, y)]
    if not far:
        return names, False
    return _labels([str(at) for at in range(1, len(points) + 1)], shapes, frame), True


def _labels(texts: Sequence[str], shapes: Sequence[Shape], frame: Box) -> list[Label | None]:
    dots = [Box(x - _DOT - 1, y - _DOT - 1, 2 * _DOT + 2, 2 * _DOT + 2) for x, y, _, _ in shapes]
    whiskers = [Box(x - 2, top, 4, bottom - top) for x, _, top, bottom in shapes]
    centres = [(x, y) for x, y, _, _ in shapes]
    placed = zip(texts, place(centres, texts, dots + whiskers, frame), centres, strict=True)
    return [None if box is None else _label(text, box, *centre) for text, box, centre in placed]


def _label(text: str, box: Box, x: float, y: float) -> Label:
    end = box.nearest(x, y)
    line = end if math.dist((x, y), end) > NEAR + 1 else None
    if box.left >= x:
        return Label(text, box, box.left, "start", line)
    if box.right <= x:
        return Label(text, box, box.right, "end", line)
    return Label(text, box, box.left + box.width / 2, "middle", line)


def _costs(points: Sequence[Point]) -> tuple[float, float]:
    """The ends of the axis as logarithms: some room beside the points, and never less than a factor of 3."""
    least, most = (math.log(end(one.cost for one in points)) for end in (min, max))
    room = max(0.12 * (most - least), (math.log(3) - (most - least)) / 2, 0.1)
    return least - room, most + room


def _values(points: Sequence[Point]) -> tuple[float, float]:
    """The ends of the axis of quality: all whiskers, some room, and never less than a tenth."""
    low, high = min(one.low for one in points), max(one.high for one in points)
    room = max(0.06 * (high - low), (0.1 - (high - low)) / 2)
    return low - room, high + room


def _cost_ticks(least: float, most: float, across: float) -> list[float]:
    """Round costs between the ends, as many of each power of ten as there is room for."""
    powers = range(math.floor(least / math.log(10)), math.ceil(most / math.log(10)) + 1)
    apart = _APART * (most - least) / across
    shown: list[float] = []
    for digits in _DIGITS:
        found = [float(f"{digit}e{power}") for power in powers for digit in digits]
        shown = [one for one in found if least <= math.log(one) <= most]
        if all(math.log(after / before) >= apart for before, after in pairwise(shown)):
            return shown
    return shown[:: math.ceil(len(shown) * _APART / across)]


def _tick(cost: str) -> str:
    """A round cost without the zeros that it ends in.

    >>> _tick("0.50 s"), _tick("500.0 MB"), _tick("10 ms")
    ('0.5 s', '500 MB', '10 ms')
    """
    return re.sub(r"(\.\d*?)0+\b", lambda one: one[1].rstrip("."), cost)


def _value_ticks(bottom: float, top: float, points: Sequence[Point]) -> list[float]:
    """Round values between the ends; none below 0 or above 1 where no point is."""
    step = next((one for one in _STEPS if (top - bottom) / one <= 7), (top - bottom) / 5)
    least, most = min(0.0, *(one.low for one in points)), max(1.0, *(one.high for one in points))
    found = [at * step for at in range(math.ceil(bottom / step), math.floor(top / step) + 1)]
    return [one for one in found if least <= one <= most + 1e-9]
