"""Model: from evidence to a probability.

All evidence counts alike at first: each kind is measured in its own standard deviations, and their sum gets one
slope and one intercept. Such a model ranks nearly as well as one with a slope for each, and with few labels better
(Dawes, The Robust Beauty of Improper Linear Models, American Psychologist 34, 1979). From there each slope moves
as far as the labels carry it against a quadratic penalty of `STIFFNESS`, never below zero: no evidence that is in
favour may count against. With many labels the logistic's probabilities are then bent to the labels by isotonic
regression (Zadrozny and Elkan, KDD 2002).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.errors import EngineNotInstalledError

STIFFNESS = 500.0
"""How strongly slopes are held at their common value: about as much as this many labels can say."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Model:
    """A fitted model, in plain numbers.

    Attributes:
        means: of the evidence among the labelled values; `scales`: its standard deviations.
        slopes: one for each kind of evidence in standard deviations, none below zero.
        steps: the isotonic curve as pairs of the logistic's probability and the bent one; empty without.
    """

    means: tuple[float, ...]
    scales: tuple[float, ...]
    slopes: tuple[float, ...]
    intercept: float
    steps: tuple[tuple[float, float], ...] = ()

    def probability(self, evidence: Numbers) -> Numbers:
        """The probability of being right, for rows of evidence; what is not known (nan) counts as average."""
        score = np.nan_to_num((evidence - np.array(self.means)) / np.array(self.scales), nan=0.0)
        found = _logistic(score @ np.array(self.slopes) + self.intercept)
        if not self.steps:
            return found
        before, after = np.array(self.steps).T
        return np.asarray(np.interp(found, before, after))


def fit_model(evidence: Numbers, right: Numbers, *, isotonic: bool = False) -> Model:
    """The model of labelled values.

    Args:
        evidence: a row for each value; nan where a kind is not known.
        right: 1 where the value is right, else 0.
        isotonic: bend the probabilities to the labels too.

    >>> rng = np.random.default_rng(0)
    >>> seen = rng.normal(size=(400, 2))
    >>> model = fit_model(seen, (seen.sum(1) + rng.normal(size=400) > 0).astype(float))
    >>> low, high = model.probability(np.array([[-1.0, -1.0], [1.0, 1.0]]))
    >>> bool(low < 0.2 < 0.8 < high)
    True
    """
    means, scales = _moments(evidence)
    scores = np.nan_to_num((evidence - means) / scales, nan=0.0)
    varying = np.nanstd(scores, axis=0) > 0
    common = _fit(scores.sum(1, keepdims=True), right, np.array([0.1]), _LOOSE)[1]
    fitted = _fit(scores, right, np.where(varying, common, 0.0), STIFFNESS)
    model = Model(tuple(means.tolist()), tuple(scales.tolist()), tuple(fitted[1:].tolist()), float(fitted[0]))
    if not isotonic:
        return model
    steps = _steps(model.probability(evidence), right)
    return Model(model.means, model.scales, model.slopes, model.intercept, steps)


_LOOSE = 10.0  # keeps the common slope finite where evidence parts right from wrong without an error


def _moments(evidence: Numbers) -> tuple[Numbers, Numbers]:
    known = ~np.isnan(evidence)
    count = np.maximum(known.sum(0), 1)
    means = np.where(known, evidence, 0.0).sum(0) / count
    scales = np.sqrt(np.where(known, (evidence - means) ** 2, 0.0).sum(0) / count)
    return means, np.where(scales > 1e-9, scales, 1.0)


def _fit(scores: Numbers, right: Numbers, held_at: Numbers, stiffness: float) -> Numbers:
    minimize = _scipy().minimize

    def loss(weights: Numbers) -> tuple[float, Numbers]:
        logits = scores @ weights[1:] + weights[0]
        apart = weights[1:] - held_at
        wrong_by = _logistic(logits) - right
        cost = float(
            np.logaddexp(0, np.where(right > 0, -logits, logits)).sum() + stiffness / 2 * apart @ apart
        )
        return cost, np.concatenate([[wrong_by.sum()], scores.T @ wrong_by + stiffness * apart])

    # Where all labels are alike the best intercept is infinite.
    bounds = [(-6.0, 6.0), *[(0.0, None)] * scores.shape[1]]
    found: Any = minimize(loss, np.concatenate([[0.0], held_at]), jac=True, bounds=bounds, method="L-BFGS-B")
    return np.asarray(found.x)


def _steps(probabilities: Numbers, right: Numbers) -> tuple[tuple[float, float], ...]:
    """The isotonic curve at its corners, kept from saying never or always."""
    levels, of = np.unique(probabilities, return_inverse=True)
    counts = np.bincount(of)
    shares = np.bincount(of, right) / counts
    bent = _scipy().isotonic_regression(shares, weights=counts).x
    edge = 1 / (len(right) + 2)
    bent = np.clip(bent, edge, 1 - edge)
    corner = np.concatenate([[True], (bent[1:-1] != bent[:-2]) | (bent[1:-1] != bent[2:]), [True]])
    corner = corner[: len(bent)]
    return tuple(zip(levels[corner].tolist(), bent[corner].tolist(), strict=True))


def _logistic(logits: Numbers) -> Numbers:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -500, 500))))


def _scipy() -> Any:
    try:
        import scipy.optimize as found
    except ImportError as error:
        raise EngineNotInstalledError(
            "calibrating needs scipy, which is not installed", hint="pip install 'modelyard[calibrate]'"
        ) from error
    return found
