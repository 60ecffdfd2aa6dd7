"""Ground: where in the text a model's quote stands.

Four methods, the first that finds anything decides: `exact`; `normalised` (white space, dashes, quotation
marks, ligatures, table separators, an ellipsis at the ends, then case, then spaces altogether); `numeric`
(another form of the same number); `fuzzy` (slips of a few characters). None of them finds a part of a longer
number, and none lets a number in the quote stand for another in the text. A quote is never used as a regular
expression.

>>> text = "Basic | $(0.41) | $0.34"
>>> ground(text, "basic $ (0.41)")
Span(start=0, end=15, method='normalised', similarity=1.0)
>>> ground(text, "-.41").of(text), ground(text, "0.4")
('$(0.41)', None)
"""

from __future__ import annotations

import re
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cached_property
from typing import Literal, NamedTuple

from modelyard.extraction.folding import Folded, fold, lower
from modelyard.extraction.numbers import Number, cuts, figures, numbers, parse_number

__all__ = ["GroundingIndex", "Span", "ground", "ground_all", "parse_number"]

Method = Literal["exact", "normalised", "numeric", "fuzzy"]

FUZZY_THRESHOLD = 0.85
"""Least similarity of a fuzzy match: rapidfuzz's `ratio`, 1 - (insertions + deletions) / both lengths."""

_LEAST_CONTEXT = 0.5  # share of the quote's words beside a number that stands in for the whole quote
_CONTEXT = 300
_MOST_SPANS = 1000
_MOST_MOVES = 12
_LONGEST_WORD = 200  # characters; what goes on for longer is no word, and no quote ends in it
_FUZZY_LENGTHS = range(8, 2001)
_COMMON = 200
_WINDOWS = 8
_WORD = re.compile(r"[^\W_]+")
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")
_EDGES = " \"'"
_DENIALS = frozenset(("no", "not", "never", "without", "none", "neither", "nor", "cannot"))


class Span(NamedTuple):
    """A quote's place: `text[start:end]`, how it was found, and how alike it is (0 to 1)."""

    start: int
    end: int
    method: Method
    similarity: float

    def of(self, text: str) -> str:
        """The quote as it stands in the text."""
        return text[self.start : self.end]


