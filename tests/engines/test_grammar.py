"""A constraint as a grammar: every sentence satisfies it, known answers are sentences, bad ones refused."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.engines.grammar import check_answer, compile_constraint
from modelyard.errors import SchemaError
from modelyard.types import Constraint

TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|\{\d+(?:,\d*)?\}|[A-Za-z]\w*|::=|[|()?*+]')
ESCAPE = re.compile(r"\\u([0-9a-f]{4})|\\U([0-9a-f]{8})|\\(.)|([^\\])", re.DOTALL)
LAST = 0x10FFFF


def _ending(part: Any) -> tuple[int, int]:
    """Puts the alternative first that names the fewest rules: late in a recursion it has to end."""
    return str(part).count("'ref'"), len(str(part))


class Reader:
    """Reads the grammar's text into tuples, independently of the code that writes it."""

    def __init__(self, text: str) -> None:
        self.rules: dict[str, Any] = {}
        for line in text.splitlines():
            name, _, body = line.partition(" ::= ")
            self.tokens = TOKEN.findall(body)
            assert "".join(self.tokens) == re.sub(
                r" (?=(?:[^\"\[]|\"(?:\\.|[^\"\\])*\"|\[[^\]]*\])*$)", "", body
            )
            self.rules[name] = self._alternatives()
            assert not self.tokens

    def _alternatives(self) -> Any:
        found = [self._sequence()]
        while self.tokens and self.tokens[0] == "|":
            self.tokens.pop(0)
            found.append(self._sequence())
        return ("alt", found)

    def _sequence(self) -> Any:
        found: list[Any] = []
        while self.tokens and self.tokens[0] not in ("|", ")"):
            found.append(self._repeated(self._atom(self.tokens.pop(0))))
        return ("seq", found)

    def _atom(self, token: str) -> Any:
        if token == "(":
            inner = self._alternatives()
            assert self.tokens.pop(0) == ")"
            return inner
        if token[0] == '"':
            return ("lit", "".join(map(chr, codes(token[1:-1]))))
        return ("set", ranges(token[1:-1])) if token[0] == "[" else ("ref", token)

    def _repeated(self, item: Any) -> Any:
        if not self.tokens or self.tokens[0][0] not in "?*+{":
            return item
        sign = self.tokens.pop(0)
        if sign[0] != "{":
            return ("rep", item, int(sign == "+"), 1 if sign == "?" else None)
        low, comma, high = sign[1:-1].partition(",")
        return ("rep", item, int(low), int(high) if high else None if comma else int(low))

    def sentence(self, draw: random.Random) -> str:
        return self._write(("ref", "root"), draw, 0)

    def _write(self, node: Any, draw: random.Random, depth: int) -> str:
        kind, value = node[0], node[1]
        if kind == "lit":
            return str(value)
        if kind == "ref":
            return self._write(self.rules[value], draw, depth + 1)
        if kind == "set":
            low, high = draw.choice(value)
            code = draw.randint(low, min(high, low + 300) if draw.random() < 0.8 else high)
            return chr(code if not 0xD800 <= code <= 0xDFFF else low)
        if kind == "seq":
            return "".join(self._write(part, draw, depth) for part in value)
        if kind == "alt":
            late = depth > 40
            part = min(value, key=_ending) if late else draw.choice(value)
            return self._write(part, draw, depth + 1)
        low, high = node[2], node[3]
        top = low if depth > 40 else min(low + 3, high) if high is not None and draw.random() < 0.7 else high
        return "".join(
            self._write(value, draw, depth + 1)
            for _ in range(draw.randint(low, low + 2 if top is None else top))
        )

    def accepts(self, text: str) -> bool:
        return len(text) in self._ends(("ref", "root"), text, 0)

    def _ends(self, node: Any, text: str, at: int) -> set[int]:
        kind, value = node[0], node[1]
        if kind == "lit":
            return {at + len(value)} if text.startswith(value, at) else set()
        if kind == "ref":
            return self._ends(self.rules[value], text, at)
        if kind == "set":
            return {at + 1} if at < len(text) and any(a <= ord(text[at]) <= b for a, b in value) else set()
        if kind == "alt":
            return set().union(*(self._ends(part, text, at) for part in value))
        if kind == "seq":
            now = {at}
            for part in value:
                now = set().union(*(self._ends(part, text, one) for one in now))
            return now
        now, found = {at}, {at} if node[2] == 0 else set()
        count = 0
        while now and (node[3] is None or count < node[3]):
            now = set().union(*(self._ends(value, text, one) for one in now))
            count += 1
            now = now if count < node[2] else now - found
            found |= now if count >= node[2] else set()
        return found


