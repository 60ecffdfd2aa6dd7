"""A regular expression turned into nodes.

The dialect is Python's, because Python's own parser reads the expressions.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from modelyard.engines.grammar.ebnf import Rules
from modelyard.engines.grammar.limits import MAX_GROUPS, MAX_REPEAT
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
    alt,
    complement,
    seq,
    union,
)
from modelyard.engines.grammar.strings import in_json_string
from modelyard.errors import SchemaError

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
