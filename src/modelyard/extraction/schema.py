"""Schema: the fields a user wants, from JSON Schema, YAML or a pydantic class, and the form of the reply.

>>> schema = read_schema({"fields": {"eps": {"type": "number", "unit": "USD/share"}, "period": "date"}})
>>> [(field.name, field.type, field.unit) for field in schema.fields]
[('eps', 'number', 'USD/share'), ('period', 'string', None)]
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from modelyard.errors import CatalogError, SchemaError, nearest
from modelyard.extraction.numbers import parse_number

_TYPES = ("number", "integer", "string", "boolean", "array", "object")
_SHORT_KEYS = frozenset(
    (
        "type", "description", "unit", "decimals", "nullable", "required", "enum", "items", "format", "pattern",
        "minimum", "maximum", "properties",
    )
)  # fmt: skip
_LIMITS: tuple[str, ...] = ("format", "pattern", "minimum", "maximum", "maxLength")
_FILE_KEYS = frozenset(("name", "title", "description", "fields"))
_SHORT_TYPES: dict[str, dict[str, str]] = {
    **{name: {"type": name} for name in _TYPES},
    "date": {"type": "string", "format": "date"},
    "text": {"type": "string"},
}
_ABSENT = frozenset(
    ("", "-", "—", "–", "n/a", "na", "none", "null", "nan", "nil", "not available", "not reported")
)
_WORDS_FOR = {"true": True, "yes": True, "false": False, "no": False}
_DEEPEST = 20
_HINT = "A schema is JSON Schema with 'properties', or 'fields: {eps: number, …}'."


@dataclass(frozen=True, slots=True)
class Field:
    """One thing to extract.

    Attributes:
        type: a JSON Schema type; dates are strings.
        nullable: whether a document may lack it.
        enum: the allowed values, empty where any will do.
        items: the type of the items of an array of scalars.
        decimals: with how many decimals its figures are written at least, as amounts of money with 2; a row whose
            figure has fewer is another thing.
    """

    name: str
    type: str
    description: str | None = None
    unit: str | None = None
    nullable: bool = True
    enum: tuple[Any, ...] = ()
    items: str | None = None
    decimals: int = 0


@dataclass(frozen=True, slots=True)
class ExtractionSchema:
    """The fields in the order of the source, and the whole as JSON Schema without references."""

    name: str
    json_schema: dict[str, Any]
    fields: tuple[Field, ...]


def read_schema(source: object) -> ExtractionSchema:
    """The schema from a dict, a `.json`, `.yaml` or `.yml` file, a pydantic class, or one read before.

    Raises:
        SchemaError: a mistake; says file, key, value and what to do.
    """
    if isinstance(source, ExtractionSchema):
        return source
    if isinstance(source, Mapping):
        return _Source("schema", "schema").read(dict(source))
    if isinstance(source, str | Path):
        return _from_file(Path(source))
    describe = getattr(source, "model_json_schema", None)
    if isinstance(source, type) and callable(describe):
        return _Source(source.__name__, source.__name__).read(describe())
    hint = "Give a dict, the path of a .json or .yaml file, or a pydantic class."
    raise SchemaError(f"a schema cannot be read from {type(source).__name__} {source!r:.60}", hint=hint)


def answer_schema(
    schema: ExtractionSchema, *, quote_first: bool = True, longest_quote: int = 300
) -> dict[str, Any]:
    """The JSON Schema of the reply: for each field the quote, then the value; null where there is none.

    With the quote first a model copies the line before it reads the value from it.

    >>> form = answer_schema(read_schema({"fields": {"eps": "number"}}))
    >>> form["properties"]["eps"]["properties"]
    {'quote': {'type': ['string', 'null'], 'maxLength': 300}, 'value': {'type': ['number', 'null']}}
    """
    properties: dict[str, Any] = {}
    for field in schema.fields:
        parts: dict[str, Any] = {
            "quote": {"type": ["string", "null"], "maxLength": longest_quote},
            "value": _or_null(schema.json_schema["properties"][field.name], field),
        }
        properties[field.name] = closed_object(parts if quote_first else dict(reversed(parts.items())))
    return closed_object(properties)


def coerce(field: Field, raw: object) -> tuple[Any, str | None]:
    """A model's value in the field's type, and what is wrong with it; None where it does not fit.

    >>> coerce(Field("eps", "number"), "$(0.41)"), coerce(Field("eps", "number"), "about two")
    ((-0.41, None), (None, "'about two' is no number"))
    """
    if _absent(field, raw):
        return None, None if field.nullable else "a value is required, and there is none"
    if field.enum:
        return _of_enum(field, raw)
    if field.type == "array":
        return _array(field, raw)
    return _COERCIONS[field.type](raw)


def closed_object(properties: dict[str, Any]) -> dict[str, Any]:
    """A JSON Schema of an object with these keys and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _or_null(schema: dict[str, Any], field: Field) -> dict[str, Any]:
    """What the value may be, without the words around it, which belong into the prompt."""
    if field.enum:
        return {"enum": [*field.enum, None]}
    bare = {
        key: part
        for key, part in schema.items()
        if key not in ("description", "title", "unit", "decimals", "default")
    }
    if field.type in ("array", "object"):
        options = [option for option in bare.pop("anyOf", []) if option != {"type": "null"}] or [bare]
        return {"anyOf": [{**options[0], "type": field.type}, {"type": "null"}]}
    limits = {key: bare[key] for key in _LIMITS if key in bare}
    return {"type": [field.type, "null"], **limits}


