"""Every call of the provider page that the project was asked for by, as people have it in their scripts.

The import is ours, and each model id that stands there is a small model of the same family on a local stand-in
for the Hub. What a call promises is what is asserted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import models
from tests.hub import Hub

from modelyard import ModelCapability, create_llm, get_model_loader
from modelyard.errors import (
    AuthenticationError,
    InvalidArgumentError,
    ModelNotFoundError,
    ProviderAPIError,
    ResourceExhaustedError,
    UnsupportedError,
)
from modelyard.session import Session

pytestmark = pytest.mark.slow

STAND_INS = {
    "google/gemma-2b": "gemma3",
    "microsoft/phi-2": "phi",
    "mistralai/Mistral-7B-v0.1": "mistral",
}


@pytest.fixture(autouse=True)
def served(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The page's models on the stand-in, and a folder without a catalogue or token."""
    for number, (name, kind) in enumerate(STAND_INS.items()):
        hub.add(name, models.tiny_repository(kind), f"{number:040x}")
    monkeypatch.chdir(tmp_path)
    yield
    get_model_loader().unload_all()


def test_setup_by_a_key_in_the_environment_or_in_the_call(monkeypatch: pytest.MonkeyPatch, hub: Hub) -> None:
    monkeypatch.setenv("HUGGINGFACE_API_KEY", "hf_fromenvironment")
    llm = create_llm("huggingface", model="google/gemma-2b")
    assert str(llm.generate("Explain tides.", max_tokens=4))
    assert sent(hub) == {"Bearer hf_fromenvironment"}
    hub.requests.clear()
    llm = create_llm("huggingface", model="microsoft/phi-2", api_key="hf_explicitkey")
    assert str(llm.generate("Explain tides.", max_tokens=4))
    assert sent(hub) == {"Bearer hf_explicitkey"}


def sent(hub: Hub) -> set[str]:
    """The tokens that came to the Hub."""
    return {headers["authorization"] for _, _, headers in hub.requests if "authorization" in headers}


def test_local_model(capsys: pytest.CaptureFixture[str]) -> None:
    llm = create_llm("huggingface", model="google/gemma-2b", device="cpu")
    response = llm.generate("Explain quantum computing in simple terms.", max_tokens=12)
    print(response)
    assert capsys.readouterr().out.strip() == response.text.strip() != ""
    assert response.fingerprint.engine == "transformers"


def test_inference_api(llama_url: str) -> None:
    llm = create_llm(
        "huggingface", model="microsoft/phi-2", use_inference_api=True, api_key="hf_explicitkey",
        inference_api_url=llama_url,
    )  # fmt: skip
    response = llm.generate("Write a short poem about the ocean.", max_tokens=24)
    assert response.fingerprint.engine == "inference_api" and len(str(response)) > 10
    assert llm.config_manager.get_param("use_inference_api") is True


def test_inference_api_without_any_token_says_which_to_set() -> None:
    llm = create_llm("huggingface", model="microsoft/phi-2", use_inference_api=True)
    with pytest.raises(AuthenticationError, match="token"):
        llm.generate("Write a short poem about the ocean.")


