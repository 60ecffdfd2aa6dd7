"""A calibration: probabilities that rise with agreement, kept in a file that is checked when it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.extraction.calibration.ballots import EPS, ballot, drawn, read

from modelyard.errors import InvalidArgumentError
from modelyard.extraction.calibration import Ballots, Calibrated, Calibration, calibrate
from modelyard.extraction.merging.settle import settle
from modelyard.extraction.result import Candidate
from modelyard.extraction.schema import Field

SAID = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([1.0, 2.5, 3.0, None]), st.booleans()),
    min_size=1, max_size=6, unique_by=lambda one: one[0],
)  # fmt: skip


@pytest.fixture(scope="module", params=["logistic", "isotonic"])
def found(request: pytest.FixtureRequest) -> Calibrated:
    return calibrate(drawn(150), method=request.param, repeats=2, max_error=0.4)


def votes(said: list[tuple[str, float | None, bool]]) -> list[Candidate]:
    return [read(who, value, grounded=grounded) for who, value, grounded in said]


@given(said=SAID)
def test_a_confidence_is_a_probability(found: Calibrated, said: list[tuple[str, float | None, bool]]) -> None:
    voting = votes(said)
    chosen = [one for one in voting if one.value == voting[0].value]
    sure = found.calibration.confidence(EPS, chosen, voting)
    assert sure is not None and 0 <= sure <= 1


@given(said=SAID, grounded=st.booleans())
def test_a_voter_that_agrees_never_lowers_it(
    found: Calibrated, said: list[tuple[str, float | None, bool]], grounded: bool
) -> None:
    voting = votes(said)
    chosen = [one for one in voting if one.value == voting[0].value]
    before = found.calibration.confidence(EPS, chosen, voting)
    assert before is not None
    for who in set("abc") - {one.voter for one in voting}:
        further = read(who, voting[0].value, grounded=grounded)
        after = found.calibration.confidence(EPS, [*chosen, further], [*voting, further])
        assert after is not None and after >= before - 1e-12


@given(said=SAID)
def test_the_order_of_candidates_makes_no_difference(
    found: Calibrated, said: list[tuple[str, float | None, bool]]
) -> None:
    voting = votes(said)
    chosen = [one for one in voting if one.value == voting[0].value]
    there, back = (
        found.calibration.confidence(EPS, mine, every)
        for mine, every in ((chosen, voting), (chosen[::-1], voting[::-1]))
    )
    assert there == pytest.approx(back)


def test_with_logprobs_a_surer_vote_counts_more() -> None:
    plain = drawn(150)
    sure = [
        ballot(
            one.document,
            [
                read(c.voter, c.value, grounded=c.grounded, logprob=-0.05 if c.value == 1.0 else -1.0)
                for of in one.groups
                for c in of
            ],
            1.0,
        )
        for one in plain.ballots
    ]
    fitted = calibrate(Ballots(plain.voters, tuple(sure)), repeats=1).calibration
    low, high = (
        fitted.confidence(EPS, [vote], [vote])
        for vote in (read("a", 2.0, logprob=-2.0), read("a", 2.0, logprob=-0.01))
    )
    assert low is not None and high is not None and low < high


def test_agreement_on_the_other_fields_raises_it() -> None:
    pair = [Field("eps", "number"), Field("sales", "number")]
    found = []
    for number in range(80):
        right = number % 2 == 0
        said = [1.0, 1.0, 1.0] if right else [1.0, 2.0, 3.0]
        for field in pair:
            votes = [read(who, value) for who, value in zip("abc", said, strict=True)]
            one = ballot(f"d{number}", votes, 1.0 if right else 9.0, field)
            found.append(one)
    fitted = calibrate(Ballots(("a", "b", "c"), tuple(found)), repeats=1).calibration
    mine = [read("a", 1.0), read("b", 2.0)]
    agreed = [read(who, 5.0) for who in "abc"]
    split = [read(who, value) for who, value in zip("abc", (5.0, 6.0, 7.0), strict=True)]
    with_agreed = fitted.confidence(pair[0], mine[:1], mine, beside=[(pair[1], agreed, agreed)])
    with_split = fitted.confidence(pair[0], mine[:1], mine, beside=[(pair[1], split[:1], split)])
    assert with_agreed is not None and with_split is not None and with_agreed > with_split


def test_what_is_written_is_read_back(found: Calibrated, tmp_path: Path) -> None:
    found.calibration.save(tmp_path / "fit.json")
    again = Calibration.load(tmp_path / "fit.json")
    assert json.dumps(again.to_dict()) == json.dumps(found.calibration.to_dict())
    voting = [read("a", 1.0), read("b", 2.0)]
    assert again.confidence(EPS, voting[:1], voting) == found.calibration.confidence(EPS, voting[:1], voting)
    record = json.loads((tmp_path / "fit.json").read_text())["record"]
    assert record["counts"]["documents"] == 150 and set(record["libraries"]) == {
        "modelyard",
        "numpy",
        "scipy",
    }
    assert set(record["error_bars"]["weights"]) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("version", 99, "key 'version' has value 99"),
        ("kind", "letter", "'kind' is not"),
        ("weights", {}, "key 'weights'"),
        ("weights", {"a": "much"}, "key 'weights'"),
        ("evidence", ["mood"], "key 'evidence'"),
        ("threshold", "high", "key 'threshold'"),
        ("model", {"means": []}, "key 'model'"),
        ("model.slopes", [-1.0] * 9, "slope below zero"),
        ("model.scales", [0.0] * 9, "'scales'"),
        ("model.steps", [[0.1, 0.9], [0.9, 0.1]], "falls"),
    ],
)
def test_a_damaged_file_says_which_key(
    found: Calibrated, tmp_path: Path, key: str, value: Any, said: str
) -> None:
    data = json.loads(json.dumps(found.calibration.to_dict()))
    outer, _, inner = key.partition(".")
    if inner:
        data[outer][inner] = value
    else:
        data[key] = value
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InvalidArgumentError, match=said) as caught:
        Calibration.load(path)
    assert str(path) in caught.value.message and caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "fit.json").write_text(text)
    with pytest.raises(InvalidArgumentError, match="no calibration, or is damaged"):
        Calibration.load(tmp_path / "fit.json")


def test_an_unknown_voter_is_named(found: Calibrated) -> None:
    with pytest.raises(InvalidArgumentError, match=r"voter 'z'.*a, b, c"):
        found.calibration.confidence(EPS, [read("z", 1.0)], [read("z", 1.0)])


def test_nobody_voting_gives_no_confidence(found: Calibrated) -> None:
    assert found.calibration.confidence(EPS, [], []) is None


def test_applied_to_a_document_values_are_calibrated_and_accepted_or_not(found: Calibrated) -> None:
    sure = settle(EPS, [read(who, 1.0) for who in "abc"])
    torn = settle(EPS, [read("a", 1.0), read("b", 2.0)])
    failed = settle(EPS, [Candidate("a", "d", None, "failed")])
    done = found.calibration.apply({"eps": sure, "torn": torn, "failed": failed}, [EPS])
    assert done["eps"].confidence_kind == "calibrated" and done["eps"].accepted is not None
    assert done["eps"].confidence == found.calibration.confidence(EPS, sure.candidates, sure.candidates)
    assert torn.status == "unresolved" and done["torn"] == torn and done["failed"] == failed


def test_acceptance_follows_the_threshold(found: Calibrated) -> None:
    threshold = found.calibration.threshold
    assert threshold is not None
    assert found.calibration.accepts(threshold) and not found.calibration.accepts(threshold - 1e-9)
    assert calibrate(drawn(30), repeats=1).calibration.accepts(0.99) is None
    impossible = calibrate(drawn(30), repeats=1, max_error=0.001).calibration
    assert impossible.threshold is None and impossible.accepts(1.0) is False


def test_isotonic_is_for_many_labels() -> None:
    assert calibrate(drawn(100), repeats=1).calibration.method == "logistic"
    assert calibrate(drawn(500, fields=2), repeats=1).calibration.method == "isotonic"


def test_too_few_documents_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="4 labelled documents are too few"):
        calibrate(drawn(4))


def test_values_that_are_all_right_are_refused() -> None:
    same = [ballot(f"d{number}", [read("a", 1.0)], 1.0) for number in range(10)]
    with pytest.raises(InvalidArgumentError, match="all 10 labelled values are right"):
        calibrate(Ballots(("a",), tuple(same)))


def test_confidences_outside_of_the_fit_are_close_to_the_truth() -> None:
    found = calibrate(drawn(600), repeats=2)
    assert found.figures["ece"]["value"] < 0.05 and found.figures["auroc"]["value"] > 0.7
