"""Held to figures: votes on clinical trials, confidences of values outside of the fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.extraction.calibration import Calibrated, calibrate
from modelyard.extraction.calibration.recorded import Recorded, read_recorded

DATA = Path(__file__).parent / "rct_votes"
LEAST_AUROC = {
    ("mistral7B", "gemma7B", "gpt35"): 0.82,
    ("gpt4", "gpt35", "mistral7B"): 0.70,
    ("mistral7B", "gemma7B", "olmo7B"): 0.76,
}


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return read_recorded(DATA / "votes.jsonl", DATA / "articles")


@pytest.fixture(scope="module", params=LEAST_AUROC, ids=" ".join)
def found(request: pytest.FixtureRequest, recorded: Recorded) -> Calibrated:
    return calibrate(recorded.ballots(request.param))


def test_confidence_means_what_it_says(found: Calibrated) -> None:
    assert found.figures["ece"]["value"] <= 0.08


def test_right_values_are_ranked_above_wrong_ones(found: Calibrated) -> None:
    assert found.figures["auroc"]["value"] >= LEAST_AUROC[found.voters]


def test_the_accepted_half_is_better_than_that_of_raw_agreement(found: Calibrated) -> None:
    assert found.figures["accepted_half"]["value"] > found.figures["accepted_half_raw"]["value"]


def test_the_merged_answer_is_no_worse_than_its_best_voter_by_two_points(found: Calibrated) -> None:
    best = found.figures["voters"][found.figures["best_voter"]]
    assert found.figures["accuracy"]["value"] >= best - 0.02


def test_a_weak_voter_cannot_outvote_a_strong_one(recorded: Recorded) -> None:
    weights = calibrate(recorded.ballots(("gpt4", "gpt35", "olmo7B")), repeats=1).calibration.weights
    assert weights["gpt4"] > weights["gpt35"] + weights["olmo7B"]


def test_the_same_seed_gives_the_same_figures(recorded: Recorded) -> None:
    ballots = recorded.ballots(("gpt4", "gpt35", "mistral7B"))
    first, again, other = (calibrate(ballots, repeats=2, seed=seed).to_dict() for seed in (3, 3, 4))
    assert first == again and first["figures"] != other["figures"]


def test_everything_is_counted(found: Calibrated) -> None:
    assert found.counts["documents"] == 25 and found.counts["labels"] == 340
    assert found.left_out == ()
