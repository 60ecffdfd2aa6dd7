"""Passages: what is kept of a document that does not fit, and that nothing goes in silence."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelyard.extraction.passages import GAP, select_passages

FILLER = "\n".join(f"Paragraph {at} speaks of the weather and of nothing else at all." for at in range(400))
TABLE = "\n".join(
    ["Statements of income", "| Three months ended | | Six months ended", "| 2021 | 2020 | 2021"]
    + [f"Line {at} | {at * 37} | {at * 41} | {at * 43}" for at in range(20)]
    + [
        "Basic earnings per share | $1.23 | $1.10 | $2.40",
        "Diluted earnings per share | $1.20 | $1.08 | $2.35",
    ]
)


def test_a_document_that_fits_is_read_whole() -> None:
    found = select_passages(TABLE, ["earnings"], len(TABLE))
    assert found.whole and found.text == TABLE


def test_the_rows_are_kept_with_the_heads_of_their_table() -> None:
    text = f"{FILLER}\n\n{TABLE}\n\n{FILLER}"
    found = select_passages(text, ["earnings per share", "basic", "diluted"], 4000)
    assert "Basic earnings per share | $1.23" in found.text
    assert "| 2021 | 2020 | 2021" in found.text
    assert not found.whole


def test_a_table_too_long_for_the_budget_keeps_its_heads_and_the_rows_around_the_hit() -> None:
    rows = "\n".join(f"Item {at} | {at * 1001} | {at * 1003}" for at in range(40))
    text = f"{FILLER}\n\n| 2021 | 2020\n{rows}\nBasic earnings per share | $1.23 | $1.10\n\n{FILLER}"
    found = select_passages(text, ["earnings per share"], 700)
    assert "Basic earnings per share | $1.23" in found.text
    assert "| 2021 | 2020" in found.text


def test_a_line_with_figures_comes_before_one_that_only_announces() -> None:
    text = f"{FILLER}\nEarnings per share were strong.\n{FILLER}\nEarnings per share were $1.23.\n{FILLER}"
    assert "$1.23" in select_passages(text, ["earnings per share"], 600).text


@given(
    text=st.text(alphabet=st.sampled_from("ab1 |\n\r\u2028é😀"), max_size=600),
    terms=st.lists(st.text(max_size=6), max_size=4),
    budget=st.integers(1, 500),
)
def test_ranges_lie_in_order_inside_the_text_and_make_up_what_is_read(
    text: str, terms: list[str], budget: int
) -> None:
    found = select_passages(text, terms, budget)
    assert found.text == GAP.join(text[start:end] for start, end in found.ranges)
    assert all(0 <= start <= end <= len(text) for start, end in found.ranges)
    assert all(one[1] <= other[0] for one, other in zip(found.ranges, found.ranges[1:], strict=False))
    assert found.whole or found.characters <= budget


def test_a_single_enormous_line_is_not_read_whole() -> None:
    found = select_passages(
        "word " * 20_000 + "earnings per share $1.23 " + "word " * 20_000, ["earnings"], 3000
    )
    assert "earnings per share $1.23" in found.text and found.characters <= 3000
