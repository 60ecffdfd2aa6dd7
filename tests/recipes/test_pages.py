"""The recipes as they are written: every block has a language that the walk knows, and nothing is left to chance."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.recipes.page import FILES, LANGUAGES, RECIPES, ROOT, pages, read_blocks

each_page = pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)

# What the pages that the project was asked for by show people to write, word by word; each has to be in a recipe.
ASKED = """
api_key use_inference_api inference_api_url model_path model_type="gguf" quantization="4bit" device_map="auto"
device="cpu" model_kwargs torch_dtype revision low_cpu_mem_usage trust_remote_code load_in_4bit pipeline_kwargs
return_full_text temperature max_tokens top_p top_k repetition_penalty do_sample num_return_sequences
Session(provider= generate_async asyncio.gather config_manager.get_param ModelNotFoundError ResourceExhaustedError
InvalidArgumentError ProviderAPIError get_capabilities ModelCapability.STREAMING HUGGINGFACE_API_TOKEN
HUGGINGFACE_API_KEY create_benchmark_runner run_benchmark run_name= description= model_metrics final_score
get_model_loader unload_model display_name provider parameters eps_extraction hf_model_name hf_task
hf_generation_kwargs endpoint generation_params max_length seq2seq models/gpt2/generate models/t5/translate
models/phi2/generate mistralai/Mistral-7B-v0.1 google/gemma-2b microsoft/phi-2 HuggingFaceH4/zephyr-7b-beta
ChanceFocus/finma-7b-nlp FinGPT/fingpt-mt_llama2-7b_lora Qwen/Qwen2.5-1.5B-Instruct clinicalcamel_70b openbiollm_8b
--priority --judge --cases logprob calibrate HuggingFaceLLM model_name= tokenizer_name= generate_kwargs Settings.llm
llm.complete HuggingFaceOpenLLM HuggingFaceImageLLM base_model peft_model quantization=True max_new_tokens seed= stop=
enable_salesforce_content_safety min_pixels max_pixels
"""


@each_page
def test_every_block_has_a_language_that_is_run_or_a_name_to_be_saved_under(page: Path) -> None:
    for block in read_blocks(page):
        assert block.language in LANGUAGES, f"{block}: how is it run?"
        assert bool(block.title) == (block.language in FILES), f"{block}: a file has a title, code has none"
        assert not Path(block.title).is_absolute() and ".." not in block.title


@each_page
def test_every_python_block_compiles(page: Path) -> None:
    for block in read_blocks(page):
        if block.language == "python":
            compile(block.text, str(block), "exec")


def test_no_block_hides_from_the_parser() -> None:
    for page in pages():
        fences = len(re.findall(r"^\s*```", page.read_text("utf-8"), re.MULTILINE))
        assert fences == 2 * len(read_blocks(page)), page


def test_every_recipe_is_listed_on_the_first_page_and_in_the_navigation() -> None:
    first, nav = (RECIPES / "index.md").read_text("utf-8"), (ROOT / "mkdocs.yml").read_text("utf-8")
    for page in pages():
        assert f"recipes/{page.name}" in nav
        assert page.stem == "index" or f"]({page.name})" in first


@pytest.mark.parametrize("words", ASKED.split())
def test_what_people_were_shown_to_write_is_in_a_recipe(words: str) -> None:
    assert any(words in page.read_text("utf-8") for page in pages())
