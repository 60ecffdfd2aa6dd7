"""Sheet: a result laid out for review: records, and documents that belong to none, each with its fields."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from modelyard.errors import InvalidArgumentError
from modelyard.extraction.merging.equality import same_value
from modelyard.extraction.schema import Field

_HINT = "Give the JSON that `modelyard extract` writes."
_VOTES = ("found", "ungrounded", "not_found")
_FIELD_KEYS = frozenset(one.name for one in dataclasses.fields(Field))


class FieldKey(NamedTuple):
    """Which field of which document is meant; of a record's field the record, and no document."""

    record: str | None
    document: str | None
    field: str


@dataclass(slots=True, frozen=True)
class Item:
    """One field of one document or record, as it is reviewed.

    Attributes:
        result: what `FieldResult.to_dict()` gave.
        documents: the names of those that it may be from.
    """

    key: FieldKey
    field: Field
    result: Mapping[str, Any]
    documents: tuple[str, ...]

    @property
    def name(self) -> str:
        """The document's or record's name."""
        return self.key.record if self.key.record is not None else str(self.key.document)

    @property
    def document(self) -> str | None:
        """The document that its quote is from; None where a record's has none."""
        found = self.result.get("document")
        return self.key.document if found is None else str(found)

    @property
    def candidates(self) -> tuple[Mapping[str, Any], ...]:
        """What was read; the value itself where a result has no candidates."""
        return tuple(self.result.get("candidates") or ()) or (self._sole,)

    @property
    def _sole(self) -> Mapping[str, Any]:
        kept = ("value", "status", "quote", "start", "end", "method", "where")
        return {"voter": "", "document": self.document or "", **{key: self.result.get(key) for key in kept}}

    @property
    def groups(self) -> tuple[int, ...]:
        """For each candidate which value it has: 0 the result's, then on; -1 where it says nothing."""
        seen: list[Any] = [] if self.result["status"] == "unresolved" else [self.result["value"]]
        found: list[int] = []
        for one in self.candidates:
            if one["status"] not in _VOTES or one.get("abstains"):
                found.append(-1)
                continue
            at = next(
                (at for at, value in enumerate(seen) if same_value(self.field, value, one["value"])),
                len(seen),
            )
            if at == len(seen):
                seen.append(one["value"])
            found.append(at)
        return tuple(found)

    @property
    def conflict(self) -> bool:
        """Whether the candidates that vote have more than one value."""
        return len(set(self.groups) - {-1}) > 1 or self.result["status"] == "unresolved"


@dataclass(frozen=True)
class Sheet:
    """A result, checked.

    Args:
        data: what `Extraction.to_dict(text=True)` gives, or the JSON of it.
        source: what errors call it.

    Raises:
        InvalidArgumentError: it is no result; says which key is wrong.
    """

    data: Mapping[str, Any]
    source: str = "the result"

    def __post_init__(self) -> None:
        _check(self.data, self.source)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the whole, by which a page knows whose decisions it keeps."""
        text = json.dumps(self.data, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """In the schema's order; without a schema as they come, with the types of their values."""
        known = {one["name"]: one for one in (self.data.get("schema") or {}).get("fields", ())}
        found = {name: _field(one) for name, one in known.items()}
        for results in self._results():
            for name in results:
                if name not in found:
                    found[name] = Field(name, self._type(name))
        return tuple(found.values())

    @cached_property
    def documents(self) -> tuple[Mapping[str, Any], ...]:
        """In the order in which they were read."""
        return tuple(self.data["documents"])

    @cached_property
    def units(self) -> tuple[tuple[Item, ...], ...]:
        """What is reviewed together: each record, then each document of no record, with their fields."""
        records = self.data.get("records") or ()
        merged = {name for one in records for name in one["documents"]}
        found = [self._items(one["fields"], one["name"], None, tuple(one["documents"])) for one in records]
        for one in self.documents:
            if one["document"] not in merged:
                found.append(self._items(one["fields"], None, one["document"], (one["document"],)))
        return tuple(found)

    @cached_property
    def items(self) -> dict[FieldKey, Item]:
        """All that is reviewed."""
        return {one.key: one for unit in self.units for one in unit}

    @property
    def repeated(self) -> tuple[str, ...]:
        """Names that several documents have: a decision on one of them holds for all."""
        counts = Counter(one["document"] for one in self.documents)
        return tuple(name for name, count in counts.items() if count > 1)

    def every_item(self) -> Iterator[Item]:
        """All fields: those of records, then those of all documents, merged ones included."""
        for unit in self.units:
            if unit and unit[0].key.record is not None:
                yield from unit
        for one in self.documents:
            yield from self._items(one["fields"], None, one["document"], (one["document"],))

    def _items(
        self, results: Mapping[str, Any], record: str | None, document: str | None, documents: tuple[str, ...]
    ) -> tuple[Item, ...]:
        return tuple(
            Item(FieldKey(record, document, field.name), field, results[field.name], documents)
            for field in self.fields
            if field.name in results
        )

    def _results(self) -> Iterator[Mapping[str, Any]]:
        yield from (one["fields"] for one in self.data.get("records") or ())
        yield from (one["fields"] for one in self.data["documents"])

    def _type(self, name: str) -> str:
        values = [results[name]["value"] for results in self._results() if name in results]
        types = {_TYPES.get(type(one), "string") for one in values if one is not None}
        return "number" if types == {"integer", "number"} else types.pop() if len(types) == 1 else "string"


_TYPES: dict[type, str] = {bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


def read_result(path: Path) -> Sheet:
    """The result in a file.

    Raises:
        InvalidArgumentError: it cannot be read, is no JSON or no result.
    """
    try:
        data = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise InvalidArgumentError(
            f"{path} cannot be read: {error.strerror}", hint="Check the path."
        ) from None
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{path} is not JSON: {error}", hint=_HINT) from None
    return Sheet(data, str(path))


def _field(given: Mapping[str, Any]) -> Field:
    known = {key: one for key, one in given.items() if key in _FIELD_KEYS}
    return Field(**{**known, "enum": tuple(known.get("enum") or ())})


def _check(data: object, source: str) -> None:
    if not isinstance(data, Mapping) or not isinstance(data.get("documents"), list | tuple):
        raise InvalidArgumentError(f"{source} has no list 'documents'", hint=_HINT)
    for kind, name in (("documents", "document"), ("records", "name")):
        for at, one in enumerate(data.get(kind) or ()):
            where = f"{source}: {kind}[{at}]"
            if not isinstance(one, Mapping) or not isinstance(one.get(name), str):
                raise InvalidArgumentError(f"{where} has no '{name}'", hint=_HINT)
            _check_fields(one.get("fields"), where)
            if kind == "records" and not isinstance(one.get("documents"), list | tuple):
                raise InvalidArgumentError(f"{where} has no list 'documents'", hint=_HINT)


def _check_fields(fields: object, where: str) -> None:
    if not isinstance(fields, Mapping):
        raise InvalidArgumentError(f"{where} has no 'fields'", hint=_HINT)
    for name, one in fields.items():
        missing = [key for key in ("value", "status") if not isinstance(one, Mapping) or key not in one]
        if missing:
            raise InvalidArgumentError(f"{where}: field '{name}' has no '{missing[0]}'", hint=_HINT)
        for at, candidate in enumerate(one.get("candidates") or ()):
            lacks = [key for key in ("voter", "document", "value", "status") if key not in candidate]
            if lacks:
                said = f"{where}: field '{name}': candidates[{at}] has no '{lacks[0]}'"
                raise InvalidArgumentError(said, hint=_HINT)
