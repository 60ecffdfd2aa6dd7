"""Weights: how much each voter counts, from how often it is right on labelled documents.

The weight of an independent voter in the best vote is the logarithm of its odds of being right (Nitzan and Paroush,
Optimal Decision Rules in Uncertain Dichotomous Choice Situations, International Economic Review 23, 1982; the
same weights bound a weighted majority's mistakes in Littlestone and Warmuth, 1994). Where a wrong answer can be
any of `WRONG` values, two voters rarely share one by chance, and the odds are `WRONG` times as high (Dawid and
Skene 1979, one error rate for all wrong values).
"""

from __future__ import annotations

import math

WRONG = 4
"""Among how many values wrong answers are taken to be spread."""

PRIOR = 4.0
"""How many votes of an average voter are added to each voter's own, so that few labels say little."""

LEAST = 0.02

_UNIT = math.log(WRONG * 0.8 / 0.2)


def weight_of(right: float, votes: float, average: float) -> float:
    """A voter's weight; 1 is a voter that is right in four of five cases.

    Args:
        right: how many of its votes are right.
        votes: how many of its votes are known to be right or wrong.
        average: the accuracy of all voters' votes together.

    >>> [round(weight_of(share * 1000, 1000, 0.5), 2) for share in (0.95, 0.8, 0.5, 0.1)]
    [1.55, 1.0, 0.5, 0.02]
    """
    accuracy = (right + PRIOR * average) / (votes + PRIOR)
    accuracy = min(max(accuracy, 1e-6), 1 - 1e-6)
    return max(LEAST, math.log(WRONG * accuracy / (1 - accuracy)) / _UNIT)
