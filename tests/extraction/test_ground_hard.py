"""Grounding under hostile texts and quotes: sound offsets, all places, and never longer than the limit."""

import time
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelyard.extraction.context import ground_by_label, line_around
from modelyard.extraction.ground import GroundingIndex, ground, ground_all
from modelyard.extraction.numbers import cuts, figures, numbers, parse_number
from modelyard.extraction.schema import Field

HOSTILE = {
    "dots": "." * 2000 + "x",
    "dots and quotes": ".." + "'.." * 660 + "x",
    "brackets": "((((" * 500,
    "metacharacters": "(a+)+$|[\\w]*{1,9}" * 110,
    "right to left": "\u05e9\u05dc\u05d5\u05dd \u202e1.20\u202c " * 120,
    "combining marks": "e" + "\u0301\u0323" * 999,
    "surrogates": "\ud800\udc00\ud800 1.20 " * 180,
    "zeros": "\x00" * 2000,
    "spaces": " \u00a0\u2003" * 660 + "x",
    "digits": "1234567890" * 200,
    "commas": "1," * 1000,
    "minus": "-" * 2000 + "1",
    "dollars": "$ ( " * 500 + "1",
    "one word": "a" * 2000,
    "words": "loss per share " * 133,
    "ligatures": "\ufb03" * 2000,
    "capital dots": "\u0130" * 2000,
}
ANY = st.text(st.characters(exclude_categories=()), max_size=60)
PIECES = st.lists(
    st.sampled_from(("a", " ", "\n", "\n\n", "1", ".", ",", "(", ")", "$", "-", "%", "\u0301", "\u202e", "\ud800", "\x00", "|"))
    | ANY,
    max_size=30,
).map("".join)  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("filler", ["Net loss of $(0.41) per share. ", "\x00\ud800e\u0301.'", "1,", "a"])
def test_no_quote_takes_longer_than_its_limit(kind: str, filler: str) -> None:
    quote = HOSTILE[kind]
    text = (filler * (100_000 // len(filler)))[: 100_000 - 2 * len(quote)]
    text = text[:1000] + quote + text[1000:] + quote
    index = GroundingIndex(text)
    ground(index, "warm words 1")  # making the index is not counted
    began = time.process_time()
    spans = ground_all(index, quote, value=1, near=500, time_limit=0.5)
    again = ground_all(index, quote[:-1] + "y", value=quote, time_limit=0.5)
    assert time.process_time() - began < 2.5  # two limits, a last step each, and room for a busy machine
    for span in spans + again:
        assert 0 <= span.start < span.end <= len(text)
        assert not cuts(text, span.start) and not cuts(text, span.end)


@pytest.mark.parametrize("quote", [".40 " * 10 + "...x", "'" * 60 + "." * 41 + "x", ". . . . " * 30])
def test_ellipses_and_quotation_marks_never_explode(quote: str) -> None:
    began = time.process_time()
    assert ground("Net loss per share", quote) is None
    assert time.process_time() - began < 0.5


@settings(deadline=None, max_examples=300)
@given(PIECES, PIECES, st.none() | st.floats() | st.integers() | ANY, st.none() | st.integers(-5, 500))
@example("\ud800 1.20", "\ud800", "\ud800", 3)
@example("e\u0301 1", "\u0301", None, None)
def test_any_quote_in_any_text_is_sound(text: str, quote: str, value: object, near: int | None) -> None:
    spans = ground_all(text, quote, value=value, near=near)
    for span in spans:
        assert 0 <= span.start < span.end <= len(text) and span.of(text) == text[span.start : span.end]
        assert not cuts(text, span.start) and not cuts(text, span.end)
    assert len(set(spans)) == len(spans)


@given(
    st.lists(st.sampled_from(("filler words here", "more, of them;", "end. Begin")), max_size=20),
    st.integers(1, 20),
)
def test_every_occurrence_is_found(between: list[str], count: int) -> None:
    quote = "Basic loss | $(0.41)"
    text = "\n".join([*between, quote, *between, quote] * count)
    spans = ground_all(text, quote)
    places = sorted(span.start for span in spans)
    assert len(places) == 2 * count and all(text.startswith(quote, place) for place in places)
    assert all(after - before >= len(quote) for before, after in pairwise(places))


def test_of_equal_places_the_one_in_the_same_table_is_taken_before_a_nearer_one() -> None:
    text = "EPS 0.34\n\nBasic | 0.50\nShares | 10\nOther rows of this table | 1\nEPS 0.34"
    near = text.index("Basic")
    assert [span.start for span in ground_all(text, "EPS 0.34", near=near)] == [text.rindex("EPS"), 0]


@settings(deadline=None, max_examples=300)
@given(PIECES)
def test_numbers_of_any_text_are_whole_and_in_order(text: str) -> None:
    found = list(numbers(text))
    for one in found:
        assert 0 <= one.outer_start <= one.start < one.end <= one.outer_end <= len(text)
        assert not cuts(text, one.start) and not cuts(text, one.end)
        assert one.value == one.readings[0] and one.value.is_finite()
    assert all(before.end <= after.start for before, after in pairwise(found))
    assert len(found) <= len(figures(text))
    parse_number(text)


@pytest.mark.parametrize("kind", HOSTILE)
def test_numbers_of_hostile_texts_take_linear_time(kind: str) -> None:
    text = HOSTILE[kind] * (100_000 // len(HOSTILE[kind]))
    began = time.process_time()
    list(numbers(text))
    parse_number(text)
    assert time.process_time() - began < 2


@settings(deadline=None, max_examples=300)
@given(PIECES, st.data())
def test_the_line_around_any_range_holds_it_and_stays_inside(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    left, right = line_around(text, start, end)
    assert 0 <= left <= start <= end <= right <= len(text)


def test_a_figure_that_stands_a_thousand_times_in_one_line_is_placed_in_no_time() -> None:
    index = GroundingIndex("of 0.41 and so on, " * 5000)
    began = time.process_time()
    span = ground_by_label(index, "0.41", Field("eps", "number", "basic loss per share"), 0.41, 50_000)
    assert span is not None and "0.41" in span.of(index.text)
    assert time.process_time() - began < 2
