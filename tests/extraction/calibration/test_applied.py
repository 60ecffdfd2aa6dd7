"""From extraction to labels to a calibration and back: what was fitted stands in the next result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from modelyard import create_llm, extract
from modelyard.cli.app import app
from modelyard.errors import InvalidArgumentError
from modelyard.extraction.result import Extraction

RIGHT = 40
WRONG = 10
REPLY = {"eps": {"quote": "Earnings per share were 1.20", "value": 1.2}}
SCHEMA = {"name": "figures", "fields": {"eps": "number"}}


def documents(folder: Path) -> Path:
    """Documents that all say 1.20; in the last ones it is another company's."""
    (folder / "docs").mkdir()
    for at in range(RIGHT + WRONG):
        text = f"Document {at}. Earnings per share were 1.20 last quarter."
        (folder / "docs" / f"d{at:02}.txt").write_text(text, "utf-8")
    rows = [
        {"document": f"d{at:02}.txt", "labels": {"eps": 1.2 if at < RIGHT else 7.5}}
        for at in range(RIGHT + WRONG)
    ]
    (folder / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return folder / "docs"


def extracted(folder: Path, **how: object) -> Extraction:
    llm = create_llm("fake", options={"reply": json.dumps(REPLY)})
    return extract(sorted((folder / "docs").iterdir()), schema=SCHEMA, model=llm, voters=1, **how)  # type: ignore[arg-type]


def fitted(folder: Path, *more: str) -> Path:
    documents(folder)
    (folder / "result.json").write_text(json.dumps(extracted(folder).to_dict(text=True)), "utf-8")
    args = [
        "calibrate",
        "result.json",
        "--labels",
        "labels.jsonl",
        "--out",
        "fit.json",
        "--repeats",
        "1",
        *more,
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = CliRunner().invoke(app, args, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return folder / "fit.json"


def test_a_calibrated_confidence_is_the_share_that_was_right(tmp_path: Path) -> None:
    before = fitted(tmp_path)
    fields = [one.fields["eps"] for one in extracted(tmp_path, calibration=before).documents]
    assert {one.confidence_kind for one in fields} == {"calibrated"}
    assert fields[0].confidence == pytest.approx(RIGHT / (RIGHT + WRONG), abs=0.06)


def test_without_a_calibration_the_confidence_says_that_it_is_none(tmp_path: Path) -> None:
    documents(tmp_path)
    assert extracted(tmp_path).documents[0].fields["eps"].confidence_kind == "single_pass"


def test_a_promise_that_cannot_be_kept_accepts_nothing(tmp_path: Path) -> None:
    fields = [
        one.fields["eps"]
        for one in extracted(tmp_path, calibration=fitted(tmp_path, "--max-error", "0.05")).documents
    ]
    assert {one.accepted for one in fields} == {False}


def test_a_promise_that_can_be_kept_accepts(tmp_path: Path) -> None:
    fields = [
        one.fields["eps"]
        for one in extracted(tmp_path, calibration=fitted(tmp_path, "--max-error", "0.4")).documents
    ]
    assert {one.accepted for one in fields} == {True}


def test_a_calibration_of_other_voters_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    fit = fitted(tmp_path)
    llm = create_llm("fake")
    with pytest.raises(InvalidArgumentError, match="was fitted for the voters"):
        extract(sorted((tmp_path / "docs").iterdir()), schema=SCHEMA, model=llm, voters=3, calibration=fit)
