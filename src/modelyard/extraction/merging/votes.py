"""Votes: what each voter says in each document, counted once.

A voter that is asked the same thing twice and answers the same (a greedy rerun) has said it once. One that
answers differently under the same name has one vote all the same, in equal parts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.extraction.result import Candidate


@dataclass(frozen=True, slots=True)
class Vote:
    """One voter's word for a value in one document.

    Attributes:
        weight: how much it counts; 1 is an ordinary voter.
        logprob: of its surest answer; None where the engine gives none.
        grounded: whether its quote is in the document; None where there is nothing to ground, as with "the
            document does not give it".
    """

    voter: str
    document: str
    weight: float
    logprob: float | None
    grounded: bool | None


def votes(groups: Sequence[Sequence[Candidate]]) -> tuple[tuple[Vote, ...], ...]:
    """The votes for each group of candidates with the same value, in the order of document and voter.

    >>> again = Candidate("a", "d", 1.2, "found")
    >>> [[one.weight for one in of] for of in votes([[again, again], [Candidate("b", "d", 3.4, "found")]])]
    [[1.0], [1.0]]
    >>> [[one.weight for one in of] for of in votes([[again], [Candidate("a", "d", 3.4, "found")]])]
    [[0.5], [0.5]]
    """
    cast = [_by_voter(group) for group in groups]
    parts = Counter(who for group in cast for who in group)
    return tuple(
        tuple(_vote(who, cast_by, parts[who]) for who, cast_by in sorted(group.items())) for group in cast
    )


def weight(candidates: Sequence[Candidate]) -> float:
    """How much candidates of one value count together, each voter once a document.

    >>> weight([Candidate("a", "d", 1, "found", weight=2.0)] * 3)
    2.0
    """
    return math.fsum(one.weight for one in votes([candidates])[0])


def _by_voter(candidates: Sequence[Candidate]) -> dict[tuple[str, str], list[Candidate]]:
    found: dict[tuple[str, str], list[Candidate]] = {}
    for one in candidates:
        found.setdefault((one.document, one.voter), []).append(one)
    return found


def _vote(who: tuple[str, str], answers: Sequence[Candidate], parts: int) -> Vote:
    logprobs = [one.logprob for one in answers if one.logprob is not None and not math.isnan(one.logprob)]
    given = [one for one in answers if one.value is not None]
    return Vote(
        voter=who[1],
        document=who[0],
        weight=max(0.0, *(one.weight for one in answers)) / parts,
        logprob=max(logprobs, default=None),
        grounded=any(one.grounded for one in given) if given else None,
    )
