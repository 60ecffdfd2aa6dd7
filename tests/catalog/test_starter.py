"""The starter names every model that the project was asked for."""

from __future__ import annotations

import pytest

from modelyard.catalog import load_catalog

ALIASES = {
    "mistral_7b": "mistralai/Mistral-7B-Instruct-v0.1",
    "llama2_7b": "meta-llama/Llama-2-7b-chat-hf",
    "qwen_7b": "Qwen/Qwen1.5-7B-Chat",
    "phi3_mini": "microsoft/Phi-3-mini-128k-instruct",
    "llama2_13b": "meta-llama/Llama-2-13b-chat-hf",
    "vicuna_13b": "lmsys/vicuna-13b-v1.5",
    "falcon_40b": "tiiuae/falcon-40b-instruct",
    "finma_7b": "ChanceFocus/finma-7b-nlp",
    "fingpt_llama2": "FinGPT/fingpt-mt_llama2-7b_lora",
    "gpt2-model": "gpt2",
    "t5-translator": "t5-small",
    "phi2-generate": "microsoft/phi-2",
}
REPOSITORIES = [
    "HuggingFaceH4/zephyr-7b-beta", "Qwen/Qwen2.5-1.5B-Instruct", "wanglab/ClinicalCamel-70B",
    "aaditya/Llama3-OpenBioLLM-8B", "mistralai/Mistral-7B-v0.1", "meta-llama/Llama-2-7b",
    "meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-70b-hf", "meta-llama/Llama-2-70b", "google/gemma-2b",
    "TheBloke/Llama-2-7B-GGUF", "Qwen/Qwen2.5-VL-7B-Instruct", "Salesforce/safety-flan-t5-base",
]  # fmt: skip


@pytest.mark.parametrize(("alias", "repo"), ALIASES.items())
def test_an_alias_means_its_repository(alias, repo):
    assert load_catalog().get(alias).source.repo == repo


@pytest.mark.parametrize("repo", [*REPOSITORIES, *ALIASES.values()])
def test_a_repository_is_known(repo):
    repos = {getattr(source, "repo", None) for spec in load_catalog() for source in spec.sources}
    assert repo in repos


def test_the_models_from_packages_have_their_size_and_hash():
    catalog = load_catalog()
    assert catalog.get("smollm2-135m").source.size == 98_362_432
    hub, packages = catalog.get("qwen2.5-coder-1.5b").sources
    assert hub.sha256 == packages.sha256 and len(packages.parts) == 22
    assert len(catalog.get("gemma3-270m").source.parts) == 4


def test_what_is_no_chat_generator_says_so():
    catalog = load_catalog()
    tasks = {alias: catalog.get(alias).task for alias in ("t5-translator", "qwen2.5_vl_7b", "safety_flan_t5")}
    assert tasks == {"t5-translator": "seq2seq", "qwen2.5_vl_7b": "vision", "safety_flan_t5": "seq2seq"}
    assert catalog.get("fingpt_llama2").base == "meta-llama/Llama-2-7b-hf"
