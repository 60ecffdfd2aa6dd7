"""Crossfit: confidences for values whose document had no part in the fit, and how good they are.

In each repeat the documents are dealt to folds anew. Voter weights, the fields that hold whole numbers, and the
model are fitted on the other folds; what is reported is of values outside of the fit alone.

AUROC compares values of the same fold. Across folds it would also compare fits: where a fold holds the easy
documents, the fit on the others expects less, and the pooled figure falls for a reason that a single fit does
not have (Forman and Scholz, Apples-to-apples in cross-validation studies, SIGKDD Explorations 12, 2010). The
pooled figure is given beside it. The calibration error is over the confidences of all repeats together, and that
of each repeat alone, which has more noise, beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.extraction.calibration.figures import accepted_half, auroc, brier, calibration_error, spread
from modelyard.extraction.calibration.folds import folds
from modelyard.extraction.calibration.model import Model, fit_model
from modelyard.extraction.calibration.table import Table

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fitted:
    """What is fitted on some of the ballots, and gives a confidence to any."""

    weights: dict[str, float]
    wholes: frozenset[str]
    model: Model

    def judge(self, table: Table) -> tuple[NDArray[np.int64], Numbers]:
        """For each ballot the row of its value, and the confidence in it."""
        rows = table.chosen(self.weights)
        return rows, self.model.probability(table.evidence(rows, self.weights, self.wholes))


def fit(table: Table, known: NDArray[np.bool_], *, isotonic: bool) -> Fitted:
    """A fit on the ballots at `known`; those whose value is not known to be right or wrong say nothing."""
    weights, wholes = table.weights(known), table.wholes(known)
    rows = table.chosen(weights)
    right = table.right[rows]
    used = known & ~np.isnan(right)
    evidence = table.evidence(rows, weights, wholes)[used]
    return Fitted(weights, wholes, fit_model(evidence, right[used], isotonic=isotonic))


@dataclass(frozen=True, slots=True)
class Held:
    """Confidences of values outside of the fit, repeats by ballots.

    Attributes:
        right: whether the value is right; `used`: whether that is known.
        raw: the plain share of the votes for the same value.
        fold: the fold of each ballot in each repeat.
    """

    documents: NDArray[np.str_]
    confidence: Numbers
    right: NDArray[np.bool_]
    used: NDArray[np.bool_]
    raw: Numbers
    fold: NDArray[np.int64]

    @property
    def mean_confidence(self) -> Numbers:
        """Each ballot's confidence, over the repeats."""
        return np.asarray(self.confidence.mean(0))

    def over_repeats(self, measure: Callable[[int, NDArray[np.int64]], float | None]) -> list[float]:
        """A figure of each repeat that has it, of the ballots that are used there."""
        found = (measure(one, np.flatnonzero(self.used[one])) for one in range(len(self.used)))
        return [one for one in found if one is not None]

    def auroc(self, repeat: int, places: NDArray[np.int64]) -> float | None:
        """How often a right value of a fold has the higher confidence than a wrong one of the same fold."""
        won = pairs = 0.0
        for fold in np.unique(self.fold[repeat, places]):
            here = places[self.fold[repeat, places] == fold]
            marks = self.right[repeat, here]
            share = auroc(self.confidence[repeat, here], marks)
            if share is not None:
                count = float(marks.sum()) * float((~marks).sum())
                won, pairs = won + count * share, pairs + count
        return won / pairs if pairs else None


def crossfit(table: Table, *, count: int, repeats: int, seed: int, isotonic: bool) -> Held:
    """The confidences of all ballots, each from fits that its document had no part in."""
    ballots = len(table.ballots)
    shape = (repeats, ballots)
    confidence, raw = np.zeros(shape), np.zeros(shape)
    right, used, fold = np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(shape, np.int64)
    everything = np.ones(ballots, dtype=bool)
    first = table.right[table.chosen(table.weights(everything))] == 1
    for repeat in range(repeats):
        fold[repeat] = folds(table.documents.tolist(), first.tolist(), count, [seed, repeat])
        for one in range(count):
            out = fold[repeat] == one
            rows, sure = fit(table, ~out, isotonic=isotonic).judge(table)
            confidence[repeat, out] = sure[out]
            raw[repeat, out] = table.raw_agreement(rows)[out]
            right[repeat, out] = table.right[rows][out] == 1
            used[repeat, out] = ~np.isnan(table.right[rows])[out]
    return Held(table.documents, confidence, right, used, raw, fold)


def figures(held: Held, table: Table, *, seed: int = 0) -> dict[str, Any]:
    """How good the confidences are, each figure with its spread over repeats and its bootstrap by document."""
    kept = held.used
    by_repeat: dict[str, Callable[[int, NDArray[np.int64]], float | None]] = {
        "ece": lambda at, of: calibration_error(held.confidence[at, of], held.right[at, of]),
        "auroc": held.auroc,
        "auroc_pooled": lambda at, of: auroc(held.confidence[at, of], held.right[at, of]),
        "brier": lambda at, of: brier(held.confidence[at, of], held.right[at, of]),
        "accuracy": lambda at, of: float(held.right[at, of].mean()),
        "accepted_half": lambda at, of: accepted_half(held.confidence[at, of], held.right[at, of]),
        "accepted_half_raw": lambda at, of: accepted_half(held.raw[at, of], held.right[at, of]),
    }
    found: dict[str, Any] = {}
    for name, measure in by_repeat.items():
        values = held.over_repeats(measure)
        if not values:
            found[name] = None
            continue
        places = np.flatnonzero(kept[0])
        found[name] = {
            "value": float(np.mean(values)),
            "over_repeats": float(np.std(values)),
            "interval": spread(
                lambda drawn, measure=measure, places=places: measure(0, places[drawn]),  # type: ignore[misc]
                held.documents[places].tolist(), seed=seed,
            ),
        }  # fmt: skip
    found["ece"]["one_repeat"] = found["ece"]["value"]
    found["ece"]["value"] = calibration_error(held.confidence[kept], held.right[kept])
    found["voters"] = _voters(table)
    found["best_voter"] = max(found["voters"], key=lambda who: found["voters"][who])
    return found


def _voters(table: Table) -> dict[str, float]:
    """How often each voter alone is right: over all ballots whose labels say so, no vote being a wrong one."""
    known = np.bincount(table.of, ~np.isnan(table.right), len(table.ballots)) > 0
    good = (table.votes * np.nan_to_num(table.right)[:, None]).sum(0)
    return {who: float(good[at] / max(1, known.sum())) for at, who in enumerate(table.voters)}
