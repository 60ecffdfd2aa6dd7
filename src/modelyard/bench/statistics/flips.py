"""Sign flips: the permutation test of paired differences, whole documents at a time."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MOST_EXACT = 14  # documents: 16,384 ways to flip them
_BLOCK = 2_000_000  # numbers worked on at once: 16 MB


def sign_flip(sums: NDArray[np.float64], *, draws: int, seed: int) -> tuple[float, bool]:
    """The two-sided p that flipping documents' signs at random gives a total as far from zero.

    If neither model is better, either could have given any document's answers, so all flips are as likely.
    Documents without a difference play no part. Up to 14 others all flips are counted; beyond, `draws` are
    drawn, and the data themselves count as one more, so that p is never zero.

    Args:
        sums: each document's difference, summed over its samples.
        draws: how many flips are drawn where they are not all counted.
        seed: of the draws.

    Returns:
        p, and whether it is exact.

    Sources: Fisher, The Design of Experiments, 1935, chapter 3; Phipson and Smyth, Permutation P-values Should
    Never Be Zero, Statistical Applications in Genetics and Molecular Biology 9, 2010.

    >>> sign_flip(np.array([0.5, 0.25, 1.0, 0.0]), draws=1000, seed=0)
    (0.25, True)
    """
    differing = sums[sums != 0]
    least = (
        abs(differing.sum()) - 1e-9 * np.abs(differing).sum()
    )  # equal totals may differ in their last bits
    if len(differing) <= MOST_EXACT:
        return float(np.mean(np.abs(_all_totals(differing)) >= least)), True
    as_far = np.count_nonzero(np.abs(_drawn_totals(differing, draws, seed)) >= least)
    return (as_far + 1) / (draws + 1), False


def _all_totals(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    totals = np.zeros(1)
    for one in sums:
        totals = np.concatenate([totals + one, totals - one])
    return totals


def _drawn_totals(sums: NDArray[np.float64], draws: int, seed: int) -> NDArray[np.float64]:
    signs = _signs(len(sums), draws, seed)
    rows = max(1, _BLOCK // len(sums))
    return np.concatenate(
        [signs[start : start + rows].astype(float) @ sums for start in range(0, draws, rows)]
    )


@lru_cache(maxsize=4)
def _signs(documents: int, draws: int, seed: int) -> NDArray[np.int8]:
    random = np.random.default_rng(seed)
    signs = random.integers(2, size=(draws, documents), dtype=np.int8) * np.int8(2) - np.int8(1)
    signs.setflags(write=False)
    return signs
