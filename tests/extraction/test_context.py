"""A bare number finds the line that names its field."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelyard.extraction.context import ground_by_label, line_around
from modelyard.extraction.ground import GroundingIndex
from modelyard.extraction.schema import Field

TEXT = "Net income | 1.14\nBasic earnings per share | $1.14 | $0.52\nDiluted earnings per share | $1.14 | $0.51\n"
BASIC = Field("eps_basic", "number", "basic earnings per share")
DILUTED = Field("eps_diluted", "number", "diluted earnings per share")


def test_the_same_number_is_found_in_the_line_of_each_field() -> None:
    index = GroundingIndex(TEXT)
    for field, word in ((BASIC, "Basic"), (DILUTED, "Diluted")):
        span = ground_by_label(index, "1.14", field, 1.14, None)
        assert span is not None and span.of(TEXT).startswith(word) and "1.14" in span.of(TEXT)


def test_a_number_that_is_not_there_is_not_found() -> None:
    assert ground_by_label(GroundingIndex(TEXT), "9.99", BASIC, 9.99, None) is None


def test_of_a_paragraph_only_the_sentence_is_quoted() -> None:
    text = "It rained. " * 40 + "Basic earnings per share were $1.14 in the quarter. " + "It rained on. " * 40
    at = text.index("1.14")
    assert (
        text[slice(*line_around(text, at, at + 4))] == "Basic earnings per share were $1.14 in the quarter."
    )


@given(text=st.text(max_size=500), data=st.data())
def test_the_line_always_holds_the_range(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    left, right = line_around(text, start, end)
    assert 0 <= left <= start <= end <= right <= len(text)
    assert right - left <= max(300, end - start + 302)
