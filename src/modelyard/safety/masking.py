"""Masking: parts of a text replaced."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from modelyard.types import Span

MASK = "[removed]"
"""What stands where something was masked."""


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same parts, in order, those that touch or overlap as one.

    >>> merged([Span(3, 5), Span(0, 3), Span(8, 9)])
    [Span(start=0, end=5), Span(start=8, end=9)]
    """
    made: list[Span] = []
    for one in sorted(spans, key=lambda span: (span.start, span.end)):
        if made and one.start <= made[-1].end:
            made[-1] = Span(made[-1].start, max(made[-1].end, one.end))
        else:
            made.append(one)
    return made


def masked(text: str, spans: Sequence[Span]) -> str:
    """A text with its parts replaced; they are in order and apart.

    >>> masked("Call 555-0100 now", [Span(5, 13)])
    'Call [removed] now'
    """
    pieces: list[str] = []
    at = 0
    for one in spans:
        pieces += [text[at : one.start], MASK]
        at = one.end
    return "".join([*pieces, text[at:]])
