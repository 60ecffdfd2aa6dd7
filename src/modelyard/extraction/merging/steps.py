"""Steps: each way to settle a conflict, alone; what one leaves open goes to the next."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from modelyard.extraction.merging.rules import Strategy, matches
from modelyard.extraction.merging.votes import votes
from modelyard.extraction.merging.wording import Wording, listed, shown, some
from modelyard.extraction.result import Candidate

Group = tuple[Candidate, ...]

_LEVEL = "the best supported are level"
_ROUNDING = 1e-9  # shares are sums of floats: a lead of a fifth counts as one


class Decision(NamedTuple):
    """A value that is settled.

    Attributes:
        strategy: what settled it.
        chosen: all candidates of the value.
        reason: why, as part of a sentence.
        decisive: those of them whose word it was; their quote is shown before others.
    """

    strategy: str
    chosen: Group
    reason: str
    decisive: Group = ()


@dataclass(frozen=True, slots=True)
class Open:
    """What is still to be settled.

    Attributes:
        field: the field's name.
        groups: the values that are left, the best supported first.
        wording: says who voted for what, among all that vote.
        patterns: the documents whose word counts first.
        margin: the lead that is asked for.
        notes: what the steps so far have to say.
    """

    field: str
    groups: tuple[Group, ...]
    wording: Wording
    patterns: tuple[str, ...]
    margin: float
    notes: tuple[str, ...] = ()

    def noting(self, note: str) -> Open:
        """The same with one more note."""
        return replace(self, notes=(*self.notes, note))


Step = Callable[[Open], Decision | Open]


def equal(case: Open) -> Decision | Open:
    """All votes are for the same value."""
    if len(case.groups) != 1:
        return case
    (chosen,) = case.groups
    strategy = "single" if len(votes([chosen])[0]) == 1 else "equal"
    return Decision(strategy, chosen, case.wording.backing(chosen))


def grounding(case: Open) -> Decision | Open:
    """Values with a quote that is in its document, over values without; "not given" has nothing to ground."""
    sound = [of for of in case.groups if any(one.grounded for one in of)]
    lost = [of for of in case.groups if of[0].value is not None and not any(one.grounded for one in of)]
    if not sound or not lost:
        return case
    note = f"no quote for {listed([shown(of[0].value) for of in lost])} is in the text"
    left = tuple(of for of in case.groups if not any(of is one for one in lost))
    if len(left) == 1:
        return Decision("grounding", left[0], f"{case.wording.backing(left[0])}; {note}")
    return replace(case.noting(note), groups=left)


def priority(case: Open) -> Decision | Open:
    """The first documents of the list that give a value, where there are others beside them."""
    documents = {one.document for of in case.groups for one in of}
    first = _first_speaking(case, documents)
    return case if first is None or first.documents == documents else _word_of(case, first)


def priority_alone(case: Open) -> Decision | Open:
    """The same as the only way: also where there are no others."""
    if not case.patterns:
        return case.noting(f"there is no priority list for {case.field}")
    first = _first_speaking(case, {one.document for of in case.groups for one in of})
    if first is None:
        return case.noting("no document of the priority list gives a value")
    return _word_of(case, first)


def margin(case: Open) -> Decision | Open:
    """The value that leads by the margin."""
    first, second, lead = _lead(case.groups)
    if lead <= _ROUNDING:
        return case.noting(_LEVEL)
    if lead + _ROUNDING < case.margin:
        return case.noting(f"a lead of {_points(lead)} is less than the margin of {_points(case.margin)}")
    ahead = f"{case.wording.backing(first)}, {_points(lead)} ahead of {shown(second[0].value)}"
    return Decision("margin", first, "; ".join((ahead, *case.notes)))


def agreement(case: Open) -> Decision | Open:
    """The value with most votes, however small its lead."""
    first, second, lead = _lead(case.groups)
    if lead <= _ROUNDING:
        return case.noting(_LEVEL)
    ahead = f"{case.wording.backing(first)}, {_points(lead)} ahead of {shown(second[0].value)}"
    return Decision("agreement", first, ahead)


def logprob(case: Open) -> Decision | Open:
    """The value with the surest vote, which a further vote for it cannot take from it."""
    surest = [_surest(of) for of in case.groups]
    known = sorted((-one, at) for at, one in enumerate(surest) if one is not None)
    if not known:
        return case.noting("no candidate has a logprob")
    if len(known) > 1 and known[0][0] == known[1][0]:
        return case.noting("the surest votes of two values are equally sure")
    chosen = case.groups[known[0][1]]
    others = [
        f"{'none' if one is None else f'{one:.3f}'} for {shown(of[0].value)}"
        for one, of in zip(surest, case.groups, strict=True)
        if of is not chosen
    ]
    sure = f"the surest vote for {shown(chosen[0].value)} has a mean logprob of {-known[0][0]:.3f}"
    reason = f"{sure}, against {listed(others)}; {case.wording.backing(chosen)}"
    return Decision("logprob", chosen, reason, tuple(one for one in chosen if one.logprob == -known[0][0]))


AUTO: Sequence[Step] = (grounding, priority, margin)
ALONE: Mapping[Strategy, Sequence[Step]] = {
    "agreement": (agreement,),
    "priority": (priority_alone,),
    "logprob": (logprob,),
    "llm": (),
}


class _Speaking(NamedTuple):
    """Documents of one pattern, and what they say: pairs of a value's candidates there and its whole group."""

    documents: set[str]
    ranked: list[tuple[Group, Group]]
    divided: bool