def _from_file(path: Path) -> ExtractionSchema:
    suffix = path.suffix.lower()
    if suffix not in (".json", ".yaml", ".yml"):
        hint = "Give the path of a .json, .yaml or .yml file."
        raise SchemaError(f"{path}: a schema cannot be read from files of type '{suffix}'", hint=hint)
    source = _Source(str(path), path.stem)
    if suffix == ".json":
        return source.read(_json(path))
    from modelyard.catalog.document import read_document

    try:
        document = read_document(path)
    except CatalogError as error:
        raise SchemaError(error.message, hint=error.hint) from None
    return source.read(document.value)


def _json(path: Path) -> object:
    try:
        return json.loads(
            path.read_text(encoding="utf-8-sig"), object_pairs_hook=lambda pairs: _once(path, pairs)
        )
    except OSError as error:
        raise SchemaError(f"{path}: cannot be read: {error.strerror}", hint="Check the path.") from None
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{path}: not JSON: {error}", hint="Mend the file.") from None


def _once(path: Path, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise SchemaError(f"{path}: key '{key}' is there twice", hint="Keep one of them.")
        found[key] = value
    return found


class _Source:
    """One schema being read; knows what to call itself in an error."""

    def __init__(self, where: str, name: str) -> None:
        self._where = where
        self._name = name

    def read(self, data: object) -> ExtractionSchema:
        if not isinstance(data, dict):
            self._wrong(f"is {data!r:.60}, not a mapping", _HINT)
        if "fields" in data:
            data = self._long_form(data)
        whole = self._checked(self._resolved(data, data, 0))
        fields = tuple(self._field(name, one, whole) for name, one in whole["properties"].items())
        return ExtractionSchema(str(whole.get("title") or self._name), whole, fields)

    def _wrong(self, message: str, hint: str) -> NoReturn:
        raise SchemaError(f"{self._where}: {message}", hint=hint)

    def _long_form(self, data: dict[Any, Any]) -> dict[str, Any]:
        """JSON Schema from the short form."""
        for key in data:
            if key not in _FILE_KEYS:
                self._wrong(f"key '{key}' is not known.{nearest(str(key), _FILE_KEYS)}", _HINT)
        fields = data["fields"]
        if not isinstance(fields, dict) or not fields:
            self._wrong(f"'fields' has value {fields!r:.60}", "It is a mapping from names to types.")
        properties = {str(name): self._long_field(str(name), one) for name, one in fields.items()}
        required = [name for name, one in properties.items() if one.pop("required")]
        title = str(data.get("name") or data.get("title") or self._name)
        found = {"title": title, "type": "object", "properties": properties, "required": required}
        if "description" in data:
            found["description"] = data["description"]
        return found

    def _long_field(self, name: str, short: object) -> dict[str, Any]:
        given = {"type": short} if isinstance(short, str) else short
        if not isinstance(given, dict):
            self._wrong(f"field '{name}' has value {short!r:.60}", "It is a type, or a mapping with 'type'.")
        for key in given:
            if key not in _SHORT_KEYS:
                hint = f"Known are {', '.join(sorted(_SHORT_KEYS))}."
                self._wrong(
                    f"field '{name}': key '{key}' is not known.{nearest(str(key), _SHORT_KEYS)}", hint
                )
        required, nullable = given.get("required"), given.get("nullable")
        for key, flag in (("required", required), ("nullable", nullable)):
            if flag not in (None, True, False):
                self._wrong(f"field '{name}': '{key}' has value {flag!r}", "It is true or false.")
        if nullable is not None and required is nullable:
            self._wrong(
                f"field '{name}' is both or neither of nullable and required", "Keep one of the two keys."
            )
        rest = {
            key: one for key, one in given.items() if key not in ("type", "required", "nullable", "items")
        }
        if "items" in given:
            rest["items"] = self._short_type(name, given["items"])
        default = "array" if "items" in given else None if "enum" in given else "string"
        kind = given.get("type", default)
        return {
            **(self._short_type(name, kind) if kind else {}),
            **rest,
            "required": bool(required or nullable is False),
        }

    def _short_type(self, name: str, kind: object) -> dict[str, Any]:
        if isinstance(kind, dict):
            return kind
        if not isinstance(kind, str) or kind not in _SHORT_TYPES:
            guess = nearest(str(kind), _SHORT_TYPES)
            self._wrong(
                f"field '{name}': type has value {kind!r:.60}.{guess}", f"Types: {', '.join(_SHORT_TYPES)}."
            )
        return dict(_SHORT_TYPES[kind])

    def _resolved(self, part: Any, root: dict[str, Any], depth: int) -> Any:
        """The schema with its references replaced by what they refer to."""
        if depth > _DEEPEST:
            self._wrong(
                "refers to itself, or is nested too deeply", "Flatten it: fields hold scalars or lists."
            )
        if isinstance(part, list):
            return [self._resolved(one, root, depth + 1) for one in part]
        if not isinstance(part, dict):
            return part
        rest = {key: one for key, one in part.items() if key not in ("$ref", "$defs", "definitions")}
        if isinstance(part.get("$ref"), str):
            rest = {**self._referred(part["$ref"], root), **rest}
            return self._resolved(rest, root, depth + 1)
        return {key: self._resolved(one, root, depth + 1) for key, one in rest.items()}

    def _referred(self, reference: str, root: dict[str, Any]) -> dict[str, Any]:
        found: Any = root
        for step in reference.removeprefix("#/").split("/"):
            found = found.get(step) if isinstance(found, dict) else None
        if not reference.startswith("#/") or not isinstance(found, dict):
            self._wrong(
                f"$ref has value '{reference}', which is not in it",
                "Refer to '#/$defs/…' of the same schema.",
            )
        return found

    def _checked(self, schema: dict[str, Any]) -> dict[str, Any]:
        import jsonschema

        properties = schema.get("properties")
        if not isinstance(properties, dict) or not properties:
            self._wrong(f"'properties' has value {properties!r:.60}", _HINT)
        if schema.get("type", "object") != "object":
            self._wrong(f"'type' has value {schema['type']!r:.60}", "The whole is of type 'object'.")
        try:
            jsonschema.Draft202012Validator.check_schema(schema)
        except jsonschema.SchemaError as error:
            place = "/".join(str(step) for step in error.absolute_path)
            self._wrong(
                f"at '{place}': {error.message:.200}", "See https://json-schema.org for what may stand there."
            )
        return schema

    def _field(self, name: str, given: Any, whole: dict[str, Any]) -> Field:
        if not isinstance(given, dict):
            self._wrong(f"field '{name}' has value {given!r}", "It is a mapping with 'type'.")
        options = [
            one for one in given.get("anyOf") or given.get("oneOf") or [given] if one != {"type": "null"}
        ]
        if len(options) != 1:
            self._wrong(
                f"field '{name}' has {len(options)} types", "Give it one type, and null beside it at most."
            )
        core = options[0]
        kinds = core.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else list(kinds)
        enum = self._enum(core)
        plain = [kind for kind in kinds if kind != "null"] or _kinds_of(enum)
        if len(plain) != 1:
            self._wrong(
                f"field '{name}': type has value {core.get('type')!r}", f"One of {', '.join(_TYPES)}."
            )
        absent = "null" in kinds or core is not given or None in core.get("enum", [])
        unit = given.get("unit", given.get("x-unit"))
        described = given.get("description", core.get("description"))
        return Field(
            name=name,
            type=plain[0],
            description=None if described is None else str(described),
            unit=None if unit is None else str(unit),
            nullable=absent or name not in whole.get("required", []),
            enum=enum,
            items=self._items(name, core) if plain[0] == "array" else None,
            decimals=self._decimals(name, given),
        )

    def _enum(self, core: dict[str, Any]) -> tuple[Any, ...]:
        allowed = [core["const"]] if "const" in core else core.get("enum", [])
        return tuple(one for one in allowed if one is not None)

    def _decimals(self, name: str, given: dict[str, Any]) -> int:
        decimals = given.get("decimals", given.get("x-decimals", 0))
        if isinstance(decimals, bool) or not isinstance(decimals, int) or not 0 <= decimals <= 9:
            self._wrong(
                f"field '{name}': decimals has value {decimals!r:.60}", "It is a whole number, 0 to 9."
            )
        return decimals

    def _items(self, name: str, core: dict[str, Any]) -> str | None:
        items = core.get("items")
        kind = items.get("type") if isinstance(items, dict) else None
        if kind is not None and kind not in _TYPES:
            self._wrong(f"field '{name}': items has value {items!r:.60}", "Items have one type.")
        return kind


def _kinds_of(enum: tuple[Any, ...]) -> list[str]:
    """The types of the values of an enum that names none."""
    names = {bool: "boolean", int: "integer", float: "number", str: "string"}
    return sorted({names.get(type(one), "object") for one in enum})


def _absent(field: Field, raw: object) -> bool:
    if not isinstance(raw, str):
        return raw is None
    word = raw.strip().lower()
    # A text may be the word "none"; for anything else such a word says that there is no value.
    return word not in {str(one).lower() for one in field.enum} and (
        word == "" if field.type == "string" else word in _ABSENT
    )


def _of_enum(field: Field, raw: object) -> tuple[Any, str | None]:
    for one in field.enum:
        if raw == one and isinstance(raw, bool) == isinstance(one, bool):
            return one, None
    said = " ".join(str(raw).lower().split())
    alike = [one for one in field.enum if " ".join(str(one).lower().split()) == said]
    if len(alike) == 1:
        return alike[0], None
    return None, f"{raw!r:.60} is none of {', '.join(str(one) for one in field.enum)}"


def _array(field: Field, raw: object) -> tuple[Any, str | None]:
    if not isinstance(raw, list):
        return None, f"{raw!r:.60} is no list"
    if field.items is None or field.items == "array":
        return raw, None
    results = [_COERCIONS[field.items](one) for one in raw]
    problem = next((problem for _, problem in results if problem), None)
    return (None, problem) if problem else ([value for value, _ in results], None)


def _number(raw: object) -> tuple[Any, str | None]:
    try:
        if isinstance(raw, bool):
            raise ValueError
        if isinstance(raw, int | float):
            found = float(raw)
        else:
            parsed = parse_number(raw) if isinstance(raw, str) else None
            found = math.nan if parsed is None else float(parsed)
    except (ValueError, OverflowError):
        found = math.nan
    return (found, None) if math.isfinite(found) else (None, f"{raw!r:.60} is no number")


def _integer(raw: object) -> tuple[Any, str | None]:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw, None
    found, problem = _number(raw)
    if problem or not float(found).is_integer():
        return None, f"{raw!r:.60} is no whole number"
    return int(found), None


def _boolean(raw: object) -> tuple[Any, str | None]:
    found = raw if isinstance(raw, bool) else _WORDS_FOR.get(str(raw).strip().lower())
    return (found, None) if found is not None else (None, f"{raw!r:.60} is neither true nor false")


def _string(raw: object) -> tuple[Any, str | None]:
    if isinstance(raw, str):
        return raw.strip(), None
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        return str(raw), None
    return None, f"{raw!r:.60} is no text"


def _object(raw: object) -> tuple[Any, str | None]:
    return (raw, None) if isinstance(raw, dict) else (None, f"{raw!r:.60} is no object")


_COERCIONS: dict[str, Callable[[object], tuple[Any, str | None]]] = {
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "string": _string,
    "object": _object,
}
