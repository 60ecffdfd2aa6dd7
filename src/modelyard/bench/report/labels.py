"""Labels: places for the names of points, so that none covers another name, a point or a whisker."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

HEIGHT = 15.0
"""Of a label."""

NEAR = 18.0
"""A label farther from its point than this has a line to it."""

Line = tuple[tuple[float, float], tuple[float, float]]
"""From a point to its label."""

_DISTANCES = (9, 13, NEAR)
_DIRECTIONS = tuple(math.radians(one) for one in (0, 180, 270, 90, 315, 45, 225, 135))
_ACROSS, _DOWN = 16, 6  # steps of the places that are tried farther away
_LOOKED_AT = 60  # free places at most, for the one that crosses least


@dataclass(slots=True, frozen=True)
class Box:
    """An upright rectangle; x grows to the right, y downwards."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.top + self.height

    def overlaps(self, other: Box) -> bool:
        """Whether the two have an area in common."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def holds(self, other: Box) -> bool:
        """Whether the other lies inside of it."""
        return (
            self.left <= other.left
            and self.right >= other.right
            and self.top <= other.top
            and self.bottom >= other.bottom
        )

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """Its point that is nearest to another."""
        return min(max(x, self.left), self.right), min(max(y, self.top), self.bottom)

    def crossed(self, line: Line) -> bool:
        """Whether a line touches it (Liang and Barsky 1984: the line is cut at each edge in turn)."""
        (x, y), (end_x, end_y) = line
        first, last = 0.0, 1.0
        for way, room in (
            (x - end_x, x - self.left),
            (end_x - x, self.right - x),
            (y - end_y, y - self.top),
            (end_y - y, self.bottom - y),
        ):
            if way == 0:
                if room < 0:
                    return False
                continue
            if way < 0:
                first = max(first, room / way)
            else:
                last = min(last, room / way)
        return first <= last


def width(text: str) -> float:
    """How wide a label is at 12 px, rather too much than too little.

    >>> width("abc") < width("a 漢字")
    True
    """
    wide = sum(unicodedata.east_asian_width(one) in "WF" for one in text)
    return 7.4 * (len(text) - wide) + 12.5 * wide + 2


def place(
    points: Sequence[tuple[float, float]], texts: Sequence[str], taken: Sequence[Box], frame: Box
) -> list[Box | None]:
    """A box for each text near its point, inside of the frame; None where nothing is free.

    Beside the point where something is free there (to the right, to the left, above, below, between), else,
    of the nearest places, at the one whose line to the point crosses fewest labels and points.

    Args:
        points: what the texts belong to.
        texts: one for each point.
        taken: what no label may cover.
        frame: what each label stays in.

    >>> place([(50, 50)], ["a"], [], Box(0, 0, 100, 100))[0].left
    59.0
    """
    canvas = _Canvas(frame, list(taken))
    boxes: list[Box | None] = [None] * len(points)
    # From the edges inwards: what lies at an edge has the fewest places to choose from.
    for at in sorted(range(len(points)), key=lambda at: -abs(points[at][0] - frame.left - frame.width / 2)):
        length = width(texts[at])
        boxes[at] = canvas.beside(points[at], length) or canvas.apart(points[at], length)
    return boxes


@dataclass(slots=True)
class _Canvas:
    """What is covered so far, and the lines that are drawn."""

    frame: Box
    covered: list[Box]
    lines: list[Line] = field(default_factory=list)

    def beside(self, point: tuple[float, float], length: float) -> Box | None:
        """Takes a place beside a point that covers nothing and crosses no line."""
        found = (box for box in _around(*point, length) if self._is_free(box) and not self._lines_in(box))
        box = next(found, None)
        if box is not None:
            self.covered.append(box)
        return box

    def apart(self, point: tuple[float, float], length: float) -> Box | None:
        """Takes, of the nearest free places, the one where fewest lines and labels cross."""
        places = (
            Box(left, top, length, HEIGHT)
            for left in _steps(self.frame.left, self.frame.right - length, _ACROSS)
            for top in _steps(self.frame.top, self.frame.bottom - HEIGHT, _DOWN)
        )
        nearest = sorted(places, key=lambda box: math.dist(point, box.nearest(*point)))
        free = list(islice(filter(self._is_free, nearest), _LOOKED_AT))
        if not free:
            return None
        others = [one for one in self.covered if not one.crossed((point, point))]

        def crossings(box: Box) -> int:
            line = (point, box.nearest(*point))
            met = sum(one.crossed(line) for one in others) + sum(_meet(one, line) for one in self.lines)
            return met + self._lines_in(box)

        box = min(free, key=crossings)
        self.lines.append((point, box.nearest(*point)))
        self.covered.append(box)
        return box

    def _is_free(self, box: Box) -> bool:
        return self.frame.holds(box) and not any(box.overlaps(one) for one in self.covered)

    def _lines_in(self, box: Box) -> int:
        return sum(box.crossed(one) for one in self.lines)


def _meet(one: Line, other: Line) -> bool:
    """Whether two lines cross: each has the other's ends on both of its sides."""

    def side(line: Line, point: tuple[float, float]) -> bool:
        (x, y), (end_x, end_y) = line
        return (end_x - x) * (point[1] - y) > (end_y - y) * (point[0] - x)

    return side(one, other[0]) != side(one, other[1]) and side(other, one[0]) != side(other, one[1])


def _around(x: float, y: float, length: float) -> Iterator[Box]:
    """Places beside a point."""
    for distance in _DISTANCES:
        for angle in _DIRECTIONS:
            across, down = math.cos(angle), math.sin(angle)
            # The label's own side that looks at the point is what is so far away from it.
            left = x + distance * across - length * (1 - across) / 2
            top = y + distance * down - HEIGHT * (1 - down) / 2
            yield Box(left, top, length, HEIGHT)


def _steps(first: float, last: float, step: float) -> Iterator[float]:
    while first <= last:
        yield first
        first += step
