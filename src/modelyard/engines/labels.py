"""From a classifier's outputs to probabilities of its labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def probabilities(logits: np.ndarray, *, several: bool) -> np.ndarray:
    """Probabilities of outputs, of shape (texts, labels), from logits of the same shape.

    Args:
        logits: the model's outputs.
        several: whether several labels may hold of one text: then each has a probability of its own (the logistic
            function), else they sum to 1 (softmax).

    >>> import numpy as np
    >>> probabilities(np.array([[0.0, 0.0]]), several=False).tolist()
    [[0.5, 0.5]]
    """
    import numpy as np

    wide = logits.astype(np.float64)
    if several:
        # As two halves, so that neither end overflows.
        small = np.exp(-np.abs(wide))
        return np.where(wide >= 0, 1 / (1 + small), small / (1 + small))
    shifted = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))
