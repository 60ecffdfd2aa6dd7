"""Combinations: `$ref`, `allOf`, `anyOf` and `oneOf` multiplied out into schemas without them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import combinations
from typing import Any, NoReturn

from modelyard.engines.grammar.keywords import ANNOTATIONS, CHECKED_AFTER, COMBINING, SchemaPath, place
from modelyard.engines.grammar.limits import MAX_DEPTH, MAX_VARIANTS, limit
from modelyard.errors import SchemaError

_STRICTER: dict[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("minLength", "minItems", "minimum", "exclusiveMinimum"), max),
    **dict.fromkeys(("maxLength", "maxItems", "maximum", "exclusiveMaximum"), min),
}


class ImpossibleError(SchemaError):
    """No value satisfies this schema; a combination of which it is one branch goes on without it."""


def impossible(problem: str) -> NoReturn:
    """Raises ImpossibleError; an expression, so that it can stand behind an `or`."""
    raise ImpossibleError(problem, hint="Mend the schema.")


class Combiner:
    """Resolves the references of one schema, and multiplies its combinations out.

    Args:
        root: the whole schema, which references point into.
        note: told each keyword, with its path, that is left to be checked after the answer.
    """

    def __init__(self, root: dict[str, Any], note: Callable[[str, SchemaPath], None]) -> None:
        self._root, self._note = root, note

    def target(self, pointer: str, path: SchemaPath, above: frozenset[str]) -> tuple[Any, SchemaPath]:
        """The schema that a reference means, and its path."""
        if pointer in above:
            raise SchemaError(
                f"$ref '{pointer}' at {place(path)} only leads back to itself", hint="Break the circle."
            )
        if pointer != "#" and not pointer.startswith("#/"):
            raise SchemaError(
                f"$ref '{pointer}' at {place(path)} points outside the schema",
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
                    f"$ref '{pointer}' at {place(path)} points to nothing", hint=f"There is no '{part}'."
                ) from None
        if not isinstance(target, dict | bool):
            raise SchemaError(
                f"$ref '{pointer}' at {place(path)} points to no schema", hint="Mend the reference."
            )
        return target, tuple(parts)

    def variants(self, schema: Any, path: SchemaPath, above: frozenset[str]) -> list[dict[str, Any]]:
        """The schema as alternatives without `$ref`, `allOf`, `anyOf` and `oneOf`."""
        if isinstance(schema, bool):
            return [{}] if schema else []
        groups: list[list[dict[str, Any]]] = []
        if "$ref" in schema:
            target, at = self.target(schema["$ref"], path, above)
            groups.append(self.variants(target, at, above | {schema["$ref"]}))
        groups += [self.variants(one, path, above) for one in schema.get("allOf", ())]
        self.note_one_of(schema, path)
        groups += [
            [variant for one in schema[key] for variant in self.variants(one, path, above)]
            for key in ("anyOf", "oneOf")
            if key in schema
        ]
        found = [{k: v for k, v in schema.items() if k not in COMBINING and k not in ANNOTATIONS}]
        problem = ImpossibleError(
            f"nothing satisfies the schema at {place(path)}", hint="Mend its combination."
        )
        for group in groups:
            limit(
                f"the schema at {place(path)}",
                len(found) * len(group),
                MAX_VARIANTS,
                "combinations",
                "Use fewer.",
            )
            merged = []
            for one, other in ((one, other) for one in found for other in group):
                try:
                    merged.append(self._merge(one, other, path))
                except ImpossibleError as error:
                    problem = error
            found = merged
        if not found:
            raise problem
        return found

    def _merge(self, one: dict[str, Any], other: dict[str, Any], path: SchemaPath) -> dict[str, Any]:
        out = {**one, **other, **self._merge_objects(one, other)}
        for key in one.keys() & other.keys() - {"properties", "additionalProperties"}:
            out[key] = self._merge_keyword(key, one[key], other[key], path)
        if ("prefixItems" in one) != ("prefixItems" in other) and "items" in (
            one if "prefixItems" in other else other
        ):
            raise SchemaError(
                f"prefixItems and items at {place(path)} cannot be combined", hint="Merge them by hand."
            )
        return out

    def _merge_keyword(self, key: str, one: Any, other: Any, path: SchemaPath) -> Any:
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
            return kept or impossible(f"no value of enum at {place(path)} is in every list")
        if key == "const":
            return impossible(f"const at {place(path)} would have to be two values")
        if key in ("pattern", "format") or any(key in keys for keys in CHECKED_AFTER.values()):
            self._note(key, path)
            return one
        raise SchemaError(
            f"two different '{key}' at {place(path)} cannot be combined", hint="Merge them by hand."
        )

    def _merge_types(self, one: Any, other: Any, path: SchemaPath) -> list[str]:
        left, right = ([t] if isinstance(t, str) else list(t) for t in (one, other))
        kept = [t for t in left if t in right or (t == "integer" and "number" in right)]
        kept += [t for t in right if t == "integer" and "number" in left and t not in kept]
        return kept or impossible(f"no type at {place(path)} is in both {left} and {right}")

    def _merge_objects(self, one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
        """Properties and additionalProperties together: the one side's rest rules the other's names."""
        out: dict[str, Any] = {}
        names = {**one.get("properties", {}), **other.get("properties", {})}
        if names:
            sides = [rule_for(name, side) for name in names for side in (one, other)]
            out["properties"] = {name: _both(sides[2 * i], sides[2 * i + 1]) for i, name in enumerate(names)}
        if "additionalProperties" in one and "additionalProperties" in other:
            out["additionalProperties"] = _both(one["additionalProperties"], other["additionalProperties"])
        return out

    def note_one_of(self, schema: dict[str, Any], path: SchemaPath) -> None:
        """Notes a `oneOf` whose branches are not plainly apart: a grammar admits what fits two of them."""
        branches = schema.get("oneOf", [])
        resolved = [self._resolved(one) for one in branches]
        if not all(_disjoint(a, b) for a, b in combinations(resolved, 2)):
            self._note("oneOf", path)

    def _resolved(self, schema: Any) -> Any:
        for _ in range(MAX_DEPTH):
            if not isinstance(schema, dict) or "$ref" not in schema:
                break
            schema = self.target(schema["$ref"], (), frozenset())[0]
        return schema


def _unquote(pointer: str) -> str:
    from urllib.parse import unquote

    return unquote(pointer)


def _both(one: Any, other: Any) -> Any:
    """A schema for what satisfies both."""
    if one is True or one == other:
        return other
    if other is True:
        return one
    return False if one is False or other is False else {"allOf": [one, other]}


def rule_for(name: str, schema: dict[str, Any]) -> Any:
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
