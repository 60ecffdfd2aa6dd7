"""The page: what models read from documents, as one HTML file with every located quote marked in its text.

It loads nothing from outside, and everything that comes from a document or a model is escaped.
"""

from __future__ import annotations

import datetime
import functools
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from modelyard.extraction.pages.markup import digest, environment, show, trusted
from modelyard.extraction.result import DocumentResult, Extraction, FieldResult
from modelyard.extraction.schema import ExtractionSchema

if TYPE_CHECKING:
    from jinja2 import Environment

Verdict = Literal["right", "wrong", "not found", "unreadable"]
"""How a value compares with its label."""

VERDICTS: tuple[Verdict, ...] = ("right", "wrong", "not found", "unreadable")
_STATUSES = ("found", "ungrounded", "not found", "unreadable")
_SIGNS = {"right": "✓", "wrong": "✗", "found": "✓", "ungrounded": "!", "not found": "–", "unreadable": "?"}
_COLOURS = 6  # in base.css

_SHORT_LINES, _SHORT_CHARACTERS = 60, 6000  # a text up to here is shown whole
_AROUND_LINES, _AROUND_CHARACTERS = 12, 3000  # shown before and after a quote
_GAP = 600  # characters: less than this between two windows is not worth a click


@dataclass(slots=True, frozen=True)
class PageRun:
    """What one model read.

    Attributes:
        seconds: a document, on average.
        verdicts: for each document, in order, the verdict on each labelled field.
    """

    model: str
    extraction: Extraction
    seconds: float | None = None
    verdicts: tuple[Mapping[str, Verdict], ...] = ()


@dataclass(slots=True, frozen=True)
class Labels:
    """The right values of one document, and where it is from."""

    values: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""


class Quote(NamedTuple):
    """A located quote: whose it is (the number of its run), its span, and what its mark says."""

    id: int
    run: int
    start: int
    end: int
    title: str


class Piece(NamedTuple):
    """A stretch of text under the same quotes; `opens` are those that begin with it."""

    text: str
    quotes: tuple[Quote, ...] = ()
    opens: tuple[int, ...] = ()

    @property
    def runs(self) -> tuple[int, ...]:
        """The runs that quote it."""
        return tuple(sorted({one.run for one in self.quotes}))

    @property
    def title(self) -> str:
        """Who quotes it, for what."""
        return "\n".join(one.title for one in self.quotes)

    @property
    def style(self) -> str:
        """Its colours: the tint of its model, or the shared one, and an underline for each of up to two."""
        colours = [run % _COLOURS for run in self.runs]
        tint = f"--tint:var(--tint{colours[0]})" if len(colours) == 1 else "--tint:var(--shared)"
        return ";".join((tint, *(f"--line{at}:var(--model{one})" for at, one in enumerate(colours[:2]))))


class Part(NamedTuple):
    """A part of a document's text, shown or behind a click."""

    pieces: tuple[Piece, ...]
    shown: bool
    lines: int


@dataclass(slots=True, frozen=True)
class _Cell:
    value: str
    outcome: str
    sign: str
    ungrounded: bool
    quote: int | None
    where: str | None


@dataclass(slots=True, frozen=True)
class _Row:
    name: str
    unit: str | None
    label: str | None
    cells: tuple[_Cell, ...]


@dataclass(slots=True, frozen=True)
class _Section:
    """One document of the page."""

    name: str
    source: str
    rows: tuple[_Row, ...]
    parts: tuple[Part, ...]
    notes: tuple[tuple[str, DocumentResult], ...]


@dataclass(slots=True, frozen=True)
class _Summary:
    model: str
    counts: tuple[int, ...]
    ungrounded: int
    seconds: str


def render_page(
    title: str,
    runs: Sequence[PageRun],
    *,
    about: str = "",
    labels: Sequence[Labels] = (),
    schema: ExtractionSchema | None = None,
    made: datetime.date | None = None,
) -> str:
    """The page of one or more models' results on the same documents.

    Args:
        title: the page's title.
        runs: what each model read; all of the same documents, in the same order.
        about: one paragraph below the title.
        labels: for each document, in order, its right values and its source.
        schema: gives the fields their order and units.
        made: the date in the footer; today where not given.

    >>> page = render_page("Earnings", [PageRun("fake", Extraction("eps", (), None))])
    >>> "<title>Earnings</title>" in page
    True
    """
    from modelyard import __version__

    labelled = any(run.verdicts for run in runs)
    columns = VERDICTS if labelled else _STATUSES
    sections = _sections(runs, labels, schema)
    script = _environment().get_template("page.js").render()
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=title,
            about=about,
            columns=columns,
            labelled=labelled,
            summary=[_summary(run, at, sections, columns) for at, run in enumerate(runs)],
            models=[run.model for run in runs],
            sections=sections,
            colours=_COLOURS,
            fingerprints=[one for run in runs if (one := run.extraction.fingerprint)],
            version=__version__,
            made=made or datetime.datetime.now(tz=datetime.UTC).astimezone().date(),
            script=trusted(script),
            script_hash=digest(script),
        )
    )


def pieces(text: str, start: int, end: int, quotes: Sequence[Quote]) -> tuple[Piece, ...]:
    """The text from `start` to `end`, cut wherever a quote begins or ends; joined, they are that text.

    >>> [piece.text for piece in pieces("Net loss 5", 0, 10, [Quote(1, 0, 4, 8, "")])]
    ['Net ', 'loss', ' 5']
    """
    inside = [one for one in quotes if one.start < end and one.end > start]
    cuts = {start, end, *(max(start, one.start) for one in inside), *(min(end, one.end) for one in inside)}
    ordered = sorted(cuts)
    return tuple(_piece(text, left, right, inside) for left, right in itertools.pairwise(ordered))


