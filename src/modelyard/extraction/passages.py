"""Passages: the parts of a long document that matter for the fields, when the whole does not fit.

Lines are scored by the field's terms, rare terms counting more (the inverse document frequency of BM25,
Robertson and Zaragoza 2009, over the lines of this one document). The best lines are kept with their
surroundings: inside a table that is everything from its heading down, because a row without its column
heads says little. What was left out is counted, never dropped in silence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

GAP = "\n[…]\n"
_BEFORE, _AFTER = 4, 3  # lines kept around a hit in running text
_TABLE_HEAD, _TABLE_BACK = (
    8,
    45,
)  # lines above a table row that hold its heads; how far up a table is followed
_LONGEST = 1000  # characters of a line
_WORD = re.compile(r"[a-z]+")


@dataclass(slots=True, frozen=True)
class Passages:
    """What a model gets to read: the text, the character ranges it is made of, and the share of the whole."""

    text: str
    ranges: tuple[tuple[int, int], ...]
    total: int

    @property
    def whole(self) -> bool:
        """Whether nothing was left out."""
        return self.ranges == ((0, self.total),)

    @property
    def characters(self) -> int:
        """How many characters of the document are in the text."""
        return sum(end - start for start, end in self.ranges)


def select_passages(text: str, terms: Sequence[str], budget: int) -> Passages:
    """The passages of a text that hold the terms, at most `budget` characters of them.

    Args:
        text: the document.
        terms: words or phrases, in lower or upper case.
        budget: most characters.

    >>> select_passages("short", ["anything"], 100).whole
    True
    """
    if len(text) <= budget:
        return Passages(text, ((0, len(text)),), len(text))
    lines = _lines(text)
    scores = _scores([text[start:end] for start, end in lines], terms)
    kept = _best(lines, scores, text, budget)
    ranges = _merged(lines, kept)
    return Passages(GAP.join(text[start:end] for start, end in ranges), ranges, len(text))


def _lines(text: str) -> list[tuple[int, int]]:
    """Where lines start and end; a very long one counts as several."""
    found, at = [], 0
    for line in text.splitlines(keepends=True):
        end = at + len(line.rstrip("\r\n"))
        found += [(start, min(start + _LONGEST, end)) for start in range(at, max(end, at + 1), _LONGEST)]
        at += len(line)
    return found


def _scores(lines: Sequence[str], terms: Sequence[str]) -> list[float]:
    patterns = [tuple(_WORD.findall(term.lower())) for term in terms]
    patterns = [pattern for pattern in dict.fromkeys(patterns) if pattern]
    words = [_WORD.findall(line.lower()) for line in lines]
    hits = [[_holds(line, pattern) for line in words] for pattern in patterns]
    scores = [0.0] * len(lines)
    for pattern, found in zip(patterns, hits, strict=True):
        count = sum(found)
        weight = len(pattern) * math.log(1 + (len(lines) - count + 0.5) / (count + 0.5))
        for at, hit in enumerate(found):
            if hit:
                scores[at] += weight
    # A line with figures answers; the same words without any only announce.
    digits = [any(character.isdigit() for character in line) for line in lines]
    return [score * (1.5 if has else 1.0) for score, has in zip(scores, digits, strict=True)]


def _holds(words: Sequence[str], pattern: tuple[str, ...]) -> bool:
    size = len(pattern)
    return any(tuple(words[at : at + size]) == pattern for at in range(len(words) - size + 1))


def _best(lines: Sequence[tuple[int, int]], scores: Sequence[float], text: str, budget: int) -> set[int]:
    kept: set[int] = set()
    used = 0
    for at in sorted(range(len(lines)), key=lambda one: (-scores[one], one)):
        if scores[at] <= 0 and kept:
            break
        for wanted in _around(at, lines, text):
            new = [one for one in wanted if one not in kept]
            cost = sum(lines[one][1] - lines[one][0] + 1 for one in new)
            if used + cost <= budget:
                kept.update(new)
                used += cost
                break
    return kept


def _around(at: int, lines: Sequence[tuple[int, int]], text: str) -> Iterator[list[int]]:
    """The lines that belong to a hit, the most generous choice first: the hit alone is the last."""
    near = list(range(max(0, at - _BEFORE), min(len(lines), at + _AFTER + 1)))
    if _is_row(text[slice(*lines[at])]):
        top = at
        while top > 0 and at - top < _TABLE_BACK and _near_table(top - 1, lines, text):
            top -= 1
        first = max(0, top - _TABLE_HEAD)
        yield list(range(first, near[-1] + 1))
        # A long table: its heads, and the rows around the hit.
        for head in (range(first, top + _TABLE_HEAD), range(top, top + _TABLE_HEAD // 2)):
            yield [*(one for one in head if one < near[0]), *near]
    yield near
    yield [at]


def _near_table(at: int, lines: Sequence[tuple[int, int]], text: str) -> bool:
    """Whether this line or the one above it is a row: one line of text does not end a table."""
    return any(_is_row(text[slice(*lines[one])]) for one in (at, max(0, at - 1)))


def _is_row(line: str) -> bool:
    return " | " in line or sum(character.isdigit() for character in line) >= 4


def _merged(lines: Sequence[tuple[int, int]], kept: set[int]) -> tuple[tuple[int, int], ...]:
    ranges: list[tuple[int, int]] = []
    previous = -2
    for at in sorted(kept):
        start, end = lines[at]
        if at == previous + 1 and ranges:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((start, end))
        previous = at
    return tuple((start, end) for start, end in ranges if end > start)