def test_endpoint_api(llama_url: str, tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(f"models:\n  mine:\n    url: {llama_url}\n")
    response = create_llm("huggingface", model="mine").generate("Name a colour.", max_tokens=8)
    assert response.fingerprint.engine == "endpoint" and str(response)


def test_gguf(small_gguf: Path) -> None:
    llm = create_llm("huggingface", model_path=str(small_gguf), model_type="gguf")
    response = llm.generate("Create a short story about robots.", max_tokens=24)
    assert len(str(response)) > 10
    with pytest.raises(ModelNotFoundError, match="no file or folder"):
        create_llm("huggingface", model_path="/path/to/model.gguf", model_type="gguf")


@pytest.fixture
def llama(hub: Hub, smollm2: Path) -> None:
    """A real model of Llama's architecture: 4-bit blocks are wider than a tiny one."""
    for number, name in enumerate(("meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-70b-hf")):
        hub.add(name, models.files_of(smollm2), f"{number:040b}")


@pytest.mark.usefixtures("llama")
def test_quantised_to_8_bits_over_what_devices_there_are() -> None:
    llm = create_llm("huggingface", model="meta-llama/Llama-2-70b-hf", quantization="8bit", device_map="auto")
    response = llm.generate("Hello", max_tokens=4)
    assert "8" in response.fingerprint.precision


@pytest.mark.usefixtures("llama")
def test_quantised_to_4_bits() -> None:
    llm = create_llm("huggingface", model="meta-llama/Llama-2-7b-hf", quantization="4bit", device_map="auto")
    response = llm.generate("Hello", max_tokens=4)
    assert "4" in response.fingerprint.precision


def test_loading_options() -> None:
    llm = create_llm(
        "huggingface",
        model="google/gemma-2b",
        model_kwargs={"trust_remote_code": True, "revision": "main", "torch_dtype": "bfloat16"},
    )
    response = llm.generate("Hello", max_tokens=4)
    assert response.fingerprint.precision == "bfloat16"
    assert [one.code for one in response.warnings] == ["trust_remote_code_ignored"]


def test_generation_parameters() -> None:
    llm = create_llm("huggingface", model="mistralai/Mistral-7B-v0.1")
    response = llm.generate(
        "Write a story about a magical forest.",
        temperature=0.7, max_tokens=50, top_p=0.95, top_k=50, repetition_penalty=1.1, do_sample=True,
        num_return_sequences=1,
    )  # fmt: skip
    assert 1 <= response.usage.completion_tokens <= 50
    several = llm.generate("Write a story.", max_tokens=8, temperature=1.0, num_return_sequences=3)
    assert len(several.alternatives) == 2


def test_pipeline_configuration() -> None:
    llm = create_llm(
        "huggingface",
        model="mistralai/Mistral-7B-v0.1",
        pipeline_kwargs={
            "return_full_text": False, "clean_up_tokenization_spaces": True, "truncate": True,
        },
    )  # fmt: skip
    response = llm.generate("The quick brown fox", max_tokens=6)
    assert not str(response).startswith("The quick brown fox")
    assert {one.code for one in response.warnings} == {"pipeline_option_ignored"}


def test_the_defaults_of_the_table() -> None:
    llm = create_llm("huggingface", model="microsoft/phi-2")
    get = llm.config_manager.get_param
    assert (get("use_inference_api"), get("model_path"), get("quantization"), get("inference_api_url")) == (
        False, None, None, None,
    )  # fmt: skip
    assert get("model") == "microsoft/phi-2"
    with pytest.raises(InvalidArgumentError, match="no model is given"):
        create_llm("huggingface")
    from modelyard.params import DEFAULT_MAX_NEW_TOKENS, SamplingParams

    assert (SamplingParams().temperature, DEFAULT_MAX_NEW_TOKENS) == (0.7, 512)


def test_session() -> None:
    llm = create_llm("huggingface", model="mistralai/Mistral-7B-v0.1", max_tokens=8)
    session = Session(provider=llm)
    first = session.generate("What is machine learning?")
    second = session.generate("Give some practical applications of it.")
    assert str(first) is not None and second.usage.prompt_tokens > first.usage.prompt_tokens


def test_async_with_gather(llama_url: str) -> None:
    async def main() -> list[Any]:
        local = create_llm("huggingface", model="mistralai/Mistral-7B-v0.1")
        found = [await local.generate_async("What is the capital of France?", max_tokens=6)]
        llm = create_llm(
            "huggingface", model="mistralai/Mistral-7B-v0.1", use_inference_api=True,
            inference_api_url=llama_url, api_key="hf_explicitkey",
        )  # fmt: skip
        if llm.config_manager.get_param("use_inference_api"):
            cities = ("France", "Germany", "Italy")
            tasks = [
                llm.generate_async(f"What is the capital of {one}?", max_tokens=16, temperature=0)
                for one in cities
            ]
            found += await asyncio.gather(*tasks)
        return found

    answers = asyncio.run(main())
    assert len(answers) == 4 and len({str(one) for one in answers[1:]}) == 3


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"model": "mistralai/No-Such-7B"}, ModelNotFoundError),
        ({"model": "mistralai/Mistral-7B-v0.1", "temperature": -1}, InvalidArgumentError),
        ({"model": "mistralai/Mistral-7B-v0.1", "options": {"memory": "900TB"}}, ResourceExhaustedError),
        ({"model": "m/m", "use_inference_api": True, "inference_api_url": "http://127.0.0.1:9", "api_key": "hf_none00",
          "options": {"retries": 0}}, ProviderAPIError),
    ],
    ids=["not found", "argument", "resources", "provider"],
)  # fmt: skip
def test_error_handling(how: dict[str, Any], error: type[Exception]) -> None:
    caught: Exception | None = None
    try:
        llm = create_llm("huggingface", **how)
        llm.generate("Explain neural networks.", max_tokens=4)
    except ModelNotFoundError as found:
        caught = found
    except ResourceExhaustedError as found:
        caught = found
    except InvalidArgumentError as found:
        caught = found
    except ProviderAPIError as found:
        caught = found
    assert type(caught) is error


def test_cpu_and_gpu() -> None:
    import torch

    cpu = create_llm("huggingface", model="google/gemma-2b", device="cpu")
    assert str(cpu.generate("Hi", max_tokens=4))
    gpu = create_llm(
        "huggingface", model="google/gemma-2b", device="cuda", model_kwargs={"torch_dtype": "float16"}
    )
    if torch.cuda.is_available():
        assert gpu.generate("Hi", max_tokens=4).fingerprint.precision == "float16"
    else:
        with pytest.raises((UnsupportedError, InvalidArgumentError), match="cuda"):
            gpu.generate("Hi", max_tokens=4)


@pytest.mark.usefixtures("llama")
def test_what_the_page_advises_when_memory_is_short() -> None:
    llm = create_llm(
        "huggingface", model="meta-llama/Llama-2-7b-hf", quantization="4bit",
        model_kwargs={"device_map": "auto"}, max_tokens=6,
    )  # fmt: skip
    assert llm.generate("Hello").usage.completion_tokens <= 6
    llm = create_llm(
        "huggingface", model="microsoft/phi-2",
        model_kwargs={"torch_dtype": "float16", "low_cpu_mem_usage": True},
    )  # fmt: skip
    assert llm.generate("Hello", max_tokens=4).fingerprint.precision == "float16"


def test_capabilities() -> None:
    llm = create_llm("huggingface", model="mistralai/Mistral-7B-v0.1")
    capabilities = llm.get_capabilities()
    assert capabilities.get(ModelCapability.STREAMING) is True
    assert capabilities.get(ModelCapability.TOOLS) is False
    pieces = [chunk.text for chunk in llm.stream("Tell me a story.", max_tokens=6)]
    assert len(pieces) > 2


def test_a_model_is_given_back_explicitly() -> None:
    llm = create_llm("huggingface", model="microsoft/phi-2")
    llm.generate("Hi", max_tokens=2)
    loader = get_model_loader()
    assert loader.unload_model("microsoft/phi-2") is True
