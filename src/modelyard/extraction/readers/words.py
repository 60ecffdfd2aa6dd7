"""Words: the text of one paragraph of a Word document, and the count of what has none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from modelyard.extraction.readers.notes import is_mark

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MATHS = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
_SILENT = frozenset(
    (
        "pPr", "rPr", "sdtPr", "sdtEndPr", "tblPr", "trPr", "tcPr", "instrText", "delInstrText", "fldData",
        "rt", "rubyPr", "softHyphen", "annotationRef", "customXmlPr", "smartTagPr",
    )
)  # fmt: skip
_SIGNS = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_SAID = {
    "deleted": "{} tracked deletions are left out",
    "inserted": "{} tracked insertions are read as accepted",
    "comments": "{} comments are not read",
    "objects": "{} pictures, charts or embedded objects hold no text that can be read",
    "hidden": "{} passages of hidden text are left out",
    "formulas": "{} formulas are read as their characters in a row",
    "nested": "{} tables with tables in them are read cell by cell",
    "numbers": "the numbers that Word gives to list items are not in its text: {} items are read with a dash",
    "embedded": "{} embedded documents are not read",
    "lost": "{} notes are referred to and not there",
}


class Unread:
    """What was not read, counted by kind."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, kind: str) -> None:
        """Counts one more of a kind of `_SAID`."""
        self._counts[kind] += 1

    def said(self) -> tuple[str, ...]:
        """A sentence for each kind that was met."""
        return tuple(_SAID[kind].format(count) for kind, count in sorted(self._counts.items()))


class Words:
    """Reads paragraphs.

    Args:
        unread: where to count what has no text.
        note: gives the mark of a note, from `footnote` or `endnote` and its key.
    """

    def __init__(self, unread: Unread, note: Callable[[str, str], str]) -> None:
        self.boxes: list[Any] = []
        self._unread = unread
        self._note = note
        self._parts: list[str] = []

    def of(self, paragraph: Any) -> str:
        """The text; tabs and line breaks are kept. The text boxes that hang on it are left in `boxes`."""
        self._parts = []
        self._inside(paragraph)
        return "".join(self._parts).replace("\xa0", " ")

    def _inside(self, element: Any) -> None:
        for child in children(element):
            self._one(child, tag_of(child))

    def _one(self, element: Any, tag: str) -> None:
        if tag == "t":
            self._parts.append(element.text or "")
        elif tag in _SIGNS:
            self._parts.append(_SIGNS[tag])
        elif tag == "sym":
            self._parts.append(_symbol(element.get(W + "char")))
        elif tag == "r":
            self._run(element)
        elif tag in ("footnoteReference", "endnoteReference"):
            self._parts.append(self._note(tag.removesuffix("Reference"), element.get(W + "id") or ""))
        elif tag in ("del", "moveFrom"):
            self._unread.add("deleted")
        elif tag in ("drawing", "pict", "object", "AlternateContent"):
            self._drawn(element)
        elif tag in ("oMath", "oMathPara"):
            self._unread.add("formulas")
            self._parts.append("".join(one.text or "" for one in element.iter(_MATHS)))
        elif tag == "commentReference":
            self._unread.add("comments")
        elif tag not in _SILENT:
            if tag in ("ins", "moveTo"):
                self._unread.add("inserted")
            self._inside(element)

    def _run(self, run: Any) -> None:
        properties = run.find(W + "rPr")
        if properties is not None and _is_on(properties.find(W + "vanish")):
            self._unread.add("hidden")
            return
        raised = properties is not None and value_of(properties, "vertAlign") == "superscript"
        first = len(self._parts)
        self._inside(run)
        near = max(0, first - 3)
        before, said = "".join(self._parts[near:first]), "".join(self._parts[first:])
        if raised and is_mark(before, said):
            self._parts[near:] = [before.rstrip(" \xa0"), "^", said.lstrip()]

    def _drawn(self, element: Any) -> None:
        """A text box comes twice, in its modern and its old form: the first is taken."""
        box = next(element.iter(W + "txbxContent"), None)
        if box is None:
            self._unread.add("objects")
            return
        group = box
        for one in box.iterancestors():
            if one is element:
                break
            group = one
        chosen = group if tag_of(element) == "AlternateContent" else element
        self.boxes += [one for one in chosen.iter(W + "txbxContent") if _outermost(one, chosen)]


def children(element: Any) -> Iterator[Any]:
    """The elements in an element, without comments and processing instructions."""
    return (child for child in element if isinstance(child.tag, str))


def tag_of(element: Any) -> str:
    """Its tag without the namespace."""
    return str(element.tag).rpartition("}")[2]


def value_of(element: Any, name: str) -> str | None:
    """The `w:val` of a child."""
    child = element.find(W + name)
    return None if child is None else child.get(W + "val")


def _is_on(switch: Any) -> bool:
    return switch is not None and switch.get(W + "val") not in ("0", "false", "off")


def _outermost(box: Any, within: Any) -> bool:
    for one in box.iterancestors():
        if one is within:
            return True
        if tag_of(one) == "txbxContent":
            return False
    return box is within


def _symbol(code: str | None) -> str:
    try:
        return chr(int(code or "", 16))
    except (ValueError, OverflowError):
        return "\ufffd"
