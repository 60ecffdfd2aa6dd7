"""Calibration: a fitted confidence as a file of plain JSON, and what it says of a value."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from modelyard.errors import InvalidArgumentError
from modelyard.extraction.calibration.ballot import Ballot, grouped
from modelyard.extraction.calibration.evidence import EVIDENCE
from modelyard.extraction.calibration.model import Model
from modelyard.extraction.calibration.table import Table, table
from modelyard.extraction.merging.equality import same_value
from modelyard.extraction.result import Candidate, FieldResult
from modelyard.extraction.schema import Field

VERSION = 1

_KIND = "modelyard calibration"
_HINT = "`modelyard calibrate … --out FILE` writes one."

Votes = tuple[Field, Sequence[Candidate], Sequence[Candidate]]
"""A field with the candidates of its value, and all that vote."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was fitted on labelled documents.

    Attributes:
        weights: how much each voter counts, by name; 1 is a voter that is right in four of five cases.
        model: from evidence to a probability.
        wholes: fields whose right values are all whole numbers.
        method: `logistic` or `isotonic`.
        threshold: from which confidence on a value is accepted; None where no promise was asked for, or none can
            be held, as `promise` says.
        tolerance: largest difference of two numbers that count as the same.
        record: what it was fitted on and how good it is: hash, counts, figures with error bars, versions.
    """

    weights: Mapping[str, float]
    model: Model
    wholes: tuple[str, ...] = ()
    method: str = "logistic"
    threshold: float | None = None
    promise: Mapping[str, Any] | None = None
    tolerance: float = 0.0
    record: Mapping[str, Any] = field(default_factory=dict)

    def confidence(
        self,
        field: Field,
        chosen: Sequence[Candidate],
        voting: Sequence[Candidate],
        *,
        beside: Sequence[Votes] = (),
    ) -> float | None:
        """The probability that a value is right; None where nobody votes for it.

        Args:
            field: what was asked for.
            chosen: the candidates of the value.
            voting: all candidates; who does not vote is left out.
            beside: the other fields of the same document or record; how sure the voters are of these says how
                hard it is to read. Without them it counts as one of the labelled ones' average.

        Raises:
            InvalidArgumentError: a voter that it was not fitted for.
        """
        if not any(one.votes for one in chosen):
            return None
        ballots = [
            self._ballot(*one) for one in ((field, chosen, voting), *beside) if any(c.votes for c in one[1])
        ]
        return float(self._judged(table(ballots, tuple(self.weights)))[0])

    def accepts(self, confidence: float | None) -> bool | None:
        """Whether a value of this confidence is accepted under the promise; None where none was asked for."""
        if self.promise is None:
            return None
        return self.threshold is not None and confidence is not None and confidence >= self.threshold

    def weigh(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates with the weights of their voters."""
        self._known(candidates)
        return [replace(one, weight=self.weights[one.voter]) for one in candidates]

    def apply(self, fields: Mapping[str, FieldResult], schema: Sequence[Field]) -> dict[str, FieldResult]:
        """The fields of one document or record with calibrated confidences, and whether each is accepted.

        A field without a value that anybody votes for keeps what it has.

        Args:
            fields: what the candidates came to, candidates included.
            schema: the fields, for how their values are compared.

        Raises:
            InvalidArgumentError: a voter that it was not fitted for.
        """
        of = {one.name: one for one in schema}
        voted: dict[str, Votes] = {}
        for name, one in fields.items():
            of_field = of.get(name, Field(name, "string"))
            chosen = [
                other
                for other in one.candidates
                if other.votes and same_value(of_field, other.value, one.value, self.tolerance)
            ]
            if chosen and one.status != "unresolved":
                voted[name] = (of_field, chosen, one.candidates)
        if not voted:
            return dict(fields)
        sure = self._judged(table([self._ballot(*one) for one in voted.values()], tuple(self.weights)))
        found = dict(fields)
        for name, confidence in zip(voted, sure.tolist(), strict=True):
            found[name] = replace(
                fields[name],
                confidence=confidence,
                confidence_kind="calibrated",
                accepted=self.accepts(confidence),
            )
        return found

    def _judged(self, made: Table) -> np.ndarray:
        rows = made.chosen(self.weights)
        return self.model.probability(made.evidence(rows, self.weights, frozenset(self.wholes)))

    def _ballot(self, of: Field, chosen: Sequence[Candidate], voting: Sequence[Candidate]) -> Ballot:
        self._known(voting)
        mine = tuple(one for one in chosen if one.votes)
        taken = {repr(one) for one in mine}
        rest = grouped(of, [one for one in voting if repr(one) not in taken], self.tolerance)
        groups = (mine, *rest)
        return Ballot("", "", of, groups, (None,) * len(groups), settled=0)

    def _known(self, voting: Sequence[Candidate]) -> None:
        strange = sorted({one.voter for one in voting if one.votes} - set(self.weights))
        if strange:
            raise InvalidArgumentError(
                f"voter '{strange[0]}' is none that the calibration was fitted for: {', '.join(self.weights)}",
                hint="Run `modelyard calibrate` on a result of these voters.",
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for `json.dumps`."""
        return {
            "kind": _KIND,
            "version": VERSION,
            "evidence": list(EVIDENCE),
            "method": self.method,
            "model": asdict(self.model),
            "weights": dict(self.weights),
            "wholes": list(self.wholes),
            "tolerance": self.tolerance,
            "threshold": self.threshold,
            "promise": None if self.promise is None else dict(self.promise),
            "record": dict(self.record),
        }

    def save(self, path: Path) -> None:
        """Writes the file whole or not at all.

        Raises:
            InvalidArgumentError: the path cannot be written.
        """
        from modelyard.output import write_page

        write_page(path, json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """The calibration of a file.

        Raises:
            InvalidArgumentError: it cannot be read, is damaged, or of a newer version.
        """
        try:
            given = json.loads(path.read_text("utf-8"))
        except OSError as error:
            raise InvalidArgumentError(f"{path} cannot be read: {error.strerror}", hint=_HINT) from None
        except (ValueError, RecursionError):
            _damaged(path, "is not JSON")
        if not isinstance(given, dict) or given.get("kind") != _KIND:
            _damaged(path, f"'kind' is not '{_KIND}'")
        version = given.get("version")
        if not isinstance(version, int) or version > VERSION:
            raise InvalidArgumentError(
                f"{path}: key 'version' has value {version!r}; this modelyard reads up to {VERSION}",
                hint="Update modelyard, or calibrate again with this one.",
            )
        return _read(given, path)


def _read(given: Mapping[str, Any], path: Path) -> Calibration:
    model, weights = given.get("model"), given.get("weights")
    if given.get("evidence") != list(EVIDENCE):
        _damaged(path, f"key 'evidence' is not {', '.join(EVIDENCE)}")
    if not isinstance(model, dict) or set(model) != {"means", "scales", "slopes", "intercept", "steps"}:
        _damaged(path, "key 'model' has not means, scales, slopes, intercept and steps")
    for key in ("means", "scales", "slopes"):
        if not _numbers(model[key], len(EVIDENCE)) or (key == "scales" and min(model[key]) <= 0):
            _damaged(path, f"key 'model', '{key}' is not {len(EVIDENCE)} numbers")
    if min(model["slopes"]) < 0 or not _numbers([model["intercept"]], 1):
        _damaged(path, "key 'model' has a slope below zero, or no intercept")
    steps = model["steps"]
    if not isinstance(steps, list) or not all(
        _numbers(one, 2) and min(one) >= 0 and max(one) <= 1 for one in steps
    ):
        _damaged(path, "key 'model', 'steps' is no list of pairs within 0 and 1")
    if sorted(steps) != steps or sorted(one[1] for one in steps) != [one[1] for one in steps]:
        _damaged(path, "key 'model', 'steps' falls somewhere")
    if not isinstance(weights, dict) or not weights or not _numbers(list(weights.values()), len(weights)):
        _damaged(path, "key 'weights' is no mapping of voters to numbers")
    threshold, tolerance, wholes = given.get("threshold"), given.get("tolerance"), given.get("wholes")
    if threshold is not None and not _numbers([threshold], 1):
        _damaged(path, f"key 'threshold' has value {threshold!r:.60}")
    if not _numbers([tolerance], 1) or not isinstance(wholes, list):
        _damaged(path, "key 'tolerance' or 'wholes' is missing")
    return Calibration(
        weights=weights,
        model=Model(
            tuple(model["means"]),
            tuple(model["scales"]),
            tuple(model["slopes"]),
            model["intercept"],
            tuple((before, after) for before, after in steps),
        ),
        wholes=tuple(wholes),
        method=str(given.get("method")),
        threshold=threshold,
        promise=given.get("promise"),
        tolerance=float(tolerance or 0.0),
        record=given.get("record") or {},
    )


def _numbers(given: object, count: int) -> bool:
    return (
        isinstance(given, list)
        and len(given) == count
        and all(
            isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) for one in given
        )
    )


def _damaged(path: Path, said: str) -> NoReturn:
    raise InvalidArgumentError(f"{path} is no calibration, or is damaged: {said}", hint=_HINT)
