"""Ground: a quote is found where it stands, or not at all."""

import time
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from modelyard.extraction.folding import fold, lower
from modelyard.extraction.ground import GroundingIndex, Span, ground, ground_all
from modelyard.extraction.numbers import cuts, figures, parse_number

TEXT = (
    "Net loss of $1.2 million, the \u201cworst\u201d quarter \u2013 ever. "
    "The \ufb01nal dividend is 27 cents.\n"
    "Basic loss per share | $(0.41) | $0.34\n"
    "Diluted loss per share | $(0.45) | 0.34\n"
    "12 of 353 patients (3.4%) were lost; COVID-19 in Q1 was not significant.\n"
)
SAMPLES = st.text(
    alphabet=st.sampled_from("ab c\n|.,-0123$()%\u2013\u00a0\u200b\ufb01\u00e9e\u0301\u201cI\u0130")
)


def found(quote: str, **options: object) -> tuple[str, str] | None:
    span = ground(TEXT, quote, **options)  # type: ignore[arg-type]
    return (span.method, span.of(TEXT)) if span else None


@pytest.mark.parametrize(
    ("quote", "surface"),
    [
        ("Basic  loss\nper share", "Basic loss per share"),
        ('the "worst" quarter - ever', "the \u201cworst\u201d quarter \u2013 ever"),
        ("The final dividend", "The \ufb01nal dividend"),
        ("basic LOSS per share", "Basic loss per share"),
        ("Diluted loss per share $(0.45) 0.34", "Diluted loss per share | $(0.45) | 0.34"),
        ("Diluted loss per share $ ( 0.45 )", "Diluted loss per share | $(0.45)"),
        ("...loss per share | $(0.41)\u2026", "loss per share | $(0.41)"),
        ('"Basic loss per share"', "Basic loss per share"),
        ("Basic\u200b loss\u00a0per share", "Basic loss per share"),
    ],
)
def test_a_quote_in_another_dress_is_found(quote: str, surface: str) -> None:
    assert found(quote) == ("normalised", surface)


@pytest.mark.parametrize(
    ("quote", "surface"),
    [
        ("-0.41", "$(0.41)"),
        ("(.41)", "$(0.41)"),
        ("\u22120.410", "$(0.41)"),
        ("$0.27", "27 cents"),
        ("1,200,000", "$1.2 million"),
        (".34", "$0.34"),
    ],
)
def test_another_form_of_a_number_is_found(quote: str, surface: str) -> None:
    assert found(quote) == ("numeric", surface)


@pytest.mark.parametrize("quote", ["0.4", "1.41", "41", "2", "53", "19", "1", "EPS was 0.4", "share | $(0.4"])
def test_a_part_of_a_number_or_name_is_not_found(quote: str) -> None:
    assert found(quote) is None


def test_one_number_is_not_found_inside_another() -> None:
    for text in ("11.45", "1.456", "1,451.45", "x 21.45%"):
        assert ground(text, "1.45") is None


@pytest.mark.parametrize(
    ("quote", "surface"),
    [
        ("Basic los per share | $(0.41)", "Basic loss per share | $(0.41)"),
        ("12 of the 353 patients (3.4%) were lost", "12 of 353 patients (3.4%) were lost"),
    ],
)
def test_a_slip_of_a_few_characters_is_forgiven(quote: str, surface: str) -> None:
    assert found(quote) == ("fuzzy", surface)


@pytest.mark.parametrize(
    "quote",
    [
        "Basic los per share | $(0.42)",
        "12 of the 354 patients (3.4%) were lost",
        "COVID-19 in Q2 was not significant",
        "COVID-19 in Q1 was significant",
        "Revenue grew strongly in every region",
    ],
)
def test_a_fuzzy_match_changes_no_number_and_drops_no_denial(quote: str) -> None:
    assert found(quote) is None


def test_a_row_told_freely_is_found_by_its_number_and_words() -> None:
    span = ground(TEXT, "Diluted net loss per common share was -0.45", value=-0.45)
    assert span is not None
    assert (span.method, span.of(TEXT)) == ("numeric", "$(0.45)")
    assert 0.5 <= span.similarity < 1


def test_a_value_alone_does_not_ground_an_invented_quote() -> None:
    assert found("The chairman praised the results", value=-0.45) is None


def test_of_several_places_the_one_that_holds_the_value_is_taken_then_the_nearest() -> None:
    text = "EPS 0.34\nEPS (0.34)\nEPS 0.34"
    assert [span.start for span in ground_all(text, "0.34")] == [4, 24, 14]
    assert ground(text, "0.34", value=-0.34) == Span(14, 18, "exact", 1.0)
    assert [span.start for span in ground_all(text, "EPS", near=20)] == [20, 9, 0]


