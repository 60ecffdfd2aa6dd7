"""HTML as lines: what a reader of the page sees, tables row by row, each line with the element it is from.

Elements are counted as a reader would: `paragraph 12`, `heading 2`, `list item 3`, `table 3, row 7`. Tables
that only lay out a page, those with tables in them, are read as blocks and not counted.

>>> [line.text for line in read_html("<p>Net&nbsp;loss</p><table><tr><td>EPS<td>$<td>0.41</table>")]
['Net loss', '', 'EPS | $0.41', '']
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from lxml import etree

from modelyard.errors import DocumentError
from modelyard.extraction.readers import tables
from modelyard.extraction.readers.line import Line, Places
from modelyard.extraction.readers.notes import is_mark
from modelyard.extraction.readers.tables import Cell

_DROPPED = frozenset(
    (
        "script", "style", "noscript", "template", "head", "title", "svg", "math", "object",
        "iframe", "audio", "video", "canvas", "select", "textarea", "ix:header", "ix:hidden",
    )
)  # fmt: skip
_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_BLOCKS = _HEADINGS | frozenset(
    (
        "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details",
        "dialog", "dir", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form",
        "header", "hr", "html", "legend", "li", "main", "menu", "nav", "ol", "p", "pre", "section",
        "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
        "document", "type", "sequence", "filename", "description", "text",  # EDGAR's own, around a filing
    )
)  # fmt: skip
_HIDING = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
# XML and libxml2 hold no control characters, and a zero byte would end the document there.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_WIDEST_SPAN = 1000


def read_html(source: str) -> list[Line]:
    """The lines of an HTML page or fragment; empty where nothing is to be seen.

    Raises:
        DocumentError: elements nested so deeply that text would be lost.
    """
    root = _parse(source)
    return [] if root is None else _Page(root).lines


def _parse(source: str) -> Any:
    clean = _NOT_XML.sub(" ", source)
    if not clean.strip():
        return None
    parser = etree.HTMLParser(encoding="utf-8", remove_blank_text=False, huge_tree=True)
    try:
        root = etree.fromstring(clean.encode("utf-8"), parser)
    except etree.XMLSyntaxError:
        root = None  # libxml2 found no element at all, as in "<>"
    # libxml2 goes on without what lies deeper than 2,048 elements, so only its log tells.
    if any("depth" in entry.message.lower() for entry in parser.error_log):
        raise DocumentError(
            "the page is nested too deeply", hint="Save it as text from a browser, and read that."
        )
    return root


class _Table:
    """The rows of the table being read."""

    __slots__ = ("carried", "cell", "column", "name", "rows")

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: list[list[Cell]] = []
        self.carried: list[tuple[int, int, int]] = []  # (start, end, rows left) of cells with a rowspan
        self.cell: tuple[int, int] | None = None
        self.column = 0

    def begin_row(self) -> None:
        self.rows.append([])
        self.column = 0
        self.carried = [(start, end, left - 1) for start, end, left in self.carried if left > 1]

    def begin_cell(self, columns: int, rows: int) -> None:
        if not self.rows:
            self.begin_row()
        moved = True
        while moved:
            moved = False
            for start, end, _ in self.carried:
                if start <= self.column < end:
                    self.column, moved = end, True
        self.cell = (self.column, self.column + columns)
        self.column += columns
        if rows > 1:
            self.carried.append((*self.cell, rows))

    def end_cell(self, text: str) -> None:
        if self.cell is not None:
            self.rows[-1].append(Cell(*self.cell, text))
            self.cell = None

    def lines(self) -> Iterator[Line]:
        """The lines of its rows; a row of a table with one column may have several."""
        for number, text in enumerate(tables.lines(self.rows), 1):
            where = f"{self.name}, row {number}"
            yield from (Line(part, where) for part in text.split("\n") if part.strip())


class _Page:
    """Walks the tree once and collects lines."""

    def __init__(self, root: Any) -> None:
        self.lines: list[Line] = []
        self._inline: list[str] = []
        self._places = Places()
        self._items: list[str] = []  # the list items that are open
        self._headings = 0
        self._pre = 0
        self._table: _Table | None = None
        self._layout = {outer for table in root.iter("table") for outer in table.iterancestors("table")}
        self._walk(root)
        self._flush()

    def _walk(self, root: Any) -> None:
        walker = etree.iterwalk(root, events=("start", "end", "comment", "pi"))
        skipped: Any = None
        for event, element in walker:
            if event == "start":
                if _hidden(element):
                    skipped = element
                    walker.skip_subtree()
                else:
                    self._begin(element)
            elif event == "end":
                if element is skipped:
                    skipped = None
                else:
                    self._end(element)
                self._say(element.tail)
            else:
                self._say(element.tail)

    def _begin(self, element: Any) -> None:
        tag = element.tag
        if tag in _BLOCKS:
            self._break()
        if tag == "br":
            self._inline.append("\n")
        elif tag == "li":
            self._items.append(self._places.next("list item"))
            self._inline.append("- ")
        elif tag == "pre":
            self._pre += 1
        elif tag in ("sup", "sub"):
            self._raise(element)
        elif tag in ("table", "tr", "td", "th"):
            self._begin_table_part(element, tag)
        elif tag in _HEADINGS:
            self._blank()
            self._headings += 1
        self._say(element.text)

    def _end(self, element: Any) -> None:
        tag = element.tag
        if tag == "table":
            self._end_table(element)
        elif tag in ("td", "th") and self._table is not None and self._table.cell is not None:
            self._table.end_cell("\n".join(self._take()))
        elif tag in _BLOCKS:
            self._break()
        if tag == "pre":
            self._pre -= 1
        elif tag == "li":
            self._items.pop()
        elif tag in _HEADINGS:
            self._headings -= 1

    def _begin_table_part(self, element: Any, tag: str) -> None:
        if tag == "table":
            if element not in self._layout:
                self._blank()
                self._table = _Table(self._places.next("table"))
        elif self._table is None:
            return
        elif tag == "tr":
            self._table.begin_row()
        else:
            self._table.begin_cell(_span(element, "colspan"), _span(element, "rowspan"))

    def _end_table(self, element: Any) -> None:
        self._break()
        if self._table is None or element in self._layout:
            return
        table, self._table = self._table, None
        self.lines += table.lines()
        self._blank()

    def _raise(self, element: Any) -> None:
        """Keeps a note's mark apart from what it stands behind: 1.20 with note 1 is not 1.201."""
        before = "".join(self._inline[-3:])
        raised = "".join(element.itertext())
        if element.tag == "sub":
            if raised.strip() and before.rstrip()[-1:].isdigit():
                self._inline.append("_")
        elif is_mark(before, raised):
            while not (last := self._inline.pop().rstrip(" \xa0")):
                pass
            self._inline += [last, "^"]
            element.text = (element.text or "").lstrip()

    def _say(self, text: str | None) -> None:
        if text:
            self._inline.append(text if self._pre else text.replace("\n", " ").replace("\r", " "))

    def _take(self) -> list[str]:
        """The pending text as lines; white space collapsed except where it is the layout."""
        said = _INVISIBLE.sub("", "".join(self._inline))
        self._inline.clear()
        if self._pre and self._table is None:
            return [line.replace("\xa0", " ").expandtabs().rstrip() for line in said.splitlines()]
        collapsed = (" ".join(line.split()) for line in said.split("\n"))
        return [line for line in collapsed if line and line != "-"]

    def _break(self) -> None:
        if self._table is not None and self._table.cell is not None:
            self._inline.append("\n")
        elif self._table is not None:
            stray = self._take()  # a caption, or text that stands between the cells
            if stray:
                self._table.begin_row()
                self._table.rows[-1].append(Cell(0, 1, "\n".join(stray)))
        else:
            self._flush()

    def _flush(self) -> None:
        if not self._inline:
            return
        taken = self._take()
        if any(taken):
            where = self._where()
            self.lines += [Line(text, where) for text in _without_double_blanks(taken, self._ends_blank())]

    def _blank(self) -> None:
        if self._table is None:
            self._flush()
            if not self._ends_blank():
                self.lines.append(Line("", self.lines[-1].where))

    def _ends_blank(self) -> bool:
        return not self.lines or not self.lines[-1].text

    def _where(self) -> str:
        if self._headings:
            return self._places.next("heading")
        return self._items[-1] if self._items else self._places.next("paragraph")


def _without_double_blanks(texts: Iterable[str], blank: bool) -> Iterator[str]:
    for text in texts:
        if text or not blank:
            yield text
        blank = not text


def _hidden(element: Any) -> bool:
    if element.tag in _DROPPED or element.get("hidden") is not None:
        return True
    style = element.get("style")
    return style is not None and "n" in style and _HIDING.search(style) is not None


def _span(element: Any, name: str) -> int:
    try:
        return min(max(int(element.get(name) or 1), 1), _WIDEST_SPAN)
    except ValueError:
        return 1
