"""Truth: labels beside a result, from a file of labels or from the review itself, and which values are right."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard.errors import InvalidArgumentError
from modelyard.extraction.merging.equality import same_value
from modelyard.extraction.review.corrections import Correction, labels_from, read_corrections
from modelyard.extraction.review.sheet import FieldKey, Item

_HINT = 'A row is {"document": "a.html", "labels": {"eps": 1.2}}, or one of a review\'s corrections.'
_MISSING = object()


@dataclass(slots=True, frozen=True)
class Truth:
    """Labels by the name of a document or record and of a field.

    Attributes:
        tolerance: largest difference of two numbers that count as the same.
    """

    labels: Mapping[tuple[str, str], Any] = field(default_factory=dict)
    wrong: Mapping[tuple[str, str], Any] = field(default_factory=dict)
    tolerance: float = 0.0

    def is_right(self, item: Item, decision: Correction | None = None) -> bool | None:
        """Whether a value is right: by the reviewer's word, else by its label; None where neither says.

        A record has its own label, else that of its documents where they all have the same.
        """
        value = item.result["value"]
        if decision is not None:
            if decision.action == "reject":
                return False if self._same(item, value, decision.previous) else None
            return self._same(item, value, decision.value)
        label = self._label(item)
        if label is not _MISSING:
            return self._same(item, value, label)
        bad = self.wrong.get((item.name, item.key.field), _MISSING)
        return False if bad is not _MISSING and self._same(item, value, bad) else None

    def _label(self, item: Item) -> Any:
        own = self.labels.get((item.name, item.key.field), _MISSING)
        if own is not _MISSING:
            return own
        found = [self.labels.get((name, item.key.field), _MISSING) for name in item.documents]
        known = [one for one in found if one is not _MISSING]
        agree = known and all(self._same(item, known[0], one) for one in known)
        return known[0] if agree else _MISSING

    def _same(self, item: Item, one: Any, other: Any) -> bool:
        return same_value(item.field, one, other, self.tolerance)


def read_truth(path: Path, *, tolerance: float = 0.0) -> Truth:
    """The labels in a JSONL file: rows with `document` and `labels`, or a review's corrections.

    Raises:
        InvalidArgumentError: a row with a mistake; says file, line and key.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error}", hint="Check the path.") from None
    if '"action"' in next((one for one in lines if one.strip()), ""):
        found = labels_from(read_corrections(path))
        known, wrong = (
            {
                (one.record if one.record is not None else str(one.document), one.field): one.value
                for one in part
            }
            for part in (found.known, found.wrong)
        )
        return Truth(known, wrong, tolerance)
    labels: dict[tuple[str, str], Any] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            name, given = _row(line, f"{path}:{number}")
            labels |= {(name, key): value for key, value in given.items()}
    return Truth(labels, {}, tolerance)


def _row(line: str, where: str) -> tuple[str, Mapping[str, Any]]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidArgumentError(f"{where}: is not JSON", hint=_HINT) from None
    name = row.get("document", row.get("record")) if isinstance(row, dict) else None
    if not isinstance(name, str):
        raise InvalidArgumentError(f"{where}: has no 'document'", hint=_HINT)
    if not isinstance(row.get("labels"), dict):
        raise InvalidArgumentError(f"{where}: has no 'labels'", hint=_HINT)
    return name, row["labels"]


def judged(
    items: Mapping[FieldKey, Item], decisions: Mapping[FieldKey, Correction], truth: Truth
) -> tuple[list[float], list[bool]]:
    """The confidences of all values of which it is known whether they are right, and whether they are."""
    confidences, right = [], []
    for key, item in items.items():
        verdict, confidence = truth.is_right(item, decisions.get(key)), item.result.get("confidence")
        if verdict is not None and confidence is not None:
            confidences.append(float(confidence))
            right.append(verdict)
    return confidences, right
