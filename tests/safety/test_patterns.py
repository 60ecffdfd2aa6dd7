"""Checks without a model: expressions of one's own, and personal data."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import InvalidArgumentError
from modelyard.safety import PatternCheck, PersonalDataCheck
from modelyard.types import Verdict


def found(text: str, **how: object) -> dict[str, list[str]]:
    """Each kind that is found alone, with what was found."""
    kinds = PersonalDataCheck.KINDS
    verdicts = {kind: judge(PersonalDataCheck([kind], **how), text) for kind in kinds}  # type: ignore[arg-type]
    return {
        kind: [text[one.start : one.end] for one in verdict.spans]
        for kind, verdict in verdicts.items()
        if verdict.spans
    }


def judge(check: PatternCheck | PersonalDataCheck, text: str) -> Verdict:
    return asyncio.run(check.verdict(text))


@pytest.mark.parametrize(
    ("text", "kind", "what"),
    [
        ("Write to jane.doe+x@mail.example.co.uk today.", "email", "jane.doe+x@mail.example.co.uk"),
        ("Call +1 650-253-0000 now", "phone", "+1 650-253-0000"),
        ("Rufen Sie +49 30 901820 an", "phone", "+49 30 901820"),
        ("Card 4111 1111 1111 1111, please", "card", "4111 1111 1111 1111"),
        ("pay to DE89 3704 0044 0532 0130 00 and thanks", "iban", "DE89 3704 0044 0532 0130 00"),
        ("IBAN GB82WEST12345698765432.", "iban", "GB82WEST12345698765432"),
        ("SSN 536-90-4399 on file", "us_ssn", "536-90-4399"),
        ("from 192.168.10.7, twice", "ip", "192.168.10.7"),
        ("from 2001:db8::8a2e:370:7334 once", "ip", "2001:db8::8a2e:370:7334"),
    ],
)
def test_personal_data_is_found_whole(text: str, kind: str, what: str) -> None:
    assert found(text) == {kind: [what]}


@pytest.mark.parametrize(
    "text",
    [
        "Revenue was 4,111,111,111,111,112 dollars",
        "order 4111 1111 1111 1112",  # its check digit is wrong
        "DE89 3704 0044 0532 0130 01",
        "000-12-3456 is no number that is given out",
        "version 1.2.3 of 2024-10-11 at 12:30:45",
        "net income of $0.23 per share, 10-Q of 3/31/2024",
        "999.1.1.1",
        "a@b",
        "",
    ],
)
def test_what_only_looks_like_personal_data_is_none(text: str) -> None:
    assert found(text) == {}


def test_telephone_numbers_without_plus_are_read_for_a_region() -> None:
    assert found("call (650) 253-0000") == {}
    assert found("call (650) 253-0000", region="US") == {"phone": ["(650) 253-0000"]}


def test_a_verdict_names_what_was_found_first() -> None:
    verdict = judge(PersonalDataCheck(), "mail bob@example.org")
    assert verdict.flagged == ("email",)
    assert verdict.categories[0].name == "email"
    assert len(verdict.categories) == len(PersonalDataCheck.KINDS)


def test_a_pattern_of_ones_own_is_found_everywhere() -> None:
    verdict = judge(PatternCheck({"project": r"(?i)project \w+"}), "Project Falcon, then project hawk.")
    assert [(one.start, one.end) for one in verdict.spans] == [(0, 14), (21, 33)]


def test_an_empty_match_is_none() -> None:
    assert judge(PatternCheck({"nothing": "x*"}), "abc").allowed


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PatternCheck({"bad": "("}), "pattern 'bad'"),
        (lambda: PatternCheck({}), "has no patterns"),
        (lambda: PersonalDataCheck(["emial"]), "Did you mean 'email'"),
    ],
)
def test_a_mistake_is_named(make: object, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r".*" + words.replace("(", r"\(")):
        make()  # type: ignore[operator]


@given(st.text(alphabet=st.sampled_from("0123456789 -.:@abAB+DE"), max_size=400))
def test_any_text_is_judged_and_spans_lie_within_it(text: str) -> None:
    verdict = judge(PersonalDataCheck(region="US"), text)
    assert all(0 <= one.start < one.end <= len(text) for one in verdict.spans)
    assert verdict.allowed == (not verdict.spans)
