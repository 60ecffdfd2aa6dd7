"""Word documents: everything that can be read is, in its order, and what is not read is said."""

import io
from pathlib import Path
from typing import Any

import docx
import pytest
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.errors import DocumentError
from modelyard.extraction.documents import read_document
from modelyard.extraction.readers.docx import read_docx

W = nsdecls("w")


def saved(document: Any) -> bytes:
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def read(document: Any) -> tuple[list[tuple[str, str]], str]:
    """Lines with their places, and the warnings as one text."""
    lines, said = read_docx(saved(document), "a.docx")
    return [tuple(line) for line in lines], "\n".join(said)


def of_xml(xml: str) -> tuple[list[tuple[str, str]], str]:
    """A document with this as its body."""
    document = docx.Document()
    for block in parse_xml(f"<w:body {W} {nsdecls('m', 'r')}>{xml}</w:body>"):
        document.element.body.insert_element_before(block, "w:sectPr")
    return read(document)


def statement() -> Any:
    document = docx.Document()
    document.add_heading("Results", 1)
    document.add_paragraph("Sales rose.")
    document.add_paragraph("Costs fell", "List Bullet")
    table = document.add_table(rows=4, cols=4)
    table.cell(0, 1).merge(table.cell(0, 2)).text = "Three Months Ended March 31,"
    for at, words in enumerate(
        (("", "2024", "2023", ""), ("Basic", "$ (0.41", "0.34", "%"), ("Paid", "", "7", "")), 1
    ):
        for cell, word in zip(table.rows[at].cells, words, strict=True):
            cell.text = word
    document.add_paragraph("The end.")
    return document


def test_paragraphs_headings_lists_and_tables_come_in_their_order_with_their_places() -> None:
    lines, said = read(statement())
    assert lines == [
        ("Results", "heading 1"),
        ("Sales rose.", "paragraph 1"),
        ("- Costs fell", "list item 1"),
        ("", "list item 1"),
        ("| Three Months Ended March 31, | Three Months Ended March 31,", "table 1, row 1"),
        ("| 2024 | 2023", "table 1, row 2"),
        ("Basic | $(0.41 | 0.34%", "table 1, row 3"),
        ("Paid | | 7", "table 1, row 4"),
        ("", "table 1, row 4"),
        ("The end.", "paragraph 2"),
    ]
    assert (
        said == "the numbers that Word gives to list items are not in its text: 1 items are read with a dash"
    )


def test_a_file_is_read_with_a_place_for_every_character(tmp_path: Path) -> None:
    file = tmp_path / "release.docx"
    statement().save(str(file))
    document = read_document(file)
    assert document.kind == "docx" and document.text.startswith("Results\nSales rose.")
    assert all(document.where(at) for at in range(len(document.text)))


def test_a_cell_over_two_rows_is_said_once() -> None:
    document = docx.Document()
    table = document.add_table(rows=2, cols=2)
    table.cell(0, 0).merge(table.cell(1, 0)).text = "a"
    table.cell(0, 1).text, table.cell(1, 1).text = "1", "2"
    assert [text for text, _ in read(document)[0]][:2] == ["a | 1", "| 2"]


def test_a_table_in_a_table_is_read_and_said() -> None:
    document = docx.Document()
    outer = document.add_table(rows=1, cols=2)
    outer.cell(0, 0).text = "beside"
    inner = outer.cell(0, 1).add_table(1, 2)
    inner.cell(0, 0).text, inner.cell(0, 1).text = "EPS", "1.20"
    lines, said = read(document)
    assert ("beside", "paragraph 1") in lines and ("EPS | 1.20", "table 1, row 1") in lines
    assert "1 tables with tables in them are read cell by cell" in said


def test_headers_and_footers_are_said() -> None:
    document = statement()
    document.sections[0].header.paragraphs[0].text = "ACME confidential"
    document.sections[0].footer.paragraphs[0].text = "Page 1"
    assert "headers and footers are not read: 'ACME confidential · Page 1'" in read(document)[1]


def test_tracked_insertions_are_read_and_deletions_left_out_and_both_said() -> None:
    lines, said = of_xml(
        "<w:p><w:r><w:t>EPS </w:t></w:r><w:ins><w:r><w:t>1.20</w:t></w:r></w:ins>"
        "<w:del><w:r><w:delText>1.10</w:delText></w:r></w:del></w:p>"
    )
    assert lines == [("EPS 1.20", "paragraph 1")]
    assert "1 tracked deletions" in said and "1 tracked insertions" in said


def test_a_deleted_row_is_left_out_and_said() -> None:
    lines, said = of_xml(
        "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>kept</w:t></w:r></w:p></w:tc></w:tr>"
        "<w:tr><w:trPr><w:del/></w:trPr><w:tc><w:p><w:r><w:t>gone</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
    )
    assert (
        lines[0] == ("kept", "table 1, row 1") and "gone" not in str(lines) and "1 tracked deletions" in said
    )


def test_a_text_box_is_read_once_though_it_comes_in_two_forms() -> None:
    box = "<w:txbxContent><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:txbxContent>"
    lines, _ = of_xml(
        '<w:p><w:r><w:t>Text</w:t></w:r><w:r><mc:AlternateContent xmlns:mc="http://schemas.openxmlformats.org/'
        f'markup-compatibility/2006"><mc:Choice Requires="wps"><w:drawing>{box.format("In the box")}</w:drawing>'
        f"</mc:Choice><mc:Fallback><w:pict>{box.format('In the box')}</w:pict></mc:Fallback>"
        "</mc:AlternateContent></w:r></w:p>"
    )
    assert lines == [("Text", "paragraph 1"), ("In the box", "text box 1")]


