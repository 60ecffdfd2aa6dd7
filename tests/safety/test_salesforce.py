"""The check by Salesforce's flan-T5: its scores are those of the model run directly, here on random weights."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests import models

from modelyard.catalog.spec import ModelSpec, PathSource
from modelyard.llm import LLM
from modelyard.safety import SalesforceCheck, Verdict
from modelyard.safety.salesforce import ANSWER, CATEGORIES, QUESTION

TEXTS = ["You are so stupid", "The capital of France is Paris.", "Thank you for the lovely evening!"]


def spelling_t5() -> Path:
    """A random T5 whose tokenizer has the words `true` and `false`, and that never ends an answer early."""

    def build(folder: Path) -> None:
        import torch
        from transformers import AutoTokenizer, T5ForConditionalGeneration

        tokenizer = AutoTokenizer.from_pretrained(models.tiny("t5"))
        tokenizer.add_tokens(["true", "false", "safe"])
        torch.manual_seed(11)
        model = T5ForConditionalGeneration.from_pretrained(models.tiny("t5"))
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        with torch.no_grad():
            model.get_input_embeddings().weight.normal_(0, 1)
            model.get_output_embeddings().weight.normal_(0, 1)
            model.get_output_embeddings().weight[tokenizer.eos_token_id] *= (
                0  # its logit is 0, never the largest
            )
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return models.kept("spelling-t5", build)


@pytest.fixture(scope="module")
def llm() -> LLM:
    source = PathSource(path=str(spelling_t5()))
    spec = ModelSpec(
        alias="spelling",
        sources=(source,),
        task="seq2seq",
        engine="transformers",
        options={"dtype": "float32"},
    )
    return LLM(spec)


def directly(text: str, context: str = "") -> tuple[str, dict[str, float]]:
    """The answer and the scores as transformers' own `generate` gives them."""
    import torch
    from transformers import AutoTokenizer, T5ForConditionalGeneration

    tokenizer: Any = AutoTokenizer.from_pretrained(spelling_t5())
    model: Any = T5ForConditionalGeneration.from_pretrained(spelling_t5()).eval()
    ids = tokenizer(f"{QUESTION} <Text> {text} <Context> {context}", return_tensors="pt").input_ids
    with torch.no_grad():
        made = model.generate(
            ids, max_new_tokens=ANSWER, do_sample=False, output_scores=True, return_dict_in_generate=True
        )
    words = [tokenizer(word, add_special_tokens=False).input_ids[0] for word in ("true", "false")]
    places = range(3, 3 + 2 * len(CATEGORIES), 2)
    scores = {
        name: made.scores[at][0, words].softmax(dim=0)[0].item()
        for name, at in zip(CATEGORIES, places, strict=True)
    }
    return tokenizer.decode(made.sequences[0], skip_special_tokens=True), scores


def judged(check: SalesforceCheck, text: str, context: str = "") -> Verdict:
    return asyncio.run(check.verdict(text, context=context))


@pytest.mark.parametrize("text", TEXTS)
def test_scores_are_those_of_the_model_itself(llm: LLM, text: str) -> None:
    verdict = judged(SalesforceCheck(llm), text)
    answer, wanted = directly(text)
    assert {one.name: one.score for one in verdict.categories} == pytest.approx(wanted, abs=1e-4)
    assert verdict.allowed == (answer.split(" ")[0] == "safe")
    flagged = {name for name, score in wanted.items() if score >= 0.5}
    assert set(verdict.flagged) == (set() if verdict.allowed else flagged)


def test_the_prompt_is_read_beside_an_answer_where_that_is_asked_for(llm: LLM) -> None:
    alone, beside = SalesforceCheck(llm), SalesforceCheck(llm, with_context=True)
    assert judged(alone, TEXTS[0], "Teach me.") == judged(alone, TEXTS[0])
    found = {one.name: one.score for one in judged(beside, TEXTS[0], "Teach me.").categories}
    assert found == pytest.approx(directly(TEXTS[0], "Teach me.")[1], abs=1e-4)


def test_a_long_text_is_read_in_windows_that_the_model_was_trained_for(llm: LLM) -> None:
    text = " ".join(TEXTS * 40)
    verdict = judged(SalesforceCheck(llm, window=64), text)
    assert verdict.window is not None
    assert verdict.window.end - verdict.window.start < len(text) / 4
