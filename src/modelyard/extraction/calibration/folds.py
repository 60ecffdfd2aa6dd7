"""Folds: documents in parts, none parted itself, each part with its share of right and of wrong values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def folds(
    documents: Sequence[str], right: Sequence[bool], count: int, seed: Sequence[int]
) -> NDArray[np.int64]:
    """The fold of each value.

    The largest documents are dealt first, each to the fold whose shares of right and wrong values it evens out
    best, equals by lot. The labels decide about the parts alone (as scikit-learn's StratifiedGroupKFold does).

    Args:
        documents: the document of each value.
        right: whether each value is right.
        count: how many folds; as many as there are documents at most.
        seed: the same numbers give the same folds.

    >>> folds(["a", "a", "b", "c"], [True, False, True, False], 2, [0]).tolist() in ([0, 0, 1, 1], [1, 1, 0, 0])
    True
    """
    rng = np.random.default_rng(list(seed))
    names, of = np.unique(np.asarray(documents), return_inverse=True)
    marks = np.asarray(right, dtype=bool)
    sizes = np.stack(
        [np.bincount(of[~marks], minlength=len(names)), np.bincount(of[marks], minlength=len(names))], 1
    )
    total = np.maximum(sizes.sum(0), 1)
    held, fold_of = np.zeros((min(count, len(names)), 2)), np.zeros(len(names), dtype=np.int64)
    shuffled = rng.permutation(len(names))
    dealt = shuffled[np.argsort(-sizes[shuffled].sum(1), kind="stable")]
    for left, document in zip(range(len(dealt), 0, -1), dealt, strict=True):
        lots = rng.permutation(len(held))
        empty = lots[held[lots].sum(1) == 0]
        lots = empty if len(empty) == left else lots  # none stays empty
        uneven = []
        for fold in lots:
            tried = held.copy()
            tried[fold] += sizes[document]
            uneven.append(float((tried / total).std(0).sum()))
        chosen = lots[int(np.argmin(uneven))]
        fold_of[document] = chosen
        held[chosen] += sizes[document]
    return fold_of[of]
