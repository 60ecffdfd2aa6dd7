"""Export: every form has all rows, numbers stay numbers, and no cell is a formula."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.extraction.review.results import make_result

from modelyard.errors import InvalidArgumentError
from modelyard.extraction.review.corrections import Correction
from modelyard.extraction.review.export import _cell, export
from modelyard.extraction.review.sheet import FieldKey

DECISIONS = {
    one.key: one
    for one in (
        Correction(
            "doc-0003.txt", None, "eps_basic", "correct", 9.5, 3.25, "eve", "2026-05-01T09:30:00+00:00"
        ),
        Correction("doc-0003.txt", None, "shares", "reject", None, 1003),
        Correction("doc-0001.txt", "both", "eps_basic", "accept", 1.25, 1.25),
    )
}
TIME = "2026-05-01T09:30:00+00:00"


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def long_csv(tmp_path: Path, result: dict[str, Any], **how: Any) -> list[dict[str, str]]:
    export(result, tmp_path / "out.csv", **how)
    return read_csv(tmp_path / "out.csv")


def test_the_long_form_has_a_row_for_each_field_of_records_and_documents(tmp_path: Path) -> None:
    rows = long_csv(tmp_path, make_result(3, record=True), decisions=DECISIONS)
    assert [(one["record"], one["document"], one["field"]) for one in rows[:2]] == [
        ("both", "doc-0001.txt", "eps_basic"),
        ("", "doc-0001.txt", "eps_basic"),
    ]
    assert len(rows) == 13
    third = next(one for one in rows if (one["document"], one["field"]) == ("doc-0003.txt", "eps_basic"))
    expected = {
        "value": "3.25", "quote": "Basic | 3.25", "where": "line 1", "confidence": "0.6", "status": "found",
        "strategy": "margin", "accepted": "false", "review": "corrected", "reviewed_value": "9.5", "reviewer": "eve",
        "reviewed_at": TIME,
    }  # fmt: skip
    assert {key: third[key] for key in expected} == expected
    text = make_result(3)["documents"][2]["text"]
    assert text[int(third["start"]) : int(third["end"])] == third["quote"]


def test_a_rejected_value_is_kept_as_what_was_read_and_not_as_what_holds(tmp_path: Path) -> None:
    rows = long_csv(tmp_path, make_result(3), decisions=DECISIONS)
    one = next(one for one in rows if (one["document"], one["field"]) == ("doc-0003.txt", "shares"))
    assert (one["value"], one["review"], one["reviewed_value"]) == ("1003", "rejected", "")


def test_the_wide_form_has_a_row_for_each_record_and_other_document(tmp_path: Path) -> None:
    rows = long_csv(tmp_path, make_result(3, record=True), wide=True, decisions=DECISIONS)
    assert [(one["record"], one["document"], one["eps_basic"], one["shares"]) for one in rows] == [
        ("both", "", "1.25", ""),
        ("", "doc-0003.txt", "9.5", ""),
    ]


def test_parquet_has_typed_columns(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    result = make_result(3)
    export(result, tmp_path / "long.parquet", decisions=DECISIONS)
    table = pq.read_table(tmp_path / "long.parquet")
    types = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert {name: types[name] for name in ("value", "value_number", "start", "confidence", "accepted")} == {
        "value": "string", "value_number": "double", "start": "int64", "confidence": "double", "accepted": "bool",
    }  # fmt: skip
    assert table.column("value_number").to_pylist()[:3] == [1.25, 1001.0, None]
    export(result, tmp_path / "wide.parquet", wide=True)
    wide = pq.read_table(tmp_path / "wide.parquet")
    assert wide.column("eps_basic").to_pylist() == [1.25, 2.25, 3.25]
    assert [str(wide.schema.field(one).type) for one in ("eps_basic", "shares", "note")] == [
        "double",
        "int64",
        "string",
    ]


def test_json_has_the_same_rows_with_values_as_they_are(tmp_path: Path) -> None:
    export(make_result(2), tmp_path / "out.json")
    rows = json.loads((tmp_path / "out.json").read_text())
    assert [(one["field"], one["value"]) for one in rows[:3]] == [
        ("eps_basic", 1.25),
        ("shares", 1001),
        ("audited", None),
    ]


def test_a_value_of_an_odd_type_costs_no_other_value(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    result = make_result(2)
    values: list[Any] = [2**70, "\ud83d", {"a": [1]}, float("inf")]
    for field, value in zip(result["documents"][0]["fields"].values(), values, strict=True):
        field["value"] = value
    for wide in (False, True):
        export(result, tmp_path / "out.parquet", wide=wide)
        export(result, tmp_path / "out.csv", wide=wide)
        export(result, tmp_path / "out.json", wide=wide)
        assert pq.read_table(tmp_path / "out.parquet").num_rows == len(read_csv(tmp_path / "out.csv"))


HOSTILE = '=HYPERLINK("http://x"),\r\n"+1'


def test_no_cell_is_a_formula_and_the_text_comes_back(tmp_path: Path) -> None:
    result = make_result(1)
    one = result["documents"][0]
    one["document"] = one["fields"]["note"]["value"] = one["fields"]["note"]["quote"] = HOSTILE
    rows = long_csv(tmp_path, result)
    found = next(row for row in rows if row["field"] == "note")
    assert found["value"] == found["quote"] == "'" + HOSTILE
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "@", "\t", "\r"))]


@given(st.text())
def test_no_text_begins_as_a_formula(text: str) -> None:
    cell = _cell(text)
    assert isinstance(cell, str)
    assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r"))
    assert cell.removeprefix("'") == text.removeprefix("'")


def test_negative_numbers_stay_numbers(tmp_path: Path) -> None:
    result = make_result(1)
    result["documents"][0]["fields"]["eps_basic"]["value"] = -0.41
    assert long_csv(tmp_path, result)[0]["value"] == "-0.41"


def test_a_form_that_is_not_known_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="does not follow from its name"):
        export(make_result(1), tmp_path / "out.xlsx")
    with pytest.raises(InvalidArgumentError, match="format is 'xml'"):
        export(make_result(1), tmp_path / "out.csv", "xml")  # type: ignore[arg-type]


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("before")
    with pytest.raises(InvalidArgumentError):
        export({"documents": [{}]}, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["out.csv"]


def test_keys_of_decisions_are_those_of_records_and_documents() -> None:
    assert set(DECISIONS) == {
        FieldKey(None, "doc-0003.txt", "eps_basic"),
        FieldKey(None, "doc-0003.txt", "shares"),
        FieldKey("both", None, "eps_basic"),
    }
