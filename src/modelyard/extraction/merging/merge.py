"""Merge: candidates to one value; what the fixed steps leave open goes to a judge, where there is one."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.extraction.merging.adjudicate import adjudicate
from modelyard.extraction.merging.confidence import Judgement
from modelyard.extraction.merging.rules import MergeRules
from modelyard.extraction.merging.settle import decided, open_case, try_steps, unresolved
from modelyard.extraction.merging.wording import joined
from modelyard.extraction.result import Candidate, FieldResult
from modelyard.extraction.schema import Field
from modelyard.llm import LLM

_JUDGED = ("auto", "llm")


async def merge_async(
    field: Field,
    candidates: Sequence[Candidate],
    rules: MergeRules | None = None,
    judge: LLM | None = None,
    *,
    confidence: Judgement | None = None,
) -> FieldResult:
    """The value that candidates of one field come to: settled by the rules, else by a model.

    Args:
        field: what was asked for.
        candidates: what each voter read, in one document or several about the same thing.
        rules: how a conflict is settled; the judge is asked with the strategies `auto` and `llm` only.
        judge: the model that decides from the quotes; without one a conflict stays unresolved.
        confidence: what gives the value its confidence; the formula of `confidence.py` by default.
    """
    case = open_case(field, candidates, rules, confidence=confidence)
    found, left = try_steps(case)
    if found is not None:
        return decided(case, found)
    if case.rules.strategy not in _JUDGED or not case.groups:
        return unresolved(case, left)
    if judge is None:
        return unresolved(case, left, "there is no judge to ask" if case.rules.strategy == "llm" else "")
    decision, note = await adjudicate(field, left.groups, judge)
    if decision is None:
        return unresolved(case, left, note)
    backing = left.wording.backing(decision.chosen)
    return decided(case, decision._replace(reason=joined(decision.reason, backing, *left.notes)))
