"""Classifiers on transformers, on ONNX files, and in a worker: probabilities, limits, and what they refuse."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests import models

from modelyard import create_llm
from modelyard.catalog.spec import ModelSpec, PathSource
from modelyard.errors import (
    EngineError,
    InvalidArgumentError,
    ModelNotFoundError,
    PromptTooLongError,
    UnsupportedError,
)
from modelyard.llm import LLM

TEXTS = ["The capital of France is Paris.", "Hello", "The quick brown fox jumps over the lazy dog. " * 3]
LABELS = ("calm", "angry", "sad")


def classifier(problem: str) -> Path:
    """A tiny BERT classifier with random weights."""

    def build(folder: Path) -> None:
        import torch
        from transformers import AutoConfig, AutoTokenizer, BertForSequenceClassification

        torch.manual_seed(5)
        base = models.tiny("bert")
        config = AutoConfig.from_pretrained(base)
        config.id2label = dict(enumerate(LABELS))
        config.label2id = {label: at for at, label in enumerate(LABELS)}
        config.problem_type = problem
        BertForSequenceClassification(config).eval().save_pretrained(folder)
        AutoTokenizer.from_pretrained(base).save_pretrained(folder)

    return models.kept("tiny-classifier", build, problem, LABELS)


def llm_of(path: Path, **options: Any) -> LLM:
    spec = ModelSpec(
        alias="judge", sources=(PathSource(path=str(path)),), task="classification", options=options
    )
    return LLM(spec)


def directly(path: Path, text: str) -> list[float]:
    """The logits as transformers itself gives them."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(path)
    model: Any = AutoModelForSequenceClassification.from_pretrained(path).eval()
    with torch.no_grad():
        logits: list[float] = model(**tokenizer(text, return_tensors="pt")).logits[0].tolist()
    return logits


# -- transformers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"worker": True}])
def test_one_label_of_several_is_a_softmax(options: dict[str, Any]) -> None:
    import torch

    path = classifier("single_label_classification")
    with llm_of(path, **options) as llm:
        found = llm.classify(TEXTS)
    for text, one in zip(TEXTS, found, strict=True):
        wanted = torch.tensor(directly(path, text)).softmax(0).tolist()
        assert list(one) == list(LABELS)
        assert list(one.values()) == pytest.approx(wanted, abs=1e-5)


def test_several_labels_at_once_are_logistic() -> None:
    import torch

    path = classifier("multi_label_classification")
    with llm_of(path) as llm:
        (found,) = llm.classify(TEXTS[0])
    assert list(found.values()) == pytest.approx(
        torch.tensor(directly(path, TEXTS[0])).sigmoid().tolist(), abs=1e-5
    )


def test_a_classifier_says_what_it_is_and_writes_nothing() -> None:
    with llm_of(classifier("single_label_classification")) as llm:
        can = llm.load()
        assert can.labels == LABELS
        assert not (can.streaming or can.score or can.embeddings)
        with pytest.raises(UnsupportedError, match="gives labels, no text"):
            llm.generate("Hello")
        with pytest.raises(UnsupportedError, match="scores none"):
            llm.score("Hello", [" you"])
        with pytest.raises(UnsupportedError):
            llm.embed("Hello")


def test_a_text_that_is_too_long_is_refused_by_its_number() -> None:
    with (
        llm_of(classifier("single_label_classification")) as llm,
        pytest.raises(PromptTooLongError, match="text 2 of 2 has"),
    ):
        llm.classify(["short", "word " * 400])


def test_a_model_that_writes_gives_no_labels() -> None:
    with pytest.raises(UnsupportedError, match="gives texts no labels"):
        create_llm("fake").classify("Hello")


# -- ONNX --------------------------------------------------------------------------------------------------


@pytest.mark.model
def test_an_onnx_model_is_run_and_named_by_its_labels() -> None:
    with llm_of(models.toxicity(), labels=["fine", "toxic"]) as llm:
        bad, good = llm.classify(["You are an idiot and I hate you", "Thanks, that was helpful."])
        assert llm.fingerprint().engine == "onnx"
    assert bad["toxic"] > 0.9 > 0.1 > good["toxic"]
    assert sum(bad.values()) == pytest.approx(1)


@pytest.mark.model
def test_a_batch_of_onnx_gives_what_each_text_gives_alone() -> None:
    with llm_of(models.toxicity(), labels=["fine", "toxic"]) as llm:
        together = llm.classify(TEXTS)
        alone = [llm.classify(one)[0] for one in TEXTS]
    for one, other in zip(together, alone, strict=True):
        assert one["toxic"] == pytest.approx(
            other["toxic"], abs=0.02
        )  # activations in 8 bits, scaled by batch


@pytest.mark.model
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"labels": ["a", "b", "c"]}, InvalidArgumentError, "labels are"),
        ({"labels": ["a", "a"]}, InvalidArgumentError, "labels are"),
        ({"several": "yes"}, InvalidArgumentError, "option 'several'"),
        ({"context_length": 0}, InvalidArgumentError, "option 'context_length'"),
        ({"threads": 0}, InvalidArgumentError, "option 'threads'"),
        ({"lowercase": 1}, InvalidArgumentError, "option 'lowercase'"),
        ({"lables": []}, InvalidArgumentError, "Did you mean 'labels'"),
        ({"file": "other.onnx"}, ModelNotFoundError, "other.onnx, which is not there"),
    ],
)
def test_an_option_that_does_not_fit_is_named(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        llm_of(models.toxicity(), **options).load()


@pytest.mark.model
def test_what_lacks_beside_an_onnx_file_is_said(tmp_path: Path) -> None:
    (source,) = models.toxicity().glob("*.onnx")
    shutil.copy(source, tmp_path / "model.onnx")
    with pytest.raises(ModelNotFoundError, match=r"neither a tokenizer\.json nor a vocab\.txt"):
        llm_of(tmp_path).load()


def test_a_broken_onnx_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n", "utf-8")
    with pytest.raises(EngineError, match="cannot be read as an ONNX model"):
        llm_of(tmp_path).load()


@pytest.mark.model
def test_several_files_in_one_folder_need_a_choice(tmp_path: Path) -> None:
    (source,) = models.toxicity().glob("*.onnx")
    for name in ("a.onnx", "b.onnx"):
        shutil.copy(source, tmp_path / name)
    shutil.copy(models.toxicity() / "vocab.txt", tmp_path)
    with pytest.raises(InvalidArgumentError, match=r"holds a\.onnx, b\.onnx"):
        llm_of(tmp_path).load()
    with llm_of(tmp_path, file="b.onnx") as llm:
        assert llm.load().labels == ("LABEL_0", "LABEL_1")


def test_another_task_on_onnx_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    spec = ModelSpec(alias="writer", sources=(PathSource(path=str(tmp_path)),), engine="onnx")
    with pytest.raises(UnsupportedError, match="has task generation"):
        LLM(spec).load()


def test_every_engine_says_what_it_runs() -> None:
    from modelyard.engines.abilities import runs
    from modelyard.engines.registry import engine_names

    assert all(runs(name) for name in engine_names())
