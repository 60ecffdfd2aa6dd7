"""Final scores: several tasks' means as one figure, and two older ways to make one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum, isfinite, sqrt

import numpy as np

from modelyard.bench.statistics.bootstrap import RESAMPLES
from modelyard.bench.statistics.clusters import by_document
from modelyard.bench.statistics.comparisons import Comparison, compare, paired_differences
from modelyard.bench.statistics.flips import sign_flip
from modelyard.bench.statistics.intervals import Estimate, estimate
from modelyard.errors import InvalidArgumentError

LEGACY_TIERS = {1: 0.3, 2: 0.4, 3: 0.3}


def weighted(
    tasks: Sequence[tuple[float, Sequence[float], Sequence[str]]],
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """The weighted mean of tasks' mean scores, with an interval made of the tasks' own.

    Each task's distance from its mean to its interval's end is a margin; the final margin on a side is the root
    of the sum of the squared, weighted margins of that side. So each task keeps the interval that is right for
    it, lopsided or not. Documents of different tasks are taken to be drawn independently.

    Args:
        tasks: of each task its weight, its scores and their documents; weights need not add up to 1.
        level: how often intervals made so hold the true mean.
        resamples: how many times the bootstrap draws the documents.
        seed: of those draws.

    Raises:
        InvalidArgumentError: no tasks, a weight below 0 or none above it, or what `estimate` raises.

    Source: Zou and Donner, Construction of confidence limits about effect measures: a general approach, Statistics
    in Medicine 27, 2008.

    >>> right = [1.0] * 8 + [0.0] * 2, [f"page {number}" for number in range(10)]
    >>> found = weighted([(2.0, *right), (2.0, *right)])
    >>> found.value, round(found.low, 3), round(found.high, 3), found.samples
    (0.8, 0.581, 0.901, 20)
    """
    shares = _shares([weight for weight, _, _ in tasks])
    each = [
        estimate(scores, documents, level=level, resamples=resamples, seed=seed)
        for _, scores, documents in tasks
    ]
    value, low, high = _combined(shares, [(one.value, one.low, one.high) for one in each])
    return Estimate(
        value,
        max(low, 0.0),
        min(high, 1.0),
        sum(one.samples for one in each),
        sum(one.clusters for one in each),
        each[0].method if len(each) == 1 else "tasks' intervals, margins squared and added",
    )


def compare_weighted(
    tasks: Sequence[tuple[float, Sequence[float], Sequence[float], Sequence[str]]],
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Whether one model's weighted final score is better than another's.

    One task is compared as `compare` does. Of several, the permutation test flips the signs of whole
    documents' differences, each weighted as it counts in the final score; the interval is made of the tasks'
    own as `weighted` does.

    Args:
        tasks: of each task its weight, the first model's scores, the second one's, and the documents.
        level: how often intervals made so hold the true difference.
        resamples: how many times documents or flips are drawn.
        seed: of those draws.

    Raises:
        InvalidArgumentError: no tasks, a weight below 0 or none above it, or what `compare` raises.

    >>> pages = [f"page {number}" for number in range(6)]
    >>> task = (1.0, [1.0] * 6, [0.0] * 6, pages)
    >>> found = compare_weighted([task, task])
    >>> found.difference, found.p == 2 / 2**12
    (1.0, True)
    """
    shares = _shares([weight for weight, _, _, _ in tasks])
    each = [
        compare(a, b, documents, level=level, resamples=resamples, seed=seed) for _, a, b, documents in tasks
    ]
    if len(each) == 1:
        return each[0]
    difference, low, high = _combined(shares, [(one.difference, one.low, one.high) for one in each])
    gathered = [by_document(paired_differences(a, b), documents, lowest=-1) for _, a, b, documents in tasks]
    sums = np.concatenate(
        [share * one.sums / one.sizes.sum() for share, one in zip(shares, gathered, strict=True)]
    )
    p, exact = sign_flip(sums, draws=resamples, seed=seed)
    return Comparison(
        difference,
        max(low, -1.0),
        min(high, 1.0),
        p,
        f"sign flips by document over all tasks, {'exact' if exact else 'drawn'}",
        sum(one.samples for one in each),
        sum(one.discordant for one in each),
    )


def _shares(weights: Sequence[float]) -> list[float]:
    if not weights:
        raise InvalidArgumentError("there are no tasks", hint="Give at least one task.")
    wrong = next((place for place, one in enumerate(weights) if not (isfinite(one) and one >= 0)), None)
    if wrong is not None:
        raise InvalidArgumentError(
            f"weight {weights[wrong]!r} at place {wrong} is not 0 or more", hint="Weights are 0 or more."
        )
    total = fsum(weights)
    if total == 0:
        raise InvalidArgumentError("all weights are 0", hint="Give at least one task a weight above 0.")
    return [one / total for one in weights]


def _combined(
    shares: Sequence[float], parts: Sequence[tuple[float, float, float]]
) -> tuple[float, float, float]:
    """The weighted sum of the parts' values, with the margins of each side squared and added."""
    values = [one for one, _, _ in parts]
    value = fsum(share * one for share, one in zip(shares, values, strict=True))
    value = min(max(value, min(values)), max(values))  # shares as floats may add up to a little more than 1
    below = fsum((share * (one - low)) ** 2 for share, (one, low, _) in zip(shares, parts, strict=True))
    above = fsum((share * (high - one)) ** 2 for share, (one, _, high) in zip(shares, parts, strict=True))
    return value, value - sqrt(below), value + sqrt(above)


def legacy_score(quality: float, efficiency: float) -> float:
    """Nine parts quality and one part efficiency, both on the same scale.

    >>> round(legacy_score(0.8, 0.5), 3)
    0.77
    """
    return 0.9 * quality + 0.1 * efficiency


def legacy_quality(tiers: Mapping[int, float]) -> float:
    """The quality of three tiers weighted 0.3, 0.4 and 0.3, over those tiers that are given.

    Args:
        tiers: the quality of each tier, by its number.

    Raises:
        InvalidArgumentError: no tier, or one that is not 1, 2 or 3.

    >>> round(legacy_quality({1: 1.0, 2: 0.5, 3: 0.0}), 3), legacy_quality({2: 0.5})
    (0.5, 0.5)
    """
    unknown = sorted(set(tiers) - set(LEGACY_TIERS))
    if unknown or not tiers:
        raise InvalidArgumentError(
            f"tier {unknown[0]!r} is not known" if unknown else "there are no tiers",
            hint="Tiers are 1, 2 and 3; give at least one.",
        )
    shares = _shares([LEGACY_TIERS[tier] for tier in tiers])
    return fsum(share * one for share, one in zip(shares, tiers.values(), strict=True))
