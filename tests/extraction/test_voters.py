"""Voters and the panel: who is asked what, how replies become candidates, and what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard import create_llm, extract
from modelyard.errors import InvalidArgumentError
from modelyard.extraction.asking.keep import Answers
from modelyard.extraction.asking.reading import read_object, value_logprob
from modelyard.extraction.asking.voters import DEFAULT, read_voters
from modelyard.extraction.documents import read_text
from modelyard.extraction.merging.rules import MergeRules
from modelyard.extraction.result import DocumentResult
from modelyard.extraction.schema import read_schema
from modelyard.extraction.task import Example, Task, task_of
from modelyard.types import Token

SCHEMA = {
    "fields": {"eps": {"type": "number", "description": "earnings per share of the most recent quarter"}}
}
TEXT = """Three Months Ended March 31,
2024 2023
Revenue 1,200 1,100
Earnings per share $ ( 0.41 ) $ 0.34
"""
LINE = "Earnings per share | Three Months Ended March 31, 2024: $ ( 0.41 )"


def replying(reply: Any) -> Any:
    return create_llm("fake", options={"reply": reply if isinstance(reply, str) else json.dumps(reply)})


def read(reply: Any, text: str = TEXT, **how: Any) -> DocumentResult:
    (found,) = extract(read_text(text, "a.txt"), model=replying(reply), **{"schema": SCHEMA, **how}).documents
    return found


# -- names -----------------------------------------------------------------------------------------


def test_three_voters_read_different_things_or_in_another_order() -> None:
    assert read_voters(3) == DEFAULT
    assert len(set(DEFAULT)) == 3


def test_more_voters_than_ways_are_samples_with_seeds_of_their_own() -> None:
    voters = read_voters("7")
    assert len(set(voters)) == 7
    assert [one.temperature > 0 for one in voters] == [False] * 3 + [True] * 4


def test_names_are_read_and_written_alike() -> None:
    given = ["passages", "evidence-backwards#3", "evidence@gemma3-270m", "passages#1@org/model"]
    assert [one.name for one in read_voters(",".join(given))] == given


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("passage", "Did you mean 'passages'"),
        ("evidence,evidence", "named twice"),
        (0, "voters is 0"),
        (33, "voters is 33"),
        ("", "no voter is called ''"),
    ],
)
def test_a_wrong_voter_is_named(given: Any, said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        read_voters(given)


@given(st.text(max_size=30))
def test_any_name_is_read_or_refused(given: str) -> None:
    try:
        voters = read_voters(given)
    except InvalidArgumentError:
        return
    assert voters


# -- evidence --------------------------------------------------------------------------------------


def test_the_value_of_a_picked_line_is_the_one_that_stands_there_with_its_sign() -> None:
    found = read({"eps": {"quote": LINE, "value": 0.41}}, voters="evidence")
    eps = found.fields["eps"]
    assert (eps.value, eps.status) == (-0.41, "found")
    assert found.text[eps.start : eps.end] == eps.quote == "Earnings per share $ ( 0.41 ) $ 0.34"


def test_a_model_that_picks_no_line_has_not_found_the_field() -> None:
    assert (
        read({"eps": {"quote": None, "value": None}}, voters="evidence").fields["eps"].status == "not_found"
    )


def test_a_document_that_cannot_hold_the_field_abstains() -> None:
    (candidate,) = read("never asked", "Nothing of the kind.", voters="evidence").fields["eps"].candidates
    assert (candidate.abstains, candidate.votes) == (True, False)


def test_voters_that_read_different_things_are_merged_and_all_of_them_kept() -> None:
    eps = read({"eps": {"quote": LINE, "value": -0.41}}).fields["eps"]
    assert eps.value == -0.41
    assert {one.voter for one in eps.candidates} == {"passages", "evidence", "evidence-backwards"}
    assert eps.confidence is not None
    assert eps.strategy is not None
    assert eps.reason


def test_one_voter_alone_is_marked_as_a_single_pass() -> None:
    assert (
        read({"eps": {"quote": LINE, "value": -0.41}}, voters=1).fields["eps"].confidence_kind
        == "single_pass"
    )


# -- modes -----------------------------------------------------------------------------------------


def test_a_free_reply_is_read_out_of_the_words_around_it() -> None:
    reply = 'Here you are:\n```json\n{"eps": {"quote": "Earnings per share $ ( 0.41 )", "value": -0.41}}\n```\nGood luck!'
    assert read(reply, voters=1, mode="free").fields["eps"].value == -0.41


def test_a_free_reply_without_an_object_is_unreadable_and_said() -> None:
    found = read("I do not know.", voters=1, mode="free")
    assert found.fields["eps"].status == "unreadable"
    assert "the reply is no JSON object" in found.warnings


def test_an_extractive_value_that_is_not_in_its_quote_is_none() -> None:
    reply = {"eps": {"quote": "Revenue 1,200 1,100", "value": 0.5}}
    assert read(reply, voters=1).fields["eps"].value == 0.5
    assert read(reply, voters=1, mode="extractive").fields["eps"].value is None


def test_a_draft_is_asked_for_before_the_answer_where_that_is_the_mode() -> None:
    reply = {"eps": {"quote": "Earnings per share $ ( 0.41 )", "value": -0.41}}
    plain, drafted = (read(reply, voters=1, mode=mode) for mode in ("constrained", "free-then-constrained"))
    assert drafted.fields["eps"].value == -0.41
    assert drafted.replies[0].prompt_tokens > 1.5 * plain.replies[0].prompt_tokens


def test_an_unknown_mode_is_named() -> None:
    with pytest.raises(InvalidArgumentError, match="constrained"):
        read("{}", mode="constraint")


def test_what_was_shown_as_an_example_is_no_answer_about_the_document() -> None:
    task = Task(
        "eps", read_schema(SCHEMA), examples=(Example("Loss of 9.99 a share.", {"eps": {"quote": "Loss of 9.99 a share.", "value": 9.99}}),)
    )  # fmt: skip
    found = read({"eps": {"quote": "Loss of 9.99 a share.", "value": 9.99}}, voters=1, schema=None, task=task)
    assert found.fields["eps"].value is None
    assert any("example of the prompt" in one for one in found.warnings)


# -- replies ---------------------------------------------------------------------------------------


@given(st.text(max_size=200), st.booleans())
def test_any_reply_is_an_object_or_none(reply: str, free: bool) -> None:
    assert read_object(reply, free=free) is None or isinstance(read_object(reply, free=free), dict)


VALUES = st.one_of(
    st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=12), st.none()
)


@given(st.dictionaries(st.text(max_size=8), st.tuples(st.text(max_size=12), VALUES), min_size=1, max_size=4))
def test_the_probability_is_that_of_the_value_and_of_nothing_around_it(
    fields: dict[str, tuple[str, Any]],
) -> None:
    data = {name: {"quote": quote, "value": value} for name, (quote, value) in fields.items()}
    reply = json.dumps(data, ensure_ascii=False)
    tokens = [Token(part, 0, -float(at), at, at + 1) for at, part in enumerate(reply)]
    for name, (_, value) in fields.items():
        found = value_logprob(reply, tokens, name)
        written = json.dumps(value, ensure_ascii=False)
        assert found is not None
        # The mean of consecutive numbers is half of the first and the last.
        first = -found - (len(written) - 1) / 2
        assert reply[round(first) : round(first) + len(written)] == written


def test_without_probabilities_there_is_none() -> None:
    tokens = [Token('{"n":1}', None, None, 0, 7)]
    assert value_logprob('{"n":1}', tokens, "n", None) is None


# -- kept ------------------------------------------------------------------------------------------


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    store = tmp_path / "answers.sqlite"
    first = read({"eps": {"quote": LINE, "value": -0.41}}, store=store)
    again = read("no model is asked this", store=store)
    assert [one.kept for one in first.replies] == [False] * 3
    assert [one.kept for one in again.replies] == [True] * 3
    assert again.fields == first.fields


def test_another_question_or_another_document_is_asked(tmp_path: Path) -> None:
    store = tmp_path / "answers.sqlite"
    read({"eps": {"quote": LINE, "value": -0.41}}, store=store, voters=1)
    read({"eps": {"quote": LINE, "value": -0.41}}, store=store, voters=1, text=TEXT + "More.")
    read({"eps": {"quote": LINE, "value": -0.41}}, store=store, voters="passages#1")
    with Answers(store) as answers:
        assert len(answers) == 3


def test_a_file_of_something_else_is_not_taken_for_answers(tmp_path: Path) -> None:
    (tmp_path / "answers.sqlite").write_text("no database")
    with pytest.raises(InvalidArgumentError, match="no SQLite file"):
        read("{}", store=tmp_path / "answers.sqlite")


# -- several documents about the same thing ----------------------------------------------------------


def test_documents_of_one_folder_become_one_record_with_the_document_of_its_quote(tmp_path: Path) -> None:
    for firm, value in (("acme", "0.41"), ("bolt", "0.99")):
        (tmp_path / firm).mkdir()
        for name in ("release.txt", "statement.txt"):
            (tmp_path / firm / name).write_text(TEXT.replace("0.41", value))
    found = extract(
        sorted(tmp_path.rglob("*.txt")), schema=SCHEMA, cases="folder", voters="passages",
        model=replying({"eps": {"quote": "Earnings per share $ ( 0.41 )", "value": -0.41}}),
    )  # fmt: skip
    acme, bolt = found.records
    assert (acme.name, acme.documents) == ("acme", ("acme/release.txt", "acme/statement.txt"))
    assert (acme.fields["eps"].value, acme.fields["eps"].document) == (-0.41, "acme/release.txt")
    assert bolt.fields["eps"].status == "ungrounded"


def test_a_priority_list_of_a_field_that_is_not_asked_for_is_named() -> None:
    with pytest.raises(InvalidArgumentError, match="Did you mean 'eps'"):
        read("{}", rules=MergeRules(priority={"esp": ("statement*",)}))


def test_wrong_cases_are_named() -> None:
    with pytest.raises(InvalidArgumentError, match="folders"):
        read("{}", cases="folders")


def test_the_task_of_a_schema_has_no_merge_rules_of_its_own() -> None:
    assert task_of(read_schema(SCHEMA)).rules.strategy == "auto"
