"""Folding: a text in the form in which quotes are compared, each character with its place in the raw text.

White space and table separators become one space, dashes and quotation marks their plain forms, ligatures and
full-width letters their parts (NFKD, https://unicode.org/reports/tr15/), and invisible characters vanish.

>>> fold("Net\\u00a0loss\\n\\u2212\\u200b0.41").text
'Net loss -0.41'
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
_SINGLE = "\u2018\u2019\u201a\u201b\u2032\u00b4\u0060"
_DOUBLE = "\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb"
_KNOWN = {
    **dict.fromkeys(_DASHES, "-"),
    **dict.fromkeys(_SINGLE, "'"),
    **dict.fromkeys(_DOUBLE, '"'),
    "|": " ",
    "\u00ad": "",
}


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded text; character i came from `raw[begins[i]:ends[i]]`."""

    text: str
    begins: list[int]
    ends: list[int]

    def span(self, start: int, end: int) -> tuple[int, int] | None:
        """The raw range of a folded one; None where it begins or ends inside a raw character.

        >>> fold("ef\\ufb01cient").span(2, 3) is None
        True
        """
        inside_first = start > 0 and self.begins[start - 1] == self.begins[start]
        inside_last = end < len(self.begins) and self.begins[end] == self.begins[end - 1]
        return None if inside_first or inside_last else (self.begins[start], self.ends[end - 1])

    def without_spaces(self) -> Folded:
        """The same with no white space at all."""
        kept = [place for place, character in enumerate(self.text) if character != " "]
        begins, ends = self.begins, self.ends
        return Folded(self.text.replace(" ", ""), [begins[i] for i in kept], [ends[i] for i in kept])

    def lower(self) -> Folded:
        """The same in lower case, character by character, so that no place moves."""
        return Folded(lower(self.text), self.begins, self.ends)


def fold(raw: str) -> Folded:
    """The folded form of a text, without white space at its ends."""
    text: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    forms = dict(_KNOWN)
    for place, character in enumerate(raw):
        form = forms.get(character)
        if form is None:
            form = forms[character] = _form(character)
        for part in form:
            if part != " " or (text and text[-1] != " "):
                text.append(part)
                begins.append(place)
                ends.append(place + 1)
    if text and text[-1] == " ":
        for column in (text, begins, ends):
            column.pop()
    return Folded("".join(text), begins, ends)


def lower(text: str) -> str:
    """Lower case that keeps the length.

    >>> lower("EPS"), len(lower("\\u0130"))
    ('eps', 1)
    """
    fast = text.lower()
    if len(fast) == len(text):
        return fast
    return "".join(small if len(small := one.lower()) == 1 else one for one in text)


def _form(character: str) -> str:
    if character.isspace():
        return " "
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    if category == "No":
        return character  # a raised 2 is no digit of the number before it
    return "".join(
        _KNOWN.get(part, " " if part.isspace() else part) for part in unicodedata.normalize("NFKD", character)
    )