def _piece(text: str, start: int, end: int, quotes: Sequence[Quote]) -> Piece:
    covering = tuple(one for one in quotes if one.start <= start and one.end >= end)
    return Piece(text[start:end], covering, tuple(one.id for one in covering if one.start == start))


def parts(text: str, quotes: Sequence[Quote]) -> tuple[Part, ...]:
    """The whole text in parts: what stands around the quotes is shown, the rest is behind a click."""
    shown = _shown(text, [(one.start, one.end) for one in quotes])
    found: list[Part] = []
    at = 0
    for start, end in shown:
        found += [_part(text, at, start, quotes, shown=False), _part(text, start, end, quotes, shown=True)]
        at = end
    found.append(_part(text, at, len(text), quotes, shown=False))
    return tuple(one for one in found if one.pieces)


def _part(text: str, start: int, end: int, quotes: Sequence[Quote], *, shown: bool) -> Part:
    lines = text.count("\n", start, end) + (end > start and text[end - 1] != "\n")
    return Part(pieces(text, start, end, quotes), shown, lines)


def _shown(text: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges that are shown: the windows around the quotes, those that nearly touch joined."""
    if len(text) <= _SHORT_CHARACTERS and text.count("\n") < _SHORT_LINES:
        return [(0, len(text))]
    shown: list[tuple[int, int]] = []
    for start, end in sorted(spans) or [(0, 0)]:
        left, right = _before(text, start), _after(text, end)
        if not shown and left < _GAP:
            left = 0
        if len(text) - right < _GAP:
            right = len(text)
        if shown and left - shown[-1][1] < _GAP:
            left, right = shown[-1][0], max(shown[-1][1], right)
            shown.pop()
        shown.append((left, right))
    return shown


def _before(text: str, at: int) -> int:
    floor = max(0, at - _AROUND_CHARACTERS)
    for _ in range(_AROUND_LINES + 1):
        newline = text.rfind("\n", floor, at)
        if newline < 0:
            return floor
        at = newline
    return at + 1


def _after(text: str, at: int) -> int:
    ceiling = min(len(text), at + _AROUND_CHARACTERS)
    for _ in range(_AROUND_LINES + 1):
        newline = text.find("\n", at, ceiling)
        if newline < 0:
            return ceiling
        at = newline + 1
    return at


# -- from results to what the template shows ---------------------------------------------------------------


def _sections(
    runs: Sequence[PageRun], labels: Sequence[Labels], schema: ExtractionSchema | None
) -> tuple[_Section, ...]:
    columns = zip(*(run.extraction.documents for run in runs), strict=True)
    sections: list[_Section] = []
    quotes = 0
    for at, results in enumerate(columns):
        known = labels[at] if at < len(labels) else Labels()
        verdicts = [run.verdicts[at] if at < len(run.verdicts) else {} for run in runs]
        names = [(run.model, result) for run, result in zip(runs, results, strict=True)]
        section, quotes = _section(names, verdicts, known, schema, quotes)
        sections.append(section)
    return tuple(sections)


def _section(
    results: Sequence[tuple[str, DocumentResult]],
    verdicts: Sequence[Mapping[str, Verdict]],
    known: Labels,
    schema: ExtractionSchema | None,
    counted: int,
) -> tuple[_Section, int]:
    """One document; the quotes are numbered on from `counted`, and how far that came is returned."""
    text, digest = next(((one.text, one.text_sha256) for _, one in results if one.text), ("", ""))
    units = {one.name: one.unit for one in schema.fields} if schema else {}
    names = list(units) or list(dict.fromkeys(name for _, one in results for name in one.fields))
    quotes: list[Quote] = []
    rows: list[_Row] = []
    for name in names:
        cells: list[_Cell] = []
        for run, (model, result) in enumerate(results):
            one = result.fields.get(name) or FieldResult(None, None, None, None, "not_found")
            # A span is of this text only when the model read this very text.
            quote = _quote(one, run, counted + 1, f"{model}: {name} = {show(one.value)}", len(text))
            if quote is not None and result.text_sha256 == digest:
                quotes.append(quote)
                counted += 1
            else:
                quote = None
            cells.append(_cell(one, verdicts[run].get(name), quote))
        label = show(known.values[name]) if name in known.values else None
        rows.append(_Row(name, units.get(name), label, tuple(cells)))
    section = _Section(
        results[0][1].document, known.source, tuple(rows), parts(text, quotes) if text else (), tuple(results)
    )
    return section, counted


def _quote(one: FieldResult, run: int, number: int, title: str, length: int) -> Quote | None:
    if one.start is None or one.end is None or not 0 <= one.start < one.end <= length:
        return None
    return Quote(number, run, one.start, one.end, title)


def _cell(one: FieldResult, verdict: Verdict | None, quote: Quote | None) -> _Cell:
    outcome = verdict or {"not_found": "not found", "failed": "unreadable"}.get(one.status, one.status)
    return _Cell(
        value=show(one.value),
        outcome=outcome,
        sign=_SIGNS[outcome],
        ungrounded=one.status == "ungrounded",
        quote=quote.id if quote else None,
        where=one.where,
    )


def _summary(run: PageRun, at: int, sections: Sequence[_Section], columns: Sequence[str]) -> _Summary:
    cells = [row.cells[at] for section in sections for row in section.rows]
    counts = Counter(cell.outcome for cell in cells)
    seconds = "–" if run.seconds is None else f"{run.seconds:.1f}"
    ungrounded = sum(cell.ungrounded for cell in cells)
    return _Summary(run.model, tuple(counts[one] for one in columns), ungrounded, seconds)


@functools.cache
def _environment() -> Environment:
    return environment(Path(__file__).parent)
