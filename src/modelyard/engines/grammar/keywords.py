"""Keywords of JSON Schema: which are known, where schemas stand inside each other, what a place is called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SchemaPath = tuple[str | int, ...]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


ANNOTATIONS = _names(
    "title description default examples $schema $id $comment deprecated readOnly writeOnly $defs definitions "
    "contentEncoding contentMediaType contentSchema"
)
COMBINING = _names("$ref allOf anyOf oneOf")
BY_TYPE = {
    "object": _names("properties required additionalProperties patternProperties"),
    "array": _names("items prefixItems minItems maxItems"),
    "string": _names("minLength maxLength pattern format"),
    "number": _names("minimum maximum exclusiveMinimum exclusiveMaximum"),
}
CHECKED_AFTER = {
    "object": _names("minProperties maxProperties dependentRequired dependentSchemas propertyNames")
    | _names("unevaluatedProperties"),
    "array": _names("uniqueItems contains minContains maxContains unevaluatedItems"),
    "number": _names("multipleOf"),
    "string": _names(""),
    "": _names("not if then else"),
}
TRIVIAL: dict[str, tuple[object, ...]] = {
    "uniqueItems": (False,),
    "minProperties": (0,),
    "propertyNames": (True,),
    "unevaluatedProperties": (True, False),
    "unevaluatedItems": (True, False),
}
"""Values of keywords that need no check afterwards: they ask nothing, or the grammar obeys them."""
KNOWN = _names("type enum const").union(ANNOTATIONS, COMBINING, *BY_TYPE.values(), *CHECKED_AFTER.values())
_MAPS_OF_SCHEMAS = _names("properties patternProperties $defs definitions dependentSchemas")
_LISTS_OF_SCHEMAS = _names("allOf anyOf oneOf prefixItems")
_SCHEMAS = _names(
    "items additionalProperties not if then else contains propertyNames unevaluatedItems "
    "unevaluatedProperties contentSchema"
)
TYPES = ("object", "array", "string", "number", "boolean", "null")


def subschemas(root: dict[str, Any]) -> Iterator[tuple[SchemaPath, dict[str, Any]]]:
    """Every schema inside the schema, itself too, with its path."""
    stack: list[tuple[SchemaPath, Any]] = [((), root)]
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


def place(path: SchemaPath) -> str:
    """A path into the schema, as JSON paths are written."""
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def field(path: SchemaPath) -> str:
    """The part of the answer that a path into the schema is about.

    >>> field(("properties", "tags", "items"))
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
