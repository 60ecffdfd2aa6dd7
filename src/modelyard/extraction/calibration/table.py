"""Table: ballots as arrays, so that weights, choices and evidence for all of them are a few multiplications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelyard.extraction.calibration.ballot import Ballot
from modelyard.extraction.calibration.evidence import EVIDENCE, Value, pair_agreement, values_of
from modelyard.extraction.calibration.weights import weight_of

GROUNDED_BONUS = 0.11
"""By how much of an ordinary voter's weight a grounded value is ahead of one that is not."""

NAMED_BONUS = 0.03
"""The same for a value whose quote holds all words of the field; between such as have equal votes it decides."""

_LEAST_LABELS = 5  # as many labels of a field must be whole numbers before its values have to be

Numbers = NDArray[np.float64]
Marks = NDArray[np.bool_]
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Table:
    """Ballots as arrays; a row is one value of one ballot.

    Attributes:
        of: the ballot of each row; `begins`: the first row of each ballot.
        votes: rows by voters.
        right: 1 right, 0 wrong, nan not known, for each row.
        settled: the row that a ballot's result is; -1 where the votes decide.
        pairs: how often two votes of a ballot agree.
        record: the record of each ballot.
    """

    voters: tuple[str, ...]
    ballots: tuple[Ballot, ...]
    documents: NDArray[np.str_]
    of: Places
    begins: Places
    votes: Numbers
    right: Numbers
    settled: Places
    given: Marks
    grounded: Marks
    named: Numbers
    whole: Marks
    certain: Numbers
    pairs: Numbers
    record: Places

    @property
    def fields(self) -> NDArray[np.str_]:
        """The field of each ballot."""
        return np.array([one.field.name for one in self.ballots])

    def weights(self, known: Marks) -> dict[str, float]:
        """Each voter's weight from the ballots at `known` alone."""
        rows = known[self.of] & ~np.isnan(self.right)
        cast = self.votes[rows]
        total, good = cast.sum(0), (cast * self.right[rows, None]).sum(0)
        average = float(good.sum() / total.sum()) if total.sum() else 0.5
        return {
            who: weight_of(float(good[at]), float(total[at]), average) for at, who in enumerate(self.voters)
        }

    def wholes(self, known: Marks) -> frozenset[str]:
        """The fields whose right values among the ballots at `known` are all whole numbers."""
        rows = np.flatnonzero(known[self.of] & (self.right == 1) & self.given)
        seen: dict[str, list[bool]] = {}
        for row in rows:
            seen.setdefault(self.ballots[self.of[row]].field.name, []).append(bool(self.whole[row]))
        return frozenset(name for name, marks in seen.items() if len(marks) >= _LEAST_LABELS and all(marks))

    def chosen(self, weights: Mapping[str, float]) -> Places:
        """The row of each ballot's value: the result's, else the one with the most weighted votes.

        Of equals the one that is given and first in the order of its group.
        """
        support = self.votes @ np.array([weights[who] for who in self.voters])
        support = support + GROUNDED_BONUS * self.grounded + NAMED_BONUS * self.named + 1e-6 * self.given
        order = np.lexsort((np.arange(len(support)), -support, self.of))
        best = order[np.searchsorted(self.of[order], np.arange(len(self.ballots)))]
        return np.where(self.settled >= 0, self.settled, best)

    def evidence(self, rows: Places, weights: Mapping[str, float], wholes: frozenset[str]) -> Numbers:
        """The evidence for one row of each ballot, in the order of `EVIDENCE`; nan where it is not known."""
        support = self.votes @ np.array([weights[who] for who in self.voters])
        total = np.bincount(self.of, support, len(self.ballots))
        rival = np.ones(len(self.of), dtype=bool)
        rival[rows] = False
        named_by = np.zeros(len(self.ballots))
        np.maximum.at(named_by, self.of[rival], self.named[rival])
        rivals = np.bincount(self.of[rival & self.grounded], minlength=len(self.ballots))
        strict = np.isin(self.fields, list(wholes))
        columns = (
            support[rows] / np.where(total > 0, total, 1.0), self.given[rows], self.grounded[rows],
            self.named[rows] - named_by, -rivals, self.whole[rows] | ~strict, self.certain[rows],
            self._beside(self.pairs), self._beside(self.grounded[rows].astype(float)),
        )  # fmt: skip
        found = np.stack([np.asarray(one, dtype=float) for one in columns], 1)
        assert found.shape[1] == len(EVIDENCE)
        return found

    def _beside(self, number: Numbers) -> Numbers:
        """The mean over the record's other fields; nan where there are none, or none has it."""
        known = ~np.isnan(number)
        sums = np.bincount(self.record, np.where(known, number, 0.0))[self.record] - np.where(
            known, number, 0.0
        )
        others = np.bincount(self.record, known)[self.record] - known
        return np.where(others > 0, sums / np.maximum(others, 1), np.nan)

    def raw_agreement(self, rows: Places) -> Numbers:
        """The plain share of the votes that each of the rows has."""
        cast = self.votes.sum(1)
        return np.asarray(cast[rows] / np.bincount(self.of, cast, len(self.ballots)))


def table(ballots: Sequence[Ballot], voters: Sequence[str]) -> Table:
    """The arrays of ballots; each has at least one value."""
    values = [values_of(one.field, one.groups) for one in ballots]
    flat: list[Value] = [one for of in values for one in of]
    sizes = np.array([len(one) for one in values], dtype=np.int64)
    begins = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    settled = [
        -1 if one.settled is None else at + one.settled for one, at in zip(ballots, begins, strict=True)
    ]
    return Table(
        voters=tuple(voters),
        ballots=tuple(ballots),
        documents=np.array([one.document for one in ballots]),
        of=np.repeat(np.arange(len(ballots)), sizes),
        begins=begins,
        votes=np.array([[one.votes.get(who, 0.0) for who in voters] for one in flat]),
        right=np.array([_mark(one) for of in ballots for one in of.right]),
        settled=np.array(settled, dtype=np.int64),
        given=np.array([one.given for one in flat]),
        grounded=np.array([one.grounded for one in flat]),
        named=np.array([one.named for one in flat]),
        whole=np.array([one.whole for one in flat]),
        certain=np.array([_number(one.certain) for one in flat]),
        pairs=np.array([_number(pair_agreement(of)) for of in values]),
        record=_records(ballots),
    )


def _records(ballots: Sequence[Ballot]) -> Places:
    names: dict[tuple[str, str], int] = {}
    return np.array([names.setdefault((one.document, one.record), len(names)) for one in ballots])


def _mark(right: bool | None) -> float:
    return np.nan if right is None else float(right)


def _number(one: float | None) -> float:
    return np.nan if one is None else one
