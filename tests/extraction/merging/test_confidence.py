"""Confidence: what the formula promises, for any votes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.extraction.merging.confidence import formula
from modelyard.extraction.merging.support import support
from modelyard.extraction.result import Candidate


def read(voter: str, value: Any, *, logprob: float | None = -0.01, grounded: bool = True) -> Candidate:
    at = 0 if grounded and value is not None else None
    return Candidate(voter, "d", value, "not_found" if value is None else "found", start=at, logprob=logprob)


def sure(chosen: list[Candidate], *others: Candidate) -> float:
    found = formula(None, chosen, [*chosen, *others]).value
    assert found is not None
    return found


CANDIDATES = st.builds(
    lambda value, logprob, grounded, weight, document: replace(
        read("", value, logprob=logprob, grounded=grounded), weight=weight, document=document
    ),
    st.sampled_from([None, 1, 2, 3]),
    st.none() | st.floats(-50, 0),
    st.booleans(),
    st.floats(0, 5),
    st.sampled_from(["d", "e"]),
)
VOTERS = st.lists(CANDIDATES, max_size=7).map(
    lambda all_: [replace(one, voter=f"v{at}") for at, one in enumerate(all_)]
)

THREE = [read(voter, 1.27) for voter in "abc"]


@given(VOTERS)
def test_three_agreeing_grounded_voters_give_the_highest_value_there_is(voting: list[Candidate]) -> None:
    chosen = [one for one in voting if one.value == 1]
    if chosen:
        assert 0 <= sure(chosen, *[one for one in voting if one.value != 1]) <= sure(THREE) < 1


@given(VOTERS, st.sampled_from([None, 1, 2, 3]), CANDIDATES)
def test_confidence_never_falls_when_a_further_voter_agrees(
    voting: list[Candidate], value: int | None, further: Candidate
) -> None:
    chosen = [one for one in voting if one.value == value]
    others = [one for one in voting if one.value != value]
    if chosen:
        new = replace(further, voter="new", value=value, start=further.start if value else None)
        assert sure([*chosen, new], *others) >= sure(chosen, *others) - 1e-12


@given(VOTERS, CANDIDATES)
def test_confidence_never_rises_when_a_further_voter_disagrees(
    voting: list[Candidate], further: Candidate
) -> None:
    chosen = [one for one in voting if one.value == 1]
    others = [one for one in voting if one.value != 1]
    if chosen and further.value != 1:
        assert sure(chosen, *others, replace(further, voter="new")) <= sure(chosen, *others) + 1e-12


def test_each_thing_that_speaks_for_a_value_raises_its_confidence() -> None:
    one = [read("a", 1.27)]
    assert sure(one) < sure(THREE[:2]) < sure(THREE)
    assert sure([read("a", 1.27, grounded=False)]) < sure(one)
    assert sure([read("a", 1.27, logprob=-2.0)]) < sure(one)
    assert sure(THREE, read("d", 1.3)) < sure(THREE)
    assert sure(THREE[:2], read("d", 1.3, grounded=False)) > sure(THREE[:2], read("d", 1.3))


def test_without_logprobs_the_term_is_dropped() -> None:
    assert sure([read("a", 1.27, logprob=None)]) == sure([read("a", 1.27, logprob=0.0)])
    ungrounded = sure([read("a", 1.27, logprob=None, grounded=False)])
    assert sure([read("a", 1.27, logprob=-9.0, grounded=False)]) < ungrounded < sure([read("a", 1.27)])


def test_one_voter_is_marked_as_a_single_pass_however_often_it_is_asked() -> None:
    again = [read("a", 1.27)] * 3
    assert formula(None, again, again) == formula(None, again[:1], again[:1])
    assert formula(None, again, again).kind == "single_pass"
    assert formula(None, THREE[:2], THREE[:2]).kind == "formula"


def test_there_is_no_confidence_where_nobody_votes() -> None:
    failed = [Candidate("a", "d", None, "failed"), Candidate("b", "d", None, "not_found", abstains=True)]
    assert formula(None, [], failed) == (None, None)


def test_that_nobody_finds_a_value_has_a_confidence_of_its_own() -> None:
    nobody = [read(voter, None) for voter in "ab"]
    assert sure(nobody) == pytest.approx(16 / 17)
    assert support(nobody, nobody).grounded is None


def test_a_voter_that_contradicts_itself_has_one_vote_in_parts() -> None:
    torn = [read("a", 1.27), read("a", 1.3)]
    found = support(torn[:1], [*torn, read("b", 1.27)][:2])
    assert (found.voters, found.agreeing, found.agreement, found.runner_up) == (1, 1, 0.5, 0.5)


def test_support_tells_shares_by_weight_and_means_over_votes() -> None:
    a, b = read("a", 1, logprob=-0.2), read("b", 1, logprob=None, grounded=False)
    c = replace(read("c", 2), weight=2.0)
    found = support([a, b], [c, b, Candidate("x", "d", None, "unreadable"), a])
    assert (found.voters, found.agreeing, found.agreement, found.runner_up) == (3, 2, 0.5, 0.5)
    assert (found.logprob, found.grounded) == (-0.2, 0.5)
