"""Schema: every form a user may give becomes the same fields, and every mistake is named."""

import json
import typing
from enum import Enum
from pathlib import Path
from typing import Any

import jsonschema
import pydantic
import pytest

from modelyard.errors import SchemaError
from modelyard.extraction.schema import Field, answer_schema, coerce, read_schema

JSON_SCHEMA: dict[str, Any] = {
    "title": "eps",
    "type": "object",
    "properties": {
        "eps": {"type": ["number", "null"], "description": "Basic EPS", "unit": "USD/share"},
        "period": {"type": "string", "format": "date"},
        "kind": {"enum": ["10-Q", "8-K"]},
        "segments": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["period"],
}


class Arm(pydantic.BaseModel):
    size: int


class Verdict(Enum):
    YES = "yes"
    NO = "no"


class Trial(pydantic.BaseModel):
    patients: int = pydantic.Field(description="Randomised")
    deaths: int | None = None
    verdict: Verdict
    form: typing.Literal["oral", "iv"] | None = None
    arms: list[Arm] = []
    control: Arm | None = None


def test_json_schema_is_read() -> None:
    schema = read_schema(JSON_SCHEMA)
    assert schema.name == "eps"
    assert schema.fields == (
        Field("eps", "number", "Basic EPS", "USD/share", True),
        Field("period", "string", nullable=False),
        Field("kind", "string", enum=("10-Q", "8-K")),
        Field("segments", "array", items="string"),
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("eps.json", json.dumps(JSON_SCHEMA)),
        ("eps.yaml", json.dumps(JSON_SCHEMA)),
        (
            "other.yml",
            "name: eps\nfields:\n"
            "  eps: {type: number, description: Basic EPS, unit: USD/share}\n"
            "  period: {type: date, required: true}\n"
            "  kind: {enum: ['10-Q', '8-K']}\n"
            "  segments: {type: array, items: string}\n",
        ),
    ],
)
def test_every_kind_of_file_gives_the_same_fields(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    schema = read_schema(tmp_path / name)
    assert (schema.name, schema.fields) == ("eps", read_schema(JSON_SCHEMA).fields)


def test_a_pydantic_class_is_read_without_references() -> None:
    schema = read_schema(Trial)
    assert "$ref" not in json.dumps(schema.json_schema)
    assert [(one.name, one.type, one.nullable, one.enum) for one in schema.fields] == [
        ("patients", "integer", False, ()),
        ("deaths", "integer", True, ()),
        ("verdict", "string", False, ("yes", "no")),
        ("form", "string", True, ("oral", "iv")),
        ("arms", "array", True, ()),
        ("control", "object", True, ()),
    ]


def test_a_schema_read_before_is_itself() -> None:
    schema = read_schema({"fields": {"eps": "number"}})
    assert read_schema(schema) is schema


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({}, "properties"),
        ({"fields": {}}, "fields"),
        ({"fields": {"eps": "nubmer"}}, "'eps'.*'nubmer'.*Did you mean 'number'"),
        (
            {"fields": {"eps": {"type": "number", "descripton": "x"}}},
            "descripton.*Did you mean 'description'",
        ),
        ({"fields": {"eps": 3}}, "'eps' has value 3"),
        ({"fields": {"eps": {"required": "often"}}}, "'required' has value 'often'"),
        ({"fields": {"eps": {"required": True, "nullable": True}}}, "nullable and required"),
        ({"field": {"eps": "number"}, "fields": {"a": "number"}}, "'field' is not known"),
        ({"properties": {"a": {"type": "decimal"}}}, "decimal"),
        ({"properties": {"a": {"type": ["number", "string"]}}}, "'a'"),
        ({"properties": {"a": {"anyOf": [{"type": "number"}, {"type": "string"}]}}}, "2 types"),
        ({"properties": {"a": {"$ref": "#/$defs/none"}}}, "#/\\$defs/none"),
        ({"properties": {"a": {"$ref": "#"}}}, "\\$ref"),
        ({"properties": {"a": {"$ref": "#/properties/a"}}}, "refers to itself"),
        ({"properties": {"a": True}}, "'a' has value True"),
        (42, "int 42"),
        ("fields.toml", "'.toml'"),
        ("nowhere.json", "cannot be read"),
        ("nowhere.yaml", "cannot be read"),
    ],
)
def test_a_mistake_is_named_with_a_remedy(source: object, words: str) -> None:
    with pytest.raises(SchemaError, match=words) as caught:
        read_schema(source)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", "{", "not JSON"),
        ("a.json", '{"fields": {"a": "number", "a": "string"}}', "'a' is there twice"),
        ("a.yaml", "fields: {a: number, a: string}", "a"),
        ("a.yaml", "- a", "not a mapping"),
    ],
)
def test_a_mistake_in_a_file_names_the_file(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SchemaError, match=words) as caught:
        read_schema(tmp_path / name)
    assert name in caught.value.message and caught.value.hint


