"""Values: the same, however they are written, and never by accident."""

import datetime
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.bench.compare import same
from modelyard.errors import InvalidArgumentError
from modelyard.extraction.dates import parse_date

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (1, 1.0),
        (0.23, Decimal("0.23")),
        ("$1,234.50", 1234.5),
        ("1,234.50", "1234.5"),
        ("(0.23)", -0.23),
        ("-$0.23", "(0.23)"),
        (".41", 0.41),
        ("27 cents", 0.27),
        ("1.2 million", 1_200_000),
        ("12%", 12),
        ("1e-3", 0.001),
        ("0.45 USD", 0.45),
        (10**400, 10**400),
        (math.inf, math.inf),
    ],
)
def test_a_number_is_the_same_however_it_is_written(found: Any, expected: Any) -> None:
    assert same(found, expected)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (0.23, -0.23),
        ("12%", 0.12),
        ("12 people", 12),
        ("Q1", 1),
        ("1 or 2", 1),
        ("1.234,5", 1234.5),
        (10**400, 10**400 + 1),
        (1e308, -1e308),
        (math.inf, 1e308),
        (0.1 + 0.2, 0.3),
    ],
)
def test_another_number_is_not_the_same(found: Any, expected: Any) -> None:
    assert not same(found, expected)


@pytest.mark.parametrize(
    ("found", "tolerance", "outcome"),
    [
        (1.45, 0.005, False),
        (1.45, 0.03, True),
        (1.425, 0.005, True),
        (1.4251, 0.005, False),
        ("1.424", 0.005, True),
    ],
)
def test_a_tolerance_is_exact_in_decimals(found: Any, tolerance: float, outcome: bool) -> None:
    assert same(found, 1.42, tolerance=tolerance) is outcome


def test_the_larger_tolerance_counts() -> None:
    assert same(105, 100, tolerance=1, relative=0.05)
    assert same(105, 100, tolerance=5, relative=0.01)
    assert not same(105, 100, tolerance=4, relative=0.04)


def test_a_relative_tolerance_is_a_share_of_the_label() -> None:
    assert same(-95, -100, relative=0.05)
    assert not same(100, 95, relative=0.05)


@pytest.mark.parametrize("wrong", [-0.1, math.nan])
def test_a_wrong_tolerance_is_refused_by_its_name(wrong: float) -> None:
    with pytest.raises(InvalidArgumentError, match="relative has value"):
        same(1, 1, relative=wrong)


@pytest.mark.parametrize("other", [math.nan, None, 0, "nan", "", False])
def test_nan_is_the_same_as_nothing(other: Any) -> None:
    assert not same(math.nan, other)
    assert not same(other, math.nan)


@pytest.mark.parametrize("other", ["", 0, False, "null", [], {}])
def test_none_is_only_none(other: Any) -> None:
    assert same(None, None)
    assert not same(None, other)
    assert not same(other, None)


@pytest.mark.parametrize("other", [1, "true", "yes", 1.0, False, None])
def test_a_boolean_is_only_that_boolean(other: Any) -> None:
    assert same(True, True)
    assert not same(True, other)
    assert not same(other, True)


@pytest.mark.parametrize(
    "written",
    [
        "2023-06-30",
        "2023/06/30",
        "June 30, 2023",
        "june 30 2023",
        "Jun. 30, 2023",
        "June 30th, 2023",
        "30 June 2023",
        "30th of June, 2023",
        "30-Jun-2023",
        "Friday, June 30, 2023",
        "30.06.2023",
        "6/30/2023",
        "2023-06-30T00:00:00Z",
        "2023-06-30 00:00:00",
        "2023\u201106\u201130",
        "June\u00a030,\n2023",
        datetime.date(2023, 6, 30),
        datetime.datetime(2023, 6, 30),
    ],
)
def test_a_day_is_the_same_however_it_is_written(written: Any) -> None:
    assert same(written, "2023-06-30")
    assert same(datetime.date(2023, 6, 30), written)


@pytest.mark.parametrize(
    "text",
    [
        "03/04/2023",
        "3.4.2023",
        "2023-02-30",
        "30 Junk 2023",
        "June 2023",
        "30 June 23",
        "2023-06-30T14:00",
        "2023",
    ],
)
def test_what_is_not_clearly_one_day_is_no_date(text: str) -> None:
    assert parse_date(text) is None


def test_day_and_month_are_not_guessed() -> None:
    assert not same("03/04/2023", "2023-03-04")
    assert not same("03/04/2023", "2023-04-03")
    assert same("03/04/2023", "03/04/2023")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("Net  loss\n", "net loss"),
        ("Net\u00a0loss", "Net loss"),
        ("STRASSE", "straße"),
        ("e\u0301t\u00e9", "\u00e9te\u0301"),
        ("2020\u20132021", "2020-2021"),
        ("\u201cnet\u201d", '"net"'),
        ("Moody\u2019s", "Moody's"),
        ("ﬁscal", "fiscal"),
        ("ＥＰＳ", "EPS"),
        ("co\u00adoperate", "cooperate"),
    ],
)
def test_the_look_of_a_text_does_not_count(found: str, expected: str) -> None:
    assert same(found, expected)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("Room 12", "Suite 12"),
        ("007", "7"),
        ("01234", "1234"),
        ("net loss", "netloss"),
        ("a", ""),
        ("resume", "résumé"),
    ],
)
def test_another_text_is_not_the_same(found: str, expected: str) -> None:
    assert not same(found, expected)
    assert not same(expected, found)


def test_lists_are_compared_in_order_and_objects_by_key() -> None:
    assert same({"a": ["$1", "X"], "b": None}, {"b": None, "a": [1, "x"]})
    assert not same([1, 2], [2, 1])
    assert not same([1], [1, 1])
    assert not same({"a": None}, {})
    assert same([1.0], [1.004], tolerance=0.005)
    assert not same([1], 1)


@given(SCALARS)
@settings(deadline=None)
def test_a_value_is_the_same_as_itself(value: Any) -> None:
    assert same(value, value)


@given(SCALARS, SCALARS, st.floats(0, 10))
@settings(deadline=None)
def test_the_sides_can_be_exchanged(one: Any, other: Any, tolerance: float) -> None:
    assert same(one, other, tolerance=tolerance) is same(other, one, tolerance=tolerance)


@given(st.dates(min_value=datetime.date(1000, 1, 1)))
@settings(deadline=None)
def test_every_day_is_read_as_it_was_written(day: datetime.date) -> None:
    month = day.strftime("%B")
    assert parse_date(f"{month} {day.day}, {day.year}") == parse_date(f"{day.day} {month} {day.year}") == day
    assert parse_date(day.isoformat()) == day
