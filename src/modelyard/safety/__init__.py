"""Safety: checks that judge prompts and answers, and the policy that applies them."""

from __future__ import annotations

from modelyard.safety.build import policy_of
from modelyard.safety.check import Check
from modelyard.safety.classifier import ClassifierCheck
from modelyard.safety.guard import LLAMA_GUARD_1, LLAMA_GUARD_3, GuardCheck
from modelyard.safety.patterns import PatternCheck, PersonalDataCheck
from modelyard.safety.policy import Policy, Rule
from modelyard.safety.salesforce import SalesforceCheck
from modelyard.types import Category, Span, Verdict

__all__ = [
    "LLAMA_GUARD_1", "LLAMA_GUARD_3", "Category", "Check", "ClassifierCheck", "GuardCheck", "PatternCheck",
    "PersonalDataCheck", "Policy", "Rule", "SalesforceCheck", "Span", "Verdict", "policy_of",
]  # fmt: skip
