"""Corrections: what a person decided about each field, one JSON object a line, the last one for a field counts.

    {"document": "a.html", "record": null, "field": "eps", "action": "correct", "value": 1.2, "previous": 1.3,
     "reviewer": null, "time": "2026-05-01T09:30:00+00:00"}

`accept` says that the value is right, `correct` gives the right one (null: the document does not give it),
`reject` that it is wrong and the right one unknown, and `withdraw` takes back what was said before. Of a
record's field `record` is its name, and `document` the one that the quote is from.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

from modelyard.errors import InvalidArgumentError, nearest
from modelyard.extraction.review.sheet import FieldKey, Sheet

Action = Literal["accept", "correct", "reject", "withdraw"]
ACTIONS: tuple[Action, ...] = get_args(Action)
_KEYS = ("document", "record", "field", "action", "value", "previous", "reviewer", "time")
_TEXTS = ("document", "record", "reviewer")


@dataclass(slots=True, frozen=True)
class Correction:
    """One decision.

    Attributes:
        value: what is right: the value shown where it was accepted, the new one where it was corrected.
        previous: the value that the result has.
        time: when, as ISO 8601.
    """

    document: str | None
    record: str | None
    field: str
    action: Action
    value: Any = None
    previous: Any = None
    reviewer: str | None = None
    time: str | None = None

    @property
    def key(self) -> FieldKey:
        """Which field it is about."""
        return FieldKey(self.record, None if self.record is not None else self.document, self.field)

    def to_line(self) -> str:
        """The row as it is written, with its newline; pure ASCII, so that any text survives.

        >>> Correction("a.html", None, "eps", "reject", previous=1.2).to_line()[:41]
        '{"document": "a.html", "record": null, "f'
        """
        return json.dumps(asdict(self), allow_nan=False) + "\n"


@dataclass(slots=True, frozen=True)
class Corrections:
    """The rows of a file; `torn` is the unfinished last line that a killed process left, passed over."""

    rows: tuple[Correction, ...] = ()
    torn: str | None = None

    @property
    def decisions(self) -> dict[FieldKey, Correction]:
        """The last word on each field, without those that were withdrawn."""
        last = {one.key: one for one in self.rows}
        return {key: one for key, one in last.items() if one.action != "withdraw"}


@dataclass(slots=True, frozen=True)
class Label:
    """The right value of a field; None where the document does not give it."""

    document: str | None
    record: str | None
    field: str
    value: Any


@dataclass(slots=True, frozen=True)
class Labels:
    """What the decisions say about the truth.

    Attributes:
        known: the right values.
        wrong: values that are wrong where the right one is unknown.
        unknown: decisions about fields that the result does not have.
    """

    known: tuple[Label, ...]
    wrong: tuple[Label, ...]
    unknown: tuple[Correction, ...]


def labels_from(corrections: Corrections, extraction: Mapping[str, Any] | Sheet | None = None) -> Labels:
    """The labels that a review gave.

    Args:
        corrections: what was decided.
        extraction: the result that was reviewed; what it does not have is kept apart.

    >>> rows = (Correction("a", None, "eps", "accept", 1.2, 1.2), Correction("b", None, "eps", "reject", None, 3))
    >>> found = labels_from(Corrections(rows))
    >>> [(one.document, one.value) for one in found.known], [(one.document, one.value) for one in found.wrong]
    ([('a', 1.2)], [('b', 3)])
    """
    known, wrong, unknown = [], [], []
    has = None if extraction is None else _keys(extraction)
    for key, one in corrections.decisions.items():
        if has is not None and key not in has:
            unknown.append(one)
        elif one.action == "reject":
            wrong.append(Label(one.document, one.record, one.field, one.previous))
        else:
            known.append(Label(one.document, one.record, one.field, one.value))
    return Labels(tuple(known), tuple(wrong), tuple(unknown))


def _keys(extraction: Mapping[str, Any] | Sheet) -> frozenset[FieldKey]:
    sheet = extraction if isinstance(extraction, Sheet) else Sheet(extraction)
    return frozenset(one.key for one in sheet.every_item())


def read_corrections(path: Path) -> Corrections:
    """The decisions in a file; empty where there is none yet.

    Raises:
        InvalidArgumentError: a row with a mistake; says file, line, key and what to do.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return Corrections()
    except OSError as error:
        raise InvalidArgumentError(
            f"{path} cannot be read: {error.strerror}", hint="Check the path."
        ) from None
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{path} is not UTF-8: {error.reason}", hint="Mend the file.") from None
    lines = text.split("\n")
    rows: list[Correction] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            given = json.loads(line)
        except (ValueError, RecursionError):
            if number == len(lines):
                return Corrections(tuple(rows), line)
            _wrong(path, number, "is not JSON", "Each line is one JSON object; mend or remove it.")
        rows.append(_row(given, path, number))
    return Corrections(tuple(rows))


def _row(given: object, path: Path, number: int) -> Correction:
    if not isinstance(given, dict):
        _wrong(path, number, "is no JSON object", "Each line is one JSON object.")
    for key in given:
        if key not in _KEYS:
            _wrong(
                path,
                number,
                f"key '{key}' is not known.{nearest(key, _KEYS)}",
                f"Known are {', '.join(_KEYS)}.",
            )
    action, field = given.get("action"), given.get("field")
    if action not in ACTIONS:
        _wrong(path, number, f"'action' is {action!r:.60}", f"It is one of {', '.join(ACTIONS)}.")
    if not isinstance(field, str):
        _wrong(path, number, f"'field' is {field!r:.60}", "It is the name of a field.")
    for key in _TEXTS:
        if not isinstance(given.get(key), str | None):
            _wrong(path, number, f"'{key}' is {given[key]!r:.60}", "It is a text or null.")
    if given.get("document") is None and given.get("record") is None:
        _wrong(path, number, "has neither 'document' nor 'record'", "Name the one that it is about.")
    if action in ("accept", "correct") and "value" not in given:
        _wrong(path, number, f"'value' is missing for '{action}'", "Give the right value, or null for none.")
    if not _is_time(given.get("time")):
        _wrong(path, number, f"'time' is {given['time']!r:.60}", "It is as 2026-05-01T09:30:00+00:00.")
    return Correction(**{"document": None, "record": None, **given})


def _is_time(given: object) -> bool:
    if given is None:
        return True
    try:
        datetime.datetime.fromisoformat(given if isinstance(given, str) else "")
    except ValueError:
        return False
    return True


def _wrong(path: Path, number: int, said: str, hint: str) -> NoReturn:
    raise InvalidArgumentError(f"{path}:{number}: {said}", hint=hint)
