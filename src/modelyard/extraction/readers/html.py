"""HTML as lines: what a reader of the page sees, tables row by row, each line with its element's path.

>>> [line.text for line in read_html("<p>Net&nbsp;loss</p><table><tr><td>EPS<td>$<td>0.41</table>")]
['Net loss', '', 'EPS | $0.41', '']
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from lxml import etree

from modelyard.errors import DocumentError
from modelyard.extraction.readers import tables
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
_RAISED_AFTER = re.compile(r"[\d)%]\Z")
_WIDEST_SPAN = 1000
_LONGEST_PATH = 64


class Line(NamedTuple):
    """One line of the derived text, and the path of its element."""

    text: str
    where: str


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

    __slots__ = ("carried", "cell", "column", "inside", "rows", "wheres")

    def __init__(self) -> None:
        self.rows: list[list[Cell]] = []
        self.wheres: list[str] = []
        self.carried: list[tuple[int, int, int]] = []  # (start, end, rows left) of cells with a rowspan
        self.cell: tuple[int, int] | None = None
        self.column = 0
        self.inside = False

    def begin_row(self, where: str) -> None:
        self.rows.append([])
        self.wheres.append(where)
        self.column = 0
        self.carried = [(start, end, left - 1) for start, end, left in self.carried if left > 0]

    def begin_cell(self, columns: int, rows: int, where: str) -> None:
        if not self.rows:
            self.begin_row(where)
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


class _Page:
    """Walks the tree once and collects lines."""

    def __init__(self, root: Any) -> None:
        self.lines: list[Line] = []
        self._inline: list[str] = []
        self._path: list[str] = []
        self._counts: list[dict[str, int]] = [{}]
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
        number = self._counts[-1][tag] = self._counts[-1].get(tag, 0) + 1
        if tag in _BLOCKS:
            self._break()
        self._path.append(f"{tag}[{number}]")
        self._counts.append({})
        if tag == "br":
            self._inline.append("\n")
        elif tag == "li":
            self._inline.append("- ")
        elif tag == "pre":
            self._pre += 1
        elif tag in ("sup", "sub"):
            self._raise(element)
        elif tag in ("table", "tr", "td", "th"):
            self._begin_table_part(element, tag)
        elif tag in _HEADINGS:
            self._blank()
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
        self._path.pop()
        self._counts.pop()

    def _begin_table_part(self, element: Any, tag: str) -> None:
        if tag == "table":
            if element not in self._layout:
                self._blank()
                self._table = _Table()
        elif self._table is None:
            return
        elif tag == "tr":
            self._table.begin_row(self._where())
        else:
            self._table.begin_cell(_span(element, "colspan"), _span(element, "rowspan"), self._where())

    def _end_table(self, element: Any) -> None:
        self._break()
        if self._table is None or element in self._layout:
            return
        table, self._table = self._table, None
        for text, where in zip(tables.lines(table.rows), table.wheres, strict=True):
            self.lines += [Line(part, where) for part in text.split("\n") if part.strip()]
        self._blank()

    def _raise(self, element: Any) -> None:
        """Keeps a raised figure apart from the number before it: 1.20 with note 1 is not 1.201."""
        before = "".join(self._inline[-3:]).rstrip()
        raised = "".join(element.itertext()).strip()
        if raised and _RAISED_AFTER.search(before):
            self._inline.append("^" if element.tag == "sup" else "_")

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
                self._table.begin_row(self._where())
                self._table.rows[-1].append(Cell(0, 1, "\n".join(stray)))
        else:
            self._flush()

    def _flush(self) -> None:
        if self._inline:
            where = self._where()
            for text in self._take():
                if text or not self._ends_blank():
                    self.lines.append(Line(text, where))

    def _blank(self) -> None:
        if self._table is None:
            self._flush()
            if not self._ends_blank():
                self.lines.append(Line("", self._where()))

    def _ends_blank(self) -> bool:
        return not self.lines or not self.lines[-1].text

    def _where(self) -> str:
        return "/" + "/".join(self._path[:_LONGEST_PATH])


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
