"""Numbers: whole ones, with their sign; nothing is guessed."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.extraction.numbers import cuts, numbers, parse_number


@pytest.mark.parametrize("text", [",.0", "1,.0", "0,.0x", "a,.5"])
def test_a_point_behind_a_comma_cuts_no_number(text: str) -> None:
    assert all(not cuts(text, one.start) and not cuts(text, one.end) for one in numbers(text))


@pytest.mark.parametrize(
    ("surface", "value"),
    [
        ("(0.23)", "-0.23"),
        ("-$0.23", "-0.23"),
        ("$-0.23", "-0.23"),
        ("$ (0.41)", "-0.41"),
        ("( 0.41 )", "-0.41"),
        ("(0.41", "-0.41"),
        ("\u22120.41", "-0.41"),
        ("- $0.23", "-0.23"),
        ("-.41", "-0.41"),
        (".41", "0.41"),
        ("$1,234.50", "1234.5"),
        ("US$ 5", "5"),
        ("USD 5", "5"),
        ("27 cents", "0.27"),
        ("1.2 million", "1200000"),
        ("(8.8)%", "-8.8"),
        ("12%", "12"),
        ("$0.78 per share", "0.78"),
        ("+0.41", "0.41"),
    ],
)
def test_a_number_is_read(surface: str, value: str) -> None:
    assert parse_number(surface) == Decimal(value)


@pytest.mark.parametrize(
    "surface",
    [
        "",
        "N/A",
        "nan",
        "inf",
        "—",
        "1.14 1.15",
        "1.234,50",
        "1,45",
        "1.2.3",
        "2020-03-31",
        "COVID-19",
        "Q1",
        "1e5",
    ],
)
def test_what_is_no_single_number_is_none(surface: str) -> None:
    assert parse_number(surface) is None


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("from 1.10\u20131.20", ["1.10", "1.20"]),
        ("guidance of $1.10 - $1.20", ["1.10", "1.20"]),
        ("1.20^1 and 5^(2)", ["1.20", "5"]),
        ("see (a 5) or (5 b)", ["5", "5"]),
        ("1,2,3 and No.5", ["5"]),
    ],
)
def test_numbers_in_a_sentence(text: str, values: list[str]) -> None:
    assert [one.value for one in numbers(text)] == [Decimal(value) for value in values]


def test_a_count_or_share_in_brackets_can_be_read_without_the_minus_and_an_amount_cannot() -> None:
    count, share, amount = numbers("(12), (41.5%), (0.41)")
    assert count.readings == (-12, 12)
    assert share.readings == (Decimal("-41.5"), Decimal("41.5"))
    assert amount.readings == (Decimal("-0.41"),)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**12), max_value=10**12))
def test_a_number_survives_every_form(value: Decimal) -> None:
    size = f"{abs(value):,.2f}"
    forms = (f"({size})", f"-${size}", f"$({size})") if value < 0 else (size, f"${size}", f"$ {size}")
    assert {parse_number(form) for form in forms} == {value}


@given(st.text(alphabet="0123456789.,()-$% ^aQe\u2212\u2013"))
def test_numbers_lie_in_order_and_are_never_cut(text: str) -> None:
    last = 0
    for one in numbers(text):
        assert last <= one.start < one.end <= len(text)
        assert one.outer_start <= one.start and one.end <= one.outer_end <= len(text)
        assert not cuts(text, one.start) and not cuts(text, one.end)
        last = one.end
