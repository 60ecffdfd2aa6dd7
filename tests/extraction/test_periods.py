"""Periods: which columns a field asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.extraction.heads import Heads, is_head
from modelyard.extraction.periods import end_of, months_of, wanted_period

QUARTER = "basic earnings per share of the most recent quarter (three months)"


@pytest.mark.parametrize(
    ("heads", "chosen"),
    [
        (
            [
                "Six months ended June 30 2024",
                "Three months ended June 30 2024",
                "Three months ended June 30 2023",
            ],
            [1],
        ),
        (["Second Quarter 2023", "Second Quarter 2024", "First Half 2023", "First Half 2024"], [1]),
        (["12 Weeks Ended 9/3/2023", "12 Weeks Ended 9/9/2024", "36 Weeks Ended 9/9/2024"], [1]),
        (["Q1 2024", "Q4 2023", "Q1 2023"], [0]),
        (["2023", "2024"], [1]),
        (["", ""], [0, 1]),
        (["Nine Months Ended May 31, 2024", "Nine Months Ended May 31, 2023"], []),
        (["Three Months Ended March 31, 2024", "% Change"], [0]),
    ],
)
def test_the_columns_of_the_latest_quarter_are_chosen(heads: list[str], chosen: list[int]) -> None:
    wanted = wanted_period(QUARTER)
    assert wanted is not None
    assert wanted.choose(heads) == chosen


def test_a_field_that_asks_for_the_year_before_does_not_get_the_latest() -> None:
    wanted = wanted_period("sales of the prior quarter")
    assert wanted is not None
    assert wanted.choose(["Three months ended June 30, 2024", "Three months ended June 30, 2023"]) == [0, 1]


def test_a_field_that_says_nothing_of_time_has_no_period() -> None:
    assert wanted_period("number of patients with an event in the treatment arm") is None


@given(st.text(max_size=80))
def test_any_head_has_a_length_and_an_end_or_none(said: str) -> None:
    assert months_of(said) in (None, 1, 3, 6, 9, 12)
    assert len(end_of(said)) == 3
    assert isinstance(is_head(said), bool)


@given(st.lists(st.text(max_size=40), max_size=4), st.lists(st.booleans(), min_size=1, max_size=8))
def test_every_column_gets_a_head_even_if_an_empty_one(lines: list[str], percent: list[bool]) -> None:
    assert len(Heads(lines).of_columns(percent)) == len(percent)
