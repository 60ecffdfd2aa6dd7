"""PDF: pages as lines, tables by where their columns stand, two columns of prose one after the other."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.extraction.readers.pdfs import Piece, pdf_of

from modelyard.errors import DocumentError
from modelyard.extraction.documents import read_document
from modelyard.extraction.readers import columns
from modelyard.extraction.readers.pdf import read_pdf


def row(y: float, label: str, *cells: tuple[float, str]) -> list[Piece]:
    """A line of a statement: its label on the left, its cells with their right edges; a digit is 5.56 wide."""
    widths = {"(": 3.33, ")": 3.33, ",": 2.78, ".": 2.78, "%": 8.89}
    placed = [(right - sum(widths.get(one, 5.56) for one in text), text) for right, text in cells]
    return [(72.0, y, label), *((left, y, text) for left, text in placed)] if label else [
        (left, y, text) for left, text in placed
    ]  # fmt: skip


def lines(*pages: list[Piece]) -> list[str]:
    return [line for page in read_pdf(pdf_of(*pages), "a.pdf") for line in page]


def test_lines_keep_their_columns_and_pages(tmp_path: Path) -> None:
    file = tmp_path / "release.pdf"
    statement: list[Piece] = [
        (72, 700, "Net loss per share"), (300, 700, "$"), (330, 700, "(0.41)"), (400, 700, "0.34"),
        (72, 720, "Statement of income"),
    ]  # fmt: skip
    notes: list[Piece] = [(72, 700, "Notes to it")]
    file.write_bytes(pdf_of(statement, notes))
    document = read_document(file)
    assert document.text.splitlines() == [
        "Statement of income",
        "Net loss per share | $(0.41) | 0.34",
        "",
        "Notes to it",
    ]
    assert document.where(document.text.index("Notes")) == "page 2"
    assert document.kind == "pdf"


def test_a_statement_keeps_its_columns_where_cells_are_empty() -> None:
    page = [
        *row(720, "", (340, "2024"), (420, "2023"), (500, "2022")),
        *row(706, "Net sales", (340, "1,245"), (420, "1,102"), (500, "998")),
        *row(692, "Impairment", (500, "12")),
        *row(678, "Restructuring", (420, "7")),
        (72.0, 664.0, "Earnings per share:"),
        *row(650, "Basic", (340, "(0.41)"), (420, "0.34"), (500, "0.30")),
    ]
    assert lines(page) == [
        "| 2024 | 2023 | 2022",
        "Net sales | 1,245 | 1,102 | 998",
        "Impairment | | | 12",
        "Restructuring | | 7",
        "Earnings per share:",
        "Basic | (0.41) | 0.34 | 0.30",
    ]


def test_a_period_over_two_columns_is_said_over_both() -> None:
    page = [
        (300.0, 734.0, "Three Months Ended March 31,"),
        *row(720, "", (330, "2024"), (430, "2023")),
        *row(706, "Net sales", (330, "1,245"), (430, "1,102")),
        *row(692, "Basic", (330, "(0.41)"), (430, "0.34")),
    ]
    assert lines(page)[:2] == [
        "| Three Months Ended March 31, | Three Months Ended March 31,",
        "| 2024 | 2023",
    ]


def test_running_text_between_tables_is_one_line_a_line() -> None:
    text = "The following table shows what the company sold in the quarter and what it paid for it."
    page: list[Piece] = [
        *row(720, "Net sales", (330, "1,245"), (430, "1,102")),
        *row(706, "Costs", (330, "245"), (430, "102")),
        (72.0, 690.0, text),
        *row(676, "Shares", (250, "10"), (350, "20")),
        *row(662, "Options", (250, "1"), (350, "2")),
    ]
    assert lines(page) == [
        "Net sales | 1,245 | 1,102",
        "Costs | 245 | 102",
        text,
        "Shares | 10 | 20",
        "Options | 1 | 2",
    ]


def test_two_columns_of_prose_are_read_one_after_the_other() -> None:
    left: list[Piece] = [(60.0, 700.0 - 12 * n, f"left side says words in line {n}") for n in range(8)]
    right: list[Piece] = [(320.0, 700.0 - 12 * n, f"right side says words in line {n}") for n in range(8)]
    assert lines([*left, *right]) == [piece[2] for piece in [*left, *right]]


def test_a_raised_mark_stays_apart_from_its_number() -> None:
    assert lines([(72, 700, "EPS of 1.20"), (123.5, 703.5, "1", 6.5), (131, 700, "and more")]) == [
        "EPS of 1.20^1 and more"
    ]


@given(
    st.lists(
        st.lists(
            st.tuples(st.floats(0, 600), st.floats(0, 90), st.sampled_from(("$", "(0.41", ")", "%", "Basic", "1,245"))),
            min_size=1, max_size=6,
        ),
        max_size=12,
    )
)  # fmt: skip
def test_no_cell_of_any_row_is_lost(rows: list[list[tuple[float, float, str]]]) -> None:
    placed = [sorted((left, left + width, text) for left, width, text in row) for row in rows]
    said = columns.lines(placed)
    assert len(said) == len(rows)
    for line, cells in zip(said, placed, strict=True):
        plain = "".join(line.split()).replace("|", "")
        assert all("".join(text.split()) in plain for _, _, text in cells)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=400), st.integers(0, 900))
def test_a_damaged_pdf_is_read_or_is_an_error(noise: bytes, at: int) -> None:
    whole = pdf_of([(72, 700, "Net loss"), (300, 700, "0.41")])
    try:
        read_pdf(whole[:at] + noise + whole[at + len(noise) :], "a.pdf")
    except DocumentError as error:
        assert error.hint
