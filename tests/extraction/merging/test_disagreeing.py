"""Three documents that disagree, of five releases: what every strategy says, and why."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.extraction.merging.disagreeing import CASES, Case

from modelyard import create_llm
from modelyard.extraction.merging.merge import merge_async
from modelyard.extraction.merging.rules import MergeRules
from modelyard.extraction.result import FieldResult

STRATEGIES = ("auto", "agreement", "priority", "logprob", "llm")


def merged(case: Case, strategy: Any) -> FieldResult:
    priority = case.priority if strategy == "auto" else case.priority or ("statement*",)
    rules = MergeRules(strategy, priority={"eps_basic": priority})
    return asyncio.run(merge_async(case.field, case.candidates, rules, create_llm("fake")))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_strategy_gives_its_value_quote_and_reason(case: Case, strategy: str) -> None:
    found = merged(case, strategy)
    assert described(found) == case.expected[strategy]
    assert len(found.candidates) == len(case.candidates)
    assert (found.confidence is None) == (found.value is None)
    if found.status == "found":
        assert found.quote == case.documents[found.document or ""][found.start : found.end]


def test_the_cases_are_settled_in_every_way_that_needs_no_model() -> None:
    ways = {case.expected["auto"]["settled_by"] for case in CASES}
    assert ways == {"grounding", "priority", "margin", "unresolved"}


def described(found: FieldResult) -> dict[str, Any]:
    return {
        "value": found.value,
        "settled_by": found.strategy,
        "document": found.document,
        "quote": found.quote,
        "reason": found.reason,
    }
