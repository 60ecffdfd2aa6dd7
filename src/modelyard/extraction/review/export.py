"""Export: a result as JSON, CSV or Parquet, with what a review decided.

The long form has one row for each field of each record and document; the wide form one row a record or
document and a column a field. In the long form `value` is what was read and `reviewed_value` what holds after
the review: the value where it was accepted, the new one where it was corrected, nothing where it was rejected.
In the wide form a cell is the reviewed value where there is a decision, else the value.

CSV is for spreadsheets, which run a cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return as a
formula (https://owasp.org/www-community/attacks/CSV_Injection): such texts get an apostrophe before them.
Numbers are left as they are. JSON and Parquet keep every text as it is.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from modelyard.errors import InvalidArgumentError, ModelyardError
from modelyard.extraction.review.corrections import Correction
from modelyard.extraction.review.sheet import FieldKey, Item, Sheet
from modelyard.extraction.schema import Field
from modelyard.output import check_writable, write_whole

Format = Literal["json", "csv", "parquet"]
_FORMATS: tuple[Format, ...] = get_args(Format)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_COLUMNS = {
    "record": "text", "document": "text", "field": "text", "value": "text", "value_number": "number", "quote": "text",
    "start": "integer", "end": "integer", "where": "text", "confidence": "number", "confidence_kind": "text",
    "status": "text", "strategy": "text", "reason": "text", "accepted": "boolean", "review": "text",
    "reviewed_value": "text", "reviewer": "text", "reviewed_at": "text",
}  # fmt: skip
_REVIEWS = {"accept": "accepted", "correct": "corrected", "reject": "rejected"}


def export(
    extraction: Mapping[str, Any] | Sheet,
    path: Path,
    format: Format | None = None,  # noqa: A002  (the word that users look for)
    *,
    wide: bool = False,
    decisions: Mapping[FieldKey, Correction] | None = None,
) -> None:
    """Writes a result whole, or not at all.

    Args:
        extraction: what `Extraction.to_dict()` gives, or the JSON of it.
        path: of the file.
        format: `json`, `csv` or `parquet`; by the path's ending where not given. JSON is the long form's rows.
        wide: one row a record or document in place of one a field.
        decisions: of a review, `read_corrections(path).decisions`.

    Raises:
        InvalidArgumentError: no such format, no result, or the path cannot be written.
        ModelyardError: Parquet is asked for, and pyarrow is not installed.
    """
    chosen = format or path.suffix.lower().lstrip(".")
    if chosen not in _FORMATS:
        raise InvalidArgumentError(
            f"what {path} is to be does not follow from its name"
            if format is None
            else f"format is {format!r}",
            hint=f"It is one of {', '.join(_FORMATS)}.",
        )
    check_writable(path)
    sheet = extraction if isinstance(extraction, Sheet) else Sheet(extraction)
    rows = list((wide_rows if wide else long_rows)(sheet, decisions or {}))
    columns = _wide_columns(sheet) if wide else _COLUMNS
    if chosen == "json":
        data = (json.dumps(rows, ensure_ascii=False, indent=1, default=str) + "\n").encode(
            "utf-8", "backslashreplace"
        )
    elif chosen == "csv":
        data = _csv(rows, columns)
    else:
        data = _parquet(rows, columns)
    write_whole(path, data)


def long_rows(sheet: Sheet, decisions: Mapping[FieldKey, Correction]) -> Iterator[dict[str, Any]]:
    """One row for each field of each record and each document, merged ones included."""
    for item in sheet.every_item():
        found, decision = item.result, decisions.get(item.key)
        value = found["value"]
        yield {
            "record": item.key.record,
            "document": item.document,
            "field": item.key.field,
            "value": value,
            "value_number": _number(value),
            **{
                key: found.get(key)
                for key in ("quote", "start", "end", "where", "confidence", "confidence_kind")
            },
            **{key: found.get(key) for key in ("status", "strategy", "reason", "accepted")},
            "review": _REVIEWS[decision.action] if decision else None,
            "reviewed_value": decision.value if decision and decision.action != "reject" else None,
            "reviewer": decision.reviewer if decision else None,
            "reviewed_at": decision.time if decision else None,
        }


def wide_rows(sheet: Sheet, decisions: Mapping[FieldKey, Correction]) -> Iterator[dict[str, Any]]:
    """One row a record, and one for each document of no record."""
    for unit in sheet.units:
        if unit:
            first = unit[0].key
            yield {
                "record": first.record,
                "document": first.document,
                **{one.key.field: _settled(one, decisions.get(one.key)) for one in unit},
            }


def _settled(item: Item, decision: Correction | None) -> Any:
    if decision is None:
        return item.result["value"]
    return None if decision.action == "reject" else decision.value


def _wide_columns(sheet: Sheet) -> dict[str, str]:
    kinds = {"number": "number", "integer": "integer", "boolean": "boolean"}
    return {
        "record": "text",
        "document": "text",
        **{one.name: kinds.get(_kind(one), "text") for one in sheet.fields},
    }


def _kind(field: Field) -> str:
    return "text" if field.enum else field.type


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


# -- CSV ---------------------------------------------------------------------------------------------------


def _csv(rows: list[dict[str, Any]], columns: Mapping[str, str]) -> bytes:
    shown = [name for name in columns if name != "value_number"]
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow([_cell(name) for name in shown])
    writer.writerows([_cell(row.get(name)) for name in shown] for row in rows)
    return file.getvalue().encode("utf-8", "backslashreplace")


def _cell(value: Any) -> str | int | float | None:
    """A cell that no spreadsheet takes for a formula.

    >>> _cell("=1+1"), _cell("-0.41 a share"), _cell(-0.41), _cell("(0.41)")
    ("'=1+1", "'-0.41 a share", -0.41, '(0.41)')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return value
    text = _text(value)
    return f"'{text}" if text is not None and text.lstrip(" ").startswith(_FORMULA) else text


# -- Parquet -----------------------------------------------------------------------------------------------


def _parquet(rows: list[dict[str, Any]], columns: Mapping[str, str]) -> bytes:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ModelyardError(
            "Parquet needs pyarrow, which is not installed", hint="pip install 'modelyard[parquet]'"
        ) from None
    types = {"text": pa.string(), "number": pa.float64(), "integer": pa.int64(), "boolean": pa.bool_()}
    arrays = [
        pa.array([_typed(row.get(name), kind) for row in rows], types[kind]) for name, kind in columns.items()
    ]
    file = io.BytesIO()
    pq.write_table(pa.table(arrays, names=list(columns)), file)
    return file.getvalue()


def _typed(value: Any, kind: str) -> Any:
    """A value for a column of a type; None where it is of another, which the text columns show."""
    if kind == "text":
        text = _text(value)
        return None if text is None else text.encode("utf-8", "backslashreplace").decode()
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    number = _number(value)
    if number is None or kind == "number":
        return number
    whole = math.isfinite(number) and number.is_integer() and abs(value) < 2**63
    return int(value) if whole else None
