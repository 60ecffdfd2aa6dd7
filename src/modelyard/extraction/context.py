"""Context: the line around a bare number, found by the words that the field goes by.

A model that copies only the figure as its quote has said what, but not where: the same figure may stand in
several lines. The line that names the field is taken, and the quote becomes that line.
"""

from __future__ import annotations

import re

from modelyard.extraction.ground import GroundingIndex, Span, ground_all
from modelyard.extraction.schema import Field

_WORD = re.compile(r"[a-z]+")
_SENTENCE_END = re.compile(r"[.;:!?]\s")
_LONGEST = 300  # characters; of a longer line (a paragraph) the sentence around the number is taken
_COMMON = frozenset(
    [
        "a",
        "an",
        "and",
        "by",
        "for",
        "from",
        "in",
        "is",
        "it",
        "most",
        "of",
        "on",
        "or",
        "per",
        "recent",
        "than",
        "that",
        "the",
        "this",
        "to",
        "was",
        "with",
    ]
)


def is_bare(quote: str) -> bool:
    """Whether a quote is a number and nothing that says of what.

    >>> is_bare("$ (0.41)"), is_bare("Basic loss per share (0.41)")
    (True, False)
    """
    return not any(character.isalpha() for character in quote)


def ground_by_label(
    index: GroundingIndex, quote: str, field: Field, value: object, near: int | None
) -> Span | None:
    """The line that holds the number and names the field best; of equals the nearest, else the first."""
    spans = ground_all(index, quote, value=value, near=near)
    if not spans:
        return None
    terms = _terms(field)
    # ground_all has the nearest first, and max keeps the first of equals.
    best = max(spans, key=lambda span: _named(index.text, span, terms))
    start, end = line_around(index.text, best.start, best.end)
    return Span(start, end, best.method, best.similarity)


def line_around(text: str, start: int, end: int) -> tuple[int, int]:
    """The line that holds a range; of a very long one the sentence, or as much as is fit to quote.

    >>> text = "Revenue | 12\\nBasic EPS | $1.20 | $1.10\\nend"
    >>> text[slice(*line_around(text, text.index("1.20"), text.index("1.20") + 4))]
    'Basic EPS | $1.20 | $1.10'
    """
    left = text.rfind("\n", 0, start) + 1
    right = text.find("\n", end)
    right = len(text) if right < 0 else right
    if right - left > _LONGEST:
        # What lies further away is cut off below in any case.
        first, last = max(left, start - _LONGEST // 2 - 2), min(right, end + _LONGEST // 2 + 2)
        ends = [match.end() for match in _SENTENCE_END.finditer(text, first, start)]
        after = _SENTENCE_END.search(text, end, last)
        left = max(ends[-1] if ends else left, start - _LONGEST // 2)
        right = min(after.start() + 1 if after else right, end + _LONGEST // 2)
    while left < start and text[left].isspace():
        left += 1
    while right > end and text[right - 1].isspace():
        right -= 1
    return left, right


def _terms(field: Field) -> dict[str, int]:
    """The field's words; those of its name count more than those of its description."""
    described = dict.fromkeys(_WORD.findall((field.description or "").lower()), 1)
    named = dict.fromkeys(_WORD.findall(field.name.lower()), 4)
    return {word: weight for word, weight in (described | named).items() if word not in _COMMON}


def _named(text: str, span: Span, terms: dict[str, int]) -> int:
    start, end = line_around(text, span.start, span.end)
    return sum(terms.get(word, 0) for word in set(_WORD.findall(text[start:end].lower())))