class GroundingIndex:
    """A text prepared for many quotes; each form is made when a quote first needs it."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def folded(self) -> Folded:
        """The text as `normalised` compares it."""
        return fold(self.text)

    @cached_property
    def lowered(self) -> Folded:
        """The same in lower case."""
        return self.folded.lower()

    @cached_property
    def squeezed(self) -> Folded:
        """The same without spaces."""
        return self.lowered.without_spaces()

    @cached_property
    def numbers(self) -> list[Number]:
        """Every number of the text, in order."""
        return list(numbers(self.text))

    @cached_property
    def words(self) -> list[tuple[int, int]]:
        """The words of `lowered`."""
        return [match.span() for match in _WORD.finditer(self.lowered.text)]

    @cached_property
    def postings(self) -> dict[str, list[int]]:
        """For each word its positions in `words`."""
        found: dict[str, list[int]] = {}
        for position, (start, end) in enumerate(self.words):
            found.setdefault(self.lowered.text[start:end], []).append(position)
        return found

    @cached_property
    def _blocks(self) -> list[int]:
        """Where tables and paragraphs begin: after blank lines."""
        return [match.end() for match in _BLANK_LINE.finditer(self.text)]

    def block(self, place: int) -> int:
        """The number of the table or paragraph that a place is in.

        >>> index = GroundingIndex("a\\n1\\n\\nb")
        >>> [index.block(place) for place in (0, 2, 5)]
        [0, 0, 1]
        """
        return bisect_right(self._blocks, place)

    def numbers_in(self, start: int, end: int) -> list[Number]:
        """The numbers whose digits lie in a range, each read with what stands around it, brackets included.

        >>> [one.value for one in GroundingIndex("loss (0.41)").numbers_in(6, 10)]
        [Decimal('-0.41')]
        """
        first = bisect_left(self.numbers, start, key=lambda number: number.start)
        after = bisect_left(self.numbers, end, key=lambda number: number.start)
        return [number for number in self.numbers[first:after] if number.end <= end]


def ground(
    text: str | GroundingIndex,
    quote: str,
    *,
    value: object = None,
    near: int | None = None,
    time_limit: float = 2.0,
) -> Span | None:
    """The best place of a quote, None where the text does not hold it.

    Args:
        text: the document, or its index where several quotes are looked up in it.
        quote: what the model copied.
        value: what it read from the quote; of several places, one that holds it is taken.
        near: an offset; of equal places, one in the same table or paragraph is taken, then the nearest;
            without it the first.
        time_limit: seconds after which the search ends with what it has; making an index is not counted.
    """
    found = ground_all(text, quote, value=value, near=near, time_limit=time_limit)
    return found[0] if found else None


def ground_all(
    text: str | GroundingIndex,
    quote: str,
    *,
    value: object = None,
    near: int | None = None,
    time_limit: float = 2.0,
) -> list[Span]:
    """Every place of a quote by the first method that finds one, the best first; at most 1000.

    >>> [span.start for span in ground_all("0.41 then 0.41", "0.41", near=12)]
    [10, 0]
    """
    index = text if isinstance(text, GroundingIndex) else GroundingIndex(text)
    if not quote.strip() or not index.text:
        return []
    return _Search(index, quote, value, near, time.monotonic() + time_limit).run()


class _Search:
    """One quote looked up in one text."""

    def __init__(
        self, index: GroundingIndex, quote: str, value: object, near: int | None, deadline: float
    ) -> None:
        self._index = index
        self._quote = quote
        self._near = near
        self._deadline = deadline
        self._number = _sole_number(quote)
        self._value_number = _number_of(value)
        self._value_text = lower(fold(value).text) if isinstance(value, str) else ""
        self._folded = fold(quote).text
        self._held: dict[str, bool] = {}

    def run(self) -> list[Span]:
        methods: tuple[Callable[[], list[Span]], ...] = (
            self._exact, self._normalised, self._numeric, self._fuzzy, self._number_in_context,
        )  # fmt: skip
        for method in methods:
            if time.monotonic() > self._deadline:
                return []
            found = method()
            if found:
                return sorted(found, key=self._rank)
        return []

    def _rank(self, span: Span) -> tuple[bool, float, bool, int]:
        if self._near is None:
            return not self._holds_value(span), -span.similarity, False, span.start
        elsewhere = self._index.block(span.start) != self._index.block(self._near)
        return not self._holds_value(span), -span.similarity, elsewhere, abs(span.start - self._near)

    def _holds_value(self, span: Span) -> bool:
        wanted = self._value_number if self._value_number is not None else self._number
        if wanted is not None:
            return any(wanted in one.readings for one in self._index.numbers_in(span.start, span.end))
        if not self._value_text:
            return False
        said = span.of(self._index.text)
        if said not in self._held:  # of many places most are alike
            self._held[said] = self._value_text in lower(fold(said).text)
        return self._held[said]

    def _exact(self) -> list[Span]:
        size = len(self._quote)
        places = self._places(self._index.text, self._quote, lambda at: (at, at + size))
        return [Span(start, end, "exact", 1.0) for start, end in places]

    def _normalised(self) -> list[Span]:
        for quote in dict.fromkeys((self._folded, _bare(self._folded))):
            for form, wanted in (
                (self._index.folded, quote),
                (self._index.lowered, lower(quote)),
                (self._index.squeezed, lower(quote).replace(" ", "")),
            ):
                found = self._in_form(form, wanted)
                if found:
                    return found
        return []

    def _in_form(self, form: Folded, wanted: str) -> list[Span]:
        if not wanted:
            return []
        size = len(wanted)
        places = self._places(form.text, wanted, lambda at: form.span(at, at + size))
        return [Span(start, end, "normalised", 1.0) for start, end in places]

    def _places(
        self, text: str, wanted: str, raw: Callable[[int], tuple[int, int] | None]
    ) -> Iterator[tuple[int, int]]:
        """The raw ranges of the places that do not overlap and cut no number in two."""
        count, at = 0, text.find(wanted)
        while at >= 0 and count < _MOST_SPANS and time.monotonic() < self._deadline:
            span = raw(at)
            good = span is not None and self._sound(*span)
            if good and span is not None:
                count += 1
                yield span
            at = text.find(wanted, at + (len(wanted) if good else 1))

    def _sound(self, start: int, end: int) -> bool:
        text = self._index.text
        if cuts(text, start) or cuts(text, end):
            return False
        if self._number is not None:
            return len(self._index.numbers_in(start, end)) == 1
        return text.startswith(self._quote, start) or _same_figures(text[start:end], self._quote)

    def _numeric(self) -> list[Span]:
        if self._number is None:
            return []
        same = [one for one in self._index.numbers if self._number in one.readings]
        return [Span(one.outer_start, one.outer_end, "numeric", 1.0) for one in same[:_MOST_SPANS]]

    def _fuzzy(self) -> list[Span]:
        wanted = lower(self._folded)
        if self._number is not None or len(wanted) not in _FUZZY_LENGTHS:
            return []
        found: dict[tuple[int, int], Span] = {}
        for start, end in self._windows(wanted):
            if time.monotonic() > self._deadline:
                break
            span = self._align(wanted, start, end)
            if span is not None:
                found[span.start, span.end] = span
        return list(found.values())

    def _windows(self, wanted: str) -> Iterator[tuple[int, int]]:
        """The stretches of folded text that share most words with the quote, at about the same distances."""
        index, words = self._index, _WORD.findall(wanted)
        step = max(2, len(words) // 4)
        votes: Counter[int] = Counter()
        rarest_first = sorted(
            (len(index.postings.get(word, ())), offset) for offset, word in enumerate(words)
        )
        for count, offset in rarest_first:
            if 0 < count <= _COMMON or (count and not votes):
                places = index.postings[words[offset]][:_COMMON]
                votes.update({max(0, place - offset) // step for place in places})
        for bucket, _ in votes.most_common(_WINDOWS):
            first = max(0, (bucket - 1) * step - 2)
            last = min(len(index.words), (bucket + 2) * step + len(words) + 2) - 1
            if first <= last:
                start, end = index.words[first][0], index.words[last][1]
                yield max(0, start - 3), min(len(index.lowered.text), end + 3)

    def _align(self, wanted: str, start: int, end: int) -> Span | None:
        from rapidfuzz import fuzz

        text = self._index.lowered.text
        if len(wanted) < end - start:
            place = fuzz.partial_ratio_alignment(wanted, text[start:end])
            if place is None:
                return None
            start, end = start + place.dest_start, start + place.dest_end
        start, end = _whole_words(text, start, end)
        if start >= end:
            return None
        start, end = self._settle(lambda a, b: fuzz.ratio(wanted, text[a:b]), start, end)
        similarity = fuzz.ratio(wanted, text[start:end]) / 100
        raw = self._index.lowered.span(start, end)
        if similarity < FUZZY_THRESHOLD or raw is None or not self._same_claims(*raw):
            return None
        return Span(*raw, "fuzzy", similarity)

    def _settle(self, likeness: Callable[[int, int], float], start: int, end: int) -> tuple[int, int]:
        """The range with words and signs added or dropped at its ends for as long as it grows more alike.

        The alignment is as wide as the quote, so a slip in the middle shifts its ends.
        """
        best = likeness(start, end)
        for _ in range(_MOST_MOVES):
            near = [(a, end) for a in self._moves(start)] + [(start, b) for b in self._moves(end)]
            tried = [(likeness(a, b), a, b) for a, b in near if a < b]
            like, first, last = max(tried, default=(0.0, start, end))
            if like <= best:
                break
            best, start, end = like, first, last
        return start, end

    def _moves(self, place: int) -> set[int]:
        """The ends of the words on both sides of a place, and the places one character off between words."""
        words, text = self._index.words, self._index.lowered.text
        after = bisect_left(words, place, key=lambda word: word[0])
        around = {edge for word in words[max(0, after - 2) : after + 2] for edge in word}
        beside = {at for at in (place - 1, place + 1) if 0 <= at <= len(text) and not _in_word(text, at)}
        return {at for at in around | beside if not cuts(text, at)} - {place}

    def _same_claims(self, start: int, end: int) -> bool:
        """Every number of the quote, and every denial of either, stands on both sides."""
        text = self._index.text
        if cuts(text, start) or cuts(text, end):
            return False
        there = {reading for one in self._index.numbers_in(start, end) for reading in one.readings}
        # A quote that lost the brackets of a loss is still that place; its value is judged elsewhere.
        there |= {-reading for reading in there if reading < 0}
        mine = list(numbers(self._quote))
        if not all(one.value in there for one in mine):
            return False
        names = set(figures(self._quote)) - {self._quote[one.start : one.end] for one in mine}  # as in Q1
        return names <= set(figures(text[start:end])) and _denials(self._quote) == _denials(text[start:end])

    def _number_in_context(self) -> list[Span]:
        """The value's own place, where the quote tells a row too freely but with the same words."""
        value = self._value_number
        if value is None or value not in {
            reading for one in numbers(self._quote) for reading in one.readings
        }:
            return []
        wanted = {word for word in _WORD.findall(lower(self._folded)) if word.isalpha()}
        found: list[Span] = []
        for one in self._index.numbers:
            if value in one.readings and wanted and time.monotonic() < self._deadline:
                share = len(wanted & self._around(one)) / len(wanted)
                if share >= _LEAST_CONTEXT and len(found) < _MOST_SPANS:
                    found.append(Span(one.outer_start, one.outer_end, "numeric", share))
        return found

    def _around(self, number: Number) -> set[str]:
        """The words of the number's own line."""
        text = self._index.text
        start = max(text.rfind("\n", 0, number.start) + 1, number.start - _CONTEXT)
        stop = text.find("\n", number.end)
        end = min(stop if stop >= 0 else len(text), number.end + _CONTEXT)
        return set(_WORD.findall(lower(fold(text[start:end]).text)))


