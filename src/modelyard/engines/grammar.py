"""A constraint turned into one grammar, and a finished answer checked against the constraint.

The grammar writes compact JSON, properties in the schema's order, so that a model cannot spend its tokens
on white space. It may admit fewer texts than the constraint does; more only where `relaxed` says so.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

from modelyard.engines.regex_grammar import (
    EMPTY,
    MAX_REPEAT,
    Alt,
    Chars,
    Lit,
    Node,
    Ref,
    RegexGrammar,
    Rep,
    Rules,
    alt,
    any_json_char,
    chars,
    optional,
    seq,
)
from modelyard.errors import SchemaError, nearest
from modelyard.types import Constraint

MAX_TEXT = 64 * 1024
"""Most bytes of a schema, regex or list of choices: what a person writes is a hundredth of it."""
MAX_DEPTH = 64
"""Deepest nesting of the schema's JSON (32 schemas inside each other): the validator recurses into it."""
MAX_NODES = 2_000
"""Most objects and arrays of a schema: each becomes a rule or more, and rules cost compile time."""
MAX_EXPANDED = 4 * MAX_NODES
"""Most schemas after `allOf` and `anyOf` are multiplied out, which can grow exponentially."""
MAX_VARIANTS = 200
"""Most combinations of one schema's `anyOf`, `oneOf` and `allOf`."""
MAX_VALUES = 1_000
"""Most values of an enum or a list of choices: the engine tries each of them at every step."""
MAX_GRAMMAR = 256 * 1024
"""Most bytes of the grammar: beyond it the engine's own parser is the bottleneck."""
MAX_DIGITS = 15
"""Most digits before and after a number's point: a double keeps so many, and a model cannot count forever."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ANNOTATIONS = _names(
    "title description default examples $schema $id $comment deprecated readOnly writeOnly $defs definitions "
    "contentEncoding contentMediaType contentSchema"
)
_COMBINING = _names("$ref allOf anyOf oneOf")
_BY_TYPE = {
    "object": _names("properties required additionalProperties patternProperties"),
    "array": _names("items prefixItems minItems maxItems"),
    "string": _names("minLength maxLength pattern format"),
    "number": _names("minimum maximum exclusiveMinimum exclusiveMaximum"),
}
_CHECKED_AFTER = {
    "object": _names("minProperties maxProperties dependentRequired dependentSchemas propertyNames")
    | _names("unevaluatedProperties"),
    "array": _names("uniqueItems contains minContains maxContains unevaluatedItems"),
    "number": _names("multipleOf"),
    "string": _names(""),
    "": _names("not if then else"),
}
_TRIVIAL: dict[str, tuple[object, ...]] = {
    "uniqueItems": (False,),
    "minProperties": (0,),
    "propertyNames": (True,),
    "unevaluatedProperties": (True, False),
    "unevaluatedItems": (True, False),
}
"""Values of keywords that need no check afterwards: they ask nothing, or the grammar obeys them."""
_KNOWN = _names("type enum const").union(
    _ANNOTATIONS, _COMBINING, *_BY_TYPE.values(), *_CHECKED_AFTER.values()
)
_MAPS_OF_SCHEMAS = _names("properties patternProperties $defs definitions dependentSchemas")
_LISTS_OF_SCHEMAS = _names("allOf anyOf oneOf prefixItems")
_SCHEMAS = _names(
    "items additionalProperties not if then else contains propertyNames unevaluatedItems "
    "unevaluatedProperties contentSchema"
)
_STRICTER: dict[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("minLength", "minItems", "minimum", "exclusiveMinimum"), max),
    **dict.fromkeys(("maxLength", "maxItems", "maximum", "exclusiveMaximum"), min),
}
_TYPES = ("object", "array", "string", "number", "boolean", "null")

_DATE = (
    r"(?:[1-9]\d{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)"
    r"|02-(?:0[1-9]|1\d|2[0-8]))|(?:[1-9]\d(?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)-02-29)"
)
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_URI_CHAR = r"(?:[A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"
_LABEL = r"[A-Za-z0-9]{1,30}(?:-[A-Za-z0-9]{1,30}){0,4}"
_FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "uuid": r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "email": r"[A-Za-z0-9_%+-]{1,32}(?:\.[A-Za-z0-9_%+-]{1,32}){0,4}"
    rf"@(?:{_LABEL}\.){{1,6}}[A-Za-z]{{2,24}}",
    "uri": rf"[A-Za-z][A-Za-z0-9+.-]{{0,11}}:{_URI_CHAR}+(?:#{_URI_CHAR}*)?",
    "ipv4": rf"{_OCTET}(?:\.{_OCTET}){{3}}",
}

_Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Grammar:
    """A constraint as a grammar text, and a sentence for each thing that the grammar does not enforce."""

    text: str
    relaxed: tuple[str, ...]


def compile_constraint(constraint: Constraint) -> Grammar:
    """The grammar of a constraint; compiled once, then remembered.

    >>> print(compile_constraint(Constraint(choices=("yes", "no"))).text, end="")
    root ::= "yes" | "no"

    Raises:
        SchemaError: the constraint is malformed, too large, impossible, or cannot be expressed.
    """
    return _compile(*_canonical(constraint))


def check_answer(constraint: Constraint, text: str) -> str | None:
    """None when the finished text satisfies the constraint, else one sentence of what is wrong.

    >>> check_answer(Constraint(choices=("yes", "no")), "maybe")
    "the answer 'maybe' is none of the 2 choices"
    """
    shown = repr(text if len(text) <= 60 else text[:60] + "…")
    if constraint.choices is not None:
        return (
            None
            if text in constraint.choices
            else f"the answer {shown} is none of the {len(constraint.choices)} choices"
        )
    if constraint.regex is not None:
        return (
            None if re.fullmatch(constraint.regex, text) else f"the answer {shown} does not match the regex"
        )
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        return f"the answer {shown} is not JSON: {error}"
    problem = next(_validator(_canonical(constraint)[1]).iter_errors(value), None)
    return (
        None
        if problem is None
        else f"the answer breaks the schema at {problem.json_path}: {problem.message[:200]}"
    )


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


@lru_cache(maxsize=128)
def _validator(text: str) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(text), format_checker=Draft202012Validator.FORMAT_CHECKER)


def _canonical(constraint: Constraint) -> tuple[str, str]:
    """The kind of the constraint, and its content as text (JSON for schemas and choices)."""
    given = [
        (kind, value)
        for kind, value in (
            ("schema", constraint.schema),
            ("regex", constraint.regex),
            ("choices", constraint.choices),
        )
        if value is not None
    ]
    if len(given) != 1:
        raise SchemaError(
            f"a constraint is a schema, a regex or choices; {len(given)} of them were given",
            hint="Give exactly one.",
        )
    kind, value = given[0]
    if kind == "regex":
        if not isinstance(value, str):
            raise SchemaError(
                f"the regex is a {type(value).__name__}, not a text", hint="Pass the pattern itself."
            )
        _limit("the regex", len(value), MAX_TEXT, "characters", "Shorten it.")
        return kind, value
    _survey(value, kind)
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=dict)
        size = len(text.encode("utf-8", "surrogatepass"))
    except (TypeError, ValueError, RecursionError) as error:
        raise SchemaError(
            f"the {kind} cannot be written as JSON: {error}", hint="Use plain JSON values."
        ) from None
    _limit(f"the {kind}", size, MAX_TEXT, "bytes of JSON", "Shorten it, or split the task.")
    return kind, text


def _survey(value: object, kind: str) -> None:
    """Refuses what is too large, too deep or circular before anything recurses into it."""
    stack: list[tuple[object, int]] = [(value, 1)]
    nodes = size = 0
    while stack:
        one, depth = stack.pop()
        if isinstance(one, str):
            size += len(one)
        elif isinstance(one, Mapping | list | tuple):
            nodes += 1
            size += 2 + len(one)
            _limit(f"the {kind}", depth, MAX_DEPTH, "levels of nesting", "Flatten it, or use $ref.")
            _limit(
                f"the {kind}",
                nodes,
                MAX_NODES,
                "objects and arrays",
                "Split it, or share parts through $ref.",
            )
            _limit(f"the {kind}", size, MAX_TEXT, "bytes of JSON", "Shorten it, or split the task.")
            inner = [*one.values(), *one.keys()] if isinstance(one, Mapping) else one
            stack.extend((item, depth + 1) for item in inner)
        elif isinstance(one, int):
            size += one.bit_length() // 4
        _limit(f"the {kind}", size, MAX_TEXT, "bytes of JSON", "Shorten it, or split the task.")


def _limit(what: str, found: int, most: int, unit: str, remedy: str) -> None:
    if found > most:
        raise SchemaError(f"{what} has {found:,} {unit} or more, {most:,} are allowed", hint=remedy)


@lru_cache(maxsize=128)
def _compile(kind: str, text: str) -> Grammar:
    rules = Rules()
    relaxed: list[str] = []
    if kind == "choices":
        root = _choices(json.loads(text))
    elif kind == "regex":
        expression = RegexGrammar(rules, text, where="the regex")
        root = expression.node()
        relaxed = expression.relaxed
    else:
        schema = json.loads(text)
        _check_schema(schema)
        compiler = _SchemaCompiler(schema, rules)
        root = compiler.compile(schema, ())
        relaxed = compiler.relaxed
    if rules.endless(root):
        raise SchemaError(
            "the schema always refers back to itself, so that no answer ever ends",
            hint="Make the property that refers back optional, or allow null there.",
        )
    grammar = rules.text(root)
    _limit(
        "the grammar",
        len(grammar),
        MAX_GRAMMAR,
        "bytes",
        "Use fewer or shorter enums, patterns and properties.",
    )
    return Grammar(grammar, tuple(dict.fromkeys(relaxed)))


def _choices(values: Any) -> Node:
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise SchemaError("choices are a tuple of texts", hint="Turn each choice into a text.")
    if not values or "" in values:
        raise SchemaError(
            "an empty text is among the choices" if values else "the list of choices is empty",
            hint="Give at least one choice, none of them empty.",
        )
    _limit("the list of choices", len(values), MAX_VALUES, "values", "Narrow the choices down first.")
    double = next((v for v in values if values.count(v) > 1), None)
    if double is not None:
        raise SchemaError(f"the choice {double!r} is given twice", hint="Give each choice once.")
    if any("\ud800" <= char <= "\udfff" for value in values for char in value):
        raise SchemaError("a choice holds half of a surrogate pair", hint="Write the whole character.")
    return alt(*map(Lit, values))


def _check_schema(schema: Any) -> None:
    """Refuses a schema that is not valid itself, or has a keyword that nobody would check."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError as Invalid

    if not isinstance(schema, dict):
        raise SchemaError("a schema is a mapping", hint="Wrap it in an object.")
    try:
        Draft202012Validator.check_schema(schema)
    except Invalid as error:
        value = json.dumps(error.instance, ensure_ascii=False)[:80]
        raise SchemaError(
            f"the schema is invalid at {error.json_path}, which is {value}: {error.message[:200]}",
            hint="Write it in JSON Schema, draft 2020-12.",
        ) from None
    except RecursionError:
        raise SchemaError("the schema is nested too deeply", hint="Flatten it, or use $ref.") from None
    for path, inner in _subschemas(schema):
        for key in inner:
            if key not in _KNOWN or (key == "$id" and path):
                raise SchemaError(
                    f"keyword '{key}' at {_place(path)} is not supported.{nearest(key, _KNOWN - {key})}",
                    hint="Remove it, or write the same with the keywords of draft 2020-12.",
                )


