"""Pack: a sheet as the page carries it: an index of all fields, and blocks that are unpacked on demand.

A browser reads the index when the page opens. Texts, and the candidates of each document or record, stand in
blocks of their own as gzip in base64. Offsets become those of UTF-16, in which JavaScript counts.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from modelyard.extraction.pages.markup import script_json, show
from modelyard.extraction.review.corrections import Correction
from modelyard.extraction.review.sheet import FieldKey, Item, Sheet
from modelyard.extraction.schema import Field

_SHORT = 80  # characters of a value in the list
_CONFLICT, _UNRESOLVED, _UNGROUNDED, _BELOW = 1, 2, 4, 8  # in store.js, too


@dataclass(slots=True, frozen=True)
class Packed:
    """What the page carries: the index as JSON, the blocks of texts and of units as base64."""

    index: str
    texts: tuple[str, ...]
    units: tuple[str, ...]


def pack(sheet: Sheet) -> Packed:
    """A sheet as the page carries it.

    >>> pack(Sheet({"documents": []})).units
    ()
    """
    offsets = [_Offsets(one.get("text") or "") for one in sheet.documents]
    places: dict[str, int] = {}
    for at, one in enumerate(sheet.documents):
        places.setdefault(one["document"], at)
    fields = {one.name: at for at, one in enumerate(sheet.fields)}
    own = _own_places(sheet)
    items = [(at, one) for at, unit in enumerate(sheet.units) for one in unit]
    index = {
        "fields": [_field(one) for one in sheet.fields],
        "documents": [one["document"] for one in sheet.documents],
        "units": [_unit(unit, mine) for unit, mine in zip(sheet.units, own, strict=True)],
        "items": {
            "unit": [at for at, _ in items],
            "field": [fields[one.key.field] for _, one in items],
            "value": [_short(show(one.result["value"])) for _, one in items],
            "status": [one.result["status"] for _, one in items],
            "confidence": [_number(one.result.get("confidence")) for _, one in items],
            "flags": [_flags(one) for _, one in items],
            "quote": [_short(str(one.result.get("quote") or "")) for _, one in items],
        },
    }
    units = (
        [_item(one, mine, places, offsets) for one in unit]
        for unit, mine in zip(sheet.units, own, strict=True)
    )
    texts = (_text(one, at) for one, at in zip(sheet.documents, offsets, strict=True))
    return Packed(script_json(index), tuple(map(_squeezed, texts)), tuple(map(_squeezed, units)))


def pack_decisions(decisions: Mapping[FieldKey, Correction]) -> str:
    """The decisions as JSON for the page."""
    rows = [
        {**asdict(one), "value": raw(one.value), "previous": raw(one.previous)} for one in decisions.values()
    ]
    return script_json(rows)


def raw(value: Any) -> str:
    """A value as JSON text, which the page hands on as it is: JavaScript's numbers would round it.

    >>> raw(12345678901234567890), raw(1.0), raw(float("nan"))
    ('12345678901234567890', '1.0', '"nan"')
    """
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return json.dumps(str(value))


class _Offsets:
    """Character offsets of a text as offsets in UTF-16."""

    def __init__(self, text: str) -> None:
        self.text = text
        wide = max(text, default="") > "\uffff"
        self._wide = [at for at, one in enumerate(text) if one > "\uffff"] if wide else []

    def __call__(self, at: int) -> int:
        return at + bisect_left(self._wide, at)


def _own_places(sheet: Sheet) -> list[tuple[int, ...]]:
    """For each unit the numbers of its documents; of documents with the same name each its own."""
    names: dict[str, list[int]] = {}
    for at, one in enumerate(sheet.documents):
        names.setdefault(one["document"], []).append(at)
    found: list[tuple[int, ...]] = []
    for unit in sheet.units:
        if not unit or unit[0].key.record is not None:
            found.append(
                tuple(at for name in (unit[0].documents if unit else ()) for at in names.get(name, ()))
            )
        else:
            found.append((names[unit[0].documents[0]].pop(0),))
    return found


def _unit(unit: Sequence[Item], documents: Sequence[int]) -> dict[str, Any]:
    first = unit[0] if unit else None
    record = first is not None and first.key.record is not None
    return {"name": first.name if first else "", "record": record, "documents": list(documents)}


def _field(field: Field) -> dict[str, Any]:
    kept = ("name", "type", "unit", "description")
    return {
        **{name: getattr(field, name) for name in kept},
        "enum": [[show(one), raw(one)] for one in field.enum],
    }


def _flags(item: Item) -> int:
    status = item.result["status"]
    found = _CONFLICT if item.conflict else 0
    found |= _UNRESOLVED if status == "unresolved" else 0
    found |= _UNGROUNDED if status == "ungrounded" else 0
    return found | (_BELOW if item.result.get("accepted") is False else 0)


def _item(
    item: Item, own: Sequence[int], places: Mapping[str, int], offsets: Sequence[_Offsets]
) -> dict[str, Any]:
    result = item.result
    return {
        "value": show(result["value"]),
        "json": raw(result["value"]),
        "document": item.document,
        "kind": result.get("confidence_kind"),
        "strategy": result.get("strategy"),
        "reason": result.get("reason"),
        "accepted": result.get("accepted"),
        "candidates": [
            _candidate(one, group, own, places, offsets)
            for one, group in zip(item.candidates, item.groups, strict=True)
        ],
    }


def _candidate(
    one: Mapping[str, Any],
    group: int,
    own: Sequence[int],
    places: Mapping[str, int],
    offsets: Sequence[_Offsets],
) -> dict[str, Any]:
    at = places.get(one["document"], -1)
    at = own[0] if len(own) == 1 else at  # of documents with the same name, its own
    start, end, problems = one.get("start"), one.get("end"), list(one.get("problems") or ())
    span = None
    if start is not None and end is not None and at >= 0:
        text = offsets[at].text
        if 0 <= start < end <= len(text) and text[start:end] == one.get("quote"):
            span = [offsets[at](start), offsets[at](end)]
        elif text:
            problems.append("its span is not its quote in this text")
    kept = {key: one.get(key) for key in ("voter", "status", "quote", "where", "method")}
    return {
        **kept,
        "document": at,
        "name": one["document"],
        "value": show(one["value"]),
        "json": raw(one["value"]),
        "span": span,
        "logprob": _number(one.get("logprob")),
        "weight": _number(one.get("weight")),
        "abstains": bool(one.get("abstains")),
        "problems": problems,
        "group": group,
    }


def _text(one: Mapping[str, Any], offsets: _Offsets) -> dict[str, Any]:
    read = [[offsets(start), offsets(end)] for start, end in one.get("read") or ()]
    notes = [*([one["error"]] if one.get("error") else ()), *(one.get("warnings") or ())]
    return {"text": offsets.text, "read": read, "notes": notes}


def _squeezed(data: Any) -> str:
    return base64.b64encode(gzip.compress(script_json(data).encode(), compresslevel=6, mtime=0)).decode()


def _short(text: str) -> str:
    line = " ".join(text[: 4 * _SHORT].split())
    return line if len(line) <= _SHORT else line[: _SHORT - 1] + "…"


def _number(given: float | None) -> float | None:
    return None if given is None or not math.isfinite(given) else round(given, 6)
