"""Structures: precision, recall and F1 over nested fields."""

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.bench.compare import score_fields
from modelyard.errors import InvalidArgumentError

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(-3, 3)
    | st.sampled_from(["a", "b", "$1", "2020-01-01"])
)
STRUCTURES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "a.b", "[0]"]), inner)
    ),
    max_leaves=12,
)
INVOICE = {
    "number": "2025-0117",
    "date": "2025-06-06",
    "paid": False,
    "note": None,
    "lines": [{"item": "desk", "price": 249.0}, {"item": "chair", "price": 89.5}],
}


def test_precision_recall_and_f1_count_the_values_that_are_not_null() -> None:
    score = score_fields({"a": 1, "b": 2, "c": None, "e": 5}, {"a": 1, "b": 3, "c": 4, "d": None})
    assert (score.matched, score.found, score.expected) == (1, 3, 3)
    assert (score.precision, score.recall, score.f1) == (1 / 3, 1 / 3, 1 / 3)
    assert score.parts == {"a": "right", "b": "wrong", "c": "not answered", "d": "right", "e": "extra"}


def test_a_value_where_the_label_has_none_is_extra() -> None:
    score = score_fields({"a": 1, "b": 2}, {"a": 1, "b": None})
    assert score.parts == {"a": "right", "b": "extra"}
    assert (score.precision, score.recall) == (0.5, 1.0)


@pytest.mark.parametrize("nothing", [None, {}, [], {"a": None}, [None], {"a": []}])
def test_nothing_where_nothing_is_expected_is_all_right(nothing: Any) -> None:
    for other in (None, {}, [], {"a": None}):
        score = score_fields(nothing, other)
        assert (score.precision, score.recall, score.f1) == (1.0, 1.0, 1.0)
        assert set(score.parts.values()) <= {"right"}


def test_a_true_negative_counts_neither_for_precision_nor_for_recall() -> None:
    with_null = score_fields({"a": 1, "b": None}, {"a": 2, "b": None})
    assert with_null.f1 == score_fields({"a": 1}, {"a": 2}).f1 == 0.0
    assert with_null.parts["b"] == "right"


def test_the_same_in_another_writing_and_order_is_all_right() -> None:
    found = {
        "lines": [{"price": "89.50", "item": "Chair"}, {"price": "$249", "item": "Desk"}],
        "date": "June 6, 2025",
        "number": "2025-0117",
        "paid": False,
    }
    score = score_fields(found, INVOICE)
    assert score.f1 == 1.0
    assert set(score.parts.values()) == {"right"}


def test_items_of_a_list_are_paired_with_those_they_match_best() -> None:
    found = {**INVOICE, "lines": [{"item": "chair", "price": 98.5}, {"item": "stool", "price": 20}]}
    score = score_fields(found, INVOICE)
    assert score.parts["lines[1].item"] == "right"
    assert score.parts["lines[1].price"] == "wrong"
    assert score.parts["lines[0].item"] == "wrong"


def test_the_best_pairing_is_found_where_a_greedy_one_is_not() -> None:
    # Taken by itself, the first found item agrees best with the first label, which leaves the second nothing.
    expected = [{"a": 1, "b": 2, "c": 3, "d": 0}, {"a": 1, "b": 2, "c": 9, "d": 9}]
    found = [{"a": 1, "b": 2, "c": 3, "d": 9}, {"a": 7, "b": 7, "c": 3, "d": 0}]
    assert score_fields(found, expected).matched == 5


def test_missing_and_surplus_items_are_named() -> None:
    score = score_fields({"x": ["a"]}, {"x": ["b", "a"]})
    assert score.parts == {"x[0]": "not answered", "x[1]": "right"}
    score = score_fields({"x": ["c", "a"]}, {"x": ["a"]})
    assert score.parts == {"x[0]": "right", "x[1]": "extra"}
    score = score_fields({"x": ["a", "a"]}, {"x": ["a"]})
    assert (score.precision, score.recall) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("found", "parts"),
    [
        ("14 Linden Lane", {"a.b": "not answered", "a.c": "not answered", "a": "extra"}),
        ([1, 2], {"a.b": "not answered", "a.c": "not answered", "a[0]": "extra", "a[1]": "extra"}),
        (None, {"a.b": "not answered", "a.c": "not answered"}),
    ],
)
def test_another_build_has_no_value_in_common(found: Any, parts: dict[str, str]) -> None:
    score = score_fields({"a": found}, {"a": {"b": 1, "c": 2}})
    assert score.parts == parts
    assert score.f1 == 0.0


