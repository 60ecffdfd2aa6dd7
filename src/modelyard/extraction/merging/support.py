"""Support: how much speaks for a value among all the votes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.extraction.merging.equality import group
from modelyard.extraction.merging.votes import Vote, votes
from modelyard.extraction.result import Candidate
from modelyard.extraction.schema import Field


@dataclass(frozen=True, slots=True)
class Support:
    """What the votes say about one value.

    A vote is what one voter reads in one document. A vote for "the document does not give it" is a vote like
    others, but has nothing to ground: it counts on neither side of `grounded`.

    Attributes:
        voters: how many voters vote, by name.
        agreeing: how many of them vote for this value.
        agreement: the weighted share of the votes for this value, 0 to 1.
        runner_up: the weighted share of the next value, 0 where there is none.
        logprob: the mean over the agreeing votes that have one, else None.
        grounded: the share of the agreeing votes whose quote is in its document, 0 to 1; None where none of
            them has anything to ground.
        votes: the agreeing votes.
        others: the votes for each other value, the best supported first.
    """

    voters: int
    agreeing: int
    agreement: float
    runner_up: float
    logprob: float | None
    grounded: float | None
    votes: tuple[Vote, ...] = ()
    others: tuple[tuple[Vote, ...], ...] = ()


def support(
    chosen: Sequence[Candidate],
    voting: Sequence[Candidate],
    *,
    field: Field | None = None,
    tolerance: float = 0.0,
) -> Support:
    """What the votes say about the value of the chosen candidates.

    Args:
        chosen: the candidates of one value.
        voting: all candidates, those included; who does not vote (`Candidate.votes`) is left out.
        field: how the other values are compared; by their own types where it is not given.
        tolerance: largest difference of two numbers that count as the same.

    >>> read = [Candidate(who, "d", value, "found", start=0, end=4, logprob=-0.1)
    ...         for who, value in (("a", 1.2), ("b", 1.2), ("c", 3.4))]
    >>> found = support(read[:2], read)
    >>> found.voters, found.agreeing, round(found.agreement, 2), round(found.runner_up, 2), found.grounded
    (3, 2, 0.67, 0.33, 1.0)
    """
    chosen = [one for one in chosen if one.votes]
    taken = {repr(one) for one in chosen}  # a list as a value cannot be hashed, and 1 equals True
    rest = [one for one in voting if one.votes and repr(one) not in taken]
    mine, *others = votes([chosen, *group(field, rest, tolerance)])
    total = math.fsum(one.weight for of in (mine, *others) for one in of)
    shares = [math.fsum(one.weight for one in of) / total if total else 0.0 for of in (mine, *others)]
    ranked = sorted(others, key=lambda of: -math.fsum(one.weight for one in of))
    return Support(
        voters=len({one.voter for of in (mine, *others) for one in of}),
        agreeing=len({one.voter for one in mine}),
        agreement=shares[0],
        runner_up=max(shares[1:], default=0.0),
        logprob=_mean([one.logprob for one in mine if one.logprob is not None]),
        grounded=_mean([float(one.grounded) for one in mine if one.grounded is not None]),
        votes=mine,
        others=tuple(ranked),
    )


def _mean(numbers: Sequence[float]) -> float | None:
    return math.fsum(numbers) / len(numbers) if numbers else None
