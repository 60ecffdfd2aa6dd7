"""Ballots for tests: documents with values that voters of a known accuracy read."""

from __future__ import annotations

import numpy as np

from modelyard.extraction.calibration import Ballot, Ballots
from modelyard.extraction.calibration.ballot import grouped
from modelyard.extraction.result import Candidate
from modelyard.extraction.schema import Field

EPS = Field("eps", "number", "basic earnings per share")


def read(voter: str, value: object, *, grounded: bool = True, logprob: float | None = None) -> Candidate:
    """What one voter says, its quote in the document or not."""
    if value is None:
        return Candidate(voter, "d", None, "not_found", logprob=logprob)
    quote = f"Basic earnings per share | {value}"
    if not grounded:
        return Candidate(voter, "d", value, "ungrounded", quote, logprob=logprob)
    return Candidate(voter, "d", value, "found", quote, 0, len(quote), logprob=logprob)


def ballot(document: str, candidates: list[Candidate], truth: object, field: Field = EPS) -> Ballot:
    """A ballot of its own record."""
    groups = grouped(field, candidates, 0.0)
    return Ballot(document, document, field, groups, tuple(of[0].value == truth for of in groups))


def drawn(documents: int, seed: int = 0, fields: int = 1) -> Ballots:
    """Documents of which some are hard: there every voter is wrong more often.

    A right value is grounded more often than a wrong one.
    """
    rng = np.random.default_rng(seed)
    accuracy = {"a": 0.9, "b": 0.75, "c": 0.5}
    found = []
    for number in range(documents):
        hard = rng.random() < 0.3
        for _ in range(fields):
            said = []
            for who, share in accuracy.items():
                right = rng.random() < share * (0.5 if hard else 1.0)
                value = 1.0 if right else float(rng.integers(2, 6))
                said.append(read(who, value, grounded=bool(rng.random() < (0.9 if right else 0.5))))
            found.append(ballot(f"d{number}", said, 1.0))
    return Ballots(tuple(accuracy), tuple(found))