@pytest.mark.parametrize(
    ("inside", "text", "words"),
    [
        ("<w:drawing/>", "a b", "1 pictures"),
        ("<w:commentReference w:id='0'/>", "a b", "1 comments"),
        ("<w:rPr><w:vanish/></w:rPr><w:t>secret</w:t>", "a b", "1 passages of hidden text"),
        ("<m:oMath><m:r><m:t>x=1</m:t></m:r></m:oMath>", "a x=1b", "1 formulas"),
        ("<w:sym w:font='Symbol' w:char='00B1'/>", "a ±b", ""),
        ("<w:noBreakHyphen/><w:tab/>", "a -\tb", ""),
        ("<w:rPr><w:vertAlign w:val='superscript'/></w:rPr><w:t>2</w:t>", "a^2b", ""),
        ("<w:fldChar w:fldCharType='begin'/><w:instrText>PAGE</w:instrText>", "a b", ""),
    ],
)
def test_what_stands_in_a_run_is_read_or_said(inside: str, text: str, words: str) -> None:
    lines, said = of_xml(
        f"<w:p><w:r><w:t xml:space='preserve'>a </w:t></w:r><w:r>{inside}</w:r><w:r><w:t>b</w:t></w:r></w:p>"
    )
    assert lines == [(text, "paragraph 1")] and words in said


def test_a_note_is_read_at_the_end_under_its_mark() -> None:
    from docx.opc.constants import RELATIONSHIP_TYPE
    from docx.opc.packuri import PackURI
    from docx.opc.part import Part

    document = docx.Document()
    reference = parse_xml(
        f"<w:p {W}><w:r><w:t>EPS 1.20</w:t></w:r><w:r><w:footnoteReference w:id='7'/></w:r></w:p>"
    )
    document.element.body.insert_element_before(reference, "w:sectPr")
    notes = f"<w:footnotes {W}><w:footnote w:id='7'><w:p><w:r><w:t>Restated.</w:t></w:r></w:p></w:footnote></w:footnotes>"
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"
    part = Part(PackURI("/word/footnotes.xml"), kind, notes.encode(), document.part.package)
    document.part.relate_to(part, RELATIONSHIP_TYPE.FOOTNOTES)
    lines, _ = read(document)
    assert lines == [("EPS 1.20^1", "paragraph 1"), ("", "paragraph 1"), ("^1 Restated.", "footnote 1")]


def test_a_note_that_is_not_there_is_said() -> None:
    _, said = of_xml("<w:p><w:r><w:t>x</w:t><w:footnoteReference w:id='3'/></w:r></w:p>")
    assert "1 notes are referred to and not there" in said


def test_a_document_without_text_is_an_error(tmp_path: Path) -> None:
    docx.Document().save(str(tmp_path / "empty.docx"))
    with pytest.raises(DocumentError, match="holds no text"):
        read_document(tmp_path / "empty.docx")


def test_elements_nested_too_deeply_are_an_error() -> None:
    data = saved(statement())
    deep = b"<w:smartTag>" * 5000 + b"</w:smartTag>" * 5000
    with pytest.raises(DocumentError, match="not a readable Word document"):
        read_docx(replaced(data, b"<w:body>", b"<w:body><w:p>" + deep + b"</w:p>"), "deep.docx")


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    """The package with something else in its main part."""
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            part = source.read(name)
            target.writestr(name, part.replace(old, new, 1) if name == "word/document.xml" else part)
    return out.getvalue()


WHOLE = saved(statement())


@settings(deadline=None, max_examples=60)
@given(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=8))
def test_a_damaged_document_is_read_or_is_an_error(at: int, noise: bytes) -> None:
    try:
        read_docx(WHOLE[:at] + noise + WHOLE[at + len(noise) :], "a.docx")
    except DocumentError as error:
        assert error.hint


BLOCKS = st.recursive(
    st.sampled_from(
        (
            "<w:p><w:r><w:t>text</w:t></w:r></w:p>", "<w:p/>", "<w:p><w:r><w:br/><w:t>1.20</w:t></w:r></w:p>",
            "<w:p><w:r><w:drawing><w:txbxContent><w:p><w:r><w:t>b</w:t></w:r></w:p></w:txbxContent></w:drawing></w:r></w:p>",
            "<w:p><w:pPr><w:pStyle w:val='Heading1'/></w:pPr><w:r><w:t>H</w:t></w:r></w:p>",
        )
    ),
    lambda inner: st.lists(inner, max_size=3).map("".join).map(
        lambda blocks: f"<w:tbl><w:tr><w:tc><w:tcPr><w:gridSpan w:val='3'/></w:tcPr>{blocks}</w:tc></w:tr></w:tbl>"
    ),
    max_leaves=6,
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.lists(BLOCKS, max_size=4))
def test_every_line_of_any_document_has_a_place(blocks: list[str]) -> None:
    lines, _ = of_xml("".join(blocks))
    assert all(where for _, where in lines)
    assert sum(text.count("text") for text, _ in lines) == "".join(blocks).count("text</w:t>")