def test_an_index_reads_the_sign_around_a_quoted_number() -> None:
    index = GroundingIndex(TEXT)
    span = ground(index, "0.45")
    assert span is not None
    assert [one.value for one in index.numbers_in(span.start, span.end)] == [Decimal("-0.45")]


@pytest.mark.parametrize("quote", ["", "  \n", "\u00a0", "|", "...", "\u200b"])
def test_an_empty_quote_is_nowhere(quote: str) -> None:
    assert ground("some text", quote) is None


@pytest.mark.parametrize("quote", ["(a+)+$", "[", "\\", "a{1,999999}", "(?P<x>", ".*"])
def test_a_quote_is_never_a_regular_expression(quote: str) -> None:
    assert ground("a" * 2000, quote) is None
    assert ground(f"say {quote} here", quote) == Span(4, 4 + len(quote), "exact", 1.0)


@pytest.mark.parametrize(
    "quote", ["a" * 100_000, "1" * 100_000, " a" * 50_000, "(1 " * 700, "a b " * 499 + "x"]
)
@pytest.mark.parametrize("text", ["a" * 100_000, "1 " * 50_000, "a b c " * 20_000, "$( " * 40_000])
def test_the_time_limit_holds_for_pathological_quotes(text: str, quote: str) -> None:
    index = GroundingIndex(text)
    began = time.monotonic()
    ground(index, quote, value=1, time_limit=0.3)
    assert time.monotonic() - began < 2  # the limit, one last step, and room for a busy machine


def test_fifty_quotes_in_a_long_text_are_fast() -> None:
    lines = [
        f"Item {n} of the statement | ${n}.{n % 100:02} | ({n * 7}) for group {n % 13}" for n in range(1800)
    ]
    index = GroundingIndex("\n".join(lines))
    quotes = [lines[n].replace(" | ", "  ").upper() for n in range(0, 1750, 70)]
    quotes += [lines[n].replace("statement", "statment") for n in range(0, 1750, 70)]
    began = time.perf_counter()
    spans = [ground(index, quote) for quote in quotes]
    assert time.perf_counter() - began < 1.5  # 0.2 s on a quiet machine
    assert [span and span.method for span in spans] == ["normalised"] * 25 + ["fuzzy"] * 25


@st.composite
def text_and_slice(draw: st.DrawFn) -> tuple[str, int, int]:
    text = draw(SAMPLES | st.text(min_size=1))
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, len(text)))
    return text, start, end


def is_groundable(text: str, start: int, end: int) -> bool:
    """White space is no quote, and a piece that cuts a number in two must not be found."""
    quote = text[start:end]
    lone_figure = len(figures(quote)) == 1 or parse_number(quote) is not None
    return bool(fold(quote).text) and not cuts(text, start) and not cuts(text, end) and not lone_figure


@given(text_and_slice())
def test_every_slice_of_a_text_is_found(case: tuple[str, int, int]) -> None:
    text, start, end = case
    assume(is_groundable(text, start, end))
    span = ground(text, text[start:end], near=start)
    assert span is not None
    assert span.method == "exact" and span.of(text) == text[start:end]


@given(text_and_slice(), st.sampled_from(["\n", "  ", "\t", " | ", "\u00a0"]))
def test_a_quote_with_other_white_space_is_found(case: tuple[str, int, int], space: str) -> None:
    text, start, end = case
    assume(is_groundable(text, start, end))
    quote = text[start:end].replace(" ", space)
    span = ground(text, quote)
    assert span is not None
    folded = lower(fold(span.of(text)).text).replace(" ", "")
    assert folded == lower(fold(quote).text).replace(" ", "")


@given(SAMPLES | st.text(), SAMPLES | st.text(), st.none() | st.floats() | st.text())
def test_any_quote_in_any_text_gives_sound_offsets(text: str, quote: str, value: object) -> None:
    spans = ground_all(text, quote, value=value)
    for span in spans:
        assert 0 <= span.start < span.end <= len(text)
        assert 0 <= span.similarity <= 1
        assert not cuts(text, span.start) and not cuts(text, span.end)
    assert len({span.method for span in spans}) <= 1
    assert ground(text, quote, value=value) == (spans[0] if spans else None)


@given(SAMPLES | st.text())
def test_the_offset_map_rises_and_stays_inside(text: str) -> None:
    folded = fold(text)
    assert len(folded.text) == len(folded.begins) == len(folded.ends)
    assert folded.begins == sorted(folded.begins) and folded.ends == sorted(folded.ends)
    assert all(0 <= begin < end <= len(text) for begin, end in zip(folded.begins, folded.ends, strict=True))
    assert fold(folded.text).text == folded.text
