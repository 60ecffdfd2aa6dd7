"""Curves: how confidence and being right go together, as plain data for tables and drawings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

BINS = 10


def coverage_curve(confidences: Sequence[float], right: Sequence[bool]) -> dict[str, list[float]]:
    """The accuracy of the most confident values, for each share of them that is accepted.

    Values of the same confidence are accepted together, so that no order among them is invented.

    Returns:
        `coverage`, `accuracy` and `threshold`, from the most confident values to all.

    >>> coverage_curve([0.9, 0.5, 0.5, 0.2], [True, True, False, False])
    {'coverage': [0.25, 0.75, 1.0], 'accuracy': [1.0, 0.6666666666666666, 0.5], 'threshold': [0.9, 0.5, 0.2]}
    """
    ordered = sorted(zip(confidences, right, strict=True), key=lambda pair: -pair[0])
    found: dict[str, list[float]] = {"coverage": [], "accuracy": [], "threshold": []}
    count = good = 0
    for confidence, tied in groupby(ordered, key=lambda pair: pair[0]):
        marks = [mark for _, mark in tied]
        count, good = count + len(marks), good + sum(marks)
        found["coverage"].append(count / len(ordered))
        found["accuracy"].append(good / count)
        found["threshold"].append(confidence)
    return found


def reliability(confidences: Sequence[float], right: Sequence[bool], bins: int = BINS) -> dict[str, Any]:
    """Mean confidence beside accuracy, in bins that hold equally many values.

    Bins of equal mass (Nixon et al. 2019, Measuring Calibration in Deep Learning) have no bin with hardly a
    value in it; values of the same confidence stay in one bin. `ece` is the mean distance of the two, weighted
    by how many values a bin has (Naeini et al. 2015).

    Returns:
        `bins`, each with `low`, `high`, `confidence`, `accuracy` and `count`, and `ece`.

    >>> found = reliability([0.9, 0.9, 0.5, 0.5], [True, True, True, False], bins=2)
    >>> [(one["confidence"], one["accuracy"], one["count"]) for one in found["bins"]]
    [(0.5, 0.5, 2), (0.9, 1.0, 2)]
    """
    ordered = sorted(zip(confidences, right, strict=True), key=lambda pair: pair[0])
    found: list[dict[str, float]] = []
    for part in _parts(ordered, bins):
        sure = [confidence for confidence, _ in part]
        found.append(
            {
                "low": sure[0],
                "high": sure[-1],
                "confidence": sum(sure) / len(part),
                "accuracy": sum(mark for _, mark in part) / len(part),
                "count": len(part),
            }
        )
    gaps = (one["count"] * abs(one["confidence"] - one["accuracy"]) for one in found)
    return {"bins": found, "ece": sum(gaps) / len(ordered) if ordered else 0.0}


def _parts(ordered: Sequence[tuple[float, bool]], bins: int) -> list[list[tuple[float, bool]]]:
    parts: list[list[tuple[float, bool]]] = []
    least = len(ordered) / max(1, bins)
    for _, tied in groupby(ordered, key=lambda pair: pair[0]):
        if not parts or sum(map(len, parts)) >= len(parts) * least - 1e-9:
            parts.append([])
        parts[-1] += tied
    return parts