def codes(text: str) -> list[int]:
    def one(match: re.Match[str]) -> int:
        if match[1] or match[2]:
            return int(match[1] or match[2], 16)
        return ord({"n": "\n", "r": "\r", "t": "\t"}.get(match[3], match[3]) if match[3] else match[4])

    return [one(match) for match in ESCAPE.finditer(text)]


def ranges(text: str) -> list[tuple[int, int]]:
    negated = text.startswith("^")
    parts = re.findall(r"(\\u.{4}|\\U.{8}|[^\\-])(?:-(\\u.{4}|\\U.{8}|[^\\-]))?", text[negated:])
    found = sorted((codes(a)[0], codes(b or a)[0]) for a, b in parts)
    if not negated:
        return found
    starts, ends = [0, *(b + 1 for _, b in found)], [*(a - 1 for a, _ in found), LAST]
    return [(a, b) for a, b in zip(starts, ends, strict=True) if a <= b]


def schema(**keywords: Any) -> Constraint:
    return Constraint(schema=keywords)


def accepts(constraint: Constraint, text: str) -> bool:
    return Reader(compile_constraint(constraint).text).accepts(text)


STRING, INTEGER = {"type": "string"}, {"type": "integer"}
NODE = {
    "type": "object",
    "properties": {"value": INTEGER, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
    "required": ["value", "next"],
}
ABC = {"type": "object", "properties": {"a": INTEGER, "b": INTEGER, "c": INTEGER}, "required": ["b"]}

SOUND = [
    {},
    STRING,
    {"type": "number"},
    ABC,
    {"type": "object", "properties": {"a": STRING, "b": {}}, "additionalProperties": False},
    {"type": "object", "required": ["x"], "additionalProperties": INTEGER},
    {"type": "object", "additionalProperties": {"type": "boolean"}},
    {"type": "object", "patternProperties": {"^x_": INTEGER}},
    {"type": "string", "minLength": 3, "maxLength": 40},
    {"type": "string", "maxLength": 300},
    {"type": "string", "pattern": '^[a-z"\\\\]{2,20}$'},
    {"type": "string", "pattern": "[^a-z]\\W\\D\\S"},
    {"type": "string", "pattern": "^a|b$"},
    {"type": "string", "pattern": "^.+$", "minLength": 3, "maxLength": 20},
    *(
        {"type": "string", "format": name}
        for name in ("date", "time", "date-time", "uuid", "email", "uri", "ipv4")
    ),
    {"type": "array", "items": INTEGER, "minItems": 2, "maxItems": 40},
    {"type": "array", "prefixItems": [STRING, INTEGER], "items": False, "minItems": 1},
    {"type": "array", "prefixItems": [STRING], "items": INTEGER, "maxItems": 3},
    {"type": "integer", "minimum": -17, "maximum": 1234},
    {"type": "integer", "exclusiveMinimum": 0.5, "exclusiveMaximum": 1000},
    {"type": "integer", "minimum": 10},
    {"type": "integer", "maximum": -10},
    {"type": "number", "minimum": -2, "maximum": 13},
    {"type": "number", "minimum": 0},
    {"type": ["string", "null", "integer"], "maxLength": 3},
    {"enum": ["a", 1, None, {"k": [1.5, "é\n"]}], "not": {"type": "null"}},
    {"const": "x"},
    {"anyOf": [STRING, INTEGER]},
    {"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}], "properties": {"a": STRING}},
    {"allOf": [ABC, {"properties": {"a": {"minimum": 3}, "d": STRING}, "required": ["a", "d"]}]},
    {"allOf": [{**ABC, "additionalProperties": False}, {"properties": {"d": STRING}}]},
    {"$defs": {"node": NODE}, "$ref": "#/$defs/node"},
    {"$defs": {"s": {"type": "string", "maxLength": 5}}, "$ref": "#/$defs/s", "minLength": 2},
    {"properties": {"a": False, "b": INTEGER}, "required": ["b"]},
]
REGEXES = [
    r"a(b|c\d)[^\w\n]{2,3}?", r"^(yes|no)$", r"((a|b?)*c*)*d", r"[a-z]{0,200}", r".{3,40}", r"[^é]",
    r"\W\D\S[^\d\s]\w\s", "[é-ü一-龥]{2,6}😀", r"(?:ab){17,35}", r"[\s\S]{2}", r"(x{3}){0,5}", r"^a|b$",
    r"[\]\[^\-]+",
]  # fmt: skip


@pytest.mark.parametrize("case", SOUND, ids=json.dumps)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_sentence_satisfies_its_schema(case: dict[str, Any], seed: int) -> None:
    constraint = Constraint(schema=case)
    grammar = compile_constraint(constraint)
    assert grammar.relaxed == ()
    text = Reader(grammar.text).sentence(random.Random(seed))
    assert check_answer(constraint, text) is None, text


@pytest.mark.parametrize("regex", REGEXES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_sentence_matches_its_regex(regex: str, seed: int) -> None:
    constraint = Constraint(regex=regex)
    text = Reader(compile_constraint(constraint).text).sentence(random.Random(seed))
    assert check_answer(constraint, text) is None, text


@settings(max_examples=60, deadline=None)
@given(low=st.integers(-2000, 2000), size=st.integers(0, 3000), value=st.integers(-6000, 6000))
def test_integer_bounds_are_exact(low: int, size: int, value: int) -> None:
    bounded = schema(type="integer", minimum=low, maximum=low + size)
    for number in (low - 1, low, low + size, low + size + 1, value):
        assert accepts(bounded, str(number)) == (low <= number <= low + size)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 17), (3, 200), (16, 16), (33, 33), (0, 300), (257, 300), (5, None)]
)
def test_counted_repeats_are_exact(low: int, high: int | None) -> None:
    grammar = compile_constraint(Constraint(regex=f"a{{{low},{'' if high is None else high}}}")).text
    reader = Reader(grammar)
    for count in {0, low - 1, low, low + 1, low + 16, (high or 99) - 1, high or 99, (high or 99) + 1} - {-1}:
        assert reader.accepts("a" * count) == (low <= count and (high is None or count <= high)), count
    assert all(int(n) <= 32 for n in re.findall(r"\{(?:\d+,)?(\d+)\}", grammar))


