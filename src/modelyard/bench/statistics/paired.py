"""Paired samples, right or wrong: the exact test and the score interval of two shares' difference."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

from modelyard.bench.statistics.needed import scipy


def mcnemar(first_only: int, second_only: int) -> float:
    """McNemar's exact test: the two-sided p that as few as this of the discordant pairs go one way.

    Args:
        first_only: pairs that only the first model has right.
        second_only: pairs that only the second has right.

    Source: McNemar, Psychometrika 12, 1947; exact by the binomial, as Fagerland, Lydersen and Laake describe
    in BMC Medical Research Methodology 13:91, 2013.

    >>> round(mcnemar(10, 2), 5)
    0.03857
    """
    discordant = first_only + second_only
    if discordant == 0:
        return 1.0
    tail = scipy("special").bdtr(min(first_only, second_only), discordant, 0.5)
    return min(1.0, 2 * float(tail))


def tango(first_only: float, second_only: float, pairs: float, *, level: float) -> tuple[float, float]:
    """Tango's score interval of the difference of two paired shares.

    It holds the differences that McNemar's test without its exactness would not reject, and is as wide as it
    should be where few pairs, or none, are discordant.

    Args:
        first_only: pairs that only the first model has right; not always whole, for documents may stand in
            for pairs.
        second_only: pairs that only the second has right.
        pairs: how many there are in all.
        level: how often intervals made so hold the true difference.

    Source: Tango, Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design, Statistics in Medicine 17, 1998.

    >>> [round(end, 4) for end in tango(0, 0, 100, level=0.95)]
    [-0.037, 0.037]
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    return -_above(second_only, first_only, pairs, z), _above(first_only, second_only, pairs, z)


def _above(first_only: float, second_only: float, pairs: float, z: float) -> float:
    """The largest difference that is within z standard errors, these taken as they would be if it held."""
    found = (first_only - second_only) / pairs
    nudge = 1e-9  # where all pairs agree the found difference is itself a root, and not the one that is meant
    if found >= 1 - nudge:
        return 1.0

    def excess(difference: float) -> float:
        return (difference - found) ** 2 * pairs - z**2 * _variance(
            difference, first_only, second_only, pairs
        )

    return float(scipy("optimize").brentq(excess, found + nudge, 1.0))


def _variance(difference: float, first_only: float, second_only: float, pairs: float) -> float:
    """Of one pair's difference, with the share that only the second has right as likely as can be."""
    half = (2 * pairs - first_only + second_only) * difference - first_only - second_only
    rest = second_only * difference * (1 - difference)
    root = sqrt(max(half**2 + 8 * pairs * rest, 0.0))
    second_share = (root - half) / (4 * pairs)
    return max(2 * second_share + difference * (1 - difference), 0.0)
