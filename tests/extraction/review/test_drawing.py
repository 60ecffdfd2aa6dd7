"""The curves: everything is inside the frame, and every point is where its figures say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelyard.extraction.calibration.curves import coverage_curve, reliability
from modelyard.extraction.review.drawing import Drawing, draw_coverage, draw_reliability

PAIRS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=80)


def both(pairs: list[tuple[float, bool]]) -> tuple[Drawing, Drawing]:
    confidences, right = [one for one, _ in pairs], [mark for _, mark in pairs]
    return draw_coverage(coverage_curve(confidences, right)), draw_reliability(
        reliability(confidences, right)
    )


@given(PAIRS)
def test_everything_is_inside_the_frame(pairs: list[tuple[float, bool]]) -> None:
    for one in both(pairs):
        places = [tuple(map(float, pair.split(","))) for pair in one.line.split()]
        places += [(point.x, point.y) for point in one.points]
        assert all(one.left <= x <= one.right and one.top <= y <= one.bottom for x, y in places)
        assert one.y_ticks[0].at == one.bottom and one.y_ticks[-1].at == one.top
        assert one.y_ticks[-1].text == "100 %"


def test_a_thousand_points_are_drawn_as_a_line_that_ends_with_the_last() -> None:
    one, _ = both([(at / 5000, at % 3 > 0) for at in range(5000)])
    assert len(one.line.split()) < 500
    assert one.line.split()[-1].startswith(f"{one.right}")
    assert not one.points


def test_the_summary_says_what_is_drawn() -> None:
    coverage, reliable = both([(0.9, True), (0.8, True), (0.4, False), (0.3, True)])
    assert coverage.summary == "The surest half is right in 100 %, all values in 75 %."
    assert reliable.summary.startswith("4 labelled values in 4 bins. Mean distance (ECE)")
