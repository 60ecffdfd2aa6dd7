"""Confidence: how sure one may be of a value, from agreement, grounding and the tokens' probability alone.

Each vote is evidence: a voter of weight 1 whose vote is grounded and certain is taken to be right in
`ACCURACY` of the cases, and to err independently of the others. The confidence is then the posterior
probability of the value among those that were read and one that nobody read:

    confidence = L^E / (L^E + sum over the other values of L^E' + 1),   L = ACCURACY / (1 - ACCURACY)

where E is the sum over the votes for a value of weight times quality. Votes as log odds are Nitzan and Paroush,
Optimal Decision Rules in Uncertain Dichotomous Choice Situations (International Economic Review 23, 1982); the
same error rate for all wrong values is the one-coin case of Dawid and Skene (Applied Statistics 28, 1979).

The quality of a vote, 0 to 1, is a weighted mean of what is known of it: that it was given (`SAID`), whether its
quote is in the document (`GROUNDED`), and the probability of its tokens (`CERTAIN`). What is not known is left
out of the mean: an engine without logprobs, and the quote of a vote that there is no value. As no vote counts
less than nothing, a further one for a value never lowers its confidence. Three full votes that nobody contests
are the highest value there is, since voters are never quite independent.

The numbers are assumptions and fitted to nothing: what makes them a probability is `modelyard calibrate`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from modelyard.extraction.merging.support import Support, support
from modelyard.extraction.merging.votes import Vote
from modelyard.extraction.result import Candidate, ConfidenceKind
from modelyard.extraction.schema import Field

ACCURACY = 0.8
"""How often a voter with a grounded and certain vote is taken to be right."""

SAID, GROUNDED, CERTAIN = 1.0, 2.0, 1.0
"""How much a vote's being given, its grounding and its tokens' probability count in its quality."""

SURE = 0.9
"""The mean probability of a token from which on a vote counts as certain: beyond it models are overconfident."""

ENOUGH = 3
"""How many full votes without any against them give the highest confidence."""

_NATS = math.log(ACCURACY / (1 - ACCURACY))


class Confidence(NamedTuple):
    """How sure, 0 to 1, and what the number means; both None where there is nothing to be sure of."""

    value: float | None
    kind: ConfidenceKind | None


Judgement = Callable[[Field, Sequence[Candidate], Sequence[Candidate]], Confidence]
"""What gives a value its confidence: from the field, the candidates of the value, and all that vote."""


def formula(
    field: Field | None,
    chosen: Sequence[Candidate],
    voting: Sequence[Candidate],
    *,
    tolerance: float = 0.0,
) -> Confidence:
    """The confidence in the value of the chosen candidates, by the formula alone.

    >>> read = [Candidate(who, "d", 1.2, "found", start=0, end=4, logprob=-0.01) for who in "abc"]
    >>> [round(formula(None, read[:count], read[:count]).value, 3) for count in (1, 2, 3)]
    [0.8, 0.941, 0.985]
    >>> formula(None, read[:1], read[:1]).kind, formula(None, [], []).value
    ('single_pass', None)
    """
    found = support(chosen, voting, field=field, tolerance=tolerance)
    if not found.votes:
        return Confidence(None, None)
    return Confidence(of_support(found), "single_pass" if found.voters == 1 else "formula")


def of_support(found: Support) -> float:
    """The formula on the votes of `support`."""
    evidence = [_evidence(one) for one in (found.votes, *found.others)]
    # Against the largest, so that no power is too large for a float.
    highest = max(*evidence, 0.0)
    powers = [math.exp(_NATS * (one - highest)) for one in (*evidence, 0.0)]
    return min(powers[0] / math.fsum(powers), _HIGHEST)


def quality(vote: Vote) -> float:
    """How good a vote is, 0 to 1.

    >>> quality(Vote("a", "d", 1.0, None, True)), quality(Vote("a", "d", 1.0, None, False))
    (1.0, 0.3333333333333333)
    """
    known = [(SAID, 1.0)]
    if vote.grounded is not None:
        known.append((GROUNDED, float(vote.grounded)))
    if vote.logprob is not None:
        known.append((CERTAIN, min(1.0, math.exp(min(0.0, vote.logprob)) / SURE)))
    return math.fsum(weight * one for weight, one in known) / math.fsum(weight for weight, _ in known)


def _evidence(votes: Sequence[Vote]) -> float:
    return math.fsum(one.weight * quality(one) for one in votes)


_HIGHEST = 1 / (1 + math.exp(-_NATS * ENOUGH))
