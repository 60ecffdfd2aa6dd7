"""The parts that a grammar is made of, and a regular expression turned into them.

A grammar is a set of named rules; a rule's body is a `Node`. `Rules.text` writes them down in the common
subset of xgrammar's EBNF and llama.cpp's GBNF. The dialect of the expressions is Python's, because
Python's own parser reads them.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from modelyard.errors import SchemaError

MAX_REPEAT = 100_000
"""Most repeats in all, nested ones multiplied: more is no answer that a model would finish."""
MAX_GROUPS = 32
"""Deepest nesting of groups: both Python's parser and the engines' parsers recurse into them."""
BLOCK = 16
"""Longest plain repeat. Compiling `{0,n}` costs the engine a token mask for each of n states, and more than
that for each mask; blocks of blocks cost a few dozen states whatever n is."""

Ranges = tuple[tuple[int, int], ...]
LAST = 0x10FFFF
_ASCII: Ranges = ((0, 0x7F),)
_BEYOND: Ranges = ((0x80, LAST),)


@dataclass(frozen=True, slots=True)
class Lit:
    """Exactly this text."""

    text: str


@dataclass(frozen=True, slots=True)
class Chars:
    """One character out of these code points, sorted and apart."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Ref:
    """Whatever the named rule is."""

    name: str


@dataclass(frozen=True, slots=True)
class Seq:
    """One after the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alt:
    """Any one of them."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Rep:
    """`low` to `high` times; no upper bound where `high` is None."""

    item: Node
    low: int
    high: int | None


Node = Lit | Chars | Ref | Seq | Alt | Rep
EMPTY = Lit("")


def seq(*parts: Node) -> Node:
    """The parts one after the other, literals joined.

    >>> seq(Lit("a"), EMPTY, Lit("b"))
    Lit(text='ab')
    """
    flat: list[Node] = []
    for part in (inner for outer in parts for inner in (outer.parts if isinstance(outer, Seq) else (outer,))):
        last = flat[-1] if flat else None
        if isinstance(part, Lit) and isinstance(last, Lit):
            flat[-1] = Lit(last.text + part.text)
        elif part != EMPTY:
            flat.append(part)
    return flat[0] if len(flat) == 1 else Seq(tuple(flat)) if flat else EMPTY


def alt(*parts: Node) -> Node:
    """Any one of the parts, each different one once."""
    flat = dict.fromkeys(i for o in parts for i in (o.parts if isinstance(o, Alt) else (o,)))
    return next(iter(flat)) if len(flat) == 1 else Alt(tuple(flat))


def optional(part: Node) -> Node:
    """The part or nothing."""
    return Rep(part, 0, 1)


def chars(text: str) -> Chars:
    """A class from its bounds in pairs.

    >>> chars("az09")
    Chars(ranges=((48, 57), (97, 122)))
    """
    return Chars(union((ord(a), ord(b)) for a, b in zip(text[::2], text[1::2], strict=True)))


