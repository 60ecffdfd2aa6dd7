"""Evidence: the rows and sentences that may hold a field."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from modelyard.extraction.evidence import EvidenceIndex
from modelyard.extraction.schema import Field

EPS = Field("eps_basic", "number", "basic earnings or loss per share of the most recent quarter")
STATEMENT = """Three Months Ended March 31,
2024 2023
Revenues 9,300 8,100
Basic earnings per share $ 0.79 $ 0.73
Weighted average shares, basic 118 117
We were founded in 1987. Basic earnings per share rose by six cents to $0.79, as expected.
"""


def test_the_row_that_speaks_of_the_field_comes_first_with_the_column_that_is_meant() -> None:
    first = EvidenceIndex(STATEMENT).best(EPS)[0]
    assert first.line == "Basic earnings per share | Three Months Ended March 31, 2024: $ 0.79"
    assert STATEMENT[slice(*first.figure or (0, 0))] == "$ 0.79"


def test_where_a_column_is_of_the_period_sentences_are_no_evidence() -> None:
    lines = [one.line for one in EvidenceIndex(STATEMENT).best(EPS)]
    assert all(" | Three Months Ended March 31, 2024: " in line for line in lines)


def test_without_such_a_column_a_sentence_with_a_figure_is_among_them_and_one_without_is_not() -> None:
    text = (
        "Basic earnings per share rose by six cents to $0.79, as expected. Basic earnings per share matter."
    )
    assert [one.line for one in EvidenceIndex(text).best(EPS)] == [
        "Basic earnings per share rose by six cents to $0.79, as expected."
    ]


def test_lines_that_are_to_be_avoided_come_last() -> None:
    lines = [one.line for one in EvidenceIndex(STATEMENT).best(EPS, avoid=["basic earnings"], limit=4)]
    assert not lines[0].startswith("Basic earnings")


def test_a_figure_with_fewer_decimals_than_the_field_has_is_another_thing() -> None:
    money = Field("eps", "number", EPS.description, decimals=2)
    assert [one.line[-6:] for one in EvidenceIndex(STATEMENT).best(money)] == ["$ 0.79"]
    whole = STATEMENT.replace("$ 0.79 $ 0.73", "$ 79 $ 73")
    assert EvidenceIndex(whole).best(money)[0].line.endswith("$ 79")  # none has them, so they tell nothing


def test_a_text_field_is_shown_whole_lines() -> None:
    field = Field("arm", "string", "the drug of the treatment arm")
    text = "Background. Patients in the treatment arm got aspirin. Nobody else did."
    (first, *_) = EvidenceIndex(text).best(field)
    assert first.line == "Patients in the treatment arm got aspirin."


def test_a_whole_filing_is_read_in_little_time() -> None:
    text = STATEMENT * 1000
    began = time.process_time()
    EvidenceIndex(text).best(EPS)
    assert time.process_time() - began < 20  # quadratic work would take minutes


@given(st.text(max_size=300), st.integers(1, 6))
def test_any_text_gives_at_most_what_was_asked_for_and_each_from_the_text(text: str, limit: int) -> None:
    found = EvidenceIndex(text).best(EPS, limit=limit)
    assert len(found) <= limit
    assert all(0 <= one.start < one.end <= len(text) for one in found)
