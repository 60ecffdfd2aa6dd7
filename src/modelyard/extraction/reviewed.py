"""A review's corrections as a task's data: what people decided about a result, documents with their labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelyard.errors import SchemaError
from modelyard.extraction.review.corrections import labels_from, read_corrections


def is_reviewed(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether rows of data are a review's decisions."""
    return bool(rows) and "action" in rows[0] and "field" in rows[0]


def reviewed_labels(path: Path) -> Iterator[dict[str, Any]]:
    """The documents of a file of corrections with the values that are known to be right.

    What was rejected without a right value is no label; a field that nobody decided is none either.

    Raises:
        SchemaError: a decision is about a record of several documents, or no right value is known.
        InvalidArgumentError: a row with a mistake; says file, line and key.
    """
    labels: dict[str, dict[str, Any]] = {}
    for one in labels_from(read_corrections(path)).known:
        if one.record is not None or one.document is None:
            raise SchemaError(
                f"{path}: field '{one.field}' was decided for the record '{one.record}' of several documents",
                hint="A benchmark reads one document at a time: review a result without --cases.",
            )
        labels.setdefault(one.document, {})[one.field] = one.value
    if not labels:
        raise SchemaError(
            f"{path}: no right value is known", hint="Accept or correct some values in `modelyard review`."
        )
    yield from ({"file": name, "labels": given, "id": name} for name, given in labels.items())
