"""PDF as lines: each page's text by visual line, tables with ` | ` between their columns.

Two columns of prose are read one after the other. Where a page's text is turned, its order is pdfium's own.
"""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import pypdfium2
import pypdfium2.raw as pdfium

from modelyard.errors import DocumentError
from modelyard.extraction.readers import columns
from modelyard.extraction.readers.notes import is_mark

_LOCK = threading.Lock()  # pdfium is not thread-safe
_WORD_GAP = 0.22  # in heights of a line
_CELL_GAP = 1.4
_SAME_LINE = 0.5
_SMALL, _HIGH = 0.85, 0.1  # of a line's height: how small a note's mark is, and how far up it begins
_TURNED = 0.2  # radians
_FEWEST_COLUMN_LINES = 6
_PROSE = re.compile(r"(?:[^\W\d_]{2,}[\s,;.:()'’-]*){3,}")


@dataclass(frozen=True, slots=True)
class _Glyph:
    text: str
    left: float
    right: float
    bottom: float
    top: float
    spaced: bool


def read_pdf(data: bytes, name: str) -> list[list[str]]:
    """The lines of each page; a page without text has none.

    Raises:
        DocumentError: the file is encrypted, damaged, or no PDF.
    """
    with _LOCK:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            raise _unreadable(name, str(error)) from None
        try:
            return [_page(document, number, name) for number in range(len(document))]
        finally:
            document.close()


def _unreadable(name: str, reason: str) -> DocumentError:
    if "password" in reason.lower():
        return DocumentError(
            f"{name}: the PDF is encrypted", hint="Save a copy without its password, then read that."
        )
    return DocumentError(
        f"{name}: not a readable PDF ({reason})", hint="Open it in a viewer and print it to a new PDF."
    )


def _page(document: Any, number: int, name: str) -> list[str]:
    try:
        page = document[number]
    except pypdfium2.PdfiumError as error:
        raise _unreadable(name, f"page {number + 1}: {error}") from None
    text = page.get_textpage()
    try:
        if _turned(text):
            return [line for line in text.get_text_bounded().splitlines() if line.strip()]
        rows = [_cells(line) for line in _visual_lines(list(_glyphs(text)))]
    finally:
        text.close()
        page.close()
    return columns.lines(_reading_order(rows))


def _turned(text: Any) -> bool:
    count = text.count_chars()
    sample = range(0, count, max(1, count // 50))
    angles = [pdfium.FPDFText_GetCharAngle(text, index) for index in sample]
    turned = sum(1 for angle in angles if _TURNED < angle < 6.28 - _TURNED)
    return turned * 2 > len(angles)


def _glyphs(text: Any) -> Iterator[_Glyph]:
    box = pdfium.FS_RECTF()
    spaced, half = False, ""
    for index in range(text.count_chars()):
        code = pdfium.FPDFText_GetUnicode(text, index)
        if 0xD800 <= code < 0xDC00:
            half = chr(code)
            continue
        character = _whole(half + chr(code)) if 0 < code < 0x110000 else " "
        half = ""
        if not character.strip() or character < " " or character in "\ufffe\uffff":
            spaced = True
            continue
        if pdfium.FPDFText_GetLooseCharBox(text, index, ctypes.byref(box)):
            yield _Glyph(character, box.left, box.right, box.bottom, box.top, spaced)
            spaced = False


def _whole(character: str) -> str:
    """A character that came as two surrogates in one piece; a half alone becomes U+FFFD."""
    return character.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _visual_lines(glyphs: list[_Glyph]) -> list[list[_Glyph]]:
    """Glyphs by line, from the top of the page down; small raised ones stay on the line they overlap."""
    lines: list[list[_Glyph]] = []
    bottom = top = 0.0
    for glyph in sorted(glyphs, key=lambda one: -(one.bottom + one.top)):
        middle = (glyph.bottom + glyph.top) / 2
        if lines and (bottom + (top - bottom) * (1 - _SAME_LINE) / 2 < middle or _beside(glyph, bottom, top)):
            lines[-1].append(glyph)
            if glyph.top - glyph.bottom > top - bottom:
                bottom, top = glyph.bottom, glyph.top
        else:
            lines.append([glyph])
            bottom, top = glyph.bottom, glyph.top
    return [sorted(line, key=lambda one: one.left) for line in lines]


def _beside(glyph: _Glyph, bottom: float, top: float) -> bool:
    """Whether a glyph of another size overlaps the line: a raised mark comes before the line that it is on."""
    small, large = sorted((glyph.top - glyph.bottom, top - bottom))
    return small < _SMALL * large and min(glyph.top, top) - max(glyph.bottom, bottom) > _SAME_LINE * small


def _cells(line: list[_Glyph]) -> columns.Row:
    height = median(glyph.top - glyph.bottom for glyph in line) or 1.0
    bottom = median(glyph.bottom for glyph in line)
    raised = False
    cells: columns.Row = []
    for glyph in line:
        gap = (glyph.left - cells[-1][1]) / height if cells else _CELL_GAP
        if gap >= _CELL_GAP:
            cells.append((glyph.left, glyph.right, glyph.text))
            continue
        left, right, text = cells[-1]
        space = " " if gap > _WORD_GAP or (glyph.spaced and gap > 0) else ""
        up = _raised(glyph, height, bottom)
        if up and not raised and is_mark(text, glyph.text):
            space = "^"
        raised = up
        cells[-1] = (left, max(right, glyph.right), text + space + glyph.text)
    return cells


def _raised(glyph: _Glyph, height: float, bottom: float) -> bool:
    """Whether a figure is small and set high, as the mark of a note is."""
    small = glyph.top - glyph.bottom < _SMALL * height
    return small and glyph.bottom > bottom + _HIGH * height and glyph.text.isdigit()


def _reading_order(rows: list[columns.Row]) -> list[columns.Row]:
    """Runs of lines with prose on both sides of one gutter: the left side first, then the right."""
    ordered: list[columns.Row] = []
    run: list[columns.Row] = []
    for row in [*rows, []]:
        if _two_columns(row) and (not run or _same_gutter(row, run[0])):
            run.append(row)
            continue
        if len(run) >= _FEWEST_COLUMN_LINES:
            ordered += [[line[0]] for line in run] + [[line[1]] for line in run]
        else:
            ordered += run
        run = [row] if _two_columns(row) else []
        ordered += [row] if row and not run else []
    return ordered


def _same_gutter(row: columns.Row, first: columns.Row) -> bool:
    return row[0][1] < first[1][0] and row[1][0] > first[0][1]


def _two_columns(row: columns.Row) -> bool:
    return len(row) == 2 and all(_PROSE.search(text) for _, _, text in row)
