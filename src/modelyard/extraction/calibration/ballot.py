"""Ballot: what all voters say about one field of one document or record, and which of their values are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.extraction.merging.equality import group
from modelyard.extraction.result import Candidate
from modelyard.extraction.schema import Field

Group = tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Ballot:
    """One field to be sure of, or not.

    Attributes:
        document: whose ballots are not independent of each other: folds never part them.
        record: the ballots of one record are the fields of one thing, and speak for each other.
        groups: the candidates that vote, by value.
        right: for each group whether its value is right; None where the labels do not say.
        settled: which group is the result; None where the weighted votes decide.
    """

    document: str
    record: str
    field: Field
    groups: tuple[Group, ...]
    right: tuple[bool | None, ...]
    settled: int | None = None


@dataclass(frozen=True, slots=True)
class Ballots:
    """Ballots of one set of voters with what was left out of them.

    Attributes:
        voters: who votes, in the order in which they were named or came.
        left_out: what was not used, and why, as sentences.
        sha256: of the data that they were read from.
    """

    voters: tuple[str, ...]
    ballots: tuple[Ballot, ...]
    left_out: tuple[str, ...] = ()
    sha256: str = ""


def grouped(field: Field, candidates: Sequence[Candidate], tolerance: float) -> tuple[Group, ...]:
    """The candidates that vote, by value; their order makes no difference."""
    return group(field, [one for one in candidates if one.votes], tolerance)
