"""Checks: a schema before it is compiled, and a finished answer against its constraint."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from modelyard.engines.grammar.keywords import KNOWN, place, subschemas
from modelyard.engines.grammar.limits import canonical
from modelyard.errors import SchemaError, nearest
from modelyard.types import Constraint


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
    problem = next(validator(canonical(constraint)[1]).iter_errors(value), None)
    return (
        None
        if problem is None
        else f"the answer breaks the schema at {problem.json_path}: {problem.message[:200]}"
    )


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


@lru_cache(maxsize=128)
def validator(text: str) -> Any:
    """The validator of a schema, given as JSON."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(text), format_checker=Draft202012Validator.FORMAT_CHECKER)


def check_schema(schema: Any) -> None:
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
    for path, inner in subschemas(schema):
        for key in inner:
            if key not in KNOWN or (key == "$id" and path):
                raise SchemaError(
                    f"keyword '{key}' at {place(path)} is not supported.{nearest(key, KNOWN - {key})}",
                    hint="Remove it, or write the same with the keywords of draft 2020-12.",
                )
