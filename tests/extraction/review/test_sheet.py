"""The sheet: what is reviewed, what is in conflict, and what is wrong with a file that is no result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.extraction.review.results import make_extraction, make_result

from modelyard.errors import InvalidArgumentError
from modelyard.extraction.review.sheet import FieldKey, Sheet, read_result


def test_every_field_of_every_document_is_reviewed_once() -> None:
    sheet = Sheet(make_result(3))
    assert len(sheet.units) == 3
    assert list(sheet.items)[:2] == [
        FieldKey(None, "doc-0001.txt", "eps_basic"),
        FieldKey(None, "doc-0001.txt", "shares"),
    ]
    assert len(sheet.items) == 12


def test_a_record_is_reviewed_in_place_of_its_documents() -> None:
    sheet = Sheet(make_result(3, record=True))
    assert [unit[0].name for unit in sheet.units] == ["both", "doc-0003.txt"]
    item = sheet.items[FieldKey("both", None, "eps_basic")]
    assert item.document == "doc-0001.txt"
    assert {one["document"] for one in item.candidates} == {"doc-0001.txt", "doc-0002.txt"}
    assert sum(one.key.record is None for one in sheet.every_item()) == 12


def test_candidates_of_the_same_value_are_in_one_group_and_the_results_is_the_first() -> None:
    sheet = Sheet(make_result(4))
    groups = {at: sheet.items[FieldKey(None, f"doc-000{at}.txt", "eps_basic")].groups for at in (1, 3, 4)}
    assert groups == {1: (0, 0, 0), 3: (0, 0, 1), 4: (0, 1)}


def test_a_conflict_is_where_voters_differ_and_failures_are_none() -> None:
    result = make_result(3)
    candidates = result["documents"][0]["fields"]["eps_basic"]["candidates"]
    candidates[2] |= {"value": None, "status": "failed"}
    items = Sheet(result).items
    assert not items[FieldKey(None, "doc-0001.txt", "eps_basic")].conflict
    assert items[FieldKey(None, "doc-0003.txt", "eps_basic")].conflict


def test_a_result_without_schema_and_candidates_is_read_with_the_types_of_its_values() -> None:
    result = make_result(2)
    del result["schema"]
    for one in result["documents"]:
        for field in one["fields"].values():
            del field["candidates"]
    sheet = Sheet(result)
    assert [(one.name, one.type) for one in sheet.fields] == [
        ("eps_basic", "number"),
        ("shares", "integer"),
        ("audited", "string"),
        ("note", "string"),
    ]
    assert [one["value"] for one in sheet.items[FieldKey(None, "doc-0001.txt", "shares")].candidates] == [
        1001
    ]


def test_documents_of_the_same_name_are_told() -> None:
    result = make_result(2)
    result["documents"][1]["document"] = result["documents"][0]["document"]
    assert Sheet(result).repeated == ("doc-0001.txt",)


def broken(change: str) -> dict[str, Any]:
    result = make_result(2, record=True)
    match change:
        case "documents":
            del result["documents"]
        case "document":
            del result["documents"][1]["document"]
        case "fields":
            result["documents"][1]["fields"] = None
        case "status":
            del result["documents"][1]["fields"]["shares"]["status"]
        case "voter":
            del result["documents"][1]["fields"]["shares"]["candidates"][1]["voter"]
        case "name":
            del result["records"][0]["name"]
    return result


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("documents", "has no list 'documents'"),
        ("document", "documents[1] has no 'document'"),
        ("fields", "documents[1] has no 'fields'"),
        ("status", "documents[1]: field 'shares' has no 'status'"),
        ("voter", "documents[1]: field 'shares': candidates[1] has no 'voter'"),
        ("name", "records[0] has no 'name'"),
    ],
)
def test_what_is_missing_in_a_result_is_named(change: str, said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"modelyard extract") as caught:
        Sheet(broken(change), "r.json")
    assert said in caught.value.message and caught.value.message.startswith("r.json")


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_text("{")
    with pytest.raises(InvalidArgumentError, match=r"r\.json is not JSON"):
        read_result(file)
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        read_result(tmp_path / "none.json")


def test_a_result_from_a_file_is_the_result(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_text(json.dumps(make_result(2)))
    assert read_result(file).digest == Sheet(make_extraction(2).to_dict(text=True)).digest
    assert read_result(file).digest != Sheet(make_result(3)).digest