@pytest.mark.parametrize(
    ("constraint", "text"),
    [
        (Constraint(schema=ABC), '{"b":1}'),
        (Constraint(schema=ABC), '{"a":1,"b":2,"c":-3}'),
        (Constraint(schema=ABC), '{"b":2,"c":3}'),
        (schema(type="object", properties={"a": STRING, "b": STRING}), "{}"),
        (schema(type="object", properties={"a": STRING, "b": STRING}), '{"b":""}'),
        (schema(type="string"), '"é\\n\\u00e9\\"😀"'),
        (schema(), '[1,{"a":[null,true,-1.5e-7]},"x"]'),
        (schema(type="string", format="date"), '"2024-02-29"'),
        (schema(type="string", format="date-time"), '"2023-12-31T23:59:59.5+02:00"'),
        (schema(type="string", format="email"), '"a.b+c@some-host.example.org"'),
        (schema(type="string", format="uri"), '"https://example.org/a?b=c#d"'),
        (schema(type="number", minimum=0, maximum=1), "0.25"),
        (schema(type="number", minimum=0, maximum=1), "1.0"),
        (schema(type="array", items=STRING, minItems=1), '["a"]'),
        (schema(type="string", pattern='a"b'), '"xa\\"by"'),
        (schema(type="string", pattern="^a\nb$"), '"a\\nb"'),
        (schema(enum=["é", {"a": 1}]), '{"a":1}'),
        (schema(**{"$defs": {"node": NODE}, "$ref": "#/$defs/node"}), '{"value":1,"next":null}'),
        (schema(allOf=[{"type": ["string", "null"]}, {"anyOf": [STRING, INTEGER]}]), '"x"'),
        (Constraint(regex=r"(\d{3}-)?\d{4}"), "555-1234"),
        (Constraint(regex="(a?)*"), ""),
        (Constraint(choices=("yes", 'n"o\\', "né😀")), "né😀"),
        (Constraint(choices=("yes", 'n"o\\')), 'n"o\\'),
    ],
)  # fmt: skip
def test_an_answer_is_a_sentence(constraint: Constraint, text: str) -> None:
    assert check_answer(constraint, text) is None
    assert accepts(constraint, text)


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ({"type": "object", "properties": {"tags": {"type": "array", "uniqueItems": True}}},
         "uniqueItems at $.tags is checked after the answer, not while it is written"),
        ({"type": "number", "multipleOf": 0.5}, "multipleOf at $ is checked after"),
        ({"type": "number", "exclusiveMinimum": 0}, "exclusiveMinimum at $ is checked after"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf at $ is checked after"),
        ({"type": "string", "format": "hostname"}, "format 'hostname' at $ is not checked"),
        ({"type": "string", "pattern": "^ab*c$", "maxLength": 9}, "maxLength at $ is checked after"),
        ({"type": "string", "not": {"const": "x"}}, "not at $ is checked after"),
        ({"type": "object", "maxProperties": 0}, "maxProperties at $ is checked after"),
        ({"type": "object", "minProperties": 2}, "minProperties at $ is checked after"),
    ],
)  # fmt: skip
def test_what_is_not_enforced_is_said(case: dict[str, Any], sentence: str) -> None:
    (found,) = compile_constraint(Constraint(schema=case)).relaxed
    assert sentence in found


