"""From a Hub id to an answer: repositories of a local stand-in, by id and pinned revision."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import models
from tests.hub import Hub

from modelyard import create_llm
from modelyard.errors import (
    AuthenticationError,
    DiskFullError,
    GatedModelError,
    InvalidArgumentError,
    ModelNotFoundError,
    UnsupportedError,
)
from modelyard.pool import Pool

COMMIT = "c" * 40
OTHER = "d" * 40


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(token="hf_test")
    yield pool
    pool.close()


def catalogue(folder: Path, **entries: dict[str, Any]) -> Path:
    file = folder / "models.yaml"
    file.write_text(json.dumps({"models": entries}), "utf-8")
    return file


TASKS = {
    "gpt2": "generation",
    "phi": "generation",
    "mistral": "generation",
    "t5": "seq2seq",
    "qwen2.5-vl": "vision",
}


@pytest.mark.parametrize("kind", TASKS)
def test_a_model_loads_by_id_and_pinned_revision_and_answers(
    kind: str, hub: Hub, pool: Pool, tmp_path: Path
) -> None:
    hub.add("org/tiny", models.tiny_repository(kind), COMMIT)
    source = {"hub": "org/tiny", "revision": COMMIT}
    file = catalogue(tmp_path, tiny={"source": source, "task": TASKS[kind], "options": {"dtype": "float32"}})
    llm = create_llm("tiny", catalog=file, pool=pool)
    how: dict[str, Any] = {"images": [picture("red")]} if kind == "qwen2.5-vl" else {}
    result = llm.generate("The quick brown fox", temperature=0, max_tokens=8, **how)
    assert result.usage.completion_tokens == 8 or result.finish_reason == "stop"
    assert (result.fingerprint.revision, result.fingerprint.engine) == (COMMIT, "transformers")
    with pytest.raises(ModelNotFoundError):
        gone = catalogue(tmp_path, tiny={"source": {**source, "revision": OTHER}})
        create_llm("tiny", catalog=gone, pool=pool).generate("a")


def picture(colour: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (56, 84), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_two_images_give_two_answers_in_whatever_form_they_come(hub: Hub, pool: Pool, tmp_path: Path) -> None:
    from PIL import Image

    hub.add("org/sees", models.tiny_repository("qwen2.5-vl"), COMMIT)
    file = catalogue(tmp_path, sees={"source": "org/sees", "task": "vision", "options": {"dtype": "float32"}})
    llm = create_llm("sees", catalog=file, pool=pool)
    how = {"temperature": 0, "max_tokens": 8}
    (tmp_path / "red.png").write_bytes(picture("red"))
    red = llm.generate("What is it?", images=[picture("red")], **how).text
    blue = llm.generate("What is it?", images=[picture("blue")], **how).text
    turns = [{"type": "image", "image": tmp_path / "red.png"}, {"type": "text", "text": "What is it?"}]
    assert red != blue
    assert llm.generate([{"role": "user", "content": turns}], **how).text == red
    assert llm.generate("What is it?", images=Image.new("RGB", (56, 84), "red"), **how).text == red
    with pytest.raises(InvalidArgumentError, match="not fetched"):
        llm.generate("What is it?", images=["http://127.0.0.1/cat.png"])


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((403, {"X-Error-Code": "GatedRepo"}), GatedModelError),
        ((404, {"X-Error-Code": "RepoNotFound"}), ModelNotFoundError),
        ((401, {"X-Error-Message": "Invalid credentials in Authorization header"}), AuthenticationError),
    ],
    ids=["gated", "missing", "bad token"],
)
def test_a_refusal_of_the_hub_is_its_own_error(
    answer: tuple[int, dict[str, str]], error: type[Exception], hub: Hub, pool: Pool
) -> None:
    hub.fail = answer
    with pytest.raises(error) as caught:
        create_llm("org/some", pool=pool).generate("a")
    assert "org/some" in str(caught.value) and "hf_test" not in str(caught.value)


def test_a_full_disk_is_its_own_error_before_the_download(hub: Hub, pool: Pool) -> None:
    repository = hub.add("org/huge", models.tiny_repository("gpt2"), COMMIT)
    repository.sizes["model.safetensors"] = 2**60
    with pytest.raises(DiskFullError, match="huge"):
        create_llm("org/huge", pool=pool).generate("a")
    assert not [path for _, path, _ in hub.requests if "resolve" in path]


def test_an_adapter_by_id_finds_its_base_and_requests_choose_among_several(
    hub: Hub, pool: Pool, tmp_path: Path
) -> None:
    base = models.tiny("mistral")
    hub.add("org/base", models.tiny_repository("mistral"), COMMIT)
    for seed, name in enumerate(("one", "two")):
        files = models.files_of(models.random_lora(base, seed))
        config = json.loads(files["adapter_config.json"])
        files["adapter_config.json"] = json.dumps({**config, "base_model_name_or_path": "org/base"}).encode()
        hub.add(f"org/{name}", files, OTHER)
    file = catalogue(tmp_path, one={"source": "org/one", "adapter": True})
    how = {"temperature": 0, "max_tokens": 12}
    adapted = create_llm("one", catalog=file, pool=pool)
    result = adapted.generate("The quick brown fox", **how)
    llm = create_llm("org/base", engine="transformers", pool=pool)
    plain, one, two = (
        llm.generate("The quick brown fox", adapter=name, **how) for name in (None, "org/one", "org/two")
    )
    assert len({plain.text, one.text, two.text}) == 3 and one.text == result.text
    assert (one.fingerprint.adapter, plain.fingerprint.adapter) == (f"org/one@{OTHER}", "")
    assert result.fingerprint.adapter == f"one@{OTHER}"
    assert len(pool.loaded()) == 1, "both LLMs share one base"
    with pytest.raises(InvalidArgumentError, match="is an adapter itself"):
        adapted.generate("a", adapter="org/two")
    with pytest.raises(ModelNotFoundError):
        llm.generate("a", adapter="org/three")


def test_a_score_under_an_adapter_is_that_of_the_weights_merged(pool: Pool, tmp_path: Path) -> None:
    import peft
    import transformers

    base = models.tiny("mistral")
    adapter = models.random_lora(base, 0)
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    with models.quiet():
        peft.PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path)

    def score(model: Path, **how: Any) -> Any:
        llm = create_llm(str(model), engine="transformers", pool=pool, options={"dtype": "float32"})
        return llm.score("The quick brown", [" fox", " fox jumps over the dog"], raw=True, **how)

    plain, changed, merged = score(base), score(base, adapter=str(adapter)), score(tmp_path)
    for one, two, three in zip(plain, changed, merged, strict=True):
        assert one.token_logprobs != pytest.approx(two.token_logprobs, abs=0.1)
        assert two.token_logprobs == pytest.approx(three.token_logprobs, abs=1e-3)


def test_the_arguments_of_the_fields_older_libraries_work(hub: Hub, pool: Pool) -> None:
    hub.add("org/tiny", models.tiny_repository("gpt2"), COMMIT)
    llm = create_llm(
        "huggingface",
        model="org/tiny",
        device_map="auto",
        model_kwargs={
            "trust_remote_code": True,
            "revision": "main",
            "torch_dtype": "float32",
            "low_cpu_mem_usage": True,
        },
        pipeline_kwargs={"return_full_text": False, "clean_up_tokenization_spaces": True, "truncate": True},
        pool=pool,
    )
    result = llm.generate("The quick", max_tokens=4, temperature=0)
    assert [one.code for one in result.warnings][:3] == [
        "trust_remote_code_ignored", "pipeline_option_ignored", "pipeline_option_ignored",
    ]  # fmt: skip
    assert result.fingerprint.precision == "float32"
    four = create_llm("huggingface", model="org/tiny", model_kwargs={"load_in_4bit": True}, pool=pool)
    assert four.spec.quantization == "4bit"
    with pytest.raises(InvalidArgumentError, match="'trunkate' is not known"):
        create_llm("org/tiny", pipeline_kwargs={"trunkate": True})
    with pytest.raises(UnsupportedError, match="low_cpu_mem_usage"):
        create_llm("org/tiny", model_kwargs={"low_cpu_mem_usage": False})
