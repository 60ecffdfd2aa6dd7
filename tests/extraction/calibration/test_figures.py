"""Figures: against their definitions, and honest about ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.extraction.calibration.figures import accepted_half, auroc, spread
from modelyard.extraction.calibration.folds import folds

PAIRS = st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.9]), st.booleans()), min_size=2, max_size=40)


def arrays(pairs: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([one for one, _ in pairs]), np.array([mark for _, mark in pairs])


@given(pairs=PAIRS)
def test_auroc_is_the_share_of_pairs_in_order(pairs: list[tuple[float, bool]]) -> None:
    good = [one for one, mark in pairs if mark]
    bad = [one for one, mark in pairs if not mark]
    won = sum((one > other) + (one == other) / 2 for one in good for other in bad)
    expected = won / (len(good) * len(bad)) if good and bad else None
    assert auroc(*arrays(pairs)) == (None if expected is None else pytest.approx(expected))


@given(pairs=PAIRS, seed=st.integers(0, 10))
def test_the_accepted_half_does_not_depend_on_the_order_of_ties(
    pairs: list[tuple[float, bool]], seed: int
) -> None:
    sure, right = arrays(pairs)
    order = np.random.default_rng(seed).permutation(len(pairs))
    assert accepted_half(sure, right) == pytest.approx(accepted_half(sure[order], right[order]))


def test_equal_confidences_give_the_mean_accuracy() -> None:
    assert accepted_half(np.full(10, 0.5), np.arange(10) < 3) == pytest.approx(0.3)


def test_an_interval_draws_whole_documents() -> None:
    marks = np.array([1.0] * 50 + [0.0] * 50)
    by_value = spread(lambda at: float(marks[at].mean()), [str(at) for at in range(100)])
    by_half = spread(lambda at: float(marks[at].mean()), ["a"] * 50 + ["b"] * 50)
    assert by_value is not None and by_half is not None
    assert by_value[1] - by_value[0] < 0.25 < by_half[1] - by_half[0]


@given(
    names=st.lists(st.sampled_from("abcdefgh"), min_size=4, max_size=60),
    count=st.integers(2, 6),
    seed=st.integers(0, 5),
)
def test_no_document_is_parted(names: list[str], count: int, seed: int) -> None:
    right = [at % 3 == 0 for at in range(len(names))]
    found = folds(names, right, count, [seed])
    assert all(len({found[at] for at, one in enumerate(names) if one == name}) == 1 for name in names)
    assert found.tolist() == folds(names, right, count, [seed]).tolist()
    assert len(set(found.tolist())) == min(count, len(set(names)))
