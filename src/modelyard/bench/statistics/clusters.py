"""Clusters: scores gathered by the document that their samples were drawn from.

Samples of one document are not independent, so whatever is resampled, flipped or counted below is a whole
document. The gathering does not depend on the order of the samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

import numpy as np
from numpy.typing import NDArray

from modelyard.errors import InvalidArgumentError


@dataclass(slots=True, frozen=True, eq=False)
class Clusters:
    """Scores as sums over documents, ordered by the documents' names.

    Attributes:
        sums: each document's sum of scores.
        sizes: how many samples each document holds.
    """

    sums: NDArray[np.float64]
    sizes: NDArray[np.float64]

    @property
    def documents(self) -> int:
        """How many there are."""
        return len(self.sizes)

    @property
    def samples(self) -> int:
        """How many there are in all documents together."""
        return int(self.sizes.sum())

    @property
    def mean(self) -> float:
        """The mean over samples: a ratio of two sums over documents."""
        return fsum(self.sums) / fsum(self.sizes)

    @property
    def singletons(self) -> bool:
        """Whether each document holds one sample, so that samples are as independent as documents."""
        return bool(np.all(self.sizes == 1))

    @property
    def effective(self) -> float:
        """How many documents of one size tell as much as these: (sum of sizes)² / sum of squared sizes.

        Source: Kish, Survey Sampling, 1965.
        """
        return float(self.sizes.sum() ** 2 / (self.sizes**2).sum())

    @property
    def residuals(self) -> NDArray[np.float64]:
        """How far each document's sum is from what the mean would give it."""
        return self.sums - self.mean * self.sizes

    @property
    def alike(self) -> bool:
        """Whether all documents have the same mean: resampling them then says nothing."""
        return bool(np.all(np.abs(self.residuals) <= 1e-9 * self.sizes))

    def few(self, level: float) -> bool:
        """Whether they are too few to say anything at a level from their own spread.

        All n fall on one side of the truth with probability 2 / 2^n. Then neither does a resample reach past it,
        nor can flipping signs give a smaller p.
        """
        return 2.0 ** (1 - self.documents) > 1 - level


def by_document(
    scores: Sequence[float], documents: Sequence[str], *, lowest: float = 0.0, highest: float = 1.0
) -> Clusters:
    """Gather scores by document.

    Args:
        scores: one a sample.
        documents: the name of each sample's document, in the same order.
        lowest: the least that a score can be.
        highest: the most.

    Raises:
        InvalidArgumentError: no samples, lists of different lengths, or a score out of range.

    >>> by_document([1.0, 0.0, 1.0], ["a", "b", "a"]).sums
    array([2., 0.])
    """
    if len(scores) == 0:
        raise InvalidArgumentError("there are no samples", hint="Give at least one score.")
    if len(scores) != len(documents):
        raise InvalidArgumentError(
            f"{len(scores)} scores but {len(documents)} documents", hint="Name each sample's document."
        )
    gathered: dict[str, list[float]] = {}
    for place, (score, document) in enumerate(zip(scores, documents, strict=True)):
        if not lowest <= score <= highest:  # not a number is in no range
            raise InvalidArgumentError(
                f"score {score!r} at place {place} (document {document!r}) is not between {lowest:g} and {highest:g}",
                hint="Scale the scores to that range.",
            )
        gathered.setdefault(document, []).append(score)
    ordered = [gathered[name] for name in sorted(gathered)]
    return Clusters(np.array([fsum(one) for one in ordered]), np.array([float(len(one)) for one in ordered]))


def check_level(level: float) -> None:
    """Raise InvalidArgumentError where a level of confidence is out of range.

    >>> check_level(0.95)
    """
    if not 0.5 <= level <= 0.9999:
        raise InvalidArgumentError(
            f"level {level!r} is not between 0.5 and 0.9999", hint="95% confidence is level=0.95."
        )
