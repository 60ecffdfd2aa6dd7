"""Settle: the order of settlement, each way alone, and what holds for any candidates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.extraction.merging.equality import same_value
from modelyard.extraction.merging.rules import MergeRules
from modelyard.extraction.merging.settle import settle
from modelyard.extraction.result import Candidate, FieldResult
from modelyard.extraction.schema import Field

EPS = Field("eps", "number")
STRATEGIES = ("auto", "agreement", "priority", "logprob", "llm")


def read(
    voter: str, value: Any, document: str = "d.txt", *, grounded: bool = True, logprob: float | None = None
) -> Candidate:
    if value is None:
        return Candidate(voter, document, None, "not_found", logprob=logprob)
    quote = f"{value} as {voter} has it"
    if not grounded:
        return Candidate(voter, document, value, "ungrounded", quote, logprob=logprob)
    return Candidate(voter, document, value, "found", quote, 3, 3 + len(quote), "exact", "page 1", logprob)


def merged(*candidates: Candidate, **rules: Any) -> FieldResult:
    return settle(EPS, candidates, MergeRules(**rules))


# -- for any candidates -----------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


def _candidates(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Candidate]]:
    one = st.builds(
        Candidate,
        voter=st.sampled_from(["a", "b", "c", "d"]),
        document=st.sampled_from(["headline.txt", "statement.txt", "other.txt"]),
        value=values,
        status=st.sampled_from(["found", "ungrounded", "not_found", "unreadable", "failed"]),
        quote=st.none() | st.text(max_size=5),
        start=st.none() | st.integers(0, 9),
        logprob=st.none() | st.floats(-9, 0),
        weight=st.sampled_from([0.5, 1.0, 2.0]),
        abstains=st.booleans(),
    )
    return st.lists(one, max_size=8)


RULES = st.builds(
    MergeRules,
    strategy=st.sampled_from(STRATEGIES),
    priority=st.sampled_from([{}, {"*": ("statement*", "head*")}]),
    margin=st.sampled_from([0.0, 0.2, 1.0]),
    tolerance=st.sampled_from([0.0, 0.5]),
    weights=st.sampled_from([{}, {"a": 3.0, "b": 0.0}]),
)
NUMBERS = st.sampled_from([None, 1, 1.0, 1.5, 2, -3.25])


@settings(max_examples=300)
@given(_candidates(NUMBERS), RULES, st.randoms())
def test_the_order_of_the_candidates_makes_no_difference(
    candidates: list[Candidate], rules: MergeRules, random: Any
) -> None:
    found = settle(EPS, candidates, rules)
    random.shuffle(candidates)
    assert repr(settle(EPS, candidates, rules)) == repr(found)


@settings(max_examples=200)
@given(_candidates(JSON), RULES, st.sampled_from([EPS, Field("x", "string"), Field("x", "array")]))
def test_no_value_crashes_it_and_every_candidate_is_kept(
    candidates: list[Candidate], rules: MergeRules, field: Field
) -> None:
    found = settle(field, candidates, rules)
    assert len(found.candidates) == len(candidates)
    assert found.reason and found.reason.endswith(".") and "\n" not in found.reason
    assert found.confidence is None or 0 <= found.confidence <= 1


@given(
    st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=1, max_size=6),
    st.sampled_from([None, 1.27]),
    st.sampled_from(STRATEGIES),
    st.booleans(),
)
def test_merging_equal_answers_changes_nothing(
    voters: list[str], value: float | None, strategy: Any, grounded: bool
) -> None:
    one = replace(read("best", value, grounded=grounded), logprob=-0.01)
    poorer = [replace(one, voter=voter, quote="other", start=None, logprob=-0.5) for voter in voters]
    alone, together = merged(one, strategy=strategy), merged(one, *poorer, strategy=strategy)
    for name in ("value", "quote", "start", "end", "document", "method", "where", "status"):
        assert getattr(together, name) == getattr(alone, name) == getattr(one, name)
    again = merged(one, one, one, strategy=strategy)
    assert replace(again, candidates=alone.candidates) == alone


@settings(max_examples=400)
@given(_candidates(NUMBERS), RULES, _candidates(st.just(0)).filter(bool))
def test_confidence_never_falls_when_a_voter_agrees_with_the_merged_value(
    candidates: list[Candidate], rules: MergeRules, further: list[Candidate]
) -> None:
    rules = replace(rules, tolerance=0.0)
    candidates = [replace(one, value=None) if one.status == "not_found" else one for one in candidates]
    before = settle(EPS, candidates, rules)
    if before.confidence is None:
        return
    status: Any = "found" if before.value is not None else "not_found"
    start = further[0].start if before.value is not None else None
    new = replace(
        further[0], voter="new", value=before.value, status=status, start=start, logprob=-8.0, abstains=False
    )
    after = settle(EPS, [*candidates, new], rules)
    assert same_value(EPS, after.value, before.value)
    assert after.confidence is not None and after.confidence >= before.confidence - 1e-12


# -- the order of settlement ------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_where_all_agree_there_is_nothing_to_settle(strategy: Any) -> None:
    found = merged(read("a", 1.27), read("b", "$1.27"), read("c", 1.270), strategy=strategy)
    assert (found.strategy, found.confidence_kind) == ("equal", "formula")
    assert found.reason == "All 3 voters (a, b, c) read 1.27."


def test_one_voter_alone_is_said_to_be_alone() -> None:
    found = merged(read("a", 1.27))
    assert (found.strategy, found.confidence_kind) == ("single", "single_pass")
    assert found.reason == "Only a reads 1.27, in d.txt."


def test_a_grounded_value_goes_over_more_votes_without_a_quote() -> None:
    found = merged(read("a", 1.3, grounded=False), read("b", 1.3, grounded=False), read("c", 1.27))
    assert (found.value, found.strategy) == (1.27, "grounding")
    assert found.reason == "1 of 3 voters (c) reads 1.27; no quote for 1.3 is in the text."


def test_not_given_has_nothing_to_ground_and_is_not_dropped_for_it() -> None:
    found = merged(read("a", None), read("b", None), read("c", 1.27))
    assert (found.value, found.status, found.strategy) == (None, "not_found", "margin")


def test_the_first_document_of_the_list_that_gives_a_value_decides() -> None:
    rules = {"priority": {"eps": ["release*", "annual*"], "*": ["other*"]}}
    votes = [read("a", 1.3, "other.html"), read("b", 1.3, "other.html"), read("a", 1.27, "annual.html")]
    found = merged(*votes, read("a", None, "release.html"), **rules)
    assert (found.value, found.strategy, found.document) == (1.27, "priority", "annual.html")
    assert found.reason == (
        "Of the documents annual.html stands first for eps, and there only a reads 1.27, in annual.html, not 1.3; "
        "1 reading finds no value in release.html, which is no objection."
    )


def test_a_list_that_names_all_documents_leaves_it_to_the_margin() -> None:
    found = merged(read("a", 1.3), read("b", 1.27), read("c", 1.27), priority=["*"])
    assert (found.value, found.strategy) == (1.27, "margin")


def test_two_of_three_and_three_of_five_are_enough_and_one_of_two_is_not() -> None:
    two, three = [read("a", 1.27), read("b", 1.27)], [read("c", 1.3), read("d", 1.3)]
    assert merged(*two, three[0]).reason == "2 of 3 voters (a, b) read 1.27, 33 points ahead of 1.3."
    assert merged(*two, read("e", 1.27), *three).strategy == "margin"
    assert merged(two[0], three[0]).strategy == "unresolved"


def test_what_nothing_settles_has_no_value_and_every_candidate() -> None:
    found = merged(read("a", 1.27), read("b", 1.3))
    assert (found.value, found.quote, found.status, found.confidence) == (None, None, "unresolved", None)
    assert (
        found.reason
        == "1 of 2 voters (a) reads 1.27 and 1 of 2 voters (b) reads 1.3; the best supported are level."
    )
    assert len(found.candidates) == 2


def test_a_lead_below_the_margin_is_told_with_both() -> None:
    votes = [read("a", 1.27), read("b", 1.27), read("c", 1.3)]
    assert "a lead of 33 points is less than the margin of 50 points" in (
        merged(*votes, margin=0.5).reason or ""
    )


# -- who votes --------------------------------------------------------------------------------------------


def test_who_abstains_failed_or_cannot_be_read_is_kept_and_does_not_vote() -> None:
    out = [
        Candidate("b", "d.txt", None, "failed"),
        Candidate("c", "d.txt", None, "unreadable"),
        Candidate("d", "cover.txt", None, "not_found", abstains=True),
    ]
    found = merged(read("a", 1.27), *out)
    assert (found.value, found.strategy, len(found.candidates)) == (1.27, "single", 4)
    assert found.reason == (
        "Only a reads 1.27, in d.txt; 1 answer could not be read; 1 answer failed; "
        "the field cannot occur in cover.txt."
    )


def test_a_greedy_rerun_is_no_second_voter() -> None:
    found = merged(*[read("a", 1.27)] * 5, read("b", 1.3))
    assert found.strategy == "unresolved"


def test_a_document_that_does_not_give_it_is_no_objection_to_one_that_does() -> None:
    silent = [read(voter, None, "headline.txt") for voter in "abc"]
    found = merged(*silent, read("a", 1.27, "statement.txt"))
    assert (found.value, found.document) == (1.27, "statement.txt")
    assert found.confidence == merged(read("a", 1.27, "statement.txt")).confidence


def test_an_invented_value_elsewhere_does_not_silence_a_document() -> None:
    silent = [read(voter, None, "headline.txt") for voter in "abc"]
    found = merged(*silent, read("a", 1.27, "statement.txt", grounded=False))
    assert found.value is None


@pytest.mark.parametrize(
    ("candidates", "status"),
    [
        ([], "failed"),
        ([Candidate("a", "d", None, "failed")], "failed"),
        ([Candidate("a", "d", None, "failed"), Candidate("b", "d", None, "unreadable")], "unreadable"),
        ([Candidate("a", "d", None, "not_found", abstains=True)], "not_found"),
    ],
)
def test_where_nobody_votes_the_status_says_why(candidates: list[Candidate], status: str) -> None:
    found = merged(*candidates)
    assert (found.value, found.status, found.confidence, found.strategy) == (None, status, None, "none")
    assert found.reason


def test_weights_of_the_rules_go_over_those_of_the_candidates() -> None:
    votes = [read("a", 1.27), read("b", 1.3), read("c", 1.3)]
    found = merged(*votes, weights={"a": 4.0})
    assert (found.value, found.strategy) == (1.27, "margin")
    assert found.reason == "1 of 3 voters (a) with 67% of the weight reads 1.27, 33 points ahead of 1.3."
    assert {one.voter: one.weight for one in found.candidates} == {"a": 4.0, "b": 1.0, "c": 1.0}


# -- each way alone ---------------------------------------------------------------------------------------


def test_agreement_alone_takes_the_most_votes_grounded_or_not() -> None:
    votes = [read("a", 1.3, grounded=False), read("b", 1.3, grounded=False), read("c", 1.27)]
    found = merged(*votes, strategy="agreement")
    assert (found.value, found.strategy, found.status) == (1.3, "agreement", "ungrounded")


def test_priority_alone_needs_a_list() -> None:
    found = merged(read("a", 1.3), read("b", 1.27), strategy="priority")
    assert "there is no priority list for eps" in (found.reason or "")


def test_logprob_alone_takes_the_surest_vote() -> None:
    votes = [read("a", 1.3, logprob=-0.2), read("b", 1.3, logprob=-0.9), read("c", 1.27, logprob=-0.1)]
    found = merged(*votes, strategy="logprob")
    assert (found.value, found.strategy) == (1.27, "logprob")
    assert found.reason == (
        "The surest vote for 1.27 has a mean logprob of -0.100, against -0.200 for 1.3; 1 of 3 voters (c) reads 1.27."
    )


def test_logprob_alone_settles_nothing_without_logprobs() -> None:
    found = merged(read("a", 1.3), read("b", 1.27), strategy="logprob")
    assert "no candidate has a logprob" in (found.reason or "")


def test_the_quote_is_of_the_document_that_decided() -> None:
    votes = [
        read("a", 1.27, "statement.txt", logprob=-0.5),
        read("a", 1.27, "other.txt", logprob=-0.1),
        read("b", 1.3, "other.txt"),
    ]
    found = merged(*votes, priority=["statement*"])
    assert (found.strategy, found.document, found.start) == ("priority", "statement.txt", 3)
