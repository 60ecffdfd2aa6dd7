"""Evidence: the few rows and sentences of a document that may hold a field, best first.

Ranked by BM25 (Robertson and Zaragoza 2009, https://doi.org/10.1561/1500000019) over this one document: rare words
of the field's name and description count more. A row of a table comes as one line a figure with its heads, and
only the figures of the period that the field asks for.

>>> text = "Three Months Ended March 31,\\n2024 2023\\nNet income 9,100 8,000\\nBasic earnings per share $ 0.79 $ 0.73"
>>> field = Field("eps", "number", "basic earnings per share of the most recent quarter")
>>> EvidenceIndex(text).best(field, limit=1)[0].line
'Basic earnings per share | Three Months Ended March 31, 2024: $ 0.79'
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, cached_property, lru_cache
from typing import Any

from modelyard.extraction.heads import is_head
from modelyard.extraction.numbers import numbers, parse_number
from modelyard.extraction.periods import Wanted, months_of, wanted_period
from modelyard.extraction.rows import Row, read_rows
from modelyard.extraction.schema import Field

_WORD = re.compile(r"[^\W\d_]+")
_COMMON = frozenset(
    "a an and as at by for from in is are was were it its of on or that the this to which with most recent".split()  # noqa: SIM905
)
_SENTENCE = re.compile(r"(?<=[.!?;])\s+(?=[A-Z(\[])")
_LONGEST = 400
_K1, _B = 1.2, 0.75
_HEAD_WEIGHT = 0.3  # of a word that only the heads have


@dataclass(frozen=True, slots=True)
class Evidence:
    """A place that may hold the field.

    Attributes:
        start, end: its place in the text.
        line: how it is shown to a model.
        figure: where its one figure stands; None for a sentence, which may hold several or none.
        score: how well it matches.
    """

    start: int
    end: int
    line: str
    figure: tuple[int, int] | None
    score: float


@dataclass(frozen=True, slots=True)
class _Unit:
    start: int
    end: int
    name: str
    heads: str
    row: Row | None


class EvidenceIndex:
    """The rows and sentences of one text, read once for all fields."""

    def __init__(self, text: str) -> None:
        self.text = text

    def best(self, field: Field, *, avoid: Sequence[str] = (), limit: int = 6) -> list[Evidence]:
        """The evidence of a field, best first.

        Where a field asks for a period and a row has a column for it, only such rows are evidence: a sentence that
        tells of the figure has more of its words, and the statement is the better witness. Else rows and sentences are
        ranked apart, and of figures most of what is given are rows, where there are rows.

        Args:
            field: what is looked for.
            avoid: phrases of lines that are not meant; such lines come last.
            limit: how many.
        """
        wanted = wanted_period(f"{field.name} {field.description or ''}")
        numeric = field.type in ("number", "integer")
        unwanted = [phrase.lower() for phrase in avoid]
        ranked = sorted(
            self._scored(field),
            key=lambda one: (_avoided(one[1], unwanted), -one[0], one[1].start),
        )
        if not numeric:
            return self._shown_best(ranked, limit, wanted, numeric, field.decimals)
        rows = [one for one in ranked if one[1].row is not None]
        telling = [one for one in rows if one[0] > 0 and wanted is not None and _tells(one[1].row, wanted)]
        found = self._shown_best(telling, limit, wanted, numeric, field.decimals)
        if found and not _avoided(telling[0][1], unwanted):
            return found
        from_rows = self._shown_best(rows, limit, wanted, numeric, field.decimals)
        sentences = [one for one in ranked if one[1].row is None]
        from_sentences = self._shown_best(sentences, limit, wanted, numeric, field.decimals)
        told = from_sentences[: max(limit // 3, limit - len(from_rows))]
        return [*from_rows[: limit - len(told)], *told]

    def _shown_best(
        self,
        ranked: Sequence[tuple[float, _Unit]],
        limit: int,
        wanted: Wanted | None,
        numeric: bool,
        decimals: int,
    ) -> list[Evidence]:
        return self._shown_of(ranked, limit, wanted, numeric, decimals) or (
            self._shown_of(ranked, limit, wanted, numeric, 0) if decimals else []
        )

    def _shown_of(
        self,
        ranked: Sequence[tuple[float, _Unit]],
        limit: int,
        wanted: Wanted | None,
        numeric: bool,
        decimals: int,
    ) -> list[Evidence]:
        found: dict[str, Evidence] = {}
        for score, unit in ranked:
            if len(found) >= limit or (score <= 0 and found):
                break
            for one in self._shown(unit, score, wanted, numeric, decimals):
                found.setdefault(one.line, one)
        return list(found.values())[:limit]

    @cached_property
    def _rows(self) -> tuple[Row, ...]:
        return read_rows(self.text)

    @cached_property
    def _units(self) -> list[_Unit]:
        rows = [
            _Unit(row.start, row.end, row.name, " ".join(cell.head for cell in row.cells), row)
            for row in self._rows
        ]
        return sorted([*rows, *self._sentences()], key=lambda unit: unit.start)

    def _sentences(self) -> Iterator[_Unit]:
        taken = [(row.start, row.end) for row in self._rows]
        at = start = 0
        for line in self.text.split("\n"):
            end = start + len(line)
            while at < len(taken) and taken[at][1] <= start:
                at += 1
            inside = at < len(taken) and taken[at][0] < end
            if line.strip() and not inside and not is_head(line, piped="|" in line):
                for first, last in _pieces(line):
                    yield _Unit(start + first, start + last, line[first:last], "", None)
            start = end + 1

    @cached_property
    def _words(self) -> list[Counter[str]]:
        return [Counter(stems(unit.name)) for unit in self._units]

    @cached_property
    def _counts(self) -> Counter[str]:
        return Counter(word for words in self._words for word in words)

    def _scored(self, field: Field) -> Iterator[tuple[float, _Unit]]:
        query = dict.fromkeys(
            stems(f"{field.name.replace('_', ' ')} {field.description or ''} {field.unit or ''}")
        )
        total = len(self._units)
        mean = sum(sum(words.values()) for words in self._words) / max(1, total)
        rarity = {
            word: math.log(1 + (total - self._counts[word] + 0.5) / (self._counts[word] + 0.5))
            for word in query
        }
        for unit, words in zip(self._units, self._words, strict=True):
            length = sum(words.values())
            heads = set(stems(unit.heads))
            score = 0.0
            for word, weight in rarity.items():
                often = words[word]
                if often:
                    score += (
                        weight * often * (_K1 + 1) / (often + _K1 * (1 - _B + _B * length / max(mean, 1)))
                    )
                elif word in heads:
                    score += _HEAD_WEIGHT
            yield score, unit

    def _shown(
        self, unit: _Unit, score: float, wanted: Wanted | None, numeric: bool, decimals: int
    ) -> Iterator[Evidence]:
        if unit.row is not None and numeric:
            cells = unit.row.cells
            places = wanted.choose([cell.head for cell in cells]) if wanted else range(len(cells))
            for place in places:
                cell = cells[place]
                number = parse_number(cell.of(self.text))
                if number is not None and -_exponent(number) >= decimals:
                    head = f"{cell.head}: " if cell.head else ""
                    line = f"{unit.name[-_LONGEST:]} | {head}{cell.of(self.text)}"
                    yield Evidence(unit.start, unit.end, line, (cell.start, cell.end), score)
            return
        line = " ".join(self.text[unit.start : unit.end].split())
        if not numeric or any(True for _ in numbers(line)):
            yield Evidence(unit.start, unit.end, line, None, score)


def stems(text: str) -> list[str]:
    """The words of a text without the commonest, each as its stem (the Snowball stemmer for English).

    >>> stems("Diluted earnings per share, assuming dilution; shareholders")
    ['dilut', 'earn', 'per', 'share', 'assum', 'dilut', 'sharehold']
    """
    return [_stem(word) for word in _WORD.findall(text.lower()) if word not in _COMMON]


def _exponent(number: Decimal) -> int:
    """Minus the number of decimals that a figure is written with."""
    exponent = number.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


@cache
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("english")


@lru_cache(maxsize=50_000)
def _stem(word: str) -> str:
    found: str = _stemmer().stemWord(word)
    return found


def _tells(row: Row | None, wanted: Wanted) -> bool:
    """Whether a column of the row is said to be of the period that is asked for."""
    return row is not None and any(months_of(cell.head) == wanted.months for cell in row.cells)


def _avoided(unit: _Unit, unwanted: Sequence[str]) -> bool:
    said = unit.name.lower()
    return any(phrase in said for phrase in unwanted)


def _pieces(line: str) -> Iterator[tuple[int, int]]:
    """Where the sentences of a line start and end; a long one is several."""
    start = 0
    for end in [*(match.start() for match in _SENTENCE.finditer(line)), len(line)]:
        while end - start > _LONGEST:
            cut = line.rfind(" ", start, start + _LONGEST)
            cut = cut if cut > start else start + _LONGEST
            yield start, cut
            start = cut
        while start < end and line[start].isspace():
            start += 1
        if end > start:
            yield start, end
        start = end
