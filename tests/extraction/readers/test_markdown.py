"""Markdown: kept to the character, and its pipe tables known as rows."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from modelyard.extraction.documents import read_document
from modelyard.extraction.readers.markdown import table_rows

FILE = """---
title: Results | quarter
---

# Results

| | 2024 | 2023 |
|---|--:|--:|
| Basic EPS | 1.20 | 1.10 |
| Note \\| mark | 1 | 2 |

```
| a | b |
|---|---|
```
Words | with | pipes
"""


def test_the_text_is_the_files_own_with_its_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "note.md"
    file.write_bytes(FILE.replace("\n", "\r\n").encode())
    document = read_document(file)
    assert document.kind == "markdown" and document.text == FILE.replace("\n", "\r\n")
    assert document.where(document.text.index("Basic")) == "line 9 (table 1, row 2)"
    assert document.where(document.text.index("# Results")) == "line 5"


def test_rows_are_those_of_tables_and_not_of_front_matter_code_or_prose() -> None:
    assert table_rows(FILE) == {
        7: "table 1, row 1", 8: "table 1", 9: "table 1, row 2", 10: "table 1, row 3"
    }  # fmt: skip


def test_a_line_of_dashes_with_other_columns_makes_no_table() -> None:
    assert table_rows("a | b | c\n|---|---|\n") == {}


def test_two_tables_are_counted() -> None:
    assert table_rows("a|b\n-|-\n1|2\n\nc|d\n-|-\n# End")[5] == "table 2, row 1"


@given(
    st.lists(st.sampled_from(("a | b", "|-|-|", "-", "```", "~~~~", "---", "> q", "", "\\|"))).map("\n".join)
)
def test_every_place_is_a_line_of_the_text(text: str) -> None:
    assert all(1 <= line <= len(text.split("\n")) for line in table_rows(text))