def union(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The ranges sorted, touching ones joined."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(high, out[-1][1]))
        else:
            out.append((low, high))
    return tuple(out)


def complement(ranges: Ranges) -> Ranges:
    """Every code point that the sorted ranges leave out."""
    starts = [0, *(high + 1 for _, high in ranges)]
    ends = [*(low - 1 for low, _ in ranges), LAST]
    return tuple((low, high) for low, high in zip(starts, ends, strict=True) if low <= high)


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


def parts_of(node: Node) -> Iterator[Node]:
    """The nodes directly inside."""
    match node:
        case Seq(parts) | Alt(parts):
            yield from parts
        case Rep(item):
            yield item


class Rules:
    """The named rules of one grammar; equal bodies are one rule."""

    def __init__(self) -> None:
        self._bodies: dict[str, Node] = {}
        self._names: dict[Node, Ref] = {}

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

    def repeat(self, item: Node, low: int, high: int | None) -> Node:
        """`low` to `high` of the item, large counts in blocks of blocks."""
        if high is None and self.nullable(item):
            return Rep(self._nonempty(item), 0, None)  # a loop over nothing never ends in some engines
        if high == 0:
            return EMPTY
        if (low, high) == (1, 1):
            return item
        if max(low, high or 0) <= BLOCK:
            return Rep(item, low, high)
        ref = self.share(item)
        rest = Rep(ref, 0, None) if high is None else self._up_to(ref, high - low)
        return seq(self._exactly(ref, low), rest)

    def _exactly(self, ref: Ref, count: int) -> Node:
        if count <= BLOCK:
            return EMPTY if count == 0 else ref if count == 1 else self.share(Rep(ref, count, count))
        block = self.share(Rep(ref, BLOCK, BLOCK))
        return seq(self._exactly(block, count // BLOCK), self._exactly(ref, count % BLOCK))

    def _up_to(self, ref: Ref, count: int) -> Node:
        if count <= BLOCK:
            return EMPTY if count == 0 else self.share(Rep(ref, 0, count))
        blocks = (count - BLOCK + 1) // BLOCK
        block = self.share(Rep(ref, BLOCK, BLOCK))
        # At least 15 single ones fill the gaps between blocks, so that every count has its sentence.
        return seq(self._up_to(block, blocks), self.share(Rep(ref, 0, count - BLOCK * blocks)))

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

    def text(self, root: Node) -> str:
        """The grammar, `root` first, with the rules that it reaches."""
        lines = [f"root ::= {write(root)}"]
        seen: dict[str, None] = {}
        stack = [root]
        while stack:
            node = stack.pop()
            if isinstance(node, Ref):
                if node.name not in seen:
                    seen[node.name] = None
                    lines.append(f"{node.name} ::= {write(self._bodies[node.name])}")
                    stack.append(self._bodies[node.name])
            else:
                stack.extend(reversed(tuple(parts_of(node))))
        return "\n".join(lines) + "\n"


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


_JSON_SPECIAL: Ranges = ((0, 0x1F), (0x22, 0x22), (0x5C, 0x5C))
_JSON_SHORT = {8: "b", 9: "t", 10: "n", 12: "f", 13: "r", 0x22: '"', 0x5C: "\\"}


def in_json_string(ranges: Ranges) -> Node:
    """One character out of the ranges as it is written inside a JSON string, escaped where it must be."""
    plain = complement(union((*complement(ranges), *_JSON_SPECIAL)))
    held = [
        c for a, b in _JSON_SPECIAL for c in range(a, b + 1) if any(low <= c <= high for low, high in ranges)
    ]
    choices: list[Node] = [Chars(plain)] if plain else []
    short = union((ord(_JSON_SHORT[c]),) * 2 for c in held if c in _JSON_SHORT)
    if short:
        choices.append(seq(Lit("\\"), Chars(short)))
    for nibble in "01":
        codes = [f"{c:02x}"[1] for c in held if c not in _JSON_SHORT and f"{c:02x}"[0] == nibble]
        if codes:
            choices.append(seq(Lit(f"\\u00{nibble}"), Chars(union((ord(c), ord(c)) for c in codes))))
    return alt(*choices)


def any_json_char() -> Node:
    """One character of a JSON string, raw or escaped; no half of a surrogate pair, so it counts as one."""
    hexadecimal = chars("09afAF")
    unicode = alt(
        seq(chars("09acefACEF"), Rep(hexadecimal, 3, 3)),
        seq(chars("ddDD"), chars("07"), Rep(hexadecimal, 2, 2)),
    )
    escape = alt(chars('""\\\\//bbffnnrrtt'), seq(Lit("u"), unicode))
    return alt(Chars(complement(_JSON_SPECIAL)), seq(Lit("\\"), escape))


_WORD = union([(48, 57), (65, 90), (95, 95), (97, 122)])
_SPACE: Ranges = ((9, 13), (32, 32))
_ALL_SPACE = union((ord(c), ord(c)) for c in map(chr, range(0x3001)) if c.isspace())


@lru_cache(maxsize=1)
def _all_digits() -> Ranges:
    return union((c, c) for c in range(LAST + 1) if chr(c).isdecimal())


def _category(name: str, *, wide: bool) -> Ranges:
    """The code points of a category such as `\\d`: some of them, or at least all of them.

    `\\d`, `\\w` and `\\s` write ASCII alone, though Python matches more. Under a negation that has to turn
    round: what is left out must be all that Python might match.
    """
    if "_NOT_" in name:
        return complement(_category(name.replace("_NOT_", "_"), wide=not wide))
    if name == "CATEGORY_DIGIT":
        return _all_digits() if wide else ((48, 57),)
    if name == "CATEGORY_SPACE":
        return _ALL_SPACE if wide else _SPACE
    return union((*_WORD, (0x80, LAST))) if wide else _WORD


_REFUSED = {
    "ASSERT": ("a lookahead or lookbehind", ("(?=", "(?<=")),
    "ASSERT_NOT": ("a negative lookahead or lookbehind", ("(?!", "(?<!")),
    "GROUPREF": ("a backreference", ("(?P=", *(f"\\{n}" for n in range(1, 10)))),
    "GROUPREF_EXISTS": ("a conditional group", ("(?(",)),
    "AT_BOUNDARY": ("the word boundary \\b", ("\\b",)),
    "AT_NON_BOUNDARY": ("the boundary \\B", ("\\B",)),
}
_STARTS = {"AT_BEGINNING", "AT_BEGINNING_STRING"}
_ENDS = {"AT_END", "AT_END_STRING"}


class RegexGrammar:
    """Turns one regular expression into a node.

    Args:
        rules: where shared rules go.
        pattern: the expression, in Python's dialect.
        where: names the expression in errors, such as `the regex` or `pattern at $.code`.
        any_char: set for the pattern of a JSON string: characters are escaped, and this stands on each
            side that no anchor closes, as JSON Schema searches. None: the whole text is matched.

    Raises:
        SchemaError: it does not parse, or uses what no grammar can express.
    """

    def __init__(self, rules: Rules, pattern: str, *, where: str, any_char: Ref | None = None) -> None:
        self._rules, self._pattern, self._where, self._any = rules, pattern, where, any_char
        self.relaxed: list[str] = []

    def node(self) -> Node:
        return self._top(list(self._parse()), 1)

    def simple_repeat(self) -> tuple[Node, int, int | None] | None:
        """The class, least and most of an expression that is one repeated class between anchors."""
        tree = [(str(op), value) for op, value in self._parse()]
        if len(tree) != 3 or tree[0][1] not in _named(_STARTS) or tree[2][1] not in _named(_ENDS):
            return None
        op, value = tree[1]
        if op not in ("MAX_REPEAT", "MIN_REPEAT") or len(value[2]) != 1:
            return None
        if str(value[2][0][0]) not in ("IN", "ANY", "LITERAL", "NOT_LITERAL"):
            return None
        high = None if value[1] == _max_repeat() else int(value[1])
        inner, content = value[2][0]
        return self._item(inner, content, 1, 1), int(value[0]), high

    def _parse(self) -> Any:
        import re._parser as parser  # type: ignore[import-not-found]  # typeshed leaves it out

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = parser.parse(self._pattern)
        except re.error as error:
            raise self._error(
                f"does not parse: {error}", "Write it in the dialect of Python's re module."
            ) from None
        except (RecursionError, OverflowError):
            raise self._error("is nested too deeply, or repeats too often", "Simplify it.") from None
        if tree.state.flags & ~re.UNICODE:
            raise self._error("sets inline flags", "Leave the flags out; spell [aA] for either case.")
        return tree

    def _error(self, problem: str, hint: str) -> SchemaError:
        shown = self._pattern if len(self._pattern) <= 60 else self._pattern[:60] + "…"
        return SchemaError(f"{self._where} ({shown!r}) {problem}", hint=hint)

    def _refuse(self, kind: str) -> SchemaError:
        name, signs = _REFUSED.get(kind, (kind.lower(), ()))
        places = [m.start() for sign in signs for m in re.finditer(re.escape(sign), self._pattern)]
        at = f" at position {places[0]}" if len(places) == 1 else ""
        return self._error(
            f"uses {name}{at}, which a grammar cannot express", "Write the expression without it."
        )

    def _top(self, tree: list[Any], depth: int) -> Node:
        """A whole expression: anchors may stand at its ends, and at the ends of its alternatives."""
        if len(tree) == 1 and str(tree[0][0]) == "BRANCH":
            return alt(*(self._top(list(branch), depth + 1) for branch in tree[0][1][1]))
        if len(tree) == 1 and str(tree[0][0]) == "SUBPATTERN" and not (tree[0][1][1] or tree[0][1][2]):
            self._deeper(depth)
            return self._top(list(tree[0][1][3]), depth + 1)
        open_start = open_end = self._any is not None
        while tree and _is_anchor(tree[0], _STARTS):
            tree, open_start = tree[1:], False
        while tree and _is_anchor(tree[-1], _ENDS):
            tree, open_end = tree[:-1], False
        around: Node = Rep(self._any, 0, None) if self._any is not None else EMPTY
        body = self._sequence(tree, depth, 1)
        return seq(around if open_start else EMPTY, body, around if open_end else EMPTY)

    def _deeper(self, depth: int) -> None:
        if depth > MAX_GROUPS:
            raise self._error(f"nests groups more than {MAX_GROUPS} deep", "Flatten the groups.")

    def _sequence(self, tree: Iterable[Any], depth: int, times: int) -> Node:
        self._deeper(depth)
        return seq(*(self._item(op, value, depth, times) for op, value in tree))

    def _item(self, op: object, value: Any, depth: int, times: int) -> Node:
        match str(op):
            case "LITERAL":
                return self._one(((value, value),))
            case "NOT_LITERAL":
                return self._one(complement(((value, value),)))
            case "ANY":
                return self._one(complement(((10, 10),)))
            case "IN":
                return self._one(self._set(value))
            case "BRANCH":
                return alt(*(self._sequence(branch, depth + 1, times) for branch in value[1]))
            case "SUBPATTERN":
                if value[1] or value[2]:
                    raise self._error("sets flags inside a group", "Leave the flags out.")
                return self._sequence(value[3], depth + 1, times)
            case "ATOMIC_GROUP":
                self._note_atomic()
                return self._sequence(value, depth + 1, times)
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT" as kind:
                if kind == "POSSESSIVE_REPEAT":
                    self._note_atomic()
                low, high, body = value
                return self._repeat(low, high, body, depth, times)
            case "AT" if str(value) in _STARTS | _ENDS:
                raise self._error("has an anchor inside", "Anchors work at the ends alone.")
            case kind:
                raise self._refuse(str(value) if kind == "AT" else kind)

    def _note_atomic(self) -> None:
        self.relaxed.append(
            f"atomic matching in {self._where} is checked after the answer, not while it is written"
        )

    def _repeat(self, low: int, high: int, body: Any, depth: int, times: int) -> Node:
        most = None if high == _max_repeat() else int(high)
        times *= max(1, int(low), most or 0)
        if times > MAX_REPEAT:
            raise self._error(f"repeats {times:,} times, {MAX_REPEAT:,} are allowed", "Lower the counts.")
        return self._rules.repeat(self._sequence(body, depth + 1, times), int(low), most)

    def _one(self, ranges: Ranges) -> Node:
        if not ranges:
            raise self._error("has a class that matches nothing", "Mend the class.")
        if any(low >= 0xD800 and high <= 0xDFFF for low, high in ranges):
            raise self._error("names half of a surrogate pair", "Write the whole character.")
        single = len(ranges) == 1 and ranges[0][0] == ranges[0][1]
        if self._any is None:
            return Lit(chr(ranges[0][0])) if single else Chars(ranges)
        if single:
            return Lit(json.dumps(chr(ranges[0][0]), ensure_ascii=False)[1:-1])
        node = in_json_string(ranges)
        return self._rules.share(node) if isinstance(node, Alt) else node

    def _set(self, items: Iterable[Any]) -> Ranges:
        listed = [(str(op), value) for op, value in items]
        negated = listed[0][0] == "NEGATE"
        out: list[tuple[int, int]] = []
        for op, value in listed[negated:]:
            if op == "LITERAL":
                out.append((value, value))
            elif op == "RANGE":
                out.append(value)
            else:
                out.extend(_category(str(value), wide=negated))
        return complement(union(out)) if negated else union(out)


def _max_repeat() -> int:
    import re._constants as constants  # type: ignore[import-not-found]  # typeshed leaves it out

    return int(constants.MAXREPEAT)


def _is_anchor(item: Any, names: set[str]) -> bool:
    return str(item[0]) == "AT" and str(item[1]) in names


def _named(names: set[str]) -> list[Any]:
    import re._constants as constants

    return [getattr(constants, name) for name in names]
