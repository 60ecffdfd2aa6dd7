"""Rows: the figures of tables that have lost their grid, each with its label and its column's head."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.extraction.rows import Row, read_rows

PLAIN = """Consolidated statements of income
(in millions, except per share amounts)
Three Months Ended Six Months Ended
June 30, June 30,
2024 2023 2024 2023
Revenues:
Products $ 9,300 $ 8,100 $ 18,000 $ 16,500
Total revenues 9,300 8,100 18,000 16,500
Net loss ( 120 ) ( 80 ) — ( 15 )
Net loss per share (Note 8):
Basic $ ( 0.41 ) $ ( 0.30 ) $ — $ ( 0.05 )
Diluted ( 0.41 ) ( 0.30 ) — ( 0.05 )
See the notes.
"""


def named(text: str, label: str) -> Row:
    (row,) = [one for one in read_rows(text) if one.label == label]
    return row


def cells(row: Row, text: str) -> list[tuple[str, str]]:
    return [(cell.head, cell.of(text)) for cell in row.cells]


def test_a_figure_has_the_period_the_day_and_the_year_of_its_column() -> None:
    assert cells(named(PLAIN, "Products"), PLAIN) == [
        ("Three Months Ended June 30, 2024", "$ 9,300"),
        ("Three Months Ended June 30, 2023", "$ 8,100"),
        ("Six Months Ended June 30, 2024", "$ 18,000"),
        ("Six Months Ended June 30, 2023", "$ 16,500"),
    ]


def test_a_dash_is_a_cell_so_that_later_figures_keep_their_column() -> None:
    assert cells(named(PLAIN, "Net loss"), PLAIN)[-1] == ("Six Months Ended June 30, 2023", "( 15 )")


def test_a_row_has_the_heading_above_it_and_not_the_one_that_a_total_has_closed() -> None:
    assert named(PLAIN, "Basic").section == "Net loss per share"
    assert named(PLAIN, "Net loss").section == ""


def test_the_number_of_a_note_is_no_figure() -> None:
    assert [
        row.label for row in read_rows("2024 2023\nNet earnings per share (Note 8)\nBasic 1.98 1.83")
    ] == ["Basic"]


def test_figures_that_stand_one_a_line_are_one_row() -> None:
    text = "Three Months Ended\nAugust 31,\n2024\n2023\nEarnings per share:\nBasic\n$\n0.89\n$\n0.58\n"
    (row,) = read_rows(text)
    assert (row.name, cells(row, text)) == (
        "Earnings per share: Basic",
        [
            ("Three Months Ended August 31, 2024", "$ 0.89"),
            ("Three Months Ended August 31, 2023", "$ 0.58"),
        ],
    )


def test_shares_of_sales_do_not_shift_the_heads_of_the_amounts() -> None:
    text = "Quarter Ended\nJuly 2, 2024 July 3, 2023\nNet earnings $ 5,144 20.1 % $ 4,814 20.0 %\nBasic $ 1.98 $ 1.83"
    assert cells(read_rows(text)[0], text) == [
        ("Quarter Ended July 2, 2024", "$ 5,144"),
        ("", "20.1"),
        ("Quarter Ended July 3, 2023", "$ 4,814"),
        ("", "20.0"),
    ]


def test_a_title_with_a_date_above_the_heads_does_not_count() -> None:
    text = "For the three months ended June 30, 2024 and 2023\nThree Months Ended\nJune 30,\n2024 2023\nBasic 1.10 0.90"
    assert [head for head, _ in cells(read_rows(text)[0], text)] == [
        "Three Months Ended June 30, 2024",
        "Three Months Ended June 30, 2023",
    ]


def test_a_row_of_cells_takes_its_heads_by_their_place() -> None:
    text = "| Three Months Ended March 31, | Three Months Ended March 31,\n| 2024 | 2023\nBasic | $(0.51) | $0.21"
    assert cells(read_rows(text)[0], text) == [
        ("Three Months Ended March 31, 2024", "$(0.51)"),
        ("Three Months Ended March 31, 2023", "$0.21"),
    ]


def test_a_label_that_runs_over_two_lines_is_no_heading_of_what_follows() -> None:
    text = "2024 2023\nLoss from discontinued operations, net of tax\n( 4 ) ( 9 )\nBasic earnings per share 1.10 0.90"
    first, second = read_rows(text)
    assert first.label == "Loss from discontinued operations, net of tax"
    assert second.section == ""


def test_a_page_number_under_a_table_is_no_row_of_it() -> None:
    text = "Three Months Ended\n2024 2023\nBasic 1.10 0.90\n2024 2Q FORM 10-Q 19\n"
    assert [row.label for row in read_rows(text)] == ["Basic"]


@pytest.mark.parametrize(
    "text",
    [
        "Sales rose to $ 9,300 in the quarter ended June 30, 2024.",
        "The trial enrolled 120 patients between 2019 and 2021 at 14 sites",
        "",
        "Page 4",
    ],
)
def test_running_text_has_no_rows(text: str) -> None:
    assert read_rows(text) == ()


TABLES = st.lists(
    st.sampled_from(
        ["2024 2023", "Three Months Ended", "June 30,", "Basic $ 0.79 $ ( 0.73 )", "$", "0.58", ")", "|", "a | 1 | 2",
         "Net income per share:", "— —", "Total 1 2", "", "Note (1)", "x" * 300, "1,234 5.6 % (7)"]
    ),
    max_size=30,
)  # fmt: skip


@given(st.one_of(st.text(max_size=400), TABLES.map("\n".join)))
def test_every_figure_lies_in_its_row_and_in_the_text(text: str) -> None:
    for row in read_rows(text):
        assert 0 <= row.start < row.end <= len(text)
        assert all(row.start <= cell.start < cell.end <= row.end for cell in row.cells)
        assert all(any(character.isdigit() for character in cell.of(text)) for cell in row.cells)
