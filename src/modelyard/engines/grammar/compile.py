"""A constraint compiled into one grammar, and remembered."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from modelyard.engines.grammar.check import check_schema
from modelyard.engines.grammar.ebnf import Rules
from modelyard.engines.grammar.limits import MAX_GRAMMAR, MAX_VALUES, canonical, limit
from modelyard.engines.grammar.nodes import Lit, Node, alt
from modelyard.engines.grammar.regex import RegexGrammar
from modelyard.engines.grammar.schema import SchemaCompiler
from modelyard.errors import SchemaError
from modelyard.types import Constraint


@dataclass(frozen=True)
class Grammar:
    """A constraint as a grammar, and a sentence for each thing that the grammar does not enforce.

    Attributes:
        text: the grammar as EBNF, in the common subset of xgrammar and llama.cpp.
        relaxed: what the grammar leaves open.
    """

    text: str
    relaxed: tuple[str, ...]
    _root: Node = field(repr=False, compare=False)
    _rules: Rules = field(repr=False, compare=False)
    _json: bool

    @cached_property
    def lark(self) -> str:
        """The same grammar for llguidance; written when it is first asked for.

        >>> print(compile_constraint(Constraint(choices=("yes", "no"))).lark, end="")
        start: ROOT
        ROOT: "yes" | "no"
        """
        return self._rules.lark(self._root, tokens=self._json)


def compile_constraint(constraint: Constraint) -> Grammar:
    """The grammar of a constraint; compiled once, then remembered.

    >>> print(compile_constraint(Constraint(choices=("yes", "no"))).text, end="")
    root ::= "yes" | "no"

    Raises:
        SchemaError: the constraint is malformed, too large, impossible, or cannot be expressed.
    """
    return _compile(*canonical(constraint))


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
        check_schema(schema)
        compiler = SchemaCompiler(schema, rules)
        root = compiler.compile(schema, ())
        relaxed = compiler.relaxed
    if rules.endless(root):
        raise SchemaError(
            "the schema always refers back to itself, so that no answer ever ends",
            hint="Make the property that refers back optional, or allow null there.",
        )
    grammar = rules.text(root)
    limit(
        "the grammar",
        len(grammar),
        MAX_GRAMMAR,
        "bytes",
        "Use fewer or shorter enums, patterns and properties.",
    )
    return Grammar(grammar, tuple(dict.fromkeys(relaxed)), root, rules, kind == "schema")


def _choices(values: Any) -> Node:
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise SchemaError("choices are a tuple of texts", hint="Turn each choice into a text.")
    if not values or "" in values:
        raise SchemaError(
            "an empty text is among the choices" if values else "the list of choices is empty",
            hint="Give at least one choice, none of them empty.",
        )
    limit("the list of choices", len(values), MAX_VALUES, "values", "Narrow the choices down first.")
    double = next((v for v in values if values.count(v) > 1), None)
    if double is not None:
        raise SchemaError(f"the choice {double!r} is given twice", hint="Give each choice once.")
    if any("\ud800" <= char <= "\udfff" for value in values for char in value):
        raise SchemaError("a choice holds half of a surrogate pair", hint="Write the whole character.")
    return alt(*map(Lit, values))