def _first_speaking(case: Open, documents: set[str]) -> _Speaking | None:
    """The first of the list that give a value rather than none."""
    for pattern in case.patterns:
        named = {one for one in documents if matches(one, pattern)}
        pairs = [(tuple(one for one in of if one.document in named), of) for of in case.groups]
        pairs = [pair for pair in pairs if pair[0]]
        weights = _weights([here for here, _ in pairs])
        ranked = sorted(range(len(pairs)), key=lambda at: -weights[at])
        if ranked and pairs[ranked[0]][0][0].value is not None:
            divided = len(ranked) > 1 and weights[ranked[0]] - weights[ranked[1]] <= _ROUNDING
            return _Speaking(named, [pairs[at] for at in ranked], divided)
    return None


def _word_of(case: Open, first: _Speaking) -> Decision | Open:
    names = some(sorted(first.documents))
    if first.divided:
        return case.noting(f"what stands first for {case.field}, {names}, is divided")
    here, chosen = first.ranked[0]
    there = Wording([one for one, _ in first.ranked]).backing(here)
    others = listed([shown(of[0].value) for of in case.groups if of is not chosen])
    stand = "stands" if len(first.documents) == 1 else "stand"
    reason = f"of the documents {names} {stand} first for {case.field}, and there {there}, not {others}"
    return Decision("priority", chosen, "; ".join((reason, *case.notes)), here)


def _lead(groups: Sequence[Group]) -> tuple[Group, Group, float]:
    """The two heaviest groups of two or more, and by what share of their votes the first leads."""
    weights = _weights(groups)
    total = math.fsum(weights)
    ranked = sorted(range(len(groups)), key=lambda at: -weights[at])
    lead = (weights[ranked[0]] - weights[ranked[1]]) / total if total else 0.0
    return groups[ranked[0]], groups[ranked[1]], lead


def _weights(groups: Sequence[Group]) -> list[float]:
    return [math.fsum(one.weight for one in of) for of in votes(groups)]


def _points(share: float) -> str:
    return f"{share * 100:.0f} points"


def _surest(of: Group) -> float | None:
    known = [one.logprob for one in of if one.logprob is not None and one.logprob == one.logprob]
    return max(known, default=None)