def _bare(quote: str) -> str:
    """A folded quote without quotation marks, ellipses and a last full stop or comma around it.

    Step by step and not by one regular expression, which would try every way to part a row of dots.
    """
    quote = quote.strip()
    if quote.endswith((".", ",", ";", ":")):
        quote = quote[:-1]
    before = ""
    while quote != before:
        before = quote
        quote = quote.strip(_EDGES)
        quote = quote.lstrip(".") if quote.startswith("..") else quote
        quote = quote.rstrip(".") if quote.endswith("..") else quote
    return quote


def _number_of(value: object) -> Decimal | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float | Decimal):
        number = Decimal(str(value)) if not isinstance(value, int) or abs(value) < 10**40 else None
        return number if number is not None and number.is_finite() else None
    return parse_number(value) if isinstance(value, str) else None


def _sole_number(quote: str) -> Decimal | None:
    """The number that a quote consists of; None where it holds anything else."""
    found = next(numbers(quote), None)
    if found is None or any(map(str.isalnum, quote[: found.outer_start] + quote[found.outer_end :])):
        return None
    return parse_number(quote)


def _same_figures(one: str, other: str) -> bool:
    return figures(fold(one).text) == figures(fold(other).text)


def _denials(text: str) -> int:
    folded = lower(fold(text).text)
    return sum(word in _DENIALS for word in _WORD.findall(folded)) + folded.count("n't")


def _in_word(text: str, place: int) -> bool:
    return 0 < place < len(text) and text[place - 1 : place + 1].isalnum()


def _whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    """The range widened to whole words and numbers, without white space at its ends."""
    first, last = start - _LONGEST_WORD, end + _LONGEST_WORD
    while start > first and (_in_word(text, start) or cuts(text, start)):
        start -= 1
    while end < last and (_in_word(text, end) or cuts(text, end)):
        end += 1
    while start < end and text[start] == " ":
        start += 1
    while end > start and text[end - 1] == " ":
        end -= 1
    return start, end
