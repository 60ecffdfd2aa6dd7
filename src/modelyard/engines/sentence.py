"""The shortest sentence of a grammar: how the fake engine keeps a constraint without a model."""

from __future__ import annotations

import re

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|\{\d+(?:,\d*)?\}|[A-Za-z]\w*|[|()?*+]')
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})|\\x([0-9a-fA-F]{2})|\\(.)|(.)", re.DOTALL)
_NAMED = {"n": "\n", "r": "\r", "t": "\t"}


def shortest_sentence(grammar: str) -> str:
    """The shortest text that the grammar's `root` allows; of equal ones, that of the first alternative.

    >>> shortest_sentence('root ::= "{" pair ("," pair)* "}"\\npair ::= [a-z]{2,} | "long pair"')
    '{aa}'
    """
    bodies = dict(line.split(" ::= ", 1) for line in grammar.splitlines() if " ::= " in line)
    known: dict[str, str] = {}
    changed = True
    # A rule's shortest sentence can only shrink as those of the rules it names become known.
    while changed:
        changed = False
        for name, body in bodies.items():
            found = _Reader(_TOKEN.findall(body), known).alternatives()
            if found is not None and (name not in known or len(found) < len(known[name])):
                known[name], changed = found, True
    return known["root"]


class _Reader:
    """Reads one rule, and knows a part's shortest text or None while it has none yet."""

    def __init__(self, tokens: list[str], known: dict[str, str]) -> None:
        self._tokens, self._known = tokens[::-1], known

    def alternatives(self) -> str | None:
        found = [self._sequence()]
        while self._tokens and self._tokens[-1] == "|":
            self._tokens.pop()
            found.append(self._sequence())
        return min((one for one in found if one is not None), key=len, default=None)

    def _sequence(self) -> str | None:
        parts: list[str | None] = []
        while self._tokens and self._tokens[-1] not in ("|", ")"):
            parts.append(self._repeated(self._atom(self._tokens.pop())))
        return None if None in parts else "".join(part or "" for part in parts)

    def _atom(self, part: str) -> str | None:
        if part == "(":
            inner = self.alternatives()
            self._tokens.pop()
            return inner
        if part[0] == '"':
            return "".join(_characters(part[1:-1]))
        return _member(part[1:-1]) if part[0] == "[" else self._known.get(part)

    def _repeated(self, item: str | None) -> str | None:
        if not self._tokens or self._tokens[-1][0] not in "?*+{":
            return item
        sign = self._tokens.pop()
        least = int(sign[1:-1].partition(",")[0]) if sign[0] == "{" else int(sign == "+")
        return "" if least == 0 else None if item is None else item * least


def _characters(text: str) -> list[str]:
    found = []
    for small, large, byte, named, plain in _ESCAPE.findall(text):
        code = small or large or byte
        found.append(chr(int(code, 16)) if code else _NAMED.get(named, named) if named else plain)
    return found


def _member(body: str) -> str:
    """One character of a class."""
    if not body.startswith("^"):
        return _characters(body)[0]
    forbidden = set(_characters(body[1:]))
    return next(one for one in "aA0 ~" if one not in forbidden)
