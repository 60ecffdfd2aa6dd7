"""`calibrate`: what it prints and writes, and what goes wrong without a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.extraction.calibration.results import written
from typer.testing import CliRunner

from modelyard.cli.calibrate import calibrate
from modelyard.errors import InvalidArgumentError
from modelyard.extraction.calibration import Calibration

DATA = Path(__file__).parents[1] / "extraction/calibration/rct_votes"
VOTES = ("--votes", str(DATA / "votes.jsonl"), "--articles", str(DATA / "articles"))
Run = Callable[..., Any]


@pytest.fixture
def run() -> Run:
    app = typer.Typer()
    app.command()(calibrate)

    def call(*args: str | Path) -> str:
        done = CliRunner().invoke(app, [str(one) for one in args], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return call


def test_several_voter_sets_stand_in_one_table(run: Run) -> None:
    said = run(*VOTES, "--voters", "gpt4,gpt35", "--voters", "mistral7B,olmo7B", "--repeats", "2")
    head = next(line for line in said.splitlines() if line.strip().startswith("figure "))
    assert "gpt4, gpt35" in head and "mistral7B, olmo7B" in head
    for word in ("ECE", "AUROC", "Brier", "best voter", "accepted half", "by raw agreement", "340 in 25"):
        assert word in said


def test_one_set_shows_its_evidence_curve_and_bins(run: Run) -> None:
    said = run(*VOTES, "--voters", "gpt4,gpt35,mistral7B", "--repeats", "1", "--max-error", "0.05")
    for word in ("beside agreement", "from confidence", "all repeats", "cannot be promised", "59 documents"):
        assert word in said


def test_json_has_the_data_of_both_drawings(run: Run) -> None:
    (found,) = json.loads(run(*VOTES, "--voters", "gpt4,gpt35", "--repeats", "1", "--json"))
    assert set(found["curve"]) == {"coverage", "accuracy", "threshold"} and found["reliability"]["bins"]
    assert found["figures"]["auroc"]["interval"][0] < found["figures"]["auroc"]["value"]
    assert found["calibration"]["record"]["data_sha256"]


def test_a_result_with_labels_writes_a_calibration(run: Run, tmp_path: Path) -> None:
    result, labels = written(tmp_path)
    said = run(result, "--labels", labels, "--out", tmp_path / "fit.json", "--repeats", "1")
    assert str(tmp_path / "fit.json") in said
    assert set(Calibration.load(tmp_path / "fit.json").weights) == {"a", "b"}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "either a result or recorded votes"),
        (("result.json",), "either --labels or --task"),
        (
            ("result.json", "--labels", "labels.jsonl", "--task", "eps_extraction"),
            "either --labels or --task",
        ),
        (("result.json", "--voters", "a"), "--voters has no meaning with a result"),
        ((*VOTES, "--labels", "labels.jsonl"), "--labels has no meaning with --votes"),
        ((*VOTES, "--voters", "gpt4", "--voters", "gpt35", "--out", "fit.json"), "there are 2 voter sets"),
        ((*VOTES, "--voters", "gtp4"), "Did you mean 'gpt4'"),
        ((*VOTES, "--voters", "gpt4", "--max-error", "5"), "max_error has value 5.0"),
        ((*VOTES, "--voters", "gpt4", "--out", "/nowhere/fit.json"), "there is no folder"),
    ],
)
def test_a_mistake_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], said: str
) -> None:
    written(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidArgumentError, match=said):
        run(*args)
