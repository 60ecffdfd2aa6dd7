"""EBNF: the named rules of a grammar, and how they are written down.

The text keeps to the common subset of xgrammar's EBNF and llama.cpp's GBNF.
"""

from __future__ import annotations

from modelyard.engines.grammar.lark import write_lark
from modelyard.engines.grammar.nodes import (
    EMPTY,
    LAST,
    Alt,
    Chars,
    Lit,
    Node,
    Ranges,
    Ref,
    Rep,
    Seq,
    alt,
    complement,
    parts_of,
    seq,
)

BLOCK = 16
"""Longest plain repeat. Compiling `{0,n}` costs the engine a token mask for each of n states, and more than
that for each mask; blocks of blocks cost a few dozen states whatever n is."""

CHAIN = 300
"""Characters of all strings of a grammar that are counted by a rule each. A rule that ends in the next one keeps the mask of every
place: the engine looks it up. Where a rule ends before the string does, as in a loop over a rule or in blocks, most of
the vocabulary has to be tried again at every token: 8 times slower with SmolLM2, 2.6 with Qwen. A link costs 18 ms once, with Qwen's vocabulary of 152,000 tokens
(docs/log.md)."""

_ASCII: Ranges = ((0, 0x7F),)
_BEYOND: Ranges = ((0x80, LAST),)


def quote(text: str) -> str:
    r"""A grammar's string literal for the text.

    >>> print(quote('say "é"'))
    "say \"\u00e9\""
    """
    return (
        '"'
        + "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else _escape(c) for c in text)
        + '"'
    )


def _escape(char: str) -> str:
    short = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char)
    return short or _code(ord(char))


def _code(code: int) -> str:
    # Never \xNN: xgrammar reads on through every hexadecimal digit that follows.
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _bound(code: int) -> str:
    char = chr(code)
    return char if char.isascii() and char.isalnum() else _code(code)


def _class(ranges: Ranges) -> str:
    if ranges[-1] == (0, LAST):
        return f"({_class(_ASCII)} | {_class(_BEYOND)})"
    # A negated class may name ASCII alone: xgrammar takes no others there.
    negated = ranges[-1][1] == LAST and ranges[-1][0] <= _BEYOND[0][0]
    shown = complement(ranges) if negated else _split(ranges)
    body = "".join(_bound(low) if low == high else f"{_bound(low)}-{_bound(high)}" for low, high in shown)
    return f"[{'^' if negated else ''}{body}]"


def _split(ranges: Ranges) -> list[tuple[int, int]]:
    """The ranges cut where ASCII ends, without surrogates, which no text holds."""
    kept = [_ASCII[0], (0x80, 0xD7FF), (0xE000, LAST)]
    pairs = [(max(a, low), min(b, high)) for low, high in ranges for a, b in kept]
    return [(low, high) for low, high in pairs if low <= high]


def _quantifier(low: int, high: int | None) -> str:
    known = {(0, 1): "?", (0, None): "*", (1, None): "+"}.get((low, high))
    return known or (f"{{{low}}}" if low == high else f"{{{low},{'' if high is None else high}}}")


def write(node: Node) -> str:
    """The node as it stands in a rule's body.

    >>> from modelyard.engines.grammar.nodes import chars
    >>> write(seq(Lit("a"), Rep(alt(Lit("b"), chars("09")), 0, 3)))
    '"a" ("b" | [0-9]){0,3}'
    """
    match node:
        case Lit(text):
            return quote(text)
        case Chars(ranges):
            return _class(ranges)
        case Ref(name):
            return name
        case Seq(parts):
            return " ".join(f"({write(p)})" if isinstance(p, Alt) else write(p) for p in parts)
        case Alt(parts):
            return " | ".join(map(write, parts))
        case Rep(item, low, high):
            plain = isinstance(item, Ref | Chars)
            return (write(item) if plain else f"({write(item)})") + _quantifier(low, high)