def test_a_structure_for_a_plain_value_is_wrong() -> None:
    assert score_fields({"a": {"b": 1}}, {"a": 1}).parts == {"a": "wrong", "a.b": "extra"}
    assert score_fields({"a": {"b": None}}, {"a": 1}).parts == {"a": "not answered"}


def test_a_plain_value_is_scored_too() -> None:
    assert score_fields("$5", 5).parts == {"$": "right"}
    assert score_fields(None, 5).parts == {"$": "not answered"}
    assert score_fields([], [None]).parts == {"[0]": "right"}


def test_a_tolerance_can_hold_for_one_field_alone() -> None:
    expected = {"lines": [{"price": 10, "pieces": 3}]}
    found = {"lines": [{"price": 10.04, "pieces": 3.04}]}
    score = score_fields(found, expected, tolerances={"lines[].price": 0.05})
    assert score.parts == {"lines[0].price": "right", "lines[0].pieces": "wrong"}
    assert score_fields(found, expected, tolerance=0.05).f1 == 1.0
    assert score_fields(found, expected, tolerance=0.05, tolerances={"lines[].price": 0}).matched == 1


def test_a_negative_tolerance_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="tolerance has value -1"):
        score_fields(1, 1, tolerance=-1)


def test_keys_that_look_like_paths_stay_apart() -> None:
    score = score_fields({"a.b": 1, "a": {"b": 1}}, {"a.b": 1, "a": {"b": 2}})
    assert score.parts == {'["a.b"]': "right", "a.b": "wrong"}


def test_nan_is_never_right() -> None:
    assert score_fields({"a": math.nan}, {"a": math.nan}).parts == {"a": "wrong"}


def test_an_answer_that_nests_without_end_is_scored() -> None:
    deep: Any = 1
    for _ in range(5_000):
        deep = [deep]
    assert score_fields(deep, {"a": 1}).f1 == 0.0
    assert score_fields({"a": deep, "b": deep}, {"a": 1}).precision == 0.0


@given(STRUCTURES)
@settings(deadline=None)
def test_a_structure_has_all_of_itself(value: Any) -> None:
    score = score_fields(value, value)
    assert score.f1 == score.precision == score.recall == 1.0
    assert set(score.parts.values()) <= {"right"}


@given(STRUCTURES, STRUCTURES)
@settings(deadline=None)
def test_the_figures_lie_between_0_and_1(found: Any, expected: Any) -> None:
    score = score_fields(found, expected)
    assert 0.0 <= min(score.precision, score.recall) <= score.f1 <= max(score.precision, score.recall) <= 1.0


@given(STRUCTURES, STRUCTURES)
@settings(deadline=None)
def test_precision_becomes_recall_when_the_sides_are_exchanged(found: Any, expected: Any) -> None:
    score, mirrored = score_fields(found, expected), score_fields(expected, found)
    assert (score.precision, score.recall) == (mirrored.recall, mirrored.precision)


@given(STRUCTURES, STRUCTURES, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_lists_does_not_count(found: Any, expected: Any, order: random.Random) -> None:
    score, shuffled = score_fields(found, expected), score_fields(_shuffled(found, order), expected)
    assert (score.matched, score.f1) == (shuffled.matched, shuffled.f1)


@given(STRUCTURES, STRUCTURES)
@settings(deadline=None)
def test_the_parts_add_up_to_the_counts(found: Any, expected: Any) -> None:
    score = score_fields(found, expected)
    outcomes = list(score.parts.values())
    assert outcomes.count("right") >= score.matched
    assert outcomes.count("wrong") + outcomes.count("not answered") == score.expected - score.matched


def _shuffled(value: Any, order: random.Random) -> Any:
    if isinstance(value, list):
        return order.sample([_shuffled(one, order) for one in value], len(value))
    if isinstance(value, dict):
        return {key: _shuffled(one, order) for key, one in value.items()}
    return value
