"""Evidence: what speaks for a value, as numbers that each grow with how likely it is to be right.

    agreement         the weighted share of the votes that it has
    value             that it is one, rather than "the document does not give it"
    grounded          that its quote is in the document, and holds the number as it is: not as a percentage,
                      unless the field is one
    named             how many words of the field's name and description its quote holds, ahead of its rivals'
    unrivalled        less one for each other value that is grounded
    form              that it is a whole number where all labels of the field are
    certain           the probability of the surest vote's tokens, where the engine gives it
    beside agreement  how often two voters agree on the record's other fields
    beside grounded   how many values of the record's other fields are grounded

None of them falls when a further voter agrees; `certain` as long as all votes have logprobs, or none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from modelyard.extraction.calibration.ballot import Group
from modelyard.extraction.merging.votes import votes
from modelyard.extraction.numbers import numbers
from modelyard.extraction.result import Candidate
from modelyard.extraction.schema import Field

EVIDENCE = (
    "agreement", "value", "grounded", "named", "unrivalled", "form", "certain", "beside agreement",
    "beside grounded",
)  # fmt: skip

_WORD = re.compile(r"[^\W\d_]{3,}")
_STEM = 6
_COMMON = frozenset(
    [
        "and",
        "are",
        "been",
        "but",
        "for",
        "from",
        "had",
        "has",
        "have",
        "into",
        "its",
        "may",
        "not",
        "off",
        "one",
        "onto",
        "only",
        "our",
        "out",
        "per",
        "some",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "under",
        "upon",
        "very",
        "was",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "with",
    ]
)


@dataclass(frozen=True, slots=True)
class Value:
    """What is known of one value before any vote is weighed.

    Attributes:
        votes: how many votes each voter has for it; parts of one where a voter says several things.
        certain: the probability of the surest vote's tokens; None without logprobs.
    """

    votes: dict[str, float]
    given: bool
    grounded: bool
    named: float
    whole: bool
    certain: float | None


def values_of(field: Field, groups: Sequence[Group]) -> tuple[Value, ...]:
    """What is known of each value of a field.

    >>> read = Candidate("a", "d", 12.0, "found", "12 events in all", 0, 16)
    >>> values_of(Field("events", "number"), [(read,)])
    (Value(votes={'a': 1.0}, given=True, grounded=True, named=1.0, whole=True, certain=None),)
    """
    words = stems((field.name, field.description or ""))
    percent = "%" in (field.unit or "") or "percent" in (field.unit or "").lower()
    found = []
    for of, cast in zip(groups, votes(groups), strict=True):
        by_voter: dict[str, float] = {}
        for one in cast:
            by_voter[one.voter] = by_voter.get(one.voter, 0.0) + 1 / _answers(one.voter, one.document, groups)
        value = of[0].value
        given = value is not None
        sure = [math.exp(min(0.0, one.logprob)) for one in cast if one.logprob is not None]
        found.append(
            Value(
                votes=by_voter,
                given=given,
                grounded=given and any(_stands(one, percent) for one in of),
                named=max((_named(one, words) for one in of if one.grounded), default=0.0) if given else 0.0,
                whole=not given or is_whole(value),
                certain=max(sure, default=None),
            )
        )
    return tuple(found)


def pair_agreement(values: Sequence[Value]) -> float | None:
    """How often two votes of different voters agree; None of fewer than two.

    >>> values_of(Field("n", "number"), []), pair_agreement([])
    ((), None)
    """
    sizes = [math.fsum(one.votes.values()) for one in values]
    total = math.fsum(sizes)
    if total < 2:
        return None
    return math.fsum(size * max(0.0, size - 1) for size in sizes) / (total * (total - 1))


def is_whole(value: object) -> bool:
    """Whether a value is not a number with a fraction.

    >>> is_whole(12.0), is_whole("mild"), is_whole(1.5)
    (True, True, False)
    """
    return not isinstance(value, float) or value.is_integer()


def stems(texts: Iterable[str]) -> frozenset[str]:
    """The words of texts that say something, cut to six letters so that an ending makes no difference.

    >>> sorted(stems(["intervention_events", "events of the interventions"]))
    ['events', 'interv']
    """
    words = {word for text in texts for word in _WORD.findall(text.lower().replace("_", " "))}
    return frozenset(word[:_STEM] for word in words - _COMMON)


def _answers(voter: str, document: str, groups: Sequence[Group]) -> int:
    """Among how many values a voter's vote in a document is parted."""
    return sum(any(one.voter == voter and one.document == document for one in of) for of in groups)


def _stands(one: Candidate, percent: bool) -> bool:
    if not one.grounded or isinstance(one.value, bool) or not isinstance(one.value, int | float):
        return one.grounded
    quote = one.quote or ""
    here = [
        number
        for number in numbers(quote)
        if any(float(reading) == float(one.value) for reading in number.readings)
    ]
    return not here or percent or any(not quote[number.end :].lstrip().startswith("%") for number in here)


def _named(one: Candidate, words: frozenset[str]) -> float:
    return len(words & stems([one.quote or ""])) / len(words) if words else 0.0