class Rules:
    """The named rules of one grammar; equal bodies are one rule."""

    def __init__(self) -> None:
        self._bodies: dict[str, Node] = {}
        self._names: dict[Node, Ref] = {}
        self._tokens: set[str] = set()
        self._blocks: set[str] = set()
        self._links: dict[tuple[Ref, int, int | None], int] = {}

    def reserve(self) -> Ref:
        """A rule's name before its body is known, for a rule that refers to itself."""
        ref = Ref(f"r{len(self._bodies)}")
        self._bodies[ref.name] = EMPTY
        return ref

    def define(self, ref: Ref, body: Node) -> None:
        """Gives a reserved rule its body."""
        self._bodies[ref.name] = body

    def share(self, body: Node) -> Ref:
        """The rule with this body, made when there is none yet."""
        if isinstance(body, Ref):
            return body
        if body not in self._names:
            ref = self._names[body] = self.reserve()
            self.define(ref, body)
        return self._names[body]

    def token(self, body: Node) -> Ref:
        """The rule with this body, which is one token of JSON: a string, or a number."""
        ref = self.share(body)
        self._tokens.add(ref.name)
        return ref

    def repeat(self, item: Node, low: int, high: int | None) -> Node:
        """`low` to `high` of the item."""
        if high is None and self.nullable(item):
            return Rep(self._nonempty(item), 0, None)  # a loop over nothing never ends in some engines
        if high == 0:
            return EMPTY
        return item if (low, high) == (1, 1) else Rep(item, low, high)

    def nullable(self, node: Node) -> bool:
        """Whether the node can be empty; for rules that do not refer to themselves before a character."""
        match node:
            case Lit(text):
                return not text
            case Chars():
                return False
            case Ref(name):
                return self.nullable(self._bodies[name])
            case Seq(parts):
                return all(map(self.nullable, parts))
            case Alt(parts):
                return any(map(self.nullable, parts))
            case Rep(item, low):
                return low == 0 or self.nullable(item)

    def _nonempty(self, node: Node) -> Node:
        """What to loop over in place of a node that can be empty: the loop's language is the same."""
        if not self.nullable(node):
            return node
        match node:
            case Ref(name):
                return self._nonempty(self._bodies[name])
            case Seq(parts) | Alt(parts):
                kept = [self._nonempty(p) for p in parts]
                return alt(*(p for p in kept if p != EMPTY)) if any(p != EMPTY for p in kept) else EMPTY
            case Rep(item):
                return self._nonempty(item)
            case _:
                return EMPTY

    def endless(self, root: Node) -> bool:
        """Whether no sentence of the root ever ends, because it always refers back to itself."""
        ending: set[str] = set()
        before = -1
        while len(ending) > before:
            before = len(ending)
            for name, body in self._bodies.items():
                if name not in ending and _ends(body, ending):
                    ending.add(name)
        return not _ends(root, ending)

    def lark(self, root: Node, *, tokens: bool) -> str:
        """The grammar as llguidance reads it; `tokens` for JSON."""
        return write_lark(root, self._bodies, self._tokens if tokens else None)

    def text(self, root: Node) -> str:
        """The grammar, `root` first, with the rules that it reaches."""
        body = self._in_blocks(root)
        lines = [f"root ::= {write(body)}"]
        seen: dict[str, None] = {}
        stack = [body]
        while stack:
            node = stack.pop()
            if isinstance(node, Ref):
                if node.name not in seen:
                    seen[node.name] = None
                    body = self._bodies[node.name]
                    body = body if node.name in self._blocks else self._in_blocks(body)
                    lines.append(f"{node.name} ::= {write(body)}")
                    stack.append(body)
            else:
                stack.extend(reversed(tuple(parts_of(node))))
        return "\n".join(lines) + "\n"

    def _in_blocks(self, node: Node) -> Node:
        """The node with large repeats as blocks of blocks."""
        match node:
            case Seq((Lit('"'), Rep(Ref() as char, low, high), Lit('"'))) if self._affords(char, low, high):
                return seq(Lit('"'), self._chained(char, low, high))
            case Seq(parts):
                return seq(*map(self._in_blocks, parts))
            case Alt(parts):
                return alt(*map(self._in_blocks, parts))
            case Rep(item, low, high):
                item = self._in_blocks(item)
                if max(low, high or 0) <= BLOCK:
                    return Rep(item, low, high)
                ref = self.share(item)
                rest = Rep(ref, 0, None) if high is None else self._up_to(ref, high - low)
                return seq(self._exactly(ref, low), rest)
            case _:
                return node

    def _affords(self, char: Ref, low: int, high: int | None) -> bool:
        """Whether a string is written as a chain: all chains of a grammar together have `CHAIN` links."""
        count = low if high is None else min(high, CHAIN)
        kind = (char, low, high if low or high is None or high > CHAIN else 0)
        more = max(0, count - self._links.get(kind, 0))
        if low > CHAIN or sum(self._links.values()) + more > CHAIN:
            return False
        self._links[kind] = self._links.get(kind, 0) + more
        return True

    def _chained(self, char: Ref, low: int, high: int | None) -> Node:
        """The rest of a string behind its first quotation mark: a rule for each character, the next one at its end."""
        if high is None:
            rest = self.reserve()
            self.define(rest, self._closed_or(char, rest))
            count = low
        elif high > CHAIN:
            rest = self.share(seq(self._up_to(char, high - CHAIN), Lit('"')))
            count = CHAIN
        else:
            rest, count = self.share(Lit('"')), high
        for at in range(count - 1, -1, -1):
            rest = self.share(self._closed_or(char, rest, closed=at >= low))
        return rest

    def _closed_or(self, char: Ref, rest: Ref, *, closed: bool = True) -> Node:
        """The closing mark, or one more character and then the rest. The plain ones stand in the rule itself."""
        body = self._bodies[char.name]
        choices = parts_of(body) if isinstance(body, Alt) else (body,)
        more = [
            seq(one if isinstance(one, Chars) else self.share(self._in_blocks(one)), rest) for one in choices
        ]
        return alt(*([Lit('"')] if closed else []), *more)

    def _exactly(self, ref: Ref, count: int) -> Node:
        if count <= BLOCK:
            return EMPTY if count == 0 else ref if count == 1 else self._plain(Rep(ref, count, count))
        block = self._plain(Rep(ref, BLOCK, BLOCK))
        return seq(self._exactly(block, count // BLOCK), self._exactly(ref, count % BLOCK))

    def _up_to(self, ref: Ref, count: int) -> Node:
        if count <= BLOCK:
            return EMPTY if count == 0 else self._plain(Rep(ref, 0, count))
        blocks = (count - BLOCK + 1) // BLOCK
        block = self._plain(Rep(ref, BLOCK, BLOCK))
        # At least 15 single ones fill the gaps between blocks, so that every count has its sentence.
        return seq(self._up_to(block, blocks), self._plain(Rep(ref, 0, count - BLOCK * blocks)))

    def _plain(self, body: Rep) -> Ref:
        ref = self.share(body)
        self._blocks.add(ref.name)
        return ref


def _ends(node: Node, ending: set[str]) -> bool:
    match node:
        case Ref(name):
            return name in ending
        case Seq(parts):
            return all(_ends(p, ending) for p in parts)
        case Alt(parts):
            return any(_ends(p, ending) for p in parts)
        case Rep(item, low):
            return low == 0 or _ends(item, ending)
        case _:
            return True
