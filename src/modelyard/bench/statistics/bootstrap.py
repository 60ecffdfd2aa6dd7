"""The bootstrap: a mean's interval by drawing whole documents again and again.

One resample is a row of counts, how often each document was drawn, so all resampled means are one product of
matrices. The same rows serve every model of a task.
"""

from __future__ import annotations

from functools import lru_cache
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from modelyard.bench.statistics.clusters import Clusters
from modelyard.bench.statistics.needed import scipy

RESAMPLES = 10_000
_BLOCK = 2_000_000  # numbers worked on at once: 16 MB
_NORMAL = NormalDist()


def bca(clusters: Clusters, *, level: float, resamples: int, seed: int) -> tuple[float, float]:
    """The bias-corrected and accelerated interval of a mean over clusters.

    The two tails are those of Student's t, widened by the root of n / (n - 1) for n documents: a resample's
    spread is too small by that root, and the normal's tails are too thin where n is small. With many
    documents it is the plain BCa interval.

    Args:
        clusters: at least two documents, not all alike.
        level: how often intervals made so hold the true mean.
        resamples: how many times the documents are drawn.
        seed: of the draws.

    Sources: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 14.3 (BCa); Hesterberg, What
    Teachers Should Know About the Bootstrap, The American Statistician 69, 2015 (wider tails).

    >>> from modelyard.bench.statistics.clusters import by_document
    >>> clusters = by_document([0.2, 0.9, 0.4, 0.7, 1.0, 0.6], ["a", "a", "b", "c", "d", "d"])
    >>> low, high = bca(clusters, level=0.95, resamples=2000, seed=0)
    >>> low < clusters.mean < high
    True
    """
    means = resampled_means(clusters, resamples, seed)
    shift = _bias(means, clusters.mean)
    lean = _acceleration(clusters)
    tail = tail_of(level, clusters.documents)
    low, high = np.quantile(means, [_share_below(z, shift, lean) for z in (-tail, tail)])
    return float(low), float(high)


def _share_below(z: float, shift: float, lean: float) -> float:
    """The share of resampled means that are to be below an end, z standard deviations from the middle."""
    moved = shift + z
    room = 1 - lean * moved
    if room <= 0:  # so few and lopsided documents that the end lies beyond every resample
        return 1.0 if moved > 0 else 0.0
    return _NORMAL.cdf(shift + moved / room)


@lru_cache(maxsize=64)
def tail_of(level: float, documents: int) -> float:
    """How many of the normal's standard deviations each side of the interval is.

    >>> round(tail_of(0.95, 10), 3), round(tail_of(0.95, 1000), 3)
    (2.385, 1.963)
    """
    student = float(scipy("stats").t.ppf((1 + level) / 2, documents - 1))
    return student * sqrt(documents / (documents - 1))


def resampled_means(clusters: Clusters, resamples: int, seed: int) -> NDArray[np.float64]:
    """The mean of each resample of the documents."""
    table = np.column_stack([clusters.sums, clusters.sizes])
    counts = _counts(clusters.documents, resamples, seed)
    rows = max(1, _BLOCK // clusters.documents)
    blocks = [counts[start : start + rows].astype(float) @ table for start in range(0, resamples, rows)]
    totals = np.concatenate(blocks)
    means: NDArray[np.float64] = totals[:, 0] / totals[:, 1]
    return means


@lru_cache(maxsize=4)
def _counts(documents: int, resamples: int, seed: int) -> NDArray[np.uint8]:
    """How often each document (column) is in each resample (row)."""
    random = np.random.default_rng(seed)
    rows = max(1, _BLOCK // documents)
    blocks = [_block(random, min(rows, resamples - start), documents) for start in range(0, resamples, rows)]
    counts = np.concatenate(blocks)
    counts.setflags(write=False)
    return counts


def _block(random: np.random.Generator, rows: int, documents: int) -> NDArray[np.uint8]:
    drawn = random.integers(documents, size=(rows, documents)) + documents * np.arange(rows)[:, None]
    counted = np.bincount(drawn.ravel(), minlength=rows * documents)
    return counted.astype(np.uint8).reshape(rows, documents)  # a document is never drawn 256 times


def _bias(means: NDArray[np.float64], value: float) -> float:
    """The normal's place of the share of resampled means below the value, ties counted half."""
    tolerance = 1e-12  # a mean that equals the value may differ in its last bit
    below = np.count_nonzero(means < value - tolerance)
    equal = np.count_nonzero(np.abs(means - value) <= tolerance)
    share = (below + equal / 2) / len(means)
    least = 1 / (len(means) + 1)
    return _NORMAL.inv_cdf(min(max(share, least), 1 - least))


def _acceleration(clusters: Clusters) -> float:
    """How the spread changes with the mean, from leaving out one document at a time."""
    left_out = (clusters.sums.sum() - clusters.sums) / (clusters.sizes.sum() - clusters.sizes)
    away = left_out.mean() - left_out
    return float((away**3).sum() / (6 * (away**2).sum() ** 1.5))
