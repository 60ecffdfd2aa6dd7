"""Lark: a grammar written for llguidance.

llguidance cuts the text into lexemes (regular, longest match) before it parses, so where the cuts fall decides
which texts it accepts. A regex or a list of choices is one lexeme, which is exact. The lexemes of a schema are
the tokens of JSON: none of them is the start of another, except among numbers, behind which only a comma or a
bracket can stand. So the longest match is the right one, and recursion and a thousand properties cost little.

The syntax: https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from modelyard.engines.grammar.nodes import (
    LAST,
    Alt,
    Chars,
    Lit,
    Node,
    Ranges,
    Ref,
    Rep,
    Seq,
    complement,
)

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|-?\d[\d.eE+-]*|[a-z]+|[][{}:,]')


def write_lark(root: Node, bodies: Mapping[str, Node], tokens: AbstractSet[str] | None) -> str:
    """The grammar as llguidance reads it.

    Args:
        root: what a whole text is.
        bodies: the rules by name.
        tokens: the rules that are one token of JSON each; None for a text that is no JSON.
    """
    if tokens is None:
        writer = _Writer(bodies, frozenset())
        return writer.text(f"start: ROOT\nROOT: {writer.lexeme(root)}")
    writer = _Writer(bodies, tokens)
    return writer.text(f"start: {writer.rule(root)}")


def behind_a_space(lark: str) -> str:
    """The grammar of texts from which one space at the start is then taken off."""
    start, rest = lark.split("\n", 1)
    body = start.removeprefix("start: ")
    if body == "ROOT":
        return f'start: SPACED\nSPACED: " " ROOT | ROOT & /([^ ](?s:.)*)?/\n{rest}'
    return f'start: " "? ({body})\n{rest}'


class _Writer:
    """Writes the rules that were asked for, and those that they ask for."""

    def __init__(self, bodies: Mapping[str, Node], tokens: AbstractSet[str]) -> None:
        self._bodies, self._tokens = bodies, tokens
        self._wanted: list[str] = []
        self._seen: set[str] = set()

    def text(self, start: str) -> str:
        """The grammar: its start, then every rule that is wanted."""
        lines = [start]
        for name in self._wanted:  # grows while its rules are written
            write = self.lexeme if name.isupper() else self.rule
            lines.append(f"{name}: {write(self._bodies[name.lower()])}")
        return "\n".join(lines) + "\n"

    def _want(self, name: str) -> str:
        if name not in self._seen:
            self._seen.add(name)
            self._wanted.append(name)
        return name

    def lexeme(self, node: Node) -> str:
        """The node inside a lexeme, where everything is regular."""
        match node:
            case Lit(text):
                return json.dumps(text)
            case Chars(ranges):
                return _class(ranges)
            case Ref(name):
                return self._want(name.upper())
            case Seq(parts):
                return " ".join(
                    f"({self.lexeme(p)})" if isinstance(p, Alt) else self.lexeme(p) for p in parts
                )
            case Alt(parts):
                return " | ".join(map(self.lexeme, parts))
            case Rep(item, low, high):
                return f"({self.lexeme(item)})" + _quantifier(low, high)

    def rule(self, node: Node) -> str:
        """The node as a sequence of lexemes and rules."""
        match node:
            case Lit(text):
                return " ".join(map(json.dumps, _TOKEN.findall(text))) or '""'
            case Ref(name):
                return self._want(name.upper() if name in self._tokens else name)
            case Seq(parts):
                return " ".join(f"({self.rule(p)})" if isinstance(p, Alt) else self.rule(p) for p in parts)
            case Alt(parts):
                return " | ".join(map(self.rule, parts))
            case Rep(item, low, high):
                return f"({self.rule(item)})" + _quantifier(low, high)
            case Chars():
                raise AssertionError("a character of a JSON text stands in a token")


def _quantifier(low: int, high: int | None) -> str:
    known = {(0, 1): "?", (0, None): "*", (1, None): "+"}.get((low, high))
    return known or f"{{{low},{'' if high is None else high}}}"


def _class(ranges: Ranges) -> str:
    r"""A class of characters as a regex.

    >>> print(_class(((0, 9), (11, 0x10FFFF))), _class(((48, 57),)))
    /[^\x{A}]/ /[\x{30}-\x{39}]/
    """
    negated = ranges[-1][1] == LAST
    shown = complement(ranges) if negated else ranges
    kept = [(max(low, a), min(high, b)) for low, high in shown for a, b in ((0, 0xD7FF), (0xE000, LAST))]
    body = "".join(
        f"\\x{{{low:X}}}" if low == high else f"\\x{{{low:X}}}-\\x{{{high:X}}}"
        for low, high in kept
        if low <= high
    )
    return f"/[^{body}]/" if negated and body else "/(?s:.)/" if negated else f"/[{body}]/"
