"""From texts to probabilities of a classifier's labels; the same way for every engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from modelyard.engines.texts import batches, check_texts

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


def are_several(problem: object, count: int) -> bool:
    """Whether several labels may hold of one text, by a configuration's `problem_type` and how many there are.

    >>> are_several("multi_label_classification", 6), are_several(None, 2)
    (True, False)
    """
    return problem == "multi_label_classification" or count == 1


def labelled(
    rows: Sequence[Sequence[int]],
    logits: Callable[[list[Sequence[int]]], np.ndarray],
    labels: Sequence[str],
    *,
    context: int,
    several: bool,
) -> tuple[dict[str, float], ...]:
    """The probability of each label, for the tokens of each text, in order.

    Args:
        rows: the tokens of each text.
        logits: the model's outputs for texts of about the same length.
        labels: of the outputs, in order.
        context: most tokens of a text.
        several: as `probabilities` takes it.

    Raises:
        PromptTooLongError: a text is longer than the model reads; it is never cut in silence.
    """
    check_texts(rows, context)
    found: dict[int, dict[str, float]] = {}
    for places in batches(rows):
        made = probabilities(logits([rows[at] for at in places]), several=several)
        for at, row in zip(places, made, strict=True):
            found[at] = dict(zip(labels, map(float, row), strict=True))
    return tuple(found[at] for at in range(len(rows)))
