"""Settle: candidates of one field to one value, by fixed steps, with the reason in a sentence.

The order of settlement: equal, grounded over ungrounded, the priority list of documents, the margin of weighted
support, and else unresolved, with all candidates kept. The same candidates in any order give the same result.

>>> read = [Candidate(who, "release.html", value, "found") for who, value in (("a", 1.2), ("b", 1.2), ("c", 3.4))]
>>> found = settle(Field("eps", "number"), read)
>>> found.value, found.strategy, found.reason
(1.2, 'margin', '2 of 3 voters (a, b) read 1.2, 33 points ahead of 3.4.')
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from modelyard.extraction.merging.confidence import Judgement, formula
from modelyard.extraction.merging.equality import canonical, group, value_key
from modelyard.extraction.merging.rules import MergeRules
from modelyard.extraction.merging.steps import ALONE, AUTO, Decision, Open, equal
from modelyard.extraction.merging.wording import Wording, left_out, sentence
from modelyard.extraction.result import Candidate, FieldResult, Status
from modelyard.extraction.schema import Field


@dataclass(frozen=True, slots=True)
class Case:
    """The candidates of one field, sorted out.

    Attributes:
        kept: all of them, in an order of their own.
        groups: those that vote, by value, the best supported first.
        silent: those that find no value, and do not count as another document gives one.
    """

    field: Field
    rules: MergeRules
    kept: tuple[Candidate, ...]
    groups: tuple[tuple[Candidate, ...], ...]
    silent: tuple[Candidate, ...]
    judgement: Judgement

    @property
    def remarks(self) -> str:
        """What a reason has to say beside who voted for what."""
        return left_out(self.kept, self.silent)


def settle(
    field: Field,
    candidates: Sequence[Candidate],
    rules: MergeRules | None = None,
    *,
    confidence: Judgement | None = None,
) -> FieldResult:
    """The value that candidates of one field come to, as far as that needs no model.

    Candidates that abstain, failed or could not be read are kept and do not vote. A voter's identical answers
    in one document are one vote. That a document does not give the field is no objection to a grounded value
    from another document.

    Args:
        field: what was asked for.
        candidates: what each voter read, in one document or several about the same thing.
        rules: how a conflict is settled.
        confidence: what gives the value its confidence; the formula of `confidence.py` by default.
    """
    case = open_case(field, candidates, rules, confidence=confidence)
    found, left = try_steps(case)
    return decided(case, found) if found is not None else unresolved(case, left)


def open_case(
    field: Field,
    candidates: Sequence[Candidate],
    rules: MergeRules | None = None,
    *,
    confidence: Judgement | None = None,
) -> Case:
    """The candidates weighted, in their own order and in groups of the same value; arguments as `settle`."""
    rules = rules or MergeRules()
    weighted = [replace(one, weight=rules.weights.get(one.voter, one.weight)) for one in candidates]
    kept = canonical(field, weighted)
    voting, silent = _heard([one for one in kept if one.votes])
    groups = group(field, voting, rules.tolerance)
    judgement = confidence or partial(formula, tolerance=rules.tolerance)
    return Case(field, rules, tuple(kept), groups, tuple(silent), judgement)


def try_steps(case: Case) -> tuple[Decision | None, Open]:
    """What settles a case without a model, and what is open after the last step."""
    rules, name = case.rules, case.field.name
    left = Open(name, case.groups, Wording(case.groups), rules.patterns(name), rules.margin)
    strategy = rules.strategy
    if not case.groups:
        return None, left
    for step in (equal, *(AUTO if strategy == "auto" else ALONE[strategy])):
        outcome = step(left)
        if isinstance(outcome, Decision):
            return outcome, left
        left = outcome
    return None, left


def decided(case: Case, decision: Decision) -> FieldResult:
    """The result of a decision: its value with the best quote for it, and its confidence."""
    voting = [one for of in case.groups for one in of]
    best = _best(case.field, decision)
    sure = case.judgement(case.field, decision.chosen, voting)
    return FieldResult(
        value=best.value,
        quote=best.quote,
        start=best.start,
        end=best.end,
        status=_status(best),
        method=best.method,
        where=best.where,
        document=best.document,
        confidence=sure.value,
        confidence_kind=sure.kind,
        strategy=decision.strategy,
        reason=sentence(decision.reason, case.remarks),
        candidates=case.kept,
    )


def unresolved(case: Case, left: Open, *why: str) -> FieldResult:
    """The result where nothing settled a case: no value, and every candidate kept.

    Args:
        case: what was to be settled.
        left: what was open in the end.
        why: what else a reviewer should know, such as what a model said.
    """
    if not case.groups:
        return _nobody(case)
    said = [left.wording.each(left.groups), *left.notes, *why]
    return _without_value("unresolved", "unresolved", sentence(*said, case.remarks), case.kept)


def _nobody(case: Case) -> FieldResult:
    """The result where nobody votes."""
    statuses = {one.status for one in case.kept if not one.abstains}
    if "unreadable" in statuses or "failed" in statuses:
        status: Status = "unreadable" if "unreadable" in statuses else "failed"
        return _without_value(status, "none", sentence("no answer counts", case.remarks), case.kept)
    if case.kept:
        return _without_value("not_found", "none", sentence(case.remarks), case.kept)
    return _without_value("failed", "none", sentence("there are no candidates"), case.kept)


def _without_value(
    status: Status, strategy: str, reason: str, candidates: tuple[Candidate, ...]
) -> FieldResult:
    return FieldResult(
        None, None, None, None, status, strategy=strategy, reason=reason, candidates=candidates
    )


def _heard(voting: Sequence[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """Those whose vote counts, and those that find no value in a document while another document gives one.

    Documents about the same thing need not all state it. Whether a document's silence counts depends on other
    documents alone, so that no further vote for a value makes a silence speak against it.
    """
    givers = {one.document for one in voting if one.value is not None and one.grounded}
    silent = [one for one in voting if one.value is None and givers - {one.document}]
    return [one for one in voting if one.value is not None or not givers - {one.document}], silent


def _best(field: Field, decision: Decision) -> Candidate:
    """The candidate whose quote is shown: grounded, then decisive, the value itself, the surest."""
    centre = value_key(field, decision.chosen[0].value)

    def rank(one: Candidate) -> tuple[bool, bool, bool, float, float]:
        unsure = math.inf if one.logprob is None or math.isnan(one.logprob) else -one.logprob
        off_centre = value_key(field, one.value) != centre
        return not one.grounded, one not in decision.decisive, off_centre, unsure, -one.weight

    return min(decision.chosen, key=rank)


def _status(best: Candidate) -> Status:
    if best.value is None:
        return "not_found"
    return "found" if best.grounded else "ungrounded"
