"""Power: the smallest difference between two models that a task's samples would show."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist

import numpy as np

from modelyard.bench.statistics.clusters import Clusters, by_document, check_level
from modelyard.errors import InvalidArgumentError

_UNPAIRED = 0.5  # share of discordant pairs of two models that are right half the time, each for itself


def smallest_difference(
    differences: Sequence[float] | None,
    documents: Sequence[str],
    *,
    level: float = 0.95,
    power: float = 0.8,
) -> float | None:
    """The smallest true difference that a test at the level would show with the power, on as many documents.

    For right-or-wrong scores with one sample a document it follows from the share of discordant pairs, for
    others from the standard error of the documents' differences. Either way a test sees only documents that
    differ: even if all of those favour one model, about 8 are needed (95%, power 0.8). The figure is never below
    what these 8 make, and that is what it is where no difference was seen at all.

    Args:
        differences: two models' paired differences, -1 to 1, one a sample; None where there is no pair of models
            yet, and then half of the documents are taken to differ: two models that are right half the
            time, each for itself.
        documents: the name of each sample's document, in the same order.
        level: 1 less the test's false alarms; for n comparisons 1 - (1 - level) / n is on the safe side.
        power: how often the test would show it.

    Returns:
        The difference, or None where these documents are too few to show any.

    Raises:
        InvalidArgumentError: no samples, a difference out of range, or a level or power out of range.

    Sources: Connor, Sample Size for Testing Differences in Proportions for the Paired-Sample Design, Biometrics
    43, 1987, solved for the difference; for means (z of level + z of power) standard errors.

    >>> round(smallest_difference([1.0] * 10 + [-1.0] * 10 + [0.0] * 80, [str(n) for n in range(100)]), 3)
    0.124
    """
    check_level(level)
    if not 0.5 <= power < 1:
        raise InvalidArgumentError(
            f"power {power!r} is not from 0.5 to below 1", hint="The usual one is 0.8."
        )
    needed = NormalDist().inv_cdf((1 + level) / 2), NormalDist().inv_cdf(power)
    if differences is None:
        clusters = by_document([0.0] * len(documents), documents)
        reach = _reach(clusters, needed)
        smallest = reach * max(sqrt(_UNPAIRED), reach)
    else:
        clusters = by_document(differences, documents, lowest=-1)
        smallest = _from_pairs(
            clusters, set(differences) <= {-1, 0, 1}, _reach(clusters, needed), sum(needed)
        )
    return None if clusters.few(level) or smallest > 1 else smallest


def _from_pairs(clusters: Clusters, whole: bool, reach: float, errors: float) -> float:
    if whole and clusters.singletons:
        discordant = np.count_nonzero(clusters.sums) / clusters.documents
        return reach * max(sqrt(discordant), reach)
    typical = _typical_size(clusters)
    return max(errors * _standard_error(clusters), typical * reach**2)


def _reach(clusters: Clusters, needed: tuple[float, float]) -> float:
    """The difference in units of the root of the discordant share: Connor's equation, solved.

    With n pairs, of which a share s is discordant, a difference d is shown where
    √n d = z_level √s + z_power √(s - d²). Divided by √s it has one unknown, d / √s. Where d comes out above s,
    more pairs must be discordant than s says; with all of them on one side s = d, and d is the unknown squared.
    """
    level, power = needed
    n = clusters.effective
    inside = max(n + power**2 - level**2, 0.0)
    return (level * sqrt(n) + power * sqrt(inside)) / (n + power**2)


def _typical_size(clusters: Clusters) -> float:
    """Of a document's difference, where there is one: the root of the mean square; 1 where there is none."""
    scaled = clusters.sums * clusters.documents / clusters.sizes.sum()
    differing = scaled[scaled != 0]
    return min(float(np.sqrt(np.mean(differing**2))), 1.0) if len(differing) else 1.0


def _standard_error(clusters: Clusters) -> float:
    """Of the mean difference, by documents: a ratio's, linearised (Cochran, Sampling Techniques, 1977, chapter 6)."""
    n = clusters.documents
    if n < 2:
        return 1.0
    return sqrt(n / (n - 1) * float((clusters.residuals**2).sum())) / float(clusters.sizes.sum())