def _subschemas(root: dict[str, Any]) -> Iterator[tuple[_Path, dict[str, Any]]]:
    stack: list[tuple[_Path, Any]] = [((), root)]
    while stack:
        path, schema = stack.pop()
        if not isinstance(schema, dict):
            continue
        yield path, schema
        for key, value in schema.items():
            if key in _MAPS_OF_SCHEMAS:
                stack.extend(((*path, key, name), inner) for name, inner in value.items())
            elif key in _LISTS_OF_SCHEMAS:
                stack.extend(((*path, key, index), inner) for index, inner in enumerate(value))
            elif key in _SCHEMAS:
                stack.append(((*path, key), value))


def _place(path: _Path) -> str:
    """A path into the schema, as JSON paths are written."""
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def _field(path: _Path) -> str:
    """The part of the answer that a path into the schema is about.

    >>> _field(("properties", "tags", "items"))
    '$.tags[]'
    """
    shown, parts = "$", iter(path)
    for part in parts:
        if part == "properties":
            shown += f".{next(parts)}"
        elif part == "items":
            shown += "[]"
        elif part == "prefixItems":
            shown += f"[{next(parts)}]"
        elif part in ("additionalProperties", "patternProperties"):
            shown += ".*"
            if part == "patternProperties":
                next(parts)
        elif part in ("$defs", "definitions"):
            shown = f"{part}/{next(parts)}"
    return shown


