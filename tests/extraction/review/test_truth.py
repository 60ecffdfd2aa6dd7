"""Truth: labels and decisions say which values are right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.extraction.review.results import make_result

from modelyard.errors import InvalidArgumentError
from modelyard.extraction.review.corrections import Correction
from modelyard.extraction.review.sheet import FieldKey, Sheet
from modelyard.extraction.review.truth import Truth, judged, read_truth

SHEET = Sheet(make_result(3, record=True))
KEY = FieldKey(None, "doc-0003.txt", "eps_basic")
RECORD = FieldKey("both", None, "eps_basic")


def decision(action: str, value: object, previous: object = 3.25) -> Correction:
    return Correction("doc-0003.txt", None, "eps_basic", action, value, previous)  # type: ignore[arg-type]


def test_a_label_says_whether_a_value_is_right_within_the_tolerance() -> None:
    labels = {("doc-0003.txt", "eps_basic"): 3.26}
    assert Truth(labels).is_right(SHEET.items[KEY]) is False
    assert Truth(labels, tolerance=0.01).is_right(SHEET.items[KEY]) is True
    assert Truth().is_right(SHEET.items[KEY]) is None


def test_a_decision_counts_before_a_label() -> None:
    truth = Truth({("doc-0003.txt", "eps_basic"): 9.0})
    item = SHEET.items[KEY]
    assert truth.is_right(item, decision("accept", 3.25)) is True
    assert truth.is_right(item, decision("correct", 3.5)) is False
    assert truth.is_right(item, decision("reject", None)) is False


def test_a_rejection_of_another_value_says_nothing() -> None:
    assert Truth().is_right(SHEET.items[KEY], decision("reject", None, previous=8.0)) is None


def test_a_record_takes_its_own_label_or_that_which_its_documents_share() -> None:
    item = SHEET.items[RECORD]
    own, other = ("doc-0001.txt", "eps_basic"), ("doc-0002.txt", "eps_basic")
    assert Truth({("both", "eps_basic"): 1.25, own: 7}).is_right(item) is True
    assert Truth({own: 1.25, other: 1.25}).is_right(item) is True
    assert Truth({own: 1.25, other: 2.25}).is_right(item) is None


def test_values_without_confidence_or_label_are_left_out_of_the_curves() -> None:
    sheet = Sheet(make_result(4))
    truth = Truth({(f"doc-000{at}.txt", "eps_basic"): at + 0.25 for at in (1, 2, 4)})
    assert judged(sheet.items, {}, truth) == ([0.9, 0.9], [True, True])


def test_labels_are_read_from_rows_and_from_corrections(tmp_path: Path) -> None:
    file = tmp_path / "l.jsonl"
    file.write_text(
        '{"document": "a", "labels": {"eps": 1.2}}\n\n{"document": "b", "labels": {"eps": null}}\n'
    )
    assert read_truth(file).labels == {("a", "eps"): 1.2, ("b", "eps"): None}
    rows = [
        Correction("a", None, "eps", "correct", 1.3, 1.2),
        Correction("b", None, "eps", "reject", None, 4),
    ]
    file.write_text("".join(one.to_line() for one in rows))
    found = read_truth(file)
    assert (found.labels, found.wrong) == ({("a", "eps"): 1.3}, {("b", "eps"): 4})


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "is not JSON"),
        ({"labels": {}}, "has no 'document'"),
        ({"document": "a", "label": 1}, "has no 'labels'"),
    ],
)
def test_a_wrong_row_of_labels_is_named(tmp_path: Path, row: object, said: str) -> None:
    file = tmp_path / "l.jsonl"
    file.write_text(
        f'{{"document": "a", "labels": {{}}}}\n{row if isinstance(row, str) else json.dumps(row)}\n'
    )
    with pytest.raises(InvalidArgumentError) as caught:
        read_truth(file)
    assert caught.value.message == f"{file}:2: {said}"
