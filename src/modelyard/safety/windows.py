"""Windows: a long text in parts that a model can read, cut between sentences, each with the end of the one before.

A model that reads a page at once overlooks the one bad sentence in it, and a cut within a sentence hides it from both
sides. So windows are a few sentences long and overlap by one.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from modelyard.errors import PromptTooLongError
from modelyard.types import Span

Count = Callable[[str], Awaitable[int]]
"""How many tokens a text has, for the model that is to read it."""
_END = re.compile(r"(?<=[.!?…。！？])[\"'”’)\]]*\s+|\n+|(?<=[。！？])")


@dataclass(slots=True, frozen=True)
class Window:
    """A part of a text.

    Attributes:
        start, end: of all that is read.
        fresh: where the part begins that no earlier window has.
    """

    start: int
    end: int
    fresh: int

    @property
    def own(self) -> Span:
        """The part that no earlier window has."""
        return Span(self.fresh, self.end)


def sentences(text: str) -> Iterator[Span]:
    """The sentences and lines of a text, white space around them left out.

    >>> [(one.start, one.end) for one in sentences("One. Two!  Three")]
    [(0, 4), (5, 9), (11, 16)]
    """
    at = 0
    ends = [(found.start(), found.end()) for found in _END.finditer(text)]
    for stop, after in [*ends, (len(text), len(text))]:
        # What closes a quotation belongs to the sentence before it.
        closing = len(text[stop:after]) - len(text[stop:after].lstrip("\"'”’)]"))
        piece = text[at : stop + closing]
        start = at + len(piece) - len(piece.lstrip())
        end = at + len(piece.rstrip())
        if start < end:
            yield Span(start, end)
        at = after


async def windows(text: str, most: int, count: Count) -> list[Window]:
    """A text in windows of at most so many tokens; all of it is in one of them, white space left out.

    Args:
        text: of any length.
        most: tokens of a window.
        count: of the model's tokens.

    Raises:
        PromptTooLongError: a single word has more tokens than a window.
    """
    whole = Span(len(text) - len(text.lstrip()), len(text.rstrip()))
    if whole.start >= whole.end:
        return []
    parts: list[tuple[Span, int]] = []
    for one in sentences(text):
        parts += await _pieces(text, one, most, count)
    return list(_packed(parts, most))


async def each_sentence(text: str, least: int, most: int, count: Count) -> list[Window]:
    """The sentences of a text; one of fewer than `least` tokens together with the next, the last with the one before.

    Raises:
        PromptTooLongError: a single character has more tokens than `most`.
    """
    made: list[tuple[Span, int]] = []
    for one in sentences(text):
        for piece, tokens in await _pieces(text, one, most, count):
            if made and made[-1][1] < least and made[-1][1] + tokens <= most:
                made[-1] = (Span(made[-1][0].start, piece.end), made[-1][1] + tokens)
            else:
                made.append((piece, tokens))
    if len(made) > 1 and made[-1][1] < least and sum(tokens for _, tokens in made[-2:]) <= most:
        (before, _), (last, _) = made[-2:]
        made[-2:] = [(Span(before.start, last.end), 0)]
    return [Window(one.start, one.end, one.start) for one, _ in made]


def _packed(parts: Sequence[tuple[Span, int]], most: int) -> Iterator[Window]:
    first = at = 0
    while at < len(parts):
        if sum(tokens for _, tokens in parts[first : at + 1]) > most:
            first = at  # the sentence before leaves no room for this one
        held = sum(tokens for _, tokens in parts[first : at + 1])
        after = at + 1
        while after < len(parts) and held + parts[after][1] <= most:
            held += parts[after][1]
            after += 1
        yield Window(parts[first][0].start, parts[after - 1][0].end, parts[at][0].start)
        first, at = after - 1, after


async def _pieces(text: str, part: Span, most: int, count: Count) -> list[tuple[Span, int]]:
    """A sentence with its tokens; one that is too long in halves, cut between words where it has some."""
    tokens = await count(text[part.start : part.end])
    if tokens <= most:
        return [(part, tokens)]
    if part.end - part.start < 2:
        raise PromptTooLongError(
            f"a single character has {tokens} tokens, and a window holds {most}",
            hint="Give the check a model with a longer context, or larger windows.",
        )
    middle = (part.start + part.end) // 2
    space = text.rfind(" ", part.start + 1, middle)
    cut = space if space > part.start else middle
    left = await _pieces(text, Span(part.start, cut), most, count)
    rest = cut + (len(text[cut : part.end]) - len(text[cut : part.end].lstrip()))
    return [*left, *(await _pieces(text, Span(rest, part.end), most, count) if rest < part.end else [])]
