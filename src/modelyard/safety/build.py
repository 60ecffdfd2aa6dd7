"""From what a catalogue says of safety to a policy."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.catalog.load import Catalog, load_catalog
from modelyard.catalog.spec import ModelSpec, SafetyRule
from modelyard.errors import InvalidArgumentError
from modelyard.llm import LLM
from modelyard.pool import Pool
from modelyard.safety.check import Check
from modelyard.safety.classifier import THRESHOLD, WINDOW, ClassifierCheck
from modelyard.safety.guard import LLAMA_GUARD_3, GuardCheck
from modelyard.safety.patterns import PatternCheck, PersonalDataCheck
from modelyard.safety.policy import Policy, Rule
from modelyard.safety.salesforce import CONTEXT, SalesforceCheck


def policy_of(
    rules: ModelSpec | Sequence[SafetyRule], *, catalog: Catalog | None = None, pool: Pool | None = None
) -> Policy | None:
    """The policy of a model's catalogue entry; None where it has none.

    Args:
        rules: the model, or what stands under its `safety`.
        catalog: where the checks' models are looked up; the starter by default.
        pool: where they are loaded; the process's own by default.

    Raises:
        ModelNotFoundError: a check names a model that the catalogue does not have.
        InvalidArgumentError: what a rule asks for cannot be had of its model.
    """
    listed = rules.safety if isinstance(rules, ModelSpec) else tuple(rules)
    if not listed:
        return None
    found = catalog or load_catalog(None)
    models: dict[str, LLM] = {}
    return Policy(Rule(_check(one, found, pool, models), one.side, one.action) for one in listed)


def _check(rule: SafetyRule, catalog: Catalog, pool: Pool | None, models: dict[str, LLM]) -> Check:
    match rule.check:
        case "patterns":
            return PatternCheck(rule.patterns, name=rule.name or "patterns")
        case "personal_data":
            kinds = rule.block or None
            return PersonalDataCheck(kinds, region=rule.region, name=rule.name or "personal data")
    alias = rule.model or "safety_flan_t5"
    if alias not in models:
        models[alias] = LLM(catalog.resolve(alias), pool=pool, catalog=catalog)
    llm = models[alias]
    match rule.check:
        case "salesforce":
            return SalesforceCheck(
                llm, window=rule.window or CONTEXT // 4, threshold=rule.threshold or THRESHOLD,
                name=rule.name or "salesforce content safety",
            )  # fmt: skip
        case "guard":
            return GuardCheck(
                llm, categories=rule.categories or LLAMA_GUARD_3, block=rule.block or None, name=rule.name,
                window=rule.window or 512,
            )  # fmt: skip
        case "classifier":
            return ClassifierCheck(
                llm,
                rule.block,
                threshold=rule.threshold or THRESHOLD,
                window=rule.window or WINDOW,
                name=rule.name,
            )
    raise InvalidArgumentError(f"check '{rule.check}' is not known", hint="")