def test_branches_told_apart_by_a_constant_need_no_note() -> None:
    branches = [{"type": "object", "properties": {"k": {"const": k}}, "required": ["k"]} for k in "ab"]
    assert compile_constraint(schema(oneOf=branches)).relaxed == ()


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(depth):
        inner = {"items": inner}
    return inner


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        (Constraint(), "0 of them"),
        (Constraint(regex="a", choices=("b",)), "2 of them"),
        (Constraint(choices=()), "empty"),
        (Constraint(choices=("a", "")), "empty text"),
        (Constraint(choices=("a", "a")), "'a' is given twice"),
        (Constraint(choices=tuple(map(str, range(1001)))), "1,000 are allowed"),
        (schema(type="strin"), "strin"),
        (schema(properties={"a": {"maxLenght": 3}}), "'maxLenght' at $.properties.a is not supported. Did"),
        (schema(type="string", minLength=5, maxLength=3), "minLength 5 is more than maxLength 3"),
        (schema(type="array", minItems=5, maxItems=3), "minItems"),
        (schema(type="integer", minimum=5, maximum=3), "at least 5"),
        (schema(enum=[]), "enum"),
        (schema(type="string", enum=[1]), "no value of enum"),
        (schema(properties={"a": False}, required=["a"]), "$.properties.a is false"),
        (schema(required=["a"], additionalProperties=False), "false"),
        (schema(**{"$ref": "#"}), "leads back to itself"),
        (schema(**{"$ref": "http://example.org/x"}), "outside the schema"),
        (schema(**{"$ref": "#/$defs/x"}), "points to nothing"),
        (schema(properties={"a": {"$ref": "#"}}, required=["a"]), "no answer ever ends"),
        (schema(allOf=[STRING, INTEGER]), "no type"),
        (schema(type="string", maxLength=100_001), "100,000 are allowed"),
        (schema(title="x" * 5_000_000), "bytes of JSON"),
        (Constraint(schema=nested(5_000)), "levels of nesting"),
        (schema(enum=[float("nan")]), "cannot be written as JSON"),
        (schema(default=object()), "cannot be written as JSON"),
        (schema(type="string", pattern="(?=a)b"), "lookahead"),
        (Constraint(regex="(?=a)b"), "lookahead or lookbehind at position 0"),
        (Constraint(regex="a(?<!b)c"), "negative lookahead or lookbehind at position 1"),
        (Constraint(regex=r"(a)\1"), "backreference at position 3"),
        (Constraint(regex=r"\bword"), "word boundary"),
        (Constraint(regex="(a)?(?(1)b|c)"), "conditional group"),
        (Constraint(regex="(?i)a"), "flags"),
        (Constraint(regex="(?i:a)"), "flags"),
        (Constraint(regex="a^b"), "anchor inside"),
        (Constraint(regex="(a"), "does not parse"),
        (Constraint(regex="(" * 40 + "a" + ")" * 40), "deep"),
        (Constraint(regex="(" * 9_000 + "a" + ")" * 9_000), "deep"),
        (Constraint(regex="((a{1000}){1000}){10}"), "repeats"),
        (Constraint(regex="[^\\s\\S]"), "matches nothing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_bad_constraint_is_refused_with_the_reason(constraint: Constraint, words: str) -> None:
    with pytest.raises(SchemaError) as caught:
        compile_constraint(constraint)
    assert words in caught.value.message
    assert caught.value.hint


def test_a_combination_that_multiplies_out_is_refused() -> None:
    pair = {"anyOf": [{"minLength": 1}, {"maxLength": 5}]}
    with pytest.raises(SchemaError, match="combinations"):
        compile_constraint(schema(allOf=[pair] * 9, type="string"))


@pytest.mark.parametrize(
    ("constraint", "text", "words"),
    [
        (Constraint(schema=ABC), '{"b":"x"}', "breaks the schema at $.b"),
        (Constraint(schema=ABC), '{"b":', "is not JSON"),
        (schema(type="number"), "NaN", "is not JSON"),
        (schema(type="string", format="date"), '"2023-02-30"', "breaks the schema at $"),
        (Constraint(regex="a+"), "ab", "does not match"),
        (Constraint(choices=("yes", "no")), "maybe", "none of the 2 choices"),
    ],
)
def test_a_wrong_answer_is_named(constraint: Constraint, text: str, words: str) -> None:
    assert words in (check_answer(constraint, text) or "")


def test_the_same_schema_is_compiled_once() -> None:
    assert compile_constraint(Constraint(schema=dict(ABC))) is compile_constraint(
        Constraint(schema=dict(ABC))
    )


def test_many_optional_properties_stay_linear_in_size() -> None:
    sizes = [
        len(compile_constraint(schema(type="object", properties={f"p{i:03}": STRING for i in range(n)})).text)
        for n in (50, 100)
    ]
    assert sizes[1] < 2.2 * sizes[0]


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": [1], "anyOf": [{"$ref": "#"}, {"type": "string"}]},
        {"enum": [1], "$ref": "#/$defs/none"},
    ],
    ids=["circle", "dangling"],
)
def test_a_bad_ref_beside_enum_is_refused_as_a_schema(schema: dict[str, Any]) -> None:
    with pytest.raises(SchemaError, match="beside enum"):
        compile_constraint(Constraint(schema=schema))
