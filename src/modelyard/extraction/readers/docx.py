"""Word documents as lines: paragraphs, headings, lists and tables in their order, notes and text boxes.

python-docx opens the package; the text is walked here, as its own leaves out tracked insertions, text boxes
and notes. Deletions that are still tracked are left out and insertions taken as accepted. Whatever is not read
is counted and said in a warning.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from modelyard.errors import DocumentError
from modelyard.extraction.readers import tables
from modelyard.extraction.readers.archive import check_archive
from modelyard.extraction.readers.line import Line, Places
from modelyard.extraction.readers.tables import Cell
from modelyard.extraction.readers.words import Unread, W, Words, children, tag_of, value_of

_DAMAGED = "Open it in a word processor and save it again as .docx."
_AROUND = frozenset(("sdt", "sdtContent", "ins", "moveTo", "customXml", "smartTag"))
_LONGEST_SAID = 80


def read_docx(data: bytes, name: str) -> tuple[list[Line], tuple[str, ...]]:
    """The lines of a Word document, none where it holds no text, and what was not read.

    Elements are counted as a reader would: `paragraph 3`, `heading 1`, `list item 2`, `table 1, row 4`,
    `text box 1`, `footnote 2`.

    Raises:
        DocumentError: the file is damaged, encrypted, no Word document, or unpacks to too much.
    """
    check_archive(data, name)
    try:
        return _read(data)
    except DocumentError:
        raise
    # Broken packages end in errors of zipfile, zlib, lxml and python-docx alike, ValueError and KeyError among them.
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise DocumentError(f"{name}: not a readable Word document ({reason})", hint=_DAMAGED) from error


def _read(data: bytes) -> tuple[list[Line], tuple[str, ...]]:
    from docx import Document

    document = Document(io.BytesIO(data))
    unread = Unread()
    body = _Body(_Styles(document.styles.element), unread)
    body.blocks(document.element.body)
    for kind in ("footnote", "endnote"):
        body.notes(kind, _notes_part(document, kind))
    while body.lines and not body.lines[-1].text:
        body.lines.pop()
    margins = _margins(document)
    said = (f"headers and footers are not read: {margins}",) if margins else ()
    return body.lines, (*unread.said(), *said)


class _Styles:
    """Which styles are headings and which are lists; a style inherits from the one it is based on."""

    def __init__(self, root: Any) -> None:
        self._styles = {one.get(W + "styleId"): one for one in root.iter(W + "style")}
        self._kinds: dict[str | None, str] = {}

    def kind(self, paragraph: Any) -> str:
        """`heading`, `list item` or `paragraph`."""
        properties = paragraph.find(W + "pPr")
        style = None if properties is None else value_of(properties, "pStyle")
        return _own_kind(properties) or self._of_style(style) or "paragraph"

    def _of_style(self, style: str | None) -> str:
        if style not in self._kinds:
            self._kinds[style] = self._follow(style)
        return self._kinds[style]

    def _follow(self, style: str | None) -> str:
        seen: set[str | None] = set()
        while style in self._styles and style not in seen:
            seen.add(style)
            element = self._styles[style]
            name = (value_of(element, "name") or "").lower()
            if name == "title" or name.startswith("heading"):
                return "heading"
            kind = _own_kind(element.find(W + "pPr"))
            if kind or name.startswith("list "):
                return kind or "list item"
            style = value_of(element, "basedOn")
        return ""


def _own_kind(properties: Any) -> str:
    if properties is None:
        return ""
    if (value_of(properties, "outlineLvl") or "9") < "9":
        return "heading"
    numbering = properties.find(W + "numPr")
    if numbering is None:
        return ""
    return "paragraph" if value_of(numbering, "numId") == "0" else "list item"


class _Body:
    """Walks the blocks and collects lines."""

    def __init__(self, styles: _Styles, unread: Unread) -> None:
        self.lines: list[Line] = []
        self._styles = styles
        self._unread = unread
        self._places = Places()
        self._notes: dict[str, dict[str, int]] = {"footnote": {}, "endnote": {}}

    def blocks(self, element: Any, where: str | None = None) -> None:
        """The paragraphs and tables in an element; `where` is their place, if they have none of their own."""
        for child in children(element):
            tag = tag_of(child)
            if tag == "p":
                self._paragraph(child, where)
            elif tag == "tbl":
                self._table(child)
            elif tag in _AROUND:
                self.blocks(child, where)
            elif tag in ("del", "moveFrom"):
                self._unread.add("deleted")
            elif tag == "altChunk":
                self._unread.add("embedded")

    def notes(self, kind: str, part: Any) -> None:
        """The notes at the end, under the marks that they have in the text."""
        known = {} if part is None else {one.get(W + "id"): one for one in part.iter(W + kind)}
        for key, number in list(self._notes[kind].items()):
            if key not in known:
                self._unread.add("lost")
                continue
            if number == 1:
                self._blank()
            first = len(self.lines)
            self.blocks(known[key], f"{kind} {number}")
            if first < len(self.lines):
                said, where = self.lines[first]
                self.lines[first] = Line(f"{self._mark(kind, number)} {said}", where)

    def _mark(self, kind: str, number: int) -> str:
        return f"^{number}" if kind == "footnote" else f"^e{number}"

    def _note(self, kind: str, key: str) -> str:
        known = self._notes[kind]
        return self._mark(kind, known.setdefault(key, len(known) + 1))

    def _paragraph(self, paragraph: Any, where: str | None) -> None:
        words = Words(self._unread, self._note)
        text = words.of(paragraph)
        if text.strip():
            kind = self._styles.kind(paragraph)
            if kind == "heading":
                self._blank()
            place = where or self._places.next(kind)
            bullet = "- " if kind == "list item" else ""
            if kind == "list item":
                self._unread.add("numbers")
            self.lines += [Line(line, place) for line in (bullet + text.strip()).split("\n") if line.strip()]
        for box in words.boxes:
            self.blocks(box, self._places.next("text box"))

    def _table(self, table: Any) -> None:
        self._blank()
        if next(table.iterdescendants(W + "tbl"), None) is not None:
            self._unread.add("nested")
            for row in _rows(table):
                for cell in _cells(row):
                    self.blocks(cell)
        else:
            name = self._places.next("table")
            boxes: list[Any] = []
            rows = [self._row(row, boxes) for row in _rows(table)]
            for number, text in enumerate(tables.lines(rows), 1):
                place = f"{name}, row {number}"
                self.lines += [Line(line, place) for line in text.split("\n") if line.strip()]
            for box in boxes:
                self.blocks(box, self._places.next("text box"))
        self._blank()

    def _row(self, row: Any, boxes: list[Any]) -> list[Cell]:
        properties = row.find(W + "trPr")
        if properties is not None and properties.find(W + "del") is not None:
            self._unread.add("deleted")
            return []
        column = _number(properties, "gridBefore", 0)
        cells: list[Cell] = []
        for cell in _cells(row):
            properties = cell.find(W + "tcPr")
            after = column + _number(properties, "gridSpan", 1)
            merged = None if properties is None else properties.find(W + "vMerge")
            begins = merged is None or merged.get(W + "val") == "restart"
            cells.append(Cell(column, after, self._cell(cell, boxes) if begins else ""))
            column = after
        return cells

    def _cell(self, cell: Any, boxes: list[Any]) -> str:
        said: list[str] = []
        for paragraph in cell.iterdescendants(W + "p"):
            if next(paragraph.iterancestors(W + "txbxContent", W + "del"), None) is None:
                words = Words(self._unread, self._note)
                said += [" ".join(line.split()) for line in words.of(paragraph).split("\n")]
                boxes += words.boxes
        return "\n".join(line for line in said if line)

    def _blank(self) -> None:
        if self.lines and self.lines[-1].text:
            self.lines.append(Line("", self.lines[-1].where))


def _rows(table: Any) -> Iterator[Any]:
    yield from _through(table, "tr")


def _cells(row: Any) -> Iterator[Any]:
    yield from _through(row, "tc")


def _through(element: Any, wanted: str) -> Iterator[Any]:
    """The parts of a table, also those inside content controls."""
    for child in children(element):
        if tag_of(child) == wanted:
            yield child
        elif tag_of(child) in _AROUND:
            yield from _through(child, wanted)


def _number(properties: Any, name: str, default: int) -> int:
    said = None if properties is None else value_of(properties, name)
    return min(int(said), 1000) if said and said.isascii() and said.isdigit() and int(said) else default


def _notes_part(document: Any, kind: str) -> Any:
    from docx.opc.constants import RELATIONSHIP_TYPE
    from docx.oxml import parse_xml

    wanted = {"footnote": RELATIONSHIP_TYPE.FOOTNOTES, "endnote": RELATIONSHIP_TYPE.ENDNOTES}[kind]
    parts = [one.target_part for one in document.part.rels.values() if one.reltype == wanted]
    return parse_xml(parts[0].blob) if parts else None


def _margins(document: Any) -> str:
    """What the headers and footers say, shortened."""
    found: dict[str, None] = {}
    words = Words(Unread(), lambda kind, key: "")
    for relation in document.part.rels.values():
        if relation.reltype.endswith(("/header", "/footer")) and not relation.is_external:
            for paragraph in relation.target_part.element.iter(W + "p"):
                found[" ".join(words.of(paragraph).split())] = None
    said = " · ".join(text for text in found if text)
    return repr(said if len(said) <= _LONGEST_SAID else said[:_LONGEST_SAID] + "…") if said else ""