class _ImpossibleError(SchemaError):
    """No value satisfies this schema; a combination of which it is one branch goes on without it."""


class _SchemaCompiler:
    """Compiles the subschemas of one schema into shared rules.

    `above` in the methods holds the references being followed since the last character that was written: one
    that comes again would be a rule that starts with itself.
    """

    def __init__(self, root: dict[str, Any], rules: Rules) -> None:
        self._root, self._rules = root, rules
        self._refs: dict[str, Ref] = {}
        self._any: Ref | None = None
        self._compiled = 0
        self.relaxed: list[str] = []

    def compile(self, schema: Any, path: _Path, above: frozenset[str] = frozenset()) -> Node:
        self._compiled += 1
        _limit(
            "the schema", self._compiled, MAX_EXPANDED, "parts once combined", "Use fewer allOf and anyOf."
        )
        _limit(
            "the schema",
            len(path),
            4 * MAX_DEPTH,
            "levels once combined",
            "Do not combine recursive schemas.",
        )
        if schema is True or (isinstance(schema, dict) and not schema.keys() - _ANNOTATIONS):
            return self._anything()
        if schema is False:
            raise _ImpossibleError(
                f"the schema at {_place(path)} is false, which nothing satisfies", hint="Remove it."
            )
        used = schema.keys() - _ANNOTATIONS
        if used == {"$ref"}:
            return self._reference(schema["$ref"], path, above)
        if len(used) == 1 and used <= {"anyOf", "oneOf"}:
            key = next(iter(used))
            self._note_one_of(schema, path)
            return alt(*(self.compile(one, (*path, key, i), above) for i, one in enumerate(schema[key])))
        if not used & _COMBINING or "enum" in schema or "const" in schema:
            return self._plain(schema, path)
        variants = self._variants(schema, path, above)
        return alt(*(self._plain(one, path) if one else self._anything() for one in variants))

    def _note(self, keyword: str, path: _Path) -> None:
        self.relaxed.append(
            f"{keyword} at {_field(path)} is checked after the answer, not while it is written"
        )

    # References and combinations

    def _target(self, pointer: str, path: _Path, above: frozenset[str]) -> tuple[Any, _Path]:
        if pointer in above:
            raise SchemaError(
                f"$ref '{pointer}' at {_place(path)} only leads back to itself", hint="Break the circle."
            )
        if pointer != "#" and not pointer.startswith("#/"):
            raise SchemaError(
                f"$ref '{pointer}' at {_place(path)} points outside the schema",
                hint="Copy what it points to under $defs, and refer to '#/$defs/…'.",
            )
        target: Any = self._root
        parts = (
            [p.replace("~1", "/").replace("~0", "~") for p in _unquote(pointer[2:]).split("/")]
            if pointer != "#"
            else []
        )
        for part in parts:
            try:
                target = target[int(part)] if isinstance(target, list) else target[part]
            except (KeyError, IndexError, ValueError, TypeError):
                raise SchemaError(
                    f"$ref '{pointer}' at {_place(path)} points to nothing", hint=f"There is no '{part}'."
                ) from None
        if not isinstance(target, dict | bool):
            raise SchemaError(
                f"$ref '{pointer}' at {_place(path)} points to no schema", hint="Mend the reference."
            )
        return target, tuple(parts)

    def _reference(self, pointer: str, path: _Path, above: frozenset[str]) -> Node:
        target, place = self._target(pointer, path, above)
        if pointer not in self._refs:
            ref = self._refs[pointer] = self._rules.reserve()
            self._rules.define(ref, self.compile(target, place, above | {pointer}))
        return self._refs[pointer]

    def _variants(self, schema: Any, path: _Path, above: frozenset[str]) -> list[dict[str, Any]]:
        """The schema as alternatives without `$ref`, `allOf`, `anyOf` and `oneOf`."""
        if isinstance(schema, bool):
            return [{}] if schema else []
        groups: list[list[dict[str, Any]]] = []
        if "$ref" in schema:
            target, place = self._target(schema["$ref"], path, above)
            groups.append(self._variants(target, place, above | {schema["$ref"]}))
        groups += [self._variants(one, path, above) for one in schema.get("allOf", ())]
        self._note_one_of(schema, path)
        groups += [
            [variant for one in schema[key] for variant in self._variants(one, path, above)]
            for key in ("anyOf", "oneOf")
            if key in schema
        ]
        found = [{k: v for k, v in schema.items() if k not in _COMBINING and k not in _ANNOTATIONS}]
        problem = _ImpossibleError(
            f"nothing satisfies the schema at {_place(path)}", hint="Mend its combination."
        )
        for group in groups:
            _limit(
                f"the schema at {_place(path)}",
                len(found) * len(group),
                MAX_VARIANTS,
                "combinations",
                "Use fewer.",
            )
            merged = []
            for one, other in ((one, other) for one in found for other in group):
                try:
                    merged.append(self._merge(one, other, path))
                except _ImpossibleError as error:
                    problem = error
            found = merged
        if not found:
            raise problem
        return found

    def _merge(self, one: dict[str, Any], other: dict[str, Any], path: _Path) -> dict[str, Any]:
        out = {**one, **other, **self._merge_objects(one, other)}
        for key in one.keys() & other.keys() - {"properties", "additionalProperties"}:
            out[key] = self._merge_keyword(key, one[key], other[key], path)
        if ("prefixItems" in one) != ("prefixItems" in other) and "items" in (
            one if "prefixItems" in other else other
        ):
            raise SchemaError(
                f"prefixItems and items at {_place(path)} cannot be combined", hint="Merge them by hand."
            )
        return out

    def _merge_keyword(self, key: str, one: Any, other: Any, path: _Path) -> Any:
        if json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True):
            return one
        if key in _STRICTER:
            return _STRICTER[key](one, other)
        if key == "type":
            return self._merge_types(one, other, path)
        if key == "required":
            return [*one, *(name for name in other if name not in one)]
        if key == "items":
            return _both(one, other)
        if key == "enum":
            kept = [v for v in one if any(json.dumps(v) == json.dumps(w) for w in other)]
            return kept or self._impossible(f"no value of enum at {_place(path)} is in every list")
        if key == "const":
            return self._impossible(f"const at {_place(path)} would have to be two values")
        if key in ("pattern", "format") or any(key in keys for keys in _CHECKED_AFTER.values()):
            self._note(key, path)
            return one
        raise SchemaError(
            f"two different '{key}' at {_place(path)} cannot be combined", hint="Merge them by hand."
        )

    def _impossible(self, problem: str) -> Any:
        raise _ImpossibleError(problem, hint="Mend the schema.")

    def _merge_types(self, one: Any, other: Any, path: _Path) -> list[str]:
        left, right = ([t] if isinstance(t, str) else list(t) for t in (one, other))
        kept = [t for t in left if t in right or (t == "integer" and "number" in right)]
        kept += [t for t in right if t == "integer" and "number" in left and t not in kept]
        return kept or self._impossible(f"no type at {_place(path)} is in both {left} and {right}")

    def _merge_objects(self, one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
        """Properties and additionalProperties together: the one side's rest rules the other's names."""
        out: dict[str, Any] = {}
        names = {**one.get("properties", {}), **other.get("properties", {})}
        if names:
            sides = [_rule_for(name, side) for name in names for side in (one, other)]
            out["properties"] = {name: _both(sides[2 * i], sides[2 * i + 1]) for i, name in enumerate(names)}
        if "additionalProperties" in one and "additionalProperties" in other:
            out["additionalProperties"] = _both(one["additionalProperties"], other["additionalProperties"])
        return out

    def _note_one_of(self, schema: dict[str, Any], path: _Path) -> None:
        branches = schema.get("oneOf", [])
        resolved = [self._resolved(one) for one in branches]
        if not all(_disjoint(a, b) for a, b in combinations(resolved, 2)):
            self._note("oneOf", path)

    def _resolved(self, schema: Any) -> Any:
        for _ in range(MAX_DEPTH):
            if not isinstance(schema, dict) or "$ref" not in schema:
                break
            schema = self._target(schema["$ref"], (), frozenset())[0]
        return schema

    # Schemas without combinations

    def _plain(self, schema: dict[str, Any], path: _Path) -> Node:
        if "enum" in schema or "const" in schema:
            return self._values(schema, path)
        implied = [t for t, keys in _BY_TYPE.items() if (keys | _CHECKED_AFTER[t]) & schema.keys()]
        types = schema.get("type", implied)
        listed = [types] if isinstance(types, str) else list(types) or list(_TYPES)
        for key in ("not", "if"):
            if key in schema:
                self._note(key, path)
        if "number" in listed and "integer" in listed:
            listed.remove("integer")
        return alt(*(self._typed(one, schema, path) for one in listed))

    def _typed(self, kind: str, schema: dict[str, Any], path: _Path) -> Node:
        group = "number" if kind == "integer" else kind
        for key in sorted(_CHECKED_AFTER.get(group, frozenset()) & schema.keys()):
            if schema[key] not in _TRIVIAL.get(key, ()):
                self._note(key, path)
        match kind:
            case "object":
                return self._object(schema, path)
            case "array":
                return self._array(schema, path)
            case "string":
                return self._rules.share(self._string(schema, path))
            case "integer" | "number":
                return self._rules.share(self._number(schema, path, whole=kind == "integer"))
            case "boolean":
                return alt(Lit("true"), Lit("false"))
            case _:
                return Lit("null")

    def _values(self, schema: dict[str, Any], path: _Path) -> Node:
        values = [schema["const"]] if "const" in schema else schema["enum"]
        _limit(
            f"enum at {_place(path)}",
            len(values),
            MAX_VALUES,
            "values",
            "Use a plain string, then look it up.",
        )
        validator = _validator(json.dumps(self._root)).evolve(schema=schema)
        kept = [value for value in values if validator.is_valid(value)]
        if not kept:
            self._impossible(f"no value of enum or const at {_place(path)} satisfies the schema there")
        return self._rules.share(alt(*(Lit(_compact(value)) for value in kept)))

    def _anything(self) -> Node:
        if self._any is None:
            self._any = self._rules.reserve()
            self._rules.define(self._any, alt(*(self._typed(kind, {}, ()) for kind in _TYPES)))
        return self._any

    # Objects

    def _object(self, schema: dict[str, Any], path: _Path) -> Node:
        properties = schema.get("properties", {})
        required = list(dict.fromkeys(schema.get("required", ())))
        extra = schema.get("additionalProperties", schema.get("unevaluatedProperties", True))
        if not properties and not required:
            return self._map(schema, extra, path)
        if "patternProperties" in schema:
            self._note("patternProperties", path)
        pairs: list[tuple[Node, bool]] = []
        for name in [*properties, *(n for n in required if n not in properties)]:
            value = _rule_for(name, {**schema, "additionalProperties": extra})
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

    def _map(self, schema: dict[str, Any], extra: Any, path: _Path) -> Node:
        """An object without named properties: any keys, or those of the patterns."""
        keys: list[Node] = []
        patterns = schema.get("patternProperties", {})
        for pattern, value in patterns.items():
            if value is not False:
                key = self._pattern(pattern, f"patternProperties at {_place(path)}")
                keys.append(seq(key, Lit(":"), self.compile(value, (*path, "patternProperties", pattern))))
        if len(patterns) > 1:
            self._note("patternProperties", path)
        if not patterns and extra is not False:
            keys.append(
                seq(self._string({}, path), Lit(":"), self.compile(extra, (*path, "additionalProperties")))
            )
        if not keys:
            return Lit("{}")
        pair = self._rules.share(alt(*keys))
        return self._rules.share(
            seq(Lit("{"), optional(seq(pair, Rep(seq(Lit(","), pair), 0, None))), Lit("}"))
        )

    # Arrays

    def _array(self, schema: dict[str, Any], path: _Path) -> Node:
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

    def _ordered(self, low: int, high: int | None, what: str, path: _Path) -> None:
        if high is not None and low > high:
            self._impossible(f"min{what} {low} is more than max{what} {high} at {_place(path)}")
        _limit(
            f"the schema at {_place(path)}",
            max(low, high or 0),
            MAX_REPEAT,
            f"in min{what} or max{what}",
            "Lower it.",
        )

    # Strings

    def _char(self) -> Ref:
        return self._rules.share(any_json_char())

    def _string(self, schema: dict[str, Any], path: _Path) -> Node:
        low, high = int(schema.get("minLength", 0)), schema.get("maxLength")
        high = None if high is None else int(high)
        self._ordered(low, high, "Length", path)
        name = schema.get("format")
        if "pattern" in schema:
            if name is not None:
                self._note_format(name, path)
            return self._pattern(schema["pattern"], f"pattern at {_place(path)}", (low, high), path)
        if name in _FORMATS:
            self._note_lengths(low, high, path)
            return self._pattern(f"^(?:{_FORMATS[name]})$", f"format at {_place(path)}")
        if name is not None:
            self._note_format(name, path)
        return seq(Lit('"'), self._rules.repeat(self._char(), low, high), Lit('"'))

    def _note_format(self, name: str, path: _Path) -> None:
        from jsonschema import Draft202012Validator

        if name in Draft202012Validator.FORMAT_CHECKER.checkers:
            self._note(f"format '{name}'", path)
        else:
            self.relaxed.append(f"format '{name}' at {_field(path)} is not checked")

    def _note_lengths(self, low: int, high: int | None, path: _Path) -> None:
        for keyword, given in (("minLength", low > 0), ("maxLength", high is not None)):
            if given:
                self._note(keyword, path)

    def _pattern(
        self, pattern: str, where: str, lengths: tuple[int, int | None] = (0, None), path: _Path = ()
    ) -> Node:
        expression = RegexGrammar(self._rules, pattern, where=where, any_char=self._char())
        simple = expression.simple_repeat() if lengths != (0, None) else None
        if simple is not None:
            item, low, high = simple
            low = max(low, lengths[0])
            bounds = [bound for bound in (high, lengths[1]) if bound is not None]
            self._ordered(low, min(bounds, default=None), "Length", path)
            body = self._rules.repeat(item, low, min(bounds, default=None))
        else:
            self._note_lengths(*lengths, path)
            body = expression.node()
        self.relaxed += expression.relaxed
        return seq(Lit('"'), body, Lit('"'))

    # Numbers

    def _number(self, schema: dict[str, Any], path: _Path, *, whole: bool) -> Node:
        low, high, exact = _bounds(schema, whole=whole)
        if not exact:
            for key in sorted(_BY_TYPE["number"] & schema.keys()):
                self._note(key, path)
        if low is not None and high is not None and low > high:
            self._impossible(f"no number is at least {low} and at most {high} at {_place(path)}")
        if low is None and high is None:
            return _any_integer() if whole else _any_number()
        largest = 10 ** max(MAX_DIGITS, *(len(str(abs(b))) + 1 for b in (low, high) if b is not None)) - 1
        low, high = -largest if low is None else low, largest if high is None else high
        below = _unsigned(max(0, -high), -low, whole=whole) if low < 0 else None
        above = _unsigned(max(0, low), high, whole=whole) if high >= 0 else None
        parts = [above] if above is not None else []
        return alt(
            *parts,
            *(
                [seq(Lit("-"), below if not isinstance(below, Alt) else self._rules.share(below))]
                if below
                else []
            ),
        )


def _unquote(pointer: str) -> str:
    from urllib.parse import unquote

    return unquote(pointer)


def _compact(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if text.isprintable() else json.dumps(value, separators=(",", ":"))


def _both(one: Any, other: Any) -> Any:
    """A schema for what satisfies both."""
    if one is True or one == other:
        return other
    if other is True:
        return one
    return False if one is False or other is False else {"allOf": [one, other]}


def _rule_for(name: str, schema: dict[str, Any]) -> Any:
    """The schema of a property: its own, or that of the names not listed."""
    if name in schema.get("properties", {}):
        return schema["properties"][name]
    if any(re.search(pattern, name) for pattern in schema.get("patternProperties", {})):
        return True
    return schema.get("additionalProperties", True)


def _disjoint(one: Any, other: Any) -> bool:
    """Whether no value can satisfy both, as far as that is plain to see."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return False
    kinds = [_kinds(schema) for schema in (one, other)]
    if all(kinds) and not kinds[0] & kinds[1]:
        return True
    if kinds != [{"object"}, {"object"}]:
        return False
    shared = set(one.get("required", ())) & set(other.get("required", ()))
    tags = [[_tag(schema.get("properties", {}).get(name)) for schema in (one, other)] for name in shared]
    return any(all(pair) and not pair[0] & pair[1] for pair in tags)


def _tag(schema: Any) -> set[str]:
    """The values that a schema lists, as texts."""
    if not isinstance(schema, dict):
        return set()
    return {json.dumps(v) for v in ([schema["const"]] if "const" in schema else schema.get("enum", []))}


def _kinds(schema: dict[str, Any]) -> set[str]:
    given = schema.get("type", [])
    return {"number" if t == "integer" else t for t in ([given] if isinstance(given, str) else given)}


def _bounds(schema: dict[str, Any], *, whole: bool) -> tuple[int | None, int | None, bool]:
    """Whole bounds around the allowed numbers, and whether they say everything."""
    low = high = None
    exact = True
    for key, value in ((k, schema[k]) for k in _BY_TYPE["number"] & schema.keys()):
        if abs(value) >= 10 ** (2 * MAX_DIGITS):
            exact = False
            continue
        exact = exact and (whole or (value == int(value) and not key.startswith("exclusive")))
        step = 1 if whole and key.startswith("exclusive") else 0
        if key.endswith("inimum"):
            bound = math.floor(value) + step if step or not whole else math.ceil(value)
            low = bound if low is None else max(low, bound)
        else:
            bound = math.ceil(value) - step if step or not whole else math.floor(value)
            high = bound if high is None else min(high, bound)
    return low, high, exact


_DIGIT = chars("09")


def _any_integer() -> Node:
    return alt(Lit("0"), seq(optional(Lit("-")), chars("19"), Rep(_DIGIT, 0, MAX_DIGITS - 1)))


def _fraction() -> Node:
    return optional(seq(Lit("."), Rep(_DIGIT, 1, MAX_DIGITS)))


def _any_number() -> Node:
    # Two digits of exponent: three could write 1e999, which reads as infinity.
    exponent = seq(chars("EEee"), optional(chars("++--")), Rep(_DIGIT, 1, 2))
    whole = alt(Lit("0"), seq(chars("19"), Rep(_DIGIT, 0, MAX_DIGITS - 1)))
    return seq(optional(Lit("-")), whole, _fraction(), optional(exponent))


def _unsigned(low: int, high: int, *, whole: bool) -> Node:
    """Numbers from low to high, both in; with a fraction unless whole."""
    if whole:
        return _digits(low, high)
    zeros = optional(seq(Lit("."), Rep(Lit("0"), 1, MAX_DIGITS)))
    last = seq(Lit(str(high)), zeros)
    return last if low == high else alt(seq(_digits(low, high - 1), _fraction()), last)


def _digits(low: int, high: int) -> Node:
    """Whole numbers from low to high, both in, without leading zeros."""
    parts: list[Node] = []
    for length in range(len(str(low)), len(str(high)) + 1):
        start, end = max(low, 10 ** (length - 1) if length > 1 else 0), min(high, 10**length - 1)
        parts.append(_same_length(str(start), str(end)))
    return alt(*parts)


def _same_length(low: str, high: str) -> Node:
    if low == high:
        return Lit(low)
    size = len(low) - 1
    if low[0] == high[0]:
        return seq(Lit(low[0]), _same_length(low[1:], high[1:]))
    first, last, parts = int(low[0]), int(high[0]), list[Node]()
    if low[1:] != "0" * size:
        parts.append(seq(Lit(low[0]), _same_length(low[1:], "9" * size)))
        first += 1
    end = None
    if high[1:] != "9" * size:
        end = seq(Lit(high[0]), _same_length("0" * size, high[1:]))
        last -= 1
    if first <= last:
        middle: Node = Chars(((48 + first, 48 + last),))
        parts.append(seq(middle, Rep(_DIGIT, size, size)) if size else middle)
    return alt(*parts, *([end] if end is not None else []))
