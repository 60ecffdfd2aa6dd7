"""Limits: how large a constraint and its grammar may be, and the survey that holds them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from modelyard.errors import SchemaError
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
MAX_REPEAT = 100_000
"""Most repeats in all, nested ones multiplied: more is no answer that a model would finish."""
MAX_GROUPS = 32
"""Deepest nesting of groups: both Python's parser and the engines' parsers recurse into them."""


def canonical(constraint: Constraint) -> tuple[str, str]:
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
        limit("the regex", len(value), MAX_TEXT, "characters", "Shorten it.")
        return kind, value
    _survey(value, kind)
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=dict)
        size = len(text.encode("utf-8", "surrogatepass"))
    except (TypeError, ValueError, RecursionError) as error:
        raise SchemaError(
            f"the {kind} cannot be written as JSON: {error}", hint="Use plain JSON values."
        ) from None
    limit(f"the {kind}", size, MAX_TEXT, "bytes of JSON", "Shorten it, or split the task.")
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
            limit(f"the {kind}", depth, MAX_DEPTH, "levels of nesting", "Flatten it, or use $ref.")
            limit(
                f"the {kind}",
                nodes,
                MAX_NODES,
                "objects and arrays",
                "Split it, or share parts through $ref.",
            )
            limit(f"the {kind}", size, MAX_TEXT, "bytes of JSON", "Shorten it, or split the task.")
            inner = [*one.values(), *one.keys()] if isinstance(one, Mapping) else one
            stack.extend((item, depth + 1) for item in inner)
        elif isinstance(one, int):
            size += one.bit_length() // 4
        limit(f"the {kind}", size, MAX_TEXT, "bytes of JSON", "Shorten it, or split the task.")


def limit(what: str, found: int, most: int, unit: str, remedy: str) -> None:
    """Refuses what has more units than are allowed."""
    if found > most:
        raise SchemaError(f"{what} has {found:,} {unit} or more, {most:,} are allowed", hint=remedy)
