"""Calibrate: ballots to a calibration, with figures of how good it is on documents that it was not fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Literal

import numpy as np

from modelyard.errors import InvalidArgumentError
from modelyard.extraction.calibration.ballot import Ballots
from modelyard.extraction.calibration.calibration import Calibration
from modelyard.extraction.calibration.crossfit import Held, crossfit, figures, fit
from modelyard.extraction.calibration.curves import coverage_curve, reliability
from modelyard.extraction.calibration.evidence import EVIDENCE
from modelyard.extraction.calibration.promise import Promise, promise
from modelyard.extraction.calibration.table import Table, table

Method = Literal["auto", "logistic", "isotonic"]

MANY = 1000
"""From how many labelled values on `auto` bends the logistic by isotonic regression: with fewer its steps follow
the noise (Niculescu-Mizil and Caruana, Predicting Good Probabilities, ICML 2005, see the same border)."""

_FEWEST = 5
_PARTS = 40


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A calibration with the confidences that its figures are of.

    Attributes:
        held: of values outside of the fit.
        figures: see `crossfit.figures`.
        left_out: what was not used, and why.
    """

    voters: tuple[str, ...]
    calibration: Calibration
    figures: dict[str, Any]
    promise: Promise | None
    counts: dict[str, int]
    left_out: tuple[str, ...]
    held: Held

    def curve(self) -> dict[str, list[float]]:
        """The coverage-accuracy curve of values outside of the fit; see `curves.coverage_curve`."""
        return coverage_curve(*self._pairs())

    def reliability(self) -> dict[str, Any]:
        """The reliability diagram of values outside of the fit; see `curves.reliability`."""
        return reliability(*self._pairs())

    def _pairs(self) -> tuple[list[float], list[bool]]:
        used = self.held.used
        return self.held.confidence[used].tolist(), self.held.right[used].tolist()

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the data of both drawings."""
        return {
            "voters": list(self.voters),
            "counts": self.counts,
            "figures": self.figures,
            "promise": None
            if self.promise is None
            else {**asdict(self.promise), "reason": self.promise.reason},
            "left_out": list(self.left_out),
            "curve": self.curve(),
            "reliability": self.reliability(),
            "calibration": self.calibration.to_dict(),
        }


def calibrate(
    given: Ballots,
    *,
    method: Method = "auto",
    max_error: float | None = None,
    level: float = 0.95,
    fold_count: int = 5,
    repeats: int = 10,
    seed: int = 0,
    tolerance: float = 0.0,
) -> Calibrated:
    """Fits the confidence on labelled ballots.

    Args:
        given: the ballots of one set of voters.
        method: `logistic`, `isotonic`, or by how many labels there are.
        max_error: an error rate to promise; see `promise`.
        level: how sure the promise is.
        fold_count: in how many parts the documents are dealt.
        repeats: how often that is done anew.
        seed: of the folds and the bootstrap.
        tolerance: at which the values were compared.

    Raises:
        InvalidArgumentError: there is too little to fit, or nothing to tell right from wrong by.
    """
    usable = [one for one in given.ballots if any(mark is not None for mark in one.right)]
    made = table(usable, given.voters) if usable else None
    if made is None or len(set(made.documents)) < _FEWEST:
        count = 0 if made is None else len(set(made.documents))
        raise InvalidArgumentError(
            f"{count} labelled documents are too few to calibrate on: {_FEWEST} at least",
            hint="Label more documents; a hundred or more make the figures tell something.",
        )
    everything = np.ones(len(usable), dtype=bool)
    counts = _counts(made, everything)
    if counts["right"] in (0, counts["labels"]):
        raise InvalidArgumentError(
            f"all {counts['labels']} labelled values are {'right' if counts['right'] else 'wrong'}",
            hint="A calibration needs values of both kinds: label documents that are harder or easier.",
        )
    isotonic = method == "isotonic" or (method == "auto" and counts["labels"] >= MANY)
    folds = min(fold_count, counts["documents"])
    held = crossfit(made, count=folds, repeats=repeats, seed=seed, isotonic=isotonic)
    found = figures(held, made, seed=seed)
    kept = held.used.all(0)
    promised = None
    if max_error is not None:
        promised = promise(
            held.mean_confidence[kept].tolist(), np.asarray(held.right[:, kept].all(0)).tolist(),
            made.documents[kept].tolist(), max_error=max_error, level=level,
        )  # fmt: skip
    fitted = fit(made, everything, isotonic=isotonic)
    record = {
        "data_sha256": given.sha256,
        "counts": counts,
        "figures": found,
        "error_bars": _error_bars(made, seed),
        "folds": folds,
        "repeats": repeats,
        "seed": seed,
        "left_out": list(given.left_out),
        "libraries": {name: version(name) for name in ("modelyard", "numpy", "scipy")},
    }
    calibration = Calibration(
        weights=fitted.weights,
        model=fitted.model,
        wholes=tuple(sorted(fitted.wholes)),
        method="isotonic" if isotonic else "logistic",
        threshold=promised.threshold if promised else None,
        promise={**asdict(promised), "reason": promised.reason} if promised else None,
        tolerance=tolerance,
        record=record,
    )
    unlabelled = len(given.ballots) - len(usable)
    left_out = given.left_out + ((f"{unlabelled} values without a label",) if unlabelled else ())
    return Calibrated(given.voters, calibration, found, promised, counts, left_out, held)


def _counts(made: Table, everything: np.ndarray) -> dict[str, int]:
    marks = made.right[made.chosen(made.weights(everything))]
    known = ~np.isnan(marks)
    return {
        "documents": len(set(made.documents[known])),
        "labels": int(known.sum()),
        "right": int(np.nansum(marks)),
    }


def _error_bars(made: Table, seed: int) -> dict[str, Any]:
    """Standard errors of what was fitted, by the jackknife that leaves out whole documents (Tukey 1958)."""
    names, of = np.unique(made.documents, return_inverse=True)
    parts = np.random.default_rng([seed, 1]).permutation(len(names)) % min(len(names), _PARTS)
    fits = [fit(made, parts[of] != part, isotonic=False) for part in range(parts.max() + 1)]
    return {
        "slopes": dict(zip(EVIDENCE, _spread([one.model.slopes for one in fits]), strict=True)),
        "intercept": _spread([[one.model.intercept] for one in fits])[0],
        "weights": dict(zip(made.voters, _spread([list(one.weights.values()) for one in fits]), strict=True)),
    }


def _spread(without: Sequence[Sequence[float]]) -> list[float]:
    values = np.array(without)
    around = ((values - values.mean(0)) ** 2).sum(0)
    return [float(one) for one in np.sqrt((len(values) - 1) / len(values) * around)]
