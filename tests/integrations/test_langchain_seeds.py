"""The classes that users had before: every field, every contract and every invariant of their specification."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import models

from modelyard.errors import (
    EngineNotInstalledError,
    InvalidArgumentError,
    ModelNotFoundError,
    PromptTooLongError,
    UnsupportedError,
)
from modelyard.pool import Pool
from modelyard.safety import Check, PatternCheck, SalesforceCheck, Verdict

pytest.importorskip("langchain_core")

from langchain_core.language_models import llms
from langchain_core.messages import HumanMessage
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import ConfigurableField

from modelyard.integrations.langchain import HuggingFaceImageLLM, HuggingFaceOpenLLM
from modelyard.integrations.langchain.custom import BaseCustomLLM

EXACT: dict[str, Any] = {"engine": "transformers", "options": {"dtype": "float32"}}
QUESTION = "What is the capital of France?"


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool()
    yield made
    made.close()


def fake(reply: Any = None, **how: Any) -> HuggingFaceOpenLLM:
    options = how.pop("options", {}) | ({} if reply is None else {"reply": reply})
    return HuggingFaceOpenLLM(base_model="fake", options=options, **how)


def told(llm: Any, prompt: str = "Hello", **how: Any) -> dict[str, Any]:
    """What there is to say of an answer beside its text."""
    return dict(llm.generate([prompt], **how).generations[0][0].generation_info)


# -- fields ------------------------------------------------------------------------------------------------

OPEN: dict[str, Any] = {
    "base_model": None, "peft_model": None, "quantization": False, "enable_salesforce_content_safety": False,
    "max_new_tokens": 1024, "seed": None, "do_sample": True, "min_length": None, "use_cache": True, "top_p": 0.9,
    "temperature": 0.6, "top_k": 50, "repetition_penalty": 1.0, "length_penalty": 1, "max_padding_length": None,
    "tokenizer": None, "formatter": None, "hf_model": None, "safety_checkers": None,
}  # fmt: skip
IMAGE: dict[str, Any] = {
    "base_model": None, "quantization": False, "min_pixels": 224 * 28 * 28, "max_pixels": 1280 * 28 * 28,
    "max_new_tokens": 1024, "seed": None, "do_sample": False, "min_length": None, "use_cache": True, "top_k": 50,
    "repetition_penalty": 1.0, "length_penalty": 1, "processor": None, "hf_model": None,
}  # fmt: skip


@pytest.mark.parametrize("name", OPEN)
def test_every_field_of_the_open_model_is_there_with_its_default(name: str) -> None:
    assert HuggingFaceOpenLLM.model_fields[name].default == OPEN[name]


@pytest.mark.parametrize("name", IMAGE)
def test_every_field_of_the_image_model_is_there_with_its_default(name: str) -> None:
    assert HuggingFaceImageLLM.model_fields[name].default == IMAGE[name]


def test_both_are_models_of_langchain() -> None:
    for cls in (HuggingFaceOpenLLM, HuggingFaceImageLLM):
        assert issubclass(cls, BaseCustomLLM) and issubclass(cls, llms.LLM)


def test_arguments_become_attributes() -> None:
    given = {"max_new_tokens": 3, "seed": 5, "top_p": 0.5, "temperature": 0.1, "top_k": 4, "min_length": 2}
    llm = fake(**given)
    assert {name: getattr(llm, name) for name in given} == given and llm.base_model == "fake"


def test_an_argument_that_is_not_known_is_named_with_the_nearest() -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"'max_tokens' is not known|Did you mean 'max_new_tokens'"
    ):
        fake(max_tokens=3)


# What each parameter does


def test_max_new_tokens_bounds_the_answer() -> None:
    assert fake("one two three", max_new_tokens=2)._call("Hello") == "one two"


def test_the_same_seed_gives_the_same_text_and_another_another() -> None:
    texts = [fake(seed=seed)._call("Hello") for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_without_sampling_every_answer_is_the_same() -> None:
    assert len({fake(do_sample=False)._call("Hello") for _ in range(3)}) == 1
    assert len({fake()._call("Hello") for _ in range(5)}) > 1


def test_greedy_decoding_says_which_given_parameters_it_does_not_use() -> None:
    assert "warnings" not in told(fake(do_sample=False))
    (warning,) = told(fake(do_sample=False, temperature=0.3, top_k=5))["warnings"]
    assert warning["code"] == "sampling_ignored" and "temperature" in warning["message"]


def test_what_an_answer_has_to_say_is_logged_where_only_its_text_is_returned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "modelyard.langchain"):
        fake(do_sample=False, top_k=5)._call("Hello")
    assert "greedy decoding does not use top_k" in caplog.text


def test_min_length_counts_prompt_and_answer() -> None:
    prompt = told(fake("one"))["usage"]["input_tokens"]
    assert told(fake("one", min_length=prompt + 4))["usage"]["output_tokens"] == 4


@pytest.mark.parametrize(("name", "value"), [("use_cache", False), ("length_penalty", 2.0)])
def test_what_cannot_be_kept_is_refused_when_the_model_is_made(name: str, value: Any) -> None:
    with pytest.raises(UnsupportedError, match=f"'{name}' has value {value}"):
        fake(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("top_p", 1.5),
        ("temperature", -1.0),
        ("top_k", -1),
        ("repetition_penalty", 0.0),
        ("max_new_tokens", 0),
    ],
)
def test_a_value_out_of_range_is_named_when_the_model_is_made(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=f"'{name}' has value"):
        fake(**{name: value})


@pytest.mark.slow
@pytest.mark.model
def test_sampling_parameters_reach_the_model(smollm2: Path) -> None:
    def answer(**how: Any) -> str:
        llm = HuggingFaceOpenLLM(base_model=str(smollm2), max_new_tokens=10, seed=11, **EXACT, **how)
        return llm._call("Tell me about the sea.")

    usual = answer()
    assert usual == answer()
    for change in ({"temperature": 1.9}, {"top_p": 0.01}, {"top_k": 1}, {"repetition_penalty": 1.8}):
        assert answer(**change) != usual, change


def test_a_prompt_longer_than_max_padding_length_is_an_error_and_never_cut() -> None:
    assert fake("fine", max_padding_length=100)._call("Hello") == "fine"
    with pytest.raises(PromptTooLongError, match="max_padding_length is 3"):
        fake(max_padding_length=3)._call("one two three four")


# Runtime state


def test_runtime_state_is_set_by_the_constructor() -> None:
    llm = fake("Paris")
    assert llm.tokenizer("Hello there") == list(llm.hf_model.encode(["Hello there"])[0])
    assert llm.formatter.format_prompt("Hello") == llm.formatter("Hello") == "[user] Hello\n[assistant] "
    assert llm.hf_model.generate("Hello").text == "Paris" and llm.safety_checkers is None


def test_a_formatter_of_ones_own_is_used() -> None:
    class Shouting:
        def format_prompt(self, prompt: str) -> str:
            return f"{prompt.upper()} ! ! ! ! ! ! ! !"

    assert told(fake("fine", formatter=Shouting()))["usage"]["input_tokens"] == 9  # as it stands
    with pytest.raises(InvalidArgumentError, match="formatter is 'x'"):
        fake(formatter="x")


def test_fields_are_configurable_at_run_time() -> None:
    llm = fake("one two three").configurable_fields(max_new_tokens=ConfigurableField(id="most"))
    assert llm.with_config(configurable={"most": 2}).invoke("Hello") == "one two"


# -- HuggingFaceOpenLLM: contracts -------------------------------------------------------------------------


def test_requires_a_base_model_that_exists() -> None:
    with pytest.raises(InvalidArgumentError, match="base_model is None"):
        HuggingFaceOpenLLM()
    with pytest.raises(ModelNotFoundError, match="smollm2-135m"):
        HuggingFaceOpenLLM(base_model="smollm2-135")


def test_requires_an_adapter_that_exists(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="nowhere"):
        fake(peft_model=str(tmp_path / "nowhere"))


def test_requires_peft_where_an_adapter_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(EngineNotInstalledError, match="peft is not installed"):
        HuggingFaceOpenLLM(base_model=str(models.tiny("gpt2")), peft_model=str(tmp_path))


def test_requires_an_engine_that_quantises() -> None:
    with pytest.raises(UnsupportedError, match="engine fake cannot load 'fake' with quantization '8bit'"):
        fake(quantization=True)


@pytest.mark.model
def test_quantization_loads_the_weights_in_8_bits(smollm2: Path, pool: Pool) -> None:
    llm = HuggingFaceOpenLLM(
        base_model=str(smollm2), quantization=True, engine="transformers", max_new_tokens=8, pool=pool
    )
    assert llm.hf_model.fingerprint().precision.startswith("8-bit")
    assert llm._call(QUESTION)


def test_ensures_the_model_is_loaded_by_the_constructor_on_the_device_there_is(pool: Pool) -> None:
    llm = HuggingFaceOpenLLM(base_model=str(models.tiny("gpt2")), pool=pool, **EXACT)
    assert pool.loaded() == (llm.hf_model.spec.alias,)


def net(llm: Any) -> Any:
    """The network of a loaded model."""

    async def look() -> Any:
        async with llm.hf_model._lease() as engine:
            return engine._instance.net.model

    return asyncio.run(look())


def test_ensures_eval_mode_and_no_gradients(pool: Pool) -> None:
    model = net(HuggingFaceOpenLLM(base_model=str(models.tiny("gpt2")), pool=pool, **EXACT))
    assert not model.training
    assert not any(one.training for one in model.modules())


@pytest.mark.parametrize("prompt", [None, "", "  \n", 7, []])
def test_call_requires_a_prompt(prompt: Any) -> None:
    for llm in (fake(), fake(safety_checkers=[PatternCheck({"x": "x"})])):
        with pytest.raises(InvalidArgumentError, match="the prompt is"):
            llm._call(prompt)
        with pytest.raises(InvalidArgumentError, match="the prompt is"):
            asyncio.run(llm._acall(prompt))


@pytest.mark.model
def test_call_formats_the_prompt_by_the_chat_template(smollm2: Path) -> None:
    llm = HuggingFaceOpenLLM(base_model=str(smollm2), max_new_tokens=24, do_sample=False, **EXACT)
    formatted = llm.formatter.format_prompt(QUESTION)
    assert "<|im_start|>user" in formatted and formatted.endswith("assistant\n")
    by_hand = llm.hf_model.generate(formatted, raw=True, temperature=0, max_tokens=24).text
    assert llm._call(QUESTION) == by_hand and "Paris" in by_hand


def test_a_base_model_is_given_the_prompt_as_it_stands(pool: Pool) -> None:
    llm = HuggingFaceOpenLLM(base_model=str(models.tiny("gpt2")), pool=pool, max_new_tokens=4, **EXACT)
    assert llm.formatter.format_prompt("The fox") == "The fox"
    assert [one["code"] for one in told(llm, "The fox")["warnings"]] == ["no_chat_template"]


@pytest.mark.model
def test_call_returns_the_text_without_the_prompt(smollm2: Path) -> None:
    llm = HuggingFaceOpenLLM(base_model=str(smollm2), max_new_tokens=24, do_sample=False, **EXACT)
    text = llm._call(QUESTION)
    assert QUESTION not in text and "<|im_start|>" not in text and "assistant" not in text


def test_stop_ends_the_answer_and_is_no_part_of_it() -> None:
    assert fake("one two three")._call("Hello", stop=["two"]) == "one "
    assert fake("one two three").invoke("Hello", stop=["three"]) == "one two "
    assert asyncio.run(fake("one two three").ainvoke("Hello", stop=["two"])) == "one "


def test_a_call_has_parameters_of_its_own_and_a_wrong_one_is_named() -> None:
    assert fake("one two three")._call("Hello", max_new_tokens=1) == "one"
    with pytest.raises(InvalidArgumentError, match="'temprature' is not known"):
        fake()._call("Hello", temprature=1)


def test_it_runs_in_a_chain_and_in_all_ways() -> None:
    llm = fake(seed=4, do_sample=True)
    chain = PromptTemplate.from_template("Tell me of {what}.") | llm

    async def aside() -> str:
        return await chain.ainvoke({"what": "ships"})

    text = chain.invoke({"what": "ships"})
    assert text == asyncio.run(aside()) == "".join(chain.stream({"what": "ships"}))
    assert chain.batch([{"what": "ships"}] * 3) == [text] * 3


def test_an_image_that_langchain_would_write_out_as_text_is_refused() -> None:
    block = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}
    with pytest.raises(UnsupportedError, match="'image'"):
        fake().invoke([HumanMessage(["Look:", block])])


# -- HuggingFaceOpenLLM: the model cache and adapters ------------------------------------------------------


def test_a_model_is_cached_by_base_quantisation_and_adapter() -> None:
    llm = fake("once")
    assert BaseCustomLLM._MODEL_CACHE[("fake", False, None)].hf_model is llm.hf_model
    assert HuggingFaceOpenLLM._MODEL_CACHE is HuggingFaceImageLLM._MODEL_CACHE is BaseCustomLLM._MODEL_CACHE


def test_a_second_object_takes_the_model_from_the_cache(pool: Pool) -> None:
    how: dict[str, Any] = {"base_model": str(models.tiny("gpt2")), "pool": pool, **EXACT}
    first, second = HuggingFaceOpenLLM(**how), HuggingFaceOpenLLM(**how, temperature=0.1, seed=3)
    assert first.hf_model is second.hf_model and len(pool.status()) == 1


def test_other_options_of_loading_are_another_model() -> None:
    assert fake("one").hf_model is not fake("two").hf_model
    assert fake("one")._call("Hello") == "one"


@pytest.mark.slow
@pytest.mark.model
def test_adapters_share_one_base_and_each_answers_its_own_way(
    smollm2: Path, adapters: dict[str, Path], pool: Pool
) -> None:
    how: dict[str, Any] = {"base_model": str(smollm2), "do_sample": False, "max_new_tokens": 12, "pool": pool}
    how |= EXACT
    plain = HuggingFaceOpenLLM(**how)
    laid = {text: HuggingFaceOpenLLM(peft_model=str(path), **how) for text, path in adapters.items()}
    answers = {text: llm._call(QUESTION) for text, llm in laid.items()}
    assert all(answers[text].startswith(text[:8]) for text in adapters)
    assert "Paris" in plain._call(QUESTION)
    keys = [(str(smollm2), False, str(path)) for path in adapters.values()]
    assert all(key in BaseCustomLLM._MODEL_CACHE for key in [*keys, (str(smollm2), False, None)])
    assert len(pool.status()) == 1


@pytest.mark.slow
@pytest.mark.model
def test_an_adapter_finds_its_engine_by_itself(smollm2: Path, adapters: dict[str, Path], pool: Pool) -> None:
    (text, path), *_ = adapters.items()
    llm = HuggingFaceOpenLLM(
        base_model=str(smollm2), peft_model=str(path), do_sample=False, max_new_tokens=12, pool=pool
    )
    assert llm._call(QUESTION).startswith(text[:8])


# -- safety ------------------------------------------------------------------------------------------------


def test_a_safety_check_is_made_where_it_is_asked_for() -> None:
    llm = fake(enable_salesforce_content_safety=True)
    (check,) = llm.safety_checkers or []
    assert isinstance(check, SalesforceCheck) and check.model == "safety_flan_t5"
    assert fake(enable_salesforce_content_safety=False).safety_checkers is None


def test_an_unsafe_prompt_is_answered_by_a_message_and_not_given_to_the_model() -> None:
    llm = fake("All about Falcon", safety_checkers=[PatternCheck({"project": "Falcon"})])
    text = llm._call("What is Falcon?")
    assert "question may be unsafe" in text and "project" in text and "All about" not in text
    info = told(llm, "What is Falcon?")
    assert info["finish_reason"] == "content_filter" and info["verdicts"][0]["check"] == "patterns"
    assert "usage" not in info  # nothing was generated


def test_an_unsafe_answer_is_replaced_by_a_message() -> None:
    llm = fake("It is called Falcon.", safety_checkers=[PatternCheck({"project": "Falcon"})])
    text = llm._call("What is it called?")
    assert "answer to your question may be unsafe" in text and "project" in text and "Falcon" not in text
    assert "Falcon" not in "".join(llm.stream("What is it called?"))
    assert asyncio.run(llm.ainvoke("What is it called?")) == text


def test_what_is_safe_comes_through_as_it_is() -> None:
    llm = fake("It is called Sparrow.", safety_checkers=[PatternCheck({"project": "Falcon"})])
    assert llm._call("What is it called?") == "It is called Sparrow."


def test_prompt_and_answer_are_both_checked_the_answer_beside_its_prompt() -> None:
    class Noting(Check):
        name = "noting"

        def __init__(self) -> None:
            self.seen: list[tuple[str, str]] = []

        async def verdict(self, text: str, *, context: str = "") -> Verdict:
            self.seen.append((text, context))
            return Verdict(True, self.name)

    check = Noting()
    fake("Fine.", safety_checkers=[check])._call("How are you?")
    assert check.seen == [("How are you?", ""), ("Fine.", "How are you?")]


def test_something_that_is_no_check_is_refused_when_the_model_is_made() -> None:
    with pytest.raises(InvalidArgumentError, match="safety_checkers holds 'salesforce'"):
        fake(safety_checkers=["salesforce"])


def test_the_salesforce_check_runs_around_a_call(tmp_path: Path) -> None:
    """A T5 of random numbers never writes `safe`, so that every prompt is refused."""
    catalog = tmp_path / "models.yaml"
    catalog.write_text(
        f"models:\n  safety_flan_t5:\n    source: {{path: '{models.tiny('t5')}'}}\n    task: seq2seq\n"
        "    engine: transformers\n"
    )
    llm = fake("Fine.", enable_salesforce_content_safety=True, catalog=str(catalog))
    assert "question may be unsafe: salesforce content safety" in llm._call("How are you?")


# -- HuggingFaceImageLLM -----------------------------------------------------------------------------------


def png(colour: str, size: int = 64) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(buffer, format="PNG")
    return buffer.getvalue()


def looking(image: Any) -> list[dict[str, Any]]:
    content = [{"type": "image", "image": image}, {"type": "text", "text": "What is in this picture?"}]
    return [{"role": "user", "content": content}]


SMALL = {"min_pixels": 4 * 28 * 28, "max_pixels": 16 * 28 * 28}


@pytest.fixture(scope="module")
def sees() -> HuggingFaceImageLLM:
    """A vision-language model of random numbers."""
    return HuggingFaceImageLLM(base_model=str(models.tiny("qwen2.5-vl")), max_new_tokens=8, **SMALL, **EXACT)


def read_tokens(llm: HuggingFaceImageLLM, prompt: Any) -> int:
    reply = asyncio.run(llm._reply(prompt, None, {}))
    assert reply.generation_info is not None
    return int(reply.generation_info["usage"]["input_tokens"])


def test_an_image_model_takes_a_text(sees: HuggingFaceImageLLM) -> None:
    assert sees._call("Hello") == sees.invoke("Hello") and isinstance(sees._call("Hello"), str)


def test_an_image_model_takes_messages_with_images(sees: HuggingFaceImageLLM) -> None:
    red, blue = sees._call(looking(png("red"))), sees._call(looking(png("blue")))
    assert red != blue and read_tokens(sees, looking(png("red"))) > read_tokens(
        sees, "What is in this picture?"
    )
    assert asyncio.run(sees._acall(looking(png("red")))) == red


@pytest.mark.parametrize(
    "form", ["bytes", "path", "text path", "file URL", "data URL", "image_url", "Pillow"]
)
def test_an_image_is_read_in_every_form_of_the_fields_notebooks(
    sees: HuggingFaceImageLLM, form: str, tmp_path: Path
) -> None:
    from PIL import Image

    file = tmp_path / "a picture.png"
    file.write_bytes(png("red"))
    url = "data:image/png;base64," + base64.b64encode(png("red")).decode()
    given: dict[str, Any] = {
        "bytes": png("red"), "path": file, "text path": str(file), "file URL": file.as_uri(), "data URL": url,
        "Pillow": Image.open(io.BytesIO(png("red"))),
    }  # fmt: skip
    prompt = looking(given.get(form))
    if form == "image_url":
        prompt[0]["content"][0] = {"type": "image_url", "image_url": {"url": url}}
    assert sees._call(prompt) == sees._call(looking(png("red")))


def test_what_is_no_image_or_text_is_refused_by_name(sees: HuggingFaceImageLLM) -> None:
    with pytest.raises(UnsupportedError, match="'video'"):
        sees._call([{"role": "user", "content": [{"type": "video", "video": "a.mp4"}]}])
    with pytest.raises(InvalidArgumentError, match="has the key 'max_pixels'"):
        sees._call([{"role": "user", "content": [{"type": "image", "image": png("red"), "max_pixels": 9}]}])
    with pytest.raises(InvalidArgumentError, match="not fetched"):
        sees._call(looking("https://example.org/cat.png"))


@pytest.mark.parametrize("prompt", [None, "", []])
def test_an_image_model_requires_a_prompt(sees: HuggingFaceImageLLM, prompt: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="the prompt is"):
        sees._call(prompt)


def test_pixel_limits_scale_the_images(sees: HuggingFaceImageLLM, pool: Pool) -> None:
    how: dict[str, Any] = {"base_model": str(models.tiny("qwen2.5-vl")), "max_new_tokens": 2, "pool": pool}
    how |= EXACT
    prompt = looking(png("red", 200))
    large = HuggingFaceImageLLM(min_pixels=64 * 28 * 28, max_pixels=100 * 28 * 28, **how)
    usual = HuggingFaceImageLLM(**how)
    assert (usual.processor.min_pixels, usual.processor.max_pixels) == (224 * 28 * 28, 1280 * 28 * 28)
    counts = [read_tokens(one, prompt) for one in (sees, large, usual)]
    assert counts[0] + 40 < counts[1] < counts[2] - 40  # 200 x 200 pixels are fewer than 224 patches


def test_an_image_model_is_cached_without_an_adapter(sees: HuggingFaceImageLLM) -> None:
    assert sees.key == (str(models.tiny("qwen2.5-vl")), False, None) in BaseCustomLLM._MODEL_CACHE


def test_images_and_texts_of_an_image_model_are_checked_too() -> None:
    llm = HuggingFaceImageLLM(
        base_model=str(models.tiny("qwen2.5-vl")), max_new_tokens=4, **SMALL, **EXACT,
        safety_checkers=[PatternCheck({"pictures": "picture"})],
    )  # fmt: skip
    assert "question may be unsafe" in llm._call(looking(png("red")))


def test_an_image_model_is_greedy_by_default(sees: HuggingFaceImageLLM) -> None:
    assert sees.sampling["do_sample"] is False and "top_k" not in sees.sampling
    assert "warnings" not in told(sees)


# -- invariants --------------------------------------------------------------------------------------------


def test_invariant_1_the_engine_chooses_the_device_and_a_named_one_is_used(pool: Pool) -> None:
    how: dict[str, Any] = {"base_model": str(models.tiny("gpt2")), "pool": pool, **EXACT}
    assert str(net(HuggingFaceOpenLLM(**how, device="cpu")).device) == "cpu"


def test_invariant_2_the_number_type_is_the_engines_choice_and_a_named_one_is_used(pool: Pool) -> None:
    llm = HuggingFaceOpenLLM(
        base_model=str(models.tiny("gpt2")), pool=pool, engine="transformers", options={"dtype": "float16"}
    )
    assert llm.hf_model.fingerprint().precision == "float16"


def test_invariant_3_answers_keep_no_gradients(sees: HuggingFaceImageLLM) -> None:
    sees._call("Hello")
    assert all(one.grad is None for one in net(sees).parameters()) and not net(sees).training


def test_invariant_4_nothing_is_kept_at_a_fixed_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelyard.paths import cache_dir, data_dir

    for name, folder in (("MODELYARD_CACHE", cache_dir), ("MODELYARD_DATA", data_dir)):
        for place in (tmp_path / "one", tmp_path / "two"):
            monkeypatch.setenv(name, str(place))
            assert folder() == place
