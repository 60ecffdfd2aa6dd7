"""Recorded votes: what is read of them, what is left out, and mistakes named by file, line and key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import InvalidArgumentError
from modelyard.extraction.calibration.recorded import read_recorded

ROW: dict[str, Any] = {
    "document": "trial",
    "item": "1",
    "outcome": "nausea",
    "drug": "aspirin",
    "gold": {"drug_events": 3.0, "placebo_events": None},
    "votes": {
        "a": {"drug_events": 3.0, "placebo_events": None},
        "b": {"drug_events": 7.0, "placebo_events": 3.0},
    },
}
TEXT = "We saw 3 patients fall.\nWith aspirin 3 had nausea.\nOf all 7% were male."


@pytest.fixture
def votes(tmp_path: Path) -> Path:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/trial.md").write_text(TEXT)
    return write(tmp_path, ROW)


def write(folder: Path, *rows: object) -> Path:
    path = folder / "votes.jsonl"
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def changed(**keys: Any) -> dict[str, Any]:
    return {key: value for key, value in {**ROW, **keys}.items() if value is not ...}


def test_a_value_is_quoted_by_the_line_that_names_its_field(votes: Path) -> None:
    drug, placebo = read_recorded(votes, votes.parent / "texts").ballots(["a", "b"]).ballots
    (right,) = [of[0] for of, mark in zip(drug.groups, drug.right, strict=True) if mark]
    assert right.quote == "With aspirin 3 had nausea." and TEXT[right.start : right.end] == right.quote
    assert drug.field.description == "aspirin nausea" and placebo.field.description == "nausea"


def test_a_vote_of_null_is_a_vote(votes: Path) -> None:
    _, placebo = read_recorded(votes).ballots(["a", "b"]).ballots
    assert {of[0].value: mark for of, mark in zip(placebo.groups, placebo.right, strict=True)} == {
        None: True,
        3.0: False,
    }


def test_only_the_named_voters_vote(votes: Path) -> None:
    found = read_recorded(votes).ballots(["b"])
    assert {one.voter for ballot in found.ballots for of in ballot.groups for one in of} == {"b"}


def test_what_is_left_out_is_said(tmp_path: Path, votes: Path) -> None:
    assert "no texts" in read_recorded(votes).ballots(["a"]).left_out[0]
    part = changed(document="other", votes={"a": {"drug_events": 3.0}, "b": {}})
    found = read_recorded(write(tmp_path, ROW, part), tmp_path / "texts").ballots(["a", "b"])
    assert found.left_out == (
        "1 values that none of these voters says anything about",
        "1 votes that are not recorded; the others vote alone",
        f"the grounding of 1 documents without a text in {tmp_path / 'texts'}: other",
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "is no JSON object"),
        (changed(document=...), "has no 'document'"),
        (changed(document=7), "'document' is 7"),
        (changed(gold=..., golds={}), "has no 'gold'. Did you mean 'golds'"),
        (changed(gold={}), "'gold' is {}"),
        (changed(votes=[]), "'votes' is []"),
        (changed(votes={"a": 3}), "'votes' of 'a' is 3"),
        (changed(votes={"a": {"drug_event": 3}}), "field 'drug_event'.*Did you mean 'drug_events'"),
    ],
)
def test_a_mistake_is_named_by_file_line_and_key(tmp_path: Path, row: object, said: str) -> None:
    path = write(tmp_path, ROW, row)
    with pytest.raises(InvalidArgumentError, match=said.replace("[]", r"\[\]")) as caught:
        read_recorded(path)
    assert caught.value.message.startswith(f"{path}:2: ") and caught.value.hint


def test_an_unknown_voter_is_named(votes: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="no voter 'c'"):
        read_recorded(votes).ballots(["a", "c"])
    with pytest.raises(InvalidArgumentError, match="'a' is named twice"):
        read_recorded(votes).ballots(["a", "a"])


def test_a_folder_without_the_texts_is_refused(tmp_path: Path, votes: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="has no text of any document"):
        read_recorded(votes, tmp_path)
    with pytest.raises(InvalidArgumentError, match="is no folder"):
        read_recorded(votes, tmp_path / "nowhere")


def test_an_empty_or_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="has no rows"):
        read_recorded(write(tmp_path))
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        read_recorded(tmp_path / "nothing.jsonl")