def test_the_reply_has_every_quote_before_its_value() -> None:
    form = answer_schema(read_schema(JSON_SCHEMA), longest_quote=200)
    assert list(form["properties"]) == form["required"] == ["eps", "period", "kind", "segments"]
    assert all(list(one["properties"]) == ["quote", "value"] for one in form["properties"].values())
    assert form["properties"]["eps"]["properties"]["quote"]["maxLength"] == 200
    jsonschema.Draft202012Validator.check_schema(form)


def test_the_reply_can_have_the_value_first() -> None:
    form = answer_schema(read_schema(JSON_SCHEMA), quote_first=False)
    assert all(list(one["properties"]) == ["value", "quote"] for one in form["properties"].values())


@pytest.mark.parametrize("source", [JSON_SCHEMA, Trial])
def test_a_reply_of_nulls_always_fits(source: object) -> None:
    form = answer_schema(read_schema(source))
    jsonschema.validate({name: {"quote": None, "value": None} for name in form["properties"]}, form)


def test_a_reply_with_values_fits_and_a_wrong_one_does_not() -> None:
    form = answer_schema(read_schema(Trial))
    reply = {name: {"quote": None, "value": None} for name in form["properties"]}
    reply["arms"] = {"quote": None, "value": [{"size": 3}]}  # type: ignore[dict-item]
    reply["form"] = {"quote": "oral", "value": "oral"}  # type: ignore[dict-item]
    jsonschema.validate(reply, form)
    reply["form"] = {"quote": "x", "value": "x"}  # type: ignore[dict-item]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(reply, form)


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("number", "$(0.41)", -0.41),
        ("number", 3, 3.0),
        ("number", "N/A", None),
        ("integer", "1,234", 1234),
        ("integer", 357.0, 357),
        ("boolean", "Yes", True),
        ("string", " 2020-03-31 ", "2020-03-31"),
        ("string", 5, "5"),
        ("string", "none", "none"),
        ("object", {"a": 1}, {"a": 1}),
        ("array", [1], [1]),
        ("number", None, None),
    ],
)
def test_a_value_is_brought_into_its_type(kind: str, raw: object, value: object) -> None:
    assert coerce(Field("x", kind), raw) == (value, None)


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("number", "1.14 or 1.15"),
        ("number", True),
        ("number", float("inf")),
        ("number", 10**400),
        ("number", [1]),
        ("integer", 3.5),
        ("boolean", "perhaps"),
        ("string", ["x"]),
        ("array", "x"),
        ("object", 3),
    ],
)
def test_a_value_that_does_not_fit_is_a_problem(kind: str, raw: object) -> None:
    value, problem = coerce(Field("x", kind), raw)
    assert value is None and problem


def test_a_required_value_that_is_missing_is_a_problem() -> None:
    assert coerce(Field("x", "number", nullable=False), "n/a")[1]


def test_an_enum_takes_its_values_in_any_case_and_no_others() -> None:
    field = Field("x", "string", enum=("Yes", "none"))
    assert coerce(field, " yes") == ("Yes", None)
    assert coerce(field, "none") == ("none", None)
    assert coerce(field, "maybe") == (None, "'maybe' is none of Yes, none")


def test_items_of_an_array_are_brought_into_their_type() -> None:
    field = Field("x", "array", items="number")
    assert coerce(field, ["(1)", 2]) == ([-1.0, 2.0], None)
    assert coerce(field, ["x"])[0] is None
