"""Promise: the lowest confidence from which values can be accepted so that a promised error rate holds.

Values of one document are not independent, so the trials are documents: one with any accepted value counts, and
it is wrong where any accepted value in it is wrong. What is promised is therefore strict: with probability
`level` over the labelled documents, at most `max_error` of the new documents in which something is accepted hold
a wrong accepted value. The mean share of wrong values among a document's accepted ones is lower still.

For each threshold the promise is tested with the one-sided Clopper-Pearson bound (Biometrika 26, 1934). That many
thresholds are tried does not break it, since they are tested in a fixed sequence from the strictest downwards
which ends at the first that fails (Bauer 1991; as risk control: Angelopoulos et al., Learn then Test, 2021, and
Bates et al., Distribution-free, risk-controlling prediction sets, 2021). The sequence begins where a third of the
documents have an accepted value, and as many as a bound without a single error needs to pass: with fewer one
unlucky document would end it. Where that is looks at confidences only, not at what is right. That step takes for granted that documents are not more often wrong above a threshold than
just below it; the rest needs only that new documents are like the labelled ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modelyard.errors import InvalidArgumentError

FIRST = 1 / 3
"""The share of the documents that have an accepted value at the first threshold that is tested."""

GRID = tuple(round(1 - step / 200, 3) for step in range(1, 200))
"""The thresholds that are tried, fixed beforehand: 0.995 down to 0.005."""


@dataclass(frozen=True, slots=True)
class Promise:
    """Whether a promised error rate can be held, and from which confidence on.

    Attributes:
        max_error: what is promised.
        level: how sure the promise is.
        threshold: values of at least this confidence are accepted; None where no threshold holds the promise.
        bound: the Clopper-Pearson bound at the threshold; where there is none, the lowest that was seen.
        documents: those with an accepted value, there; `wrong`: those with a wrong one among them.
        values: how many values were accepted there, of all.
        needed: documents without an error that any threshold needs at least.
    """

    max_error: float
    level: float
    threshold: float | None
    bound: float | None
    documents: int
    wrong: int
    values: int
    needed: int

    @property
    def reason(self) -> str:
        """The same as a sentence."""
        said = f"an error rate of {self.max_error:g} at level {self.level:g}"
        if self.threshold is not None:
            return (
                f"{said} holds from confidence {self.threshold:g} on: {self.wrong} of {self.documents} documents "
                f"with an accepted value have a wrong one, so the rate is below {self.bound:.3f}"
            )
        if self.bound is None:
            return (
                f"{said} cannot be promised and nothing is accepted: it takes {self.needed} documents without an "
                f"error at least, and there are {self.documents}"
            )
        return (
            f"{said} cannot be promised and nothing is accepted: {self.wrong} of {self.documents} documents are "
            f"wrong already among the most confident, which only bounds the rate by {self.bound:.3f}"
        )


def promise(
    confidences: Sequence[float],
    right: Sequence[bool],
    documents: Sequence[str],
    *,
    max_error: float,
    level: float = 0.95,
) -> Promise:
    """The lowest threshold that holds a promised error rate, on values that the confidences were not fitted to.

    Args:
        confidences: one a value, 0 to 1.
        right: whether each value is right.
        documents: the document of each value.
        max_error: the share of documents with an accepted value that may hold a wrong one.
        level: how sure the promise is.

    Raises:
        InvalidArgumentError: a rate or level that is none.

    >>> names = [f"d{number}" for number in range(100)]
    >>> found = promise([0.9] * 80 + [0.4] * 20, [True] * 80 + [False] * 20, names, max_error=0.05)
    >>> found.threshold, round(found.bound, 3), found.documents
    (0.405, 0.037, 80)
    """
    for name, number in (("max_error", max_error), ("level", level)):
        if not 0 < number < 1:
            raise InvalidArgumentError(
                f"{name} has value {number!r}", hint="It lies between 0 and 1, as in 0.05."
            )
    worst, safe = _by_document(np.asarray(confidences, float), np.asarray(right, bool), documents)
    needed = int(np.ceil(np.log(1 - level) / np.log(1 - max_error)))
    sure = np.asarray(confidences, float)
    best: Promise | None = None
    for threshold in GRID:
        accepted, wrong = int((safe >= threshold).sum()), int((worst >= threshold).sum())
        if accepted < max(needed, FIRST * len(safe)):
            continue
        bound = upper_bound(wrong, accepted, level)
        held = bound <= max_error
        if held or best is None:
            count = int((sure >= threshold).sum())
            best = Promise(
                max_error, level, threshold if held else None, bound, accepted, wrong, count, needed
            )
        if not held:
            break
    return best or Promise(max_error, level, None, None, len(safe), 0, 0, needed)


def upper_bound(wrong: int, trials: int, level: float) -> float:
    """The one-sided Clopper-Pearson bound of a share.

    >>> round(upper_bound(0, 59, 0.95), 4)
    0.0495
    """
    from scipy.stats import beta

    return 1.0 if wrong >= trials else float(beta.ppf(level, wrong + 1, trials - wrong))


def _by_document(
    confidences: np.ndarray, right: np.ndarray, documents: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """For each document its highest confidence of a wrong value (-1 where there is none), and of any."""
    names, of = np.unique(np.asarray(documents), return_inverse=True)
    worst, safe = np.full(len(names), -1.0), np.full(len(names), -1.0)
    np.maximum.at(safe, of, confidences)
    np.maximum.at(worst, of[~right], confidences[~right])
    return worst, safe
