"""A result with labels: of a file, of a review, and of a task's own data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.extraction.calibration.results import result, written

from modelyard.errors import InvalidArgumentError
from modelyard.extraction.calibration import calibrate
from modelyard.extraction.calibration.labelled import ballots_of, read_labels, truth_of
from modelyard.extraction.review.corrections import Correction
from modelyard.extraction.review.sheet import Sheet, read_result
from modelyard.extraction.review.truth import Truth
from modelyard.extraction.task import load_task


def test_each_labelled_value_is_a_ballot_of_its_document(tmp_path: Path) -> None:
    path, labels = written(tmp_path)
    sheet = read_result(path)
    found = ballots_of(sheet, read_labels(labels, sheet))
    assert len(found.ballots) == 30 and found.voters == ("a", "b") and found.left_out == ()
    assert all(ballot.settled is not None for ballot in found.ballots)
    done = calibrate(found, repeats=1)
    right = sum(one["fields"]["eps"]["value"] == 1.25 + at for at, one in enumerate(sheet.documents))
    assert done.counts == {"documents": 30, "labels": 30, "right": right}


def test_a_review_is_labels(tmp_path: Path) -> None:
    data, labels = result()
    sheet, path = Sheet(data), tmp_path / "corrections.jsonl"
    rows = []
    for name, value in list(labels.items())[:20]:
        shown = next(one for one in data["documents"] if one["document"] == name)["fields"]["eps"]["value"]
        action = "accept" if shown == value else "reject"
        rows.append(Correction(name, None, "eps", action, shown if action == "accept" else None, shown))  # type: ignore[arg-type]
    path.write_text("".join(one.to_line() for one in rows))
    found = ballots_of(sheet, read_labels(path, sheet))
    assert len(found.ballots) == 20 and found.left_out == ("10 values that no label is about",)
    rejected = [one for one in found.ballots if one.settled is not None and one.right[one.settled] is False]
    assert len(rejected) == sum(one.action == "reject" for one in rows)
    # What is right instead is not known, so nothing is said about the other values.
    assert all(mark in (None, False) for one in rejected for mark in one.right)


def test_labels_without_a_document_are_said(tmp_path: Path) -> None:
    path, labels = written(tmp_path)
    labels.write_text(labels.read_text() + '{"document": "gone.html", "labels": {"eps": 1}}\n')
    sheet = read_result(path)
    assert "gone.html" in ballots_of(sheet, read_labels(labels, sheet)).left_out[0]


def test_an_unresolved_value_is_left_out_and_said() -> None:
    data, labels = result()
    data["documents"][0]["fields"]["eps"] |= {"status": "unresolved", "value": None}
    truth = Truth({(name, "eps"): value for name, value in labels.items()})
    found = ballots_of(Sheet(data), truth)
    assert len(found.ballots) == 29 and "nothing settled" in found.left_out[0]


def test_a_result_without_labels_or_candidates_is_refused(tmp_path: Path) -> None:
    data, labels = result(6)
    with pytest.raises(InvalidArgumentError, match="6 values that no label is about"):
        ballots_of(Sheet(data, "result.json"), Truth())
    for one in data["documents"]:
        one["fields"]["eps"]["candidates"] = []
    truth = Truth({(name, "eps"): value for name, value in labels.items()})
    with pytest.raises(InvalidArgumentError, match="keep no candidates"):
        ballots_of(Sheet(data, "result.json"), truth)


def test_a_field_that_the_result_does_not_have_is_named(tmp_path: Path) -> None:
    path, labels = written(tmp_path)
    labels.write_text('{"document": "d1.html", "labels": {"ebs": 1}}\n')
    sheet = read_result(path)
    with pytest.raises(InvalidArgumentError, match="field 'ebs' is none of"):
        read_labels(labels, sheet)


def test_a_task_labels_its_own_documents() -> None:
    task = load_task("eps_extraction")
    data, _ = result(3)
    names = [one.path for one in task.documents[:3]]
    for one, path in zip(
        data["documents"], (names[0].name, str(names[1]), f"elsewhere/{names[2].name}"), strict=True
    ):
        one["document"] = path
    found = truth_of(task, Sheet(data))
    assert len({name for name, _ in found.labels}) == 3
    with pytest.raises(InvalidArgumentError, match="has no document of task 'eps_extraction'"):
        truth_of(task, Sheet(result(3)[0]))


def test_the_data_hash_changes_with_a_label(tmp_path: Path) -> None:
    path, labels = written(tmp_path)
    sheet = read_result(path)
    first = ballots_of(sheet, read_labels(labels, sheet)).sha256
    rows = [json.loads(line) for line in labels.read_text().splitlines()]
    rows[0]["labels"]["eps"] = 99
    labels.write_text("\n".join(map(json.dumps, rows)))
    assert ballots_of(sheet, read_labels(labels, sheet)).sha256 != first
