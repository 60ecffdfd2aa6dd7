"""Adjudicate: a judge sees quotes alone, in both orders, and decides only where they agree."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.badserver import Act, BadServer, Call, answer, bad_server, status
from tests.extraction.merging.disagreeing import CASES, Case

from modelyard import create_llm
from modelyard.errors import InvalidArgumentError
from modelyard.extraction.merging.adjudicate import question
from modelyard.extraction.merging.equality import group
from modelyard.extraction.merging.merge import merge_async
from modelyard.extraction.merging.rules import MergeRules
from modelyard.extraction.result import Candidate, FieldResult
from modelyard.extraction.schema import Field
from modelyard.llm import LLM

CHAT = "/v1/chat/completions"
EPS = Field("eps", "number")
JUDGED = MergeRules("llm")


@pytest.fixture
def server() -> Iterator[BadServer]:
    with bad_server() as found:
        yield found


def judge_at(server: BadServer, folder: Path, *, dialect: str) -> LLM:
    catalog = folder / "models.yaml"
    catalog.write_text(f"models:\n  judge: {{engine: endpoint, url: '{server.url}'}}\n")
    options = {"probe": False, "dialect": dialect, "context_length": 4096, "retries": 0}
    return create_llm("judge", catalog=catalog, options=options)


def prefers(value: float, *, as_json: bool) -> Act:
    """An answer with the letter before a value, wherever it stands."""

    def act(call: Call) -> None:
        asked = call.seen.body["messages"][-1]["content"]
        letter = re.search(rf"^([A-F]): {re.escape(str(value))},", asked, re.MULTILINE)
        assert letter
        answer(json.dumps({"letter": letter[1]}) if as_json else letter[1])(call)

    return act


def merged(candidates: Sequence[Candidate], judge: LLM | None, *, field: Field = EPS) -> FieldResult:
    return asyncio.run(merge_async(field, candidates, JUDGED, judge))


def read(voter: str, value: Any) -> Candidate:
    return Candidate(voter, "d.txt", value, "found", f"EPS {value}", 0, 8)


TWO = [read("a", 1.27), read("b", 1.3)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize(("dialect", "as_json"), [("llamacpp", False), ("openai", True)])
def test_a_judge_behind_an_endpoint_decides_where_it_prefers_the_same_value_in_both_orders(
    case: Case, dialect: str, as_json: bool, server: BadServer, tmp_path: Path
) -> None:
    server.script[CHAT] = [prefers(case.truth, as_json=as_json)] * 2
    with judge_at(server, tmp_path, dialect=dialect) as judge:
        found = merged(case.candidates, judge, field=case.field)
    assert (found.value, found.strategy, found.status) == (case.truth, "adjudication", "found")
    assert found.quote and found.quote in case.documents[found.document or ""]
    assert (found.reason or "").startswith(f"The judge 'judge' prefers {case.truth} to ")
    assert "in both orders, by the letter that it wrote, as its engine gives no scores" in (
        found.reason or ""
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_judge_sees_the_quotes_and_no_other_line_of_the_documents(case: Case) -> None:
    asked = question(case.field, group(case.field, case.candidates))
    quotes = [" ".join((one.quote or "").split()) for one in case.candidates]
    for document in case.documents.values():
        for line in document.splitlines():
            shown = " ".join(line.split())
            assert shown not in asked or any(shown in quote for quote in quotes)


def test_a_judge_that_looks_at_the_place_alone_decides_nothing() -> None:
    found = merged(TWO, create_llm("fake"))
    assert (found.value, found.status) == (None, "unresolved")
    assert "the judge 'fake' prefers 1.3 in one order and 1.27 in the other" in (found.reason or "")


def test_without_a_judge_the_conflict_stays_open_and_says_why() -> None:
    assert "there is no judge to ask" in (merged(TWO, None).reason or "")


def test_what_is_settled_is_not_asked(server: BadServer, tmp_path: Path) -> None:
    with judge_at(server, tmp_path, dialect="llamacpp") as judge:
        found = merged([read("a", 1.27), read("b", 1.27)], judge)
    assert found.strategy == "equal" and not server.seen


def test_a_judge_that_fails_is_told_and_raises_nothing(server: BadServer, tmp_path: Path) -> None:
    server.script[CHAT] = [status(500, "out of order")] * 2
    with judge_at(server, tmp_path, dialect="llamacpp") as judge:
        found = merged(TWO, judge)
    assert found.status == "unresolved"
    assert "the judge 'judge' could not be asked" in (found.reason or "")
    assert "out of order" in (found.reason or "")


def test_a_judge_with_a_wrong_option_is_an_error_for_all() -> None:
    with pytest.raises(InvalidArgumentError, match="dealy"):
        merged(TWO, create_llm("fake", options={"dealy": 1}))


def test_of_more_than_six_values_the_best_supported_are_shown_and_the_reason_says_so() -> None:
    votes = [read(f"v{at}", float(at)) for at in range(8)]
    found = merged([*votes, read("x", 7.0)], create_llm("fake"))
    assert "of 8 values the judge saw the 6 best supported" in (found.reason or "")
    assert len(found.candidates) == 9


def test_that_no_value_is_given_is_an_option_without_a_quote() -> None:
    options = group(EPS, [*TWO, Candidate("c", "d.txt", None, "not_found")])
    assert "C: It is not given.\n" in question(EPS, options)


def test_a_quote_that_is_not_in_the_text_is_shown_as_such() -> None:
    claimed = Candidate("a", "d.txt", 1.3, "ungrounded", "EPS was 1.3")
    assert '"EPS was 1.3" (which is not in the text)' in question(EPS, [(claimed,), (read("b", 1.27),)])


@pytest.mark.slow
@pytest.mark.model
def test_a_real_model_gives_the_same_verdict_each_time() -> None:
    case = CASES[0]
    with create_llm("smollm2-135m") as judge:
        first, second = (merged(case.candidates, judge, field=case.field) for _ in range(2))
    assert first == second
    assert "the judge 'smollm2-135m' prefers" in (first.reason or "").lower()
    assert (first.value is None) == ("in one order" in (first.reason or ""))
