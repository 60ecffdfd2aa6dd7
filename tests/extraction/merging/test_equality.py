"""Equality: the same value however it is written, groups that do not depend on the order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import InvalidArgumentError
from modelyard.extraction.merging.equality import group, same_value
from modelyard.extraction.result import Candidate
from modelyard.extraction.schema import Field

NUMBER, TEXT, LIST = Field("eps", "number"), Field("name", "string"), Field("all", "array", items="number")
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)
FIELDS = st.sampled_from([NUMBER, TEXT, LIST, Field("one", "object"), Field("yes", "boolean"), None])


@pytest.mark.parametrize(
    ("field", "a", "b"),
    [
        (NUMBER, 1.5, "$1.50"),
        (NUMBER, -0.41, "(0.41)"),
        (NUMBER, 2, 2.0),
        (TEXT, "Net  Loss", "net loss"),
        (TEXT, "non\u2013GAAP", "Non-GAAP"),
        (TEXT, "30 June 2023", "2023-06-30"),
        (TEXT, "30.06.2023", "June 30th, 2023"),
        (Field("size", "string", enum=("small", "very large")), "Very large", "very  large"),
        (LIST, [1, 2.0, 2], [2, 1, 2]),
        (Field("one", "object"), {"a": 1, "b": ["x", "Y"]}, {"b": ["y", "X"], "a": 1.0}),
        (NUMBER, None, None),
    ],
)
def test_the_same_value_written_in_two_ways(field: Field, a: Any, b: Any) -> None:
    assert same_value(field, a, b)


@pytest.mark.parametrize(
    ("field", "a", "b"),
    [
        (NUMBER, 0.41, -0.41),
        (NUMBER, 1, True),
        (NUMBER, 0, None),
        (TEXT, "", None),
        (TEXT, "007", "7"),
        (TEXT, "1.10", "1.1"),
        (TEXT, "03/04/2023", "2023-04-03"),  # or the fourth of March
        (LIST, [1, 1, 2], [1, 2, 2]),
        (Field("one", "object"), {"a": None}, {}),
        (Field("yes", "boolean"), True, False),
    ],
)
def test_another_value_however_alike(field: Field, a: Any, b: Any) -> None:
    assert not same_value(field, a, b)


def test_a_tolerance_holds_inside_lists_and_objects_whatever_their_order() -> None:
    one = [{"a": 1.00, "b": 5}, {"a": 1.01, "b": 2}]
    other = [{"a": 1.01, "b": 5}, {"a": 1.00, "b": 2}]
    assert same_value(LIST, one, other, tolerance=0.01)
    assert not same_value(LIST, one, other, tolerance=0.001)
    assert same_value(LIST, [1, 1.01, 1.02], [1.01, 1.02, 1.03], tolerance=0.01)
    assert not same_value(LIST, [1, 1.01, 1.02], [1.01, 1.02, 1.04], tolerance=0.01)


@pytest.mark.parametrize("tolerance", [-0.1, float("nan"), float("inf"), "0.1", True])
def test_a_tolerance_that_is_none_is_refused_with_its_value(tolerance: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="tolerance has value"):
        same_value(NUMBER, 1, 1, tolerance)


@given(FIELDS, JSON, JSON, st.sampled_from([0.0, 0.5]))
def test_equality_is_reflexive_and_symmetric_for_any_json(
    field: Field | None, a: Any, b: Any, tolerance: float
) -> None:
    assert same_value(field, a, a, tolerance)
    assert same_value(field, a, b, tolerance) == same_value(field, b, a, tolerance)


@given(FIELDS, st.lists(JSON, max_size=6), st.sampled_from([0.0, 0.5]), st.randoms())
def test_groups_hold_every_candidate_once_in_any_order(
    field: Field | None, values: list[Any], tolerance: float, random: Any
) -> None:
    candidates = [Candidate(f"v{at % 4}", f"d{at % 2}", value, "found") for at, value in enumerate(values)]
    groups = group(field, candidates, tolerance)
    assert sorted(map(repr, candidates)) == sorted(repr(one) for of in groups for one in of)
    assert all(same_value(field, of[0].value, one.value, tolerance) for of in groups for one in of)
    random.shuffle(candidates)
    assert repr(group(field, candidates, tolerance)) == repr(groups)


def test_with_a_tolerance_the_value_with_most_votes_near_it_is_the_centre() -> None:
    values = {"a": 1.00, "b": 1.02, "c": 1.02, "d": 1.04, "e": 1.06}
    read = [Candidate(who, "d", value, "found") for who, value in values.items()]
    groups = [[one.voter for one in of] for of in group(NUMBER, read, tolerance=0.02)]
    assert groups == [["b", "c", "a", "d"], ["e"]]
