"""Figures: how good confidences are: calibration error, ranking, and the accuracy of the half that is accepted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.extraction.calibration.curves import reliability

Numbers = NDArray[np.float64]
Marks = NDArray[np.bool_]


def calibration_error(confidences: Numbers, right: Marks) -> float:
    """The expected calibration error over ten bins of equal mass; see `curves.reliability`.

    >>> calibration_error(np.array([0.9, 0.9, 0.5, 0.5]), np.array([True, True, True, False]))
    0.04999999999999999
    """
    return float(reliability(confidences.tolist(), right.tolist())["ece"])


def auroc(confidences: Numbers, right: Marks) -> float | None:
    """How often a right value has the higher confidence than a wrong one, ties counted half.

    None where all values are right or all wrong. It is the Mann-Whitney statistic (Hanley and McNeil, Radiology
    143, 1982).

    >>> auroc(np.array([0.9, 0.5, 0.5]), np.array([True, True, False]))
    0.75
    """
    good, bad = confidences[right], np.sort(confidences[~right])
    if not len(good) or not len(bad):
        return None
    below = np.searchsorted(bad, good, side="left") + np.searchsorted(bad, good, side="right")
    return float(below.mean() / (2 * len(bad)))


def brier(confidences: Numbers, right: Marks) -> float:
    """The mean squared distance of confidence and being right (Brier, Monthly Weather Review 78, 1950).

    >>> brier(np.array([1.0, 0.5]), np.array([True, False]))
    0.125
    """
    return float(((confidences - right) ** 2).mean())


def accepted_half(confidences: Numbers, right: Marks, share: float = 0.5) -> float:
    """The accuracy of the most confident share of the values.

    Where the border runs through values of the same confidence, it is what a random choice among them gives on
    average, so that no order among them is invented.

    >>> accepted_half(np.array([0.9, 0.5, 0.5, 0.5]), np.array([True, True, False, False]))
    0.6666666666666666
    """
    wanted = share * len(right)
    left, good = wanted, 0.0
    for level in np.unique(confidences)[::-1]:
        tied = right[confidences == level]
        taken = min(left, float(len(tied)))
        good += taken * float(tied.mean())
        left -= taken
        if left <= 0:
            break
    return good / wanted


def spread(
    measure: Callable[[Any], float | None],
    documents: Sequence[str],
    *,
    resamples: int = 400,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """An interval of a figure from the percentile bootstrap that draws whole documents.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.

    Args:
        measure: the figure of the values at the given places; None where it has none there.
        documents: the document of each value.
        resamples: how often the documents are drawn.
        seed: of the draws.
        level: of the interval.
    """
    names, of = np.unique(np.asarray(documents), return_inverse=True)
    if len(names) < 2:
        return None
    places = [np.flatnonzero(of == one) for one in range(len(names))]
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        drawn = rng.integers(0, len(names), len(names))
        one = measure(np.concatenate([places[at] for at in drawn]))
        if one is not None:
            found.append(one)
    if not found:
        return None
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
