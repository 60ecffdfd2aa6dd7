"""Documents: every kind of file becomes text that reads well, and every character knows where it stood."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.extraction.readers.pdfs import pdf_of

from modelyard.errors import DocumentError
from modelyard.extraction.documents import Document, read_document, read_text


def html(markup: str) -> str:
    return read_text(markup, "page.html").text


def covers(document: Document) -> bool:
    """Whether every character has a place, and no place is empty."""
    ends = [0, *(segment.end for segment in document.segments)]
    starts = [*(segment.start for segment in document.segments), len(document.text)]
    placed = all(document.where(at) for at in range(0, len(document.text), max(1, len(document.text) // 50)))
    return starts == ends and placed and all(one.start < one.end and one.where for one in document.segments)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_unicode_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "note.txt"
    file.write_bytes("Net loss – €0.41\r\nper share".encode(encoding))
    assert read_document(file).text == "Net loss – €0.41\nper share"


def test_western_bytes_are_read_with_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "note.md"
    file.write_bytes("caf\xe9 \x96 5".encode("latin-1"))
    document = read_document(file)
    assert document.text == "café – 5"
    assert document.warnings == ("not UTF-8; read as windows-1252",)


def test_the_declared_charset_of_a_page_is_followed(tmp_path: Path) -> None:
    file = tmp_path / "page.htm"
    file.write_bytes('<meta charset="koi8-r"><p>Прибыль'.encode("koi8-r"))
    assert read_document(file).text == "Прибыль"


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("empty.txt", b"", "empty"),
        ("blank.txt", b" \n\t", "white space"),
        ("junk.txt", bytes(range(256)) * 4, "binary"),
        ("sheet.xlsx", b"PK\x03\x04", r"type '\.xlsx'"),
        ("photo.docx", b"PK\x03\x04", "damaged"),
        ("error.docx", b"<html>Not found", "no Word document"),
        ("old.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old .doc format"),
        ("error.pdf", b"<html>Not found", "no PDF"),
        ("broken.pdf", b"%PDF-1.4\nnothing more", "not a readable PDF"),
        ("empty.html", b"<html><script>x()</script></html>", "no text"),
        ("scan.pdf", pdf_of([]), "scan"),
        ("locked.pdf", pdf_of([(72, 700, "secret")], encrypted=True), "encrypted"),
    ],
)
def test_what_cannot_be_read_is_an_error_with_a_remedy(
    tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DocumentError, match=words) as caught:
        read_document(tmp_path / name)
    assert caught.value.hint and name in caught.value.message


def test_a_missing_file_and_a_folder_are_errors_with_a_remedy(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.txt", tmp_path):
        with pytest.raises(DocumentError) as caught:
            read_document(path)
        assert caught.value.hint and str(path) in caught.value.message


def test_a_text_file_that_holds_a_page_is_read_as_html_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "filing.txt"
    file.write_text("<DOCUMENT>\n<TYPE>EX-99.1\n<TEXT><html><p>Net loss</p></html>")
    document = read_document(file)
    assert (document.kind, document.text) == ("html", "EX-99.1\nNet loss")
    assert document.warnings == ("holds a web page; read as HTML",)


def test_a_string_is_kept_as_it_is() -> None:
    text = "a\r\n\u00a0b  \x00\n\n\n"
    assert read_text(text).text == text


def test_a_number_cut_over_cells_is_in_one_piece() -> None:
    row = "<tr><td>Basic</td><td> </td><td>$</td><td>( 0.41</td><td>)</td><td></td><td>12</td><td>%</td></tr>"
    assert html(f"<table>{row}</table>") == "Basic | $(0.41) | 12%"


def test_a_column_that_a_row_leaves_empty_stays_countable() -> None:
    rows = "<tr><td>a<td>1<td>2</tr><tr><td>b<td><td>3</tr>"
    assert html(f"<table>{rows}</table>") == "a | 1 | 2\nb | | 3"


def test_a_heading_over_two_columns_is_said_over_both() -> None:
    rows = (
        "<tr><td></td><td colspan=3>Three months</td><td></td><td colspan=3>Six months</td></tr>"
        "<tr><td></td><td>2020</td><td></td><td>2019</td><td></td><td>2020</td><td></td><td>2019</td></tr>"
        "<tr><td>EPS</td><td>1</td><td></td><td>2</td><td></td><td>3</td><td></td><td>4</td></tr>"
    )
    assert html(f"<table>{rows}</table>").splitlines() == [
        "| Three months | Three months | Six months | Six months",
        "| 2020 | 2019 | 2020 | 2019",
        "EPS | 1 | 2 | 3 | 4",
    ]


def test_a_cell_over_two_rows_moves_the_cells_below_it() -> None:
    rows = "<tr><td rowspan=2>a<td>1<td>x</tr><tr><td>2<td>y</tr>"
    assert html(f"<table>{rows}</table>") == "a | 1 | x\n| 2 | y"


def test_a_cell_over_two_rows_leaves_the_third_alone() -> None:
    rows = "<tr><td rowspan=2>a<td>1<td>x</tr><tr><td>2<td>y</tr><tr><td>Sales<td>3<td>z</tr>"
    assert html(f"<table>{rows}</table>").splitlines()[2] == "Sales | 3 | z"


def test_a_percent_sign_behind_an_empty_column_comes_to_its_number() -> None:
    rows = "<tr><td>Rate<td>8<td><td>%<td>16<td><td>%</tr><tr><td>Tax<td>5<td><td><td>7</tr>"
    assert html(f"<table>{rows}</table>") == "Rate | 8% | 16%\nTax | 5 | 7"


def test_a_period_over_all_columns_is_said_over_each() -> None:
    rows = (
        "<tr><td><td colspan=2>Three Months Ended March 31,</tr><tr><td><td>2024<td>2023</tr>"
        "<tr><td><td colspan=2>(unaudited)</tr><tr><td>EPS<td>1.20<td>1.10</tr>"
    )
    assert html(f"<table>{rows}</table>").splitlines() == [
        "| Three Months Ended March 31, | Three Months Ended March 31,",
        "| 2024 | 2023",
        "(unaudited)",
        "EPS | 1.20 | 1.10",
    ]


def test_a_heading_of_percent_does_not_stick_to_a_year() -> None:
    rows = "<tr><td>x<td>2020<td><td>%</tr><tr><td>y<td>5<td><td>6</tr>"
    assert html(f"<table>{rows}</table>").splitlines()[0] == "x | 2020 | %"


def test_a_table_for_layout_is_read_as_blocks() -> None:
    inner = "<table><tr><td>EPS<td>0.41</table>"
    assert html(f"<table><tr><td><p>One</p><p>Two</p>{inner}</td></tr></table>") == "One\nTwo\n\nEPS | 0.41"


def test_a_bullet_stays_with_its_text() -> None:
    assert html("<table><tr><td>•<td>Net loss</tr></table><ul><li>Sales</ul>") == "• Net loss\n\n- Sales"


def test_inline_elements_are_joined_and_breaks_are_lines() -> None:
    assert html("<p>Ver<b>tex</b>&nbsp;<i>Inc</i>.<br>Net\n loss</p>") == "Vertex Inc.\nNet loss"


def test_a_note_raised_behind_a_number_stays_apart() -> None:
    assert html("<p>EPS<sup>2</sup> of 1.20 <sup>1</sup> in m<sup>2</sup>") == "EPS^2 of 1.20^1 in m^2"
    assert html("<p>1.20<sup> (1)</sup>, the 1<sup>st</sup>; Acme<sup>®</sup>") == "1.20^(1), the 1st; Acme®"


def test_a_raised_figure_at_the_head_of_a_note_is_kept_as_it_is() -> None:
    assert html("<p><sup>1</sup> See page 9.<br><sup>2</sup> And 10.</p>") == "1 See page 9.\n2 And 10."


@pytest.mark.parametrize(
    "hidden",
    [
        '<div style="color:red; DISPLAY: none">x</div>',
        "<p hidden>x</p>",
        "<script>x</script>",
        "<style>x</style>",
        "<ix:header><ix:hidden>x</ix:hidden></ix:header>",
        "<!-- x -->",
    ],
)
def test_hidden_text_is_dropped_and_what_follows_is_kept(hidden: str) -> None:
    assert html(f"<div>before {hidden} after</div>").split() == ["before", "after"]


def test_preformatted_text_keeps_its_columns() -> None:
    assert html("<pre>EPS     0.41\n        0.30</pre>") == "EPS     0.41\n        0.30"


def test_an_offset_leads_back_to_its_element() -> None:
    inner = "<table><tr><th>x<th>2020</tr><tr></tr><tr><td>EPS<td>1.20</tr></table>"
    page = f"<h1>Results</h1><p>One<br>two</p><ul><li>Sales<li>Costs</ul><div>{inner}</div><p>Three</p>"
    document = read_text(page, "page.html")
    places = {
        word: document.where(document.text.index(word))
        for word in ("Results", "two", "Costs", "EPS", "Three")
    }
    assert places == {
        "Results": "heading 1", "two": "paragraph 1", "Costs": "list item 2", "EPS": "table 1, row 3",
        "Three": "paragraph 2",
    }  # fmt: skip


def test_three_megabytes_of_html_take_less_than_three_seconds() -> None:
    cell = '<td style="vertical-align:bottom;padding:2px;background-color:#cceeff"><div>1.20</div></td>'
    page = "<table>" + f"<tr>{cell * 8}</tr>" * (3_000_000 // (len(cell) * 8)) + "</table>"
    began = time.thread_time()
    read_text(page, "page.html")
    assert time.thread_time() - began < 3  # 0.4 s on a quiet machine; the room is for a busy one


def test_a_page_nested_too_deeply_is_an_error_and_never_cut_in_silence() -> None:
    with pytest.raises(DocumentError, match="nested too deeply"):
        html("<p>a</p>" + "<div>" * 20_000 + "x")


def test_a_page_without_text_among_others_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "mixed.pdf"
    file.write_bytes(pdf_of([(72, 700, "Text")], []))
    assert read_document(file).warnings == ("no text on page 2: a scan or a picture",)


def test_a_pdf_under_another_name_is_read_as_pdf(tmp_path: Path) -> None:
    file = tmp_path / "download"
    file.write_bytes(pdf_of([(72, 700, "Text")]))
    assert read_document(file).warnings == ("holds a PDF; read as PDF",)


@given(
    st.text() | st.lists(st.sampled_from(("a | b", "|-|-|", "|--|", "```", "---", "\r", "x"))).map("\n".join)
)
def test_any_text_is_read_as_it_is_and_covered(text: str) -> None:
    for name in ("note", "note.md"):
        document = read_text(text, name)
        assert document.text == text and covers(document)


TAGS = (
    "<p> </p> <table> </table> <tr> <td> <td/rowspan=3> <td/colspan=5> <br> <pre> <ul> <li> <sup> $ ( ) % "
    "0.41 <div/hidden> </div> <!-- --> <script> </script> &nbsp; <ix:header> </td> </tr> <caption>"
)
MARKUP = st.lists(st.one_of(st.sampled_from(TAGS.split(" ")), st.text(max_size=5)), max_size=40).map("".join)


@settings(deadline=None, max_examples=300)
@given(MARKUP | st.text())
def test_any_markup_is_read_and_covered_or_is_an_error(markup: str) -> None:
    try:
        document = read_text(markup, "page.html")
    except DocumentError:
        return
    assert covers(document)
    assert "\n\n\n" not in document.text or "<pre" in markup


@settings(deadline=None, max_examples=200)
@given(st.binary())
def test_any_bytes_as_a_file_are_read_or_are_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("any")
    lead = {"paper.pdf": b"%PDF-1.4\n", "letter.docx": b"PK\x03\x04"}
    for name in ("page.html", "note.txt", "note.md", "paper.pdf", "letter.docx"):
        (folder / name).write_bytes(lead.get(name, b"") + data)
        try:
            assert covers(read_document(folder / name))
        except DocumentError as error:
            assert error.hint


def test_windows_punctuation_that_was_read_as_control_characters_is_put_right(tmp_path: Path) -> None:
    file = tmp_path / "a.html"
    file.write_bytes(
        "<html><body><p>the company\u0092s \u0093best\u0094 year \u0097 ever</p></body></html>".encode()
    )
    assert read_document(file).text.strip() == "the company’s “best” year — ever"
