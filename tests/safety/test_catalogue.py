"""Safety in a catalogue: what `safety` takes, what is made of it, and mistakes with their lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard import create_llm
from modelyard.catalog.load import load_catalog
from modelyard.errors import CatalogError, ModelNotFoundError
from modelyard.safety import ClassifierCheck, GuardCheck, Policy, SalesforceCheck, policy_of


def catalogue(folder: Path, safety: str) -> Path:
    file = folder / "models.yaml"
    file.write_text(f"models:\n  guarded:\n    engine: fake\n    safety:\n{safety}\n", "utf-8")
    return file


def policy(folder: Path, safety: str) -> Policy:
    found = load_catalog(catalogue(folder, safety))
    made = policy_of(found.get("guarded"), catalog=found)
    assert made is not None
    return made


def test_each_check_can_be_named(tmp_path: Path) -> None:
    made = policy(
        tmp_path,
        "      - personal_data\n"
        "      - salesforce\n"
        "      - {check: classifier, model: prompt_injection, block: [injection], threshold: 0.8, side: input}\n"
        "      - {check: guard, model: llama_guard_3_1b, block: [S1], action: warn}\n"
        "      - {check: patterns, patterns: {project: 'Falcon'}, action: mask, side: output}\n",
    )
    kinds = [type(rule.check) for rule in made.rules]
    assert [kinds[1], kinds[2], kinds[3]] == [SalesforceCheck, ClassifierCheck, GuardCheck]
    assert [(rule.side, rule.action) for rule in made.rules] == [
        ("both", "block"), ("both", "block"), ("input", "block"), ("both", "warn"), ("output", "mask"),
    ]  # fmt: skip
    assert made.rules[2].check.model == "prompt_injection"


def test_checks_of_one_model_share_it(tmp_path: Path) -> None:
    line = "      - {check: classifier, model: prompt_injection, block: [injection], side: SIDE}\n"
    made = policy(tmp_path, line.replace("SIDE", "input") + line.replace("SIDE", "output"))
    assert made.rules[0].check.llm is made.rules[1].check.llm


def test_it_holds_for_the_library(tmp_path: Path) -> None:
    file = catalogue(tmp_path, "      - {check: patterns, patterns: {project: Falcon}}")
    assert create_llm("guarded", catalog=file).generate("Falcon?").finish_reason == "content_filter"


def test_a_model_without_it_has_no_policy() -> None:
    assert policy_of(load_catalog(None).get("smollm2-135m")) is None


def test_it_may_be_said_once_for_all_models_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("model_config: {safety: [personal_data]}\nmodels:\n  a: {engine: fake}\n", "utf-8")
    assert [one.check for one in load_catalog(file).get("a").safety] == ["personal_data"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("- toxicity", "models.yaml:5"),
        ("- {check: classifier, block: [toxic]}", "Check 'classifier' needs 'model'"),
        ("- {check: classifier, model: a/b}", "Check 'classifier' needs 'block'"),
        ("- {check: personal_data, threshold: 0.5}", "Check 'personal_data' does not take 'threshold'"),
        ("- {check: patterns, patterns: {a: b}, action: hide}", "'action' has value 'hide'"),
        ("- {check: guard, model: a/b, thresold: 0.5}", "thresold"),
        ("- {check: guard, model: a/b, window: 2}", "'window' has value 2"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(CatalogError) as caught:
        load_catalog(catalogue(tmp_path, f"      {line}"))
    assert words in str(caught.value)
    assert "models.yaml:5" in str(caught.value)


def test_a_model_that_nobody_knows_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="promt_injection"):
        policy(tmp_path, "      - {check: classifier, model: promt_injection, block: [injection]}")
