"""The two dialects, as people's files have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.catalog import load_file
from modelyard.catalog.spec import HubSource
from modelyard.errors import CatalogError

GROUPED = """\
# ALL these models use the SAME HuggingFace token
stock_models:
  # 7B Models
  mistral_7b:
    name: "mistralai/Mistral-7B-Instruct-v0.1"
    display_name: "Mistral 7B Instruct"
    parameters: "7B"
    provider: "huggingface"

  falcon_40b:
    name: "tiiuae/falcon-40b-instruct"
    display_name: "Falcon 40B Instruct"
    parameters: "40B"
    provider: "huggingface"

finance_tuned_models:
  # Finance-specific models - SAME token
  finma_7b:
    name: "ChanceFocus/finma-7b-nlp"
    display_name: "FinMA 7B"
    parameters: "7B"
    provider: "huggingface"
"""

NEW_MODEL = """\
new_model:
  name: "organization/model-name"  # From HuggingFace Hub
  display_name: "Your Display Name"
  parameters: "7B"  # Approximate size
  provider: "huggingface"
  quantization: "4bit"  # Optional optimization
"""

SHARED = """\
# Use quantization to fit more models in GPU memory
model_config:
  quantization: "4bit"  # Reduces memory by ~75%
"""

NAMES_ONLY = """\
finance_models:
  finma_7b:
    name: "ChanceFocus/finma-7b-nlp"
  fingpt_llama2:
    name: "FinGPT/fingpt-mt_llama2-7b_lora"
"""

LISTED = """\
- name: gpt2-model
  type: huggingface
  description: GPT-2 text generation model
  endpoint: models/gpt2/generate
  hf_model_name: "gpt2"
  hf_task: "generation"
  hf_generation_kwargs:
    max_length: 100
    temperature: 0.7
    top_p: 0.9
- name: t5-translator
  type: huggingface
  description: T5 translation model
  endpoint: models/t5/translate
  hf_model_name: "t5-small"
  hf_task: "seq2seq"
  hf_generation_kwargs:
    max_length: 50
- name: phi2-generate
  type: huggingface
  description: Microsoft's Phi-2 small language model
  endpoint: models/phi2/generate
  hf_model_name: "microsoft/phi-2"
  hf_task: "generation"
  hf_generation_kwargs:
    max_length: 200
    temperature: 0
    top_p: 0.9
    do_sample: true
"""


def read(text: str):
    Path("m.yaml").write_text(text)
    return load_file(Path("m.yaml"))


def mistake(text: str) -> CatalogError:
    with pytest.raises(CatalogError) as caught:
        read(text)
    return caught.value


def test_groups_become_families():
    mistral, falcon, finma = read(GROUPED)
    assert (mistral.alias, mistral.title, mistral.parameters) == ("mistral_7b", "Mistral 7B Instruct", "7B")
    assert mistral.source == HubSource(repo="mistralai/Mistral-7B-Instruct-v0.1")
    assert (falcon.family, finma.family, finma.tags) == ("stock", "finance", ("finance",))


def test_an_entry_may_stand_alone():
    (spec,) = read(NEW_MODEL)
    assert (spec.alias, spec.quantization, spec.source) == (
        "new_model",
        "4bit",
        HubSource(repo="organization/model-name"),
    )


def test_shared_settings_hold_for_every_model_of_the_file():
    assert {spec.quantization for spec in read(GROUPED + SHARED + NEW_MODEL)} == {"4bit"}
    one, two = read(
        "model_config: {quantization: 4bit}\n"
        "large_models: {a: {name: o/a}, b: {name: o/b, quantization: 8bit}}"
    )
    assert (one.quantization, two.quantization) == ("4bit", "8bit")


def test_shared_settings_alone_are_an_error():
    assert "no models" in str(mistake(SHARED))


def test_a_name_is_enough():
    assert [spec.family for spec in read(NAMES_ONLY)] == ["finance", "finance"]


@pytest.mark.parametrize("text", [LISTED, "models:\n" + LISTED])
def test_a_list_gives_endpoint_task_and_defaults(text):
    gpt2, t5, phi2 = read(text)
    assert (gpt2.alias, gpt2.endpoint, gpt2.task) == ("gpt2-model", "models/gpt2/generate", "generation")
    assert gpt2.defaults == {"max_length": 100, "temperature": 0.7, "top_p": 0.9}
    assert (t5.task, t5.source) == ("seq2seq", HubSource(repo="t5-small"))
    assert phi2.defaults == {"max_length": 200, "temperature": 0.0, "top_p": 0.9, "do_sample": True}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (
            GROUPED.replace('provider: "huggingface"', "provider: openai", 1),
            8,
            "key 'provider' has value 'openai'",
        ),
        (LISTED.replace("type: huggingface", "type: openai", 1), 2, "key 'type' has value 'openai'"),
        (LISTED.replace("top_p: 0.9", "topp: 0.9", 1), 10, "'topp' is not known"),
        (LISTED.replace("max_length: 50", "max_length: 50\n    max_new_tokens: 9"), 17, "both given"),
        (LISTED.replace("hf_task", "hf_tsk", 1), 6, "Did you mean 'hf_task'"),
        (LISTED.replace('"seq2seq"', '"translation"'), 16, "'task' has value 'translation'"),
        (LISTED.replace('hf_model_name: "gpt2"', "quantization: 4bit"), 1, "'hf_model_name' has value None"),
        (
            GROUPED + GROUPED.replace("stock", "more").replace("finance_tuned", "fin"),
            26,
            "given twice, first on line 4",
        ),
        ("modles:\n  a: 3\n", 2, "Did you mean 'models'"),
        ("g_models:\n  a: {name: o/n, source: o/m}\n", 2, "both given"),
        ("model_config: {quantisation: 4bit}\n" + NEW_MODEL, 1, "Did you mean 'quantization'"),
    ],
)
def test_a_mistake_is_named_with_its_line(text, line, words):
    error = mistake(text)
    assert words in str(error)
    assert error.line == line
