"""A JSON Schema compiled into the rules of a grammar."""

from __future__ import annotations

import json
from typing import Any

from modelyard.engines.grammar.check import validator
from modelyard.engines.grammar.combine import Combiner, ImpossibleError, impossible, rule_for
from modelyard.engines.grammar.ebnf import Rules
from modelyard.engines.grammar.keywords import (
    ANNOTATIONS,
    BY_TYPE,
    CHECKED_AFTER,
    COMBINING,
    TRIVIAL,
    TYPES,
    SchemaPath,
    field,
    place,
)
from modelyard.engines.grammar.limits import (
    MAX_DEPTH,
    MAX_EXPANDED,
    MAX_REPEAT,
    MAX_VALUES,
    limit,
)
from modelyard.engines.grammar.nodes import EMPTY, Lit, Node, Ref, Rep, alt, optional, seq
from modelyard.engines.grammar.numbers import bounds, number
from modelyard.engines.grammar.regex import RegexGrammar
from modelyard.engines.grammar.strings import FORMATS, any_json_char
from modelyard.errors import SchemaError


class SchemaCompiler:
    """Compiles the subschemas of one schema into shared rules.

    `above` in the methods holds the references being followed since the last character that was written: one
    that comes again would be a rule that starts with itself.
    """

    def __init__(self, root: dict[str, Any], rules: Rules) -> None:
        self._root, self._rules = root, rules
        self._combiner = Combiner(root, self._note)
        self._refs: dict[str, Ref] = {}
        self._any: Ref | None = None
        self._compiled = 0
        self.relaxed: list[str] = []

    def compile(self, schema: Any, path: SchemaPath, above: frozenset[str] = frozenset()) -> Node:
        """What a subschema at this path may be, as a node."""
        self._compiled += 1
        limit("the schema", self._compiled, MAX_EXPANDED, "parts once combined", "Use fewer allOf and anyOf.")
        limit(
            "the schema",
            len(path),
            4 * MAX_DEPTH,
            "levels once combined",
            "Do not combine recursive schemas.",
        )
        if schema is True or (isinstance(schema, dict) and not schema.keys() - ANNOTATIONS):
            return self._anything()
        if schema is False:
            raise ImpossibleError(
                f"the schema at {place(path)} is false, which nothing satisfies", hint="Remove it."
            )
        used = schema.keys() - ANNOTATIONS
        if used == {"$ref"}:
            return self._reference(schema["$ref"], path, above)
        if len(used) == 1 and used <= {"anyOf", "oneOf"}:
            key = next(iter(used))
            self._combiner.note_one_of(schema, path)
            return alt(*(self.compile(one, (*path, key, i), above) for i, one in enumerate(schema[key])))
        if not used & COMBINING or "enum" in schema or "const" in schema:
            return self._plain(schema, path)
        variants = self._combiner.variants(schema, path, above)
        return alt(*(self._plain(one, path) if one else self._anything() for one in variants))

    def _note(self, keyword: str, path: SchemaPath) -> None:
        self.relaxed.append(
            f"{keyword} at {field(path)} is checked after the answer, not while it is written"
        )

    def _reference(self, pointer: str, path: SchemaPath, above: frozenset[str]) -> Node:
        target, at = self._combiner.target(pointer, path, above)
        if pointer not in self._refs:
            ref = self._refs[pointer] = self._rules.reserve()
            self._rules.define(ref, self.compile(target, at, above | {pointer}))
        return self._refs[pointer]

    # Schemas without combinations

    def _plain(self, schema: dict[str, Any], path: SchemaPath) -> Node:
        if "enum" in schema or "const" in schema:
            return self._values(schema, path)
        implied = [t for t, keys in BY_TYPE.items() if (keys | CHECKED_AFTER[t]) & schema.keys()]
        types = schema.get("type", implied)
        listed = [types] if isinstance(types, str) else list(types) or list(TYPES)
        for key in ("not", "if"):
            if key in schema:
                self._note(key, path)
        if "number" in listed and "integer" in listed:
            listed.remove("integer")
        return alt(*(self._typed(one, schema, path) for one in listed))

    def _typed(self, kind: str, schema: dict[str, Any], path: SchemaPath) -> Node:
        group = "number" if kind == "integer" else kind
        for key in sorted(CHECKED_AFTER.get(group, frozenset()) & schema.keys()):
            if schema[key] not in TRIVIAL.get(key, ()):
                self._note(key, path)
        match kind:
            case "object":
                return self._object(schema, path)
            case "array":
                return self._array(schema, path)
            case "string":
                return self._rules.token(self._string(schema, path))
            case "integer" | "number":
                return self._rules.token(self._number(schema, path, whole=kind == "integer"))
            case "boolean":
                return alt(Lit("true"), Lit("false"))
            case _:
                return Lit("null")

    def _values(self, schema: dict[str, Any], path: SchemaPath) -> Node:
        values = [schema["const"]] if "const" in schema else schema["enum"]
        limit(
            f"enum at {place(path)}",
            len(values),
            MAX_VALUES,
            "values",
            "Use a plain string, then look it up.",
        )
        from referencing.exceptions import Unresolvable

        checker = validator(json.dumps(self._root)).evolve(schema=schema)
        try:
            kept = [value for value in values if checker.is_valid(value)]
        except (RecursionError, Unresolvable) as error:
            what = (
                "leads back to itself" if isinstance(error, RecursionError) else f"leads nowhere: {error.ref}"
            )
            raise SchemaError(
                f"a $ref beside enum or const at {place(path)} {what}", hint="Leave the values or the $ref."
            ) from error
        if not kept:
            impossible(f"no value of enum or const at {place(path)} satisfies the schema there")
        return self._rules.share(alt(*(Lit(_compact(value)) for value in kept)))

    def _anything(self) -> Node:
        if self._any is None:
            self._any = self._rules.reserve()
            self._rules.define(self._any, alt(*(self._typed(kind, {}, ()) for kind in TYPES)))
        return self._any

    # Objects

    def _object(self, schema: dict[str, Any], path: SchemaPath) -> Node:
        properties = schema.get("properties", {})
        required = list(dict.fromkeys(schema.get("required", ())))
        extra = schema.get("additionalProperties", schema.get("unevaluatedProperties", True))
        if not properties and not required:
            return self._map(schema, extra, path)
        if "patternProperties" in schema:
            self._note("patternProperties", path)
        pairs: list[tuple[Node, bool]] = []
        for name in [*properties, *(n for n in required if n not in properties)]:
            value = rule_for(name, {**schema, "additionalProperties": extra})
            if value is False and name not in required:
                continue
            body = self.compile(value, (*path, "properties", name))
            pairs.append((seq(Lit(_compact(name) + ":"), body), name in required))
        return self._rules.share(seq(Lit("{"), self._pairs(pairs), Lit("}")))

    def _pairs(self, pairs: list[tuple[Node, bool]]) -> Node:
        """Pairs in order, with commas between those that are there; linear in their number."""
        first = next((i for i, (_, needed) in enumerate(pairs) if needed), len(pairs))
        after: Node = EMPTY
        starts: list[Node] = [EMPTY] if first == len(pairs) else []
        for index in range(len(pairs) - 1, -1, -1):
            pair, needed = pairs[index]
            if index <= first:
                starts.insert(0, seq(pair, after))
            following = seq(Lit(","), pair)
            after = seq(following if needed else optional(self._rules.share(following)), after)
            if index <= first:
                after = self._rules.share(after)
        return alt(*starts)

    def _map(self, schema: dict[str, Any], extra: Any, path: SchemaPath) -> Node:
        """An object without named properties: any keys, or those of the patterns."""
        keys: list[Node] = []
        patterns = schema.get("patternProperties", {})
        for pattern, value in patterns.items():
            if value is not False:
                key = self._rules.token(self._pattern(pattern, f"patternProperties at {place(path)}"))
                keys.append(seq(key, Lit(":"), self.compile(value, (*path, "patternProperties", pattern))))
        if len(patterns) > 1:
            self._note("patternProperties", path)
        if not patterns and extra is not False:
            key = self._rules.token(self._string({}, path))
            keys.append(seq(key, Lit(":"), self.compile(extra, (*path, "additionalProperties"))))
        if not keys:
            return Lit("{}")
        pair = self._rules.share(alt(*keys))
        return self._rules.share(
            seq(Lit("{"), optional(seq(pair, Rep(seq(Lit(","), pair), 0, None))), Lit("}"))
        )

    # Arrays

    def _array(self, schema: dict[str, Any], path: SchemaPath) -> Node:
        prefix = schema.get("prefixItems", [])
        rest = schema.get("items", schema.get("unevaluatedItems", True))
        low, high = schema.get("minItems", 0), schema.get("maxItems")
        low, high = int(low), None if high is None else int(high)
        if rest is False:
            high = len(prefix) if high is None else min(high, len(prefix))
        self._ordered(low, high, "Items", path)
        fixed = [self.compile(one, (*path, "prefixItems", i)) for i, one in enumerate(prefix[:high])]
        count = len(fixed)
        tail: Node = EMPTY
        if high is None or high > count:
            item = self.compile(rest, (*path, "items"))
            more = None if high is None else high - count
            if not fixed:
                return self._rules.share(seq(Lit("["), self._listed(item, low, more), Lit("]")))
            tail = self._rules.repeat(seq(Lit(","), item), max(0, low - count), more)
        for index in range(count - 1, -1, -1):
            tail = seq(Lit("," if index else ""), fixed[index], tail)
            tail = tail if index < low else optional(self._rules.share(tail))
        return self._rules.share(seq(Lit("["), tail, Lit("]")))

    def _listed(self, item: Node, low: int, high: int | None) -> Node:
        item = self._rules.share(item)
        more = self._rules.repeat(seq(Lit(","), item), max(0, low - 1), None if high is None else high - 1)
        return seq(item, more) if low else optional(seq(item, more))

    def _ordered(self, low: int, high: int | None, what: str, path: SchemaPath) -> None:
        if high is not None and low > high:
            impossible(f"min{what} {low} is more than max{what} {high} at {place(path)}")
        limit(
            f"the schema at {place(path)}",
            max(low, high or 0),
            MAX_REPEAT,
            f"in min{what} or max{what}",
            "Lower it.",
        )

    # Strings

    def _char(self) -> Ref:
        return self._rules.share(any_json_char())

    def _string(self, schema: dict[str, Any], path: SchemaPath) -> Node:
        low, high = int(schema.get("minLength", 0)), schema.get("maxLength")
        high = None if high is None else int(high)
        self._ordered(low, high, "Length", path)
        name = schema.get("format")
        if "pattern" in schema:
            if name is not None:
                self._note_format(name, path)
            return self._pattern(schema["pattern"], f"pattern at {place(path)}", (low, high), path)
        if name in FORMATS:
            self._note_lengths(low, high, path)
            return self._pattern(f"^(?:{FORMATS[name]})$", f"format at {place(path)}")
        if name is not None:
            self._note_format(name, path)
        return seq(Lit('"'), self._rules.repeat(self._char(), low, high), Lit('"'))

    def _note_format(self, name: str, path: SchemaPath) -> None:
        from jsonschema import Draft202012Validator

        if name in Draft202012Validator.FORMAT_CHECKER.checkers:
            self._note(f"format '{name}'", path)
        else:
            self.relaxed.append(f"format '{name}' at {field(path)} is not checked")

    def _note_lengths(self, low: int, high: int | None, path: SchemaPath) -> None:
        for keyword, given in (("minLength", low > 0), ("maxLength", high is not None)):
            if given:
                self._note(keyword, path)

    def _pattern(
        self, pattern: str, where: str, lengths: tuple[int, int | None] = (0, None), path: SchemaPath = ()
    ) -> Node:
        expression = RegexGrammar(self._rules, pattern, where=where, any_char=self._char())
        simple = expression.simple_repeat() if lengths != (0, None) else None
        if simple is not None:
            item, low, high = simple
            low = max(low, lengths[0])
            most = min((one for one in (high, lengths[1]) if one is not None), default=None)
            self._ordered(low, most, "Length", path)
            body = self._rules.repeat(item, low, most)
        else:
            self._note_lengths(*lengths, path)
            body = expression.node()
        self.relaxed += expression.relaxed
        return seq(Lit('"'), body, Lit('"'))

    # Numbers

    def _number(self, schema: dict[str, Any], path: SchemaPath, *, whole: bool) -> Node:
        low, high, exact = bounds(schema, whole=whole)
        if not exact:
            for key in sorted(BY_TYPE["number"] & schema.keys()):
                self._note(key, path)
        if low is not None and high is not None and low > high:
            impossible(f"no number is at least {low} and at most {high} at {place(path)}")
        return number(low, high, whole=whole, rules=self._rules)


def _compact(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if text.isprintable() else json.dumps(value, separators=(",", ":"))
