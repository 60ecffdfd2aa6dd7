"""The curves: shares and means are what a plain count gives, whatever the order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.extraction.calibration.curves import coverage_curve, reliability

PAIRS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]) | st.floats(0, 1), st.booleans()), max_size=60
)


@given(PAIRS, st.randoms())
def test_the_order_of_the_values_makes_no_difference(pairs: list[tuple[float, bool]], random: object) -> None:
    shuffled = list(pairs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for curve in (coverage_curve, reliability):
        ways = [curve([one for one, _ in way], [mark for _, mark in way]) for way in (pairs, shuffled)]
        assert str(ways[0]) == pytest.approx(str(ways[1])) or ways[0] == ways[1]


@given(PAIRS)
def test_each_point_is_a_plain_count(pairs: list[tuple[float, bool]]) -> None:
    found = coverage_curve([one for one, _ in pairs], [mark for _, mark in pairs])
    for share, good, least in zip(found["coverage"], found["accuracy"], found["threshold"], strict=True):
        kept = [mark for one, mark in pairs if one >= least]
        assert share == pytest.approx(len(kept) / len(pairs))
        assert good == pytest.approx(sum(kept) / len(kept))
    assert not pairs or found["coverage"][-1] == 1.0


@given(PAIRS, st.integers(1, 12))
def test_the_bins_hold_every_value_once_and_no_confidence_is_in_two(
    pairs: list[tuple[float, bool]], bins: int
) -> None:
    found = reliability([one for one, _ in pairs], [mark for _, mark in pairs], bins)
    assert sum(one["count"] for one in found["bins"]) == len(pairs)
    assert len(found["bins"]) <= bins
    for before, after in zip(found["bins"], found["bins"][1:], strict=False):
        assert before["high"] < after["low"]
    assert 0 <= found["ece"] <= 1
