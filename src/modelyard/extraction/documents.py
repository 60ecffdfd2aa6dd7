"""Documents: a file as the text that models read and that spans point into, and the way back to its place.

>>> document = read_text("Net loss\\nEPS (0.41)", "note")
>>> document.where(document.text.index("(0.41)"))
'line 2'
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from modelyard.errors import DocumentError
from modelyard.extraction.readers.encoding import binary, decode

_KINDS = {
    **dict.fromkeys((".txt", ".text", ".rst", ".csv", ".tsv", ".json", ".log"), "text"),
    **dict.fromkeys((".md", ".markdown"), "markdown"),
    **dict.fromkeys((".html", ".htm", ".xhtml", ".xht"), "html"),
    ".docx": "docx",
    ".pdf": "pdf",
}
SUFFIXES = frozenset(_KINDS)
"""The ends of names, in lower case, of files that can be read."""
READABLE = (
    "Readable are text (.txt, .csv, .json), Markdown (.md), HTML (.html, .htm), Word (.docx) and PDF (.pdf)."
)
"""The same as a sentence for people."""
_PAGE = re.compile(r"\s*(?:<\?xml[^>]*>\s*)?<(?:!doctype\s+html|html|sec-document|document)\b", re.IGNORECASE)
_HEAD = 2048
_LINE_END = re.compile(r"\r\n|\r|\n")
# Filings carry Windows punctuation that a converter took for Latin-1: dashes and quotation marks as controls.
_MISREAD = {code: one for code in range(0x80, 0xA0) if (one := bytes([code]).decode("cp1252", "ignore"))}


class Segment(NamedTuple):
    """A range of the text, and where it stood: `page 4`, `line 12`, `paragraph 3`, `table 2, row 7`."""

    start: int
    end: int
    where: str


@dataclass(frozen=True, slots=True)
class Document:
    """What was read from one file.

    Attributes:
        name: the file's name, or the one given.
        text: the derived text; spans are character offsets into it.
        sha256: of the file's bytes; of the UTF-8 bytes for a text given as a string.
        kind: `text`, `markdown`, `html`, `docx` or `pdf`.
        segments: sorted ranges that cover `text`.
        warnings: what had to be guessed, and what could not be read.
    """

    name: str
    text: str
    sha256: str
    kind: str
    segments: tuple[Segment, ...]
    warnings: tuple[str, ...] = ()

    def where(self, offset: int) -> str:
        """The place in the source of one character of the text; empty beyond its ends.

        >>> read_text("one\\ntwo").where(4), read_text("").where(0)
        ('line 2', '')
        """
        place = bisect_right(self.segments, offset, key=lambda segment: segment.start) - 1
        inside = place >= 0 and offset < self.segments[place].end
        return self.segments[place].where if inside else ""


def read_document(path: Path) -> Document:
    """Reads a text, Markdown, HTML, Word (.docx) or PDF file.

    Raises:
        DocumentError: no such file, no known kind, encrypted, damaged, or without any text.
    """
    path = Path(path)
    data = _load(path)
    kind, warnings = _kind(path, data)
    digest = hashlib.sha256(data).hexdigest()
    if kind == "pdf":
        return _from_pdf(path.name, data, digest, warnings)
    if kind == "docx":
        return _from_docx(path.name, data, digest, warnings)
    text, guesses = decode(data, markup=kind == "html")
    if binary(text):
        raise DocumentError(f"{path}: binary data, not {kind}", hint=READABLE)
    if kind in ("text", "markdown") and _PAGE.match(text[:_HEAD]):
        kind, warnings = "html", (*warnings, "holds a web page; read as HTML")
    warnings += guesses
    if kind == "html":
        return _from_html(path.name, text, digest, warnings)
    if kind == "text":
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise DocumentError(f"{path}: holds nothing but white space", hint="Give a file with text in it.")
    return _as_it_is(path.name, text, digest, kind, warnings)


def read_text(text: str, name: str = "text") -> Document:
    """A document from a string, kept exactly as it is; read as HTML where the name ends in .html or .htm.

    >>> read_text("<p>EPS<br>0.41", "note.html").text
    'EPS\\n0.41'
    """
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    kind = _KINDS.get(Path(name).suffix.lower())
    if kind == "html":
        return _from_html(name, text, digest, ())
    return _as_it_is(name, text, digest, "markdown" if kind == "markdown" else "text", ())


def _load(path: Path) -> bytes:
    if path.is_dir():
        raise DocumentError(
            f"{path}: a folder, not a file", hint="Name the files in it, one by one or by a pattern."
        )
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DocumentError(
            f"{path}: no such file", hint="Check the path and the folder it starts from."
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DocumentError(f"{path}: cannot be read: {reason}", hint="Check its permissions.") from None
    if not data:
        raise DocumentError(f"{path}: the file is empty", hint="Fetch or export it again.")
    return data


def _kind(path: Path, data: bytes) -> tuple[str, tuple[str, ...]]:
    """The kind by suffix, corrected by content where the content is beyond doubt."""
    suffix = path.suffix.lower()
    kind = _KINDS.get(suffix, "text") if suffix else "text"
    is_pdf = b"%PDF-" in data[:1024]
    if kind == "docx":
        _check_word(path, data)
    if kind == "pdf" and not is_pdf:
        raise DocumentError(
            f"{path}: no PDF, though its name ends in .pdf", hint="Fetch it again: it may be an error page."
        )
    if suffix and suffix not in _KINDS and not is_pdf:
        hint = f"Convert it first, or rename it if it is one of these. {READABLE}"
        raise DocumentError(f"{path}: files of type {suffix!r} cannot be read", hint=hint)
    if is_pdf and kind != "pdf":
        return "pdf", ("holds a PDF; read as PDF",)
    return kind, ()


def _check_word(path: Path, data: bytes) -> None:
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise DocumentError(
            f"{path}: encrypted, or in the old .doc format",
            hint="Save a copy as .docx without a password, then read that.",
        )
    if not data.startswith(b"PK"):
        hint = "Fetch it again: it may be an error page, or a file that was renamed."
        raise DocumentError(f"{path}: no Word document, though its name ends in .docx", hint=hint)


def _as_it_is(name: str, text: str, digest: str, kind: str, warnings: tuple[str, ...]) -> Document:
    if kind != "markdown":
        return Document(name, text, digest, kind, _by_line(text, {}), warnings)
    from modelyard.extraction.readers.markdown import table_rows

    return Document(name, text, digest, kind, _by_line(text, table_rows(text)), warnings)


def _from_docx(name: str, data: bytes, digest: str, warnings: tuple[str, ...]) -> Document:
    from modelyard.extraction.readers.docx import read_docx

    lines, said = read_docx(data, name)
    if not lines:
        hint = "A document of pictures has to be read by OCR first."
        raise DocumentError(f"{name}: the document holds no text", hint=hint)
    return _assemble(name, digest, "docx", lines, (*warnings, *said))


def _from_html(name: str, text: str, digest: str, warnings: tuple[str, ...]) -> Document:
    from modelyard.extraction.readers.html import read_html

    lines = read_html(text.translate(_MISREAD))
    while lines and not lines[-1].text:
        lines.pop()
    if not lines:
        hint = "A page built by scripts has to be saved from a browser after it has loaded."
        raise DocumentError(f"{name}: the page shows no text", hint=hint)
    return _assemble(name, digest, "html", lines, warnings)


def _from_pdf(name: str, data: bytes, digest: str, warnings: tuple[str, ...]) -> Document:
    from modelyard.extraction.readers.pdf import read_pdf

    pages = read_pdf(data, name)
    lines = [(line, f"page {number}") for number, page in enumerate(pages, 1) for line in [*page, ""]]
    if not any(pages):
        raise DocumentError(
            f"{name}: no text in any of its {len(pages)} pages; it is a scan or pictures",
            hint="Run it through OCR first, with `ocrmypdf` for example.",
        )
    empty = [str(number) for number, page in enumerate(pages, 1) if not page]
    if empty:
        warnings += (f"no text on page {', '.join(empty)}: a scan or a picture",)
    return _assemble(name, digest, "pdf", lines[:-1], warnings)


def _assemble(
    name: str, digest: str, kind: str, lines: Iterable[tuple[str, str]], warnings: tuple[str, ...]
) -> Document:
    """Joins lines with newlines; neighbours from the same place share one segment."""
    segments: list[Segment] = []
    parts: list[str] = []
    start = 0
    for line, where in lines:
        end = start + len(line) + 1
        if segments and segments[-1].where == where:
            segments[-1] = Segment(segments[-1].start, end, where)
        else:
            segments.append(Segment(start, end, where))
        parts.append(line)
        start = end
    text = "\n".join(parts)
    segments[-1] = segments[-1]._replace(end=len(text))
    kept = tuple(segment for segment in segments if segment.start < segment.end)
    return Document(name, text, digest, kind, kept, warnings)


def _by_line(text: str, rows: Mapping[int, str]) -> tuple[Segment, ...]:
    """A segment a line, its end included; `rows` are the lines that belong to tables."""
    ends = [*(match.end() for match in _LINE_END.finditer(text)), len(text)]
    starts = [0, *ends]
    return tuple(
        Segment(start, end, f"line {number} ({rows[number]})" if number in rows else f"line {number}")
        for number, (start, end) in enumerate(zip(starts, ends, strict=False), 1)
        if start < end
    )
