"""Hub models on OpenVINO: exported once, kept, and the same model as before."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from tests import environments, models
from tests.hub import Hub

from modelyard import create_llm
from modelyard.catalog.plan import OPENVINO_OPTIONS
from modelyard.catalog.pull import find_local
from modelyard.catalog.spec import ModelSpec
from modelyard.engines.base import Engine
from modelyard.engines.openvino import export
from modelyard.engines.openvino.settings import OPTIONS
from modelyard.errors import (
    DiskFullError,
    EngineError,
    EngineNotInstalledError,
    InvalidArgumentError,
    ModelyardError,
    ResourceExhaustedError,
    UnsupportedError,
)
from modelyard.params import merge
from modelyard.pool import Pool, load_engine
from modelyard.pool.loading import Placement, prepare
from modelyard.types import Chunk, Constraint, ImagePart, Message, Request, TextPart

COMMIT = "c" * 40
SCHEMA = {
    "type": "object",
    "properties": {"a": {"enum": ["x", "y"]}},
    "required": ["a"],
    "additionalProperties": False,
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MODELYARD_CACHE", str(folder))
    return folder


class Told:
    """Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.labels: list[str] = []
        self.ended = 0

    def start(self, label: str, total: int | None) -> None:
        self.labels.append(label)

    def advance(self, count: int) -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)

    def done(self) -> None:
        self.ended += 1


def spec_of(path: Path, engine: str = "openvino", **more: Any) -> ModelSpec:
    source = {"kind": "path", "path": str(path)}
    return ModelSpec.model_validate({"alias": "m", "sources": [source], "engine": engine, **more})


def hub_folder(folder: Path, **config: Any) -> Path:
    """A folder that looks like a Hub model from outside."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    return folder


def png(colour: str, size: tuple[int, int] = (56, 84)) -> bytes:
    from PIL import Image

    buffer = BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def seen(*colours: str, text: str = "What is it?") -> tuple[Message, ...]:
    return (Message("user", (*(ImagePart(png(one)) for one in colours), TextPart(text))),)


def ask(messages: tuple[Message, ...], **params: Any) -> Request:
    own = {key: params.pop(key) for key in ("constraint",) if key in params}
    given = {"temperature": 0, "max_new_tokens": 8, **params}
    return Request(messages=messages, params=merge(("r", given))[0], **own)


async def chunks_of(engine: Engine, request: Request) -> list[Chunk]:
    return [chunk async for chunk in engine.generate(request)]


def text_of(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def answer(engine: Engine, request: Request) -> str:
    return text_of(asyncio.run(chunks_of(engine, request)))


# Without the environment


def test_without_the_exporter_the_error_says_how_to_get_it(cache: Path, tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "hub", model_type="llama", hidden_size=8)
    with pytest.raises(EngineNotInstalledError, match="exporter is not installed") as caught:
        load_engine(spec_of(folder), {})
    assert "modelyard engines install openvino-export" in caught.value.hint


def test_a_misspelt_option_is_found_before_anything_is_exported(cache: Path, tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "hub", model_type="llama")
    with pytest.raises(InvalidArgumentError, match="'theads' is not known"):
        load_engine(spec_of(folder), {"theads": 2})


@pytest.mark.parametrize(
    ("config", "more", "words"),
    [
        ({"model_type": "t5", "is_encoder_decoder": True}, {}, "encoder-decoder models .*'t5'"),
        ({"model_type": "t5"}, {"task": "seq2seq"}, "task seq2seq .*'t5'"),
        ({"model_type": "bert"}, {"task": "embedding"}, "task embedding .*'bert'"),
        ({"model_type": "llava", "vision_config": {}}, {}, "vision models of architecture 'llava'"),
        ({"model_type": "llama"}, {"task": "vision"}, "vision models of architecture 'llama'"),
    ],
    ids=["encoder-decoder", "seq2seq", "embedding", "other eyes", "no eyes"],
)
def test_what_this_engine_does_not_run_is_refused_by_its_architecture(
    config: dict[str, Any], more: dict[str, Any], words: str, cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedError, match=words) as caught:
        load_engine(spec_of(hub_folder(tmp_path / "hub", **config), **more), {})
    assert "transformers" in caught.value.hint


@pytest.mark.model
def test_a_gguf_file_is_not_quantised_again(small_gguf: Path) -> None:
    with pytest.raises(UnsupportedError, match="quantization '4bit'") as caught:
        load_engine(spec_of(small_gguf, quantization="4bit"), {})
    assert "as they are stored" in caught.value.hint


def test_limits_of_pixels_are_for_models_that_see(small_gguf: Path) -> None:
    with pytest.raises(UnsupportedError, match="min_pixels or max_pixels"):
        load_engine(spec_of(small_gguf), {"max_pixels": 10_000})


@pytest.mark.parametrize(
    ("status", "said", "kind", "words"),
    [
        (247, ["Loading weights: 45%"], ResourceExhaustedError, "not enough memory to export 'm'"),
        (1, ["RuntimeError: bad_alloc: cannot allocate memory"], ResourceExhaustedError, "not enough memory"),
        (1, ["OSError: [Errno 28] No space left on device"], DiskFullError, "the disk filled up"),
        (1, ["ValueError: Please pass trust_remote_code=True"], UnsupportedError, "without code of its own"),
        (1, ["ValueError: Trying to export a x model, that is a custom or unsupported architecture"], UnsupportedError, "architecture 'x'"),
        (1, ["ValueError: model type `x` but Transformers does not recognize this architecture"], UnsupportedError, "architecture 'x'"),
        (1, ["  File", "RuntimeError: shapes", "KeyError: 'hf_aaaaaaaaaaaaaaaaaaaa'"], EngineError, "failed .1.*RuntimeError: shapes"),
        (3, [], EngineError, "nothing"),
    ],
    ids=["killed", "memory", "disk", "code", "custom", "not known", "failed", "silent"],
)  # fmt: skip
def test_each_failure_of_the_exporter_is_its_own_error(
    status: int, said: list[str], kind: type[ModelyardError], words: str, tmp_path: Path
) -> None:
    folder = hub_folder(tmp_path / "hub", model_type="x")
    model = find_local(spec_of(folder))
    assert model is not None
    error = export._failure(model, folder, tmp_path / "cache" / "f", status, said)
    assert type(error) is kind and re.search(words, error.message, re.DOTALL), error
    assert "hf_aaaa" not in str(error) and error.hint


def test_the_plan_knows_the_engines_options() -> None:
    assert set(OPTIONS) | {"worker", "memory"} == OPENVINO_OPTIONS


# With it

SMALL = ("The capital of France is", "Paris")
PRECISIONS = {None: "16-bit", "8bit": "8-bit", "4bit": "4-bit"}


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(token="hf_test")
    yield pool
    pool.close()


@pytest.mark.slow
@pytest.mark.parametrize("quantization", PRECISIONS)
def test_a_hub_model_runs_exported_by_its_id_at_each_precision(
    quantization: str | None, hub: Hub, pool: Pool, cache: Path, smollm2: Path, export_environment: Any
) -> None:
    hub.add("org/small", models.files_of(smollm2), COMMIT)
    told = Told()
    pool.progress = told
    result = create_llm("org/small", quantization=quantization, pool=pool).generate(
        SMALL[0], raw=True, temperature=0, max_tokens=8
    )
    found = result.fingerprint
    assert (found.engine, found.revision) == ("openvino", COMMIT)
    assert found.precision == f"{PRECISIONS[quantization]}, fast"
    if quantization != "4bit":  # in 4 bits so small a model forgets
        assert SMALL[1] in result.text
    assert (
        any("Exporting 'org/small'" in note for note in told.notes) and "exporting org/small" in told.labels
    )
    assert list(cache.rglob(".making-*")) == []
    (folder,) = (one for one in (cache / "openvino").iterdir() if one.is_dir())
    facts = json.loads((folder / "modelyard.json").read_text())
    assert (facts["context_length"], facts["eos"], facts["made_by"]) == (
        8192,
        [2],
        dict(export_environment.versions),
    )


@pytest.mark.slow
@pytest.mark.parametrize("quantization", PRECISIONS)
def test_a_vision_model_sees_by_its_id_at_each_precision(
    quantization: str | None, hub: Hub, pool: Pool, cache: Path, export_environment: Any
) -> None:
    hub.add("org/sees", models.tiny_repository("qwen2.5-vl"), COMMIT)
    llm = create_llm("org/sees", quantization=quantization, pool=pool)
    how: dict[str, Any] = {"temperature": 0, "max_tokens": 8}
    red, blue, again = (
        llm.generate("What is it?", images=[png(one)], **how) for one in ("red", "blue", "red")
    )
    assert red.text != blue.text and red.text == again.text
    assert red.fingerprint.engine == "openvino" and red.usage.prompt_tokens == 30
    assert llm.generate("What is it?", **how).usage.prompt_tokens == 22


@pytest.fixture(scope="module")
def sees(export_environment: Any) -> Iterator[Engine]:
    """A tiny model that sees, exported, in exact precision."""
    loaded = load_engine(spec_of(models.tiny("qwen2.5-vl"), task="vision"), {"precision": "exact"})
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def judge() -> Iterator[Engine]:
    """The same one on transformers."""
    path = models.tiny("qwen2.5-vl")
    loaded = load_engine(spec_of(path, "transformers", task="vision"), {"dtype": "float32"})
    yield loaded
    loaded.close()


@pytest.mark.slow
@pytest.mark.parametrize("size", [(56, 84), (300, 500), (37, 20), (33, 700)], ids=str)
def test_images_of_any_size_are_seen_as_transformers_sees_them(
    size: tuple[int, int], sees: Engine, judge: Engine
) -> None:
    from PIL import Image

    buffer = BytesIO()
    Image.effect_noise(size, 90).convert("RGB").save(buffer, "PNG")
    request = ask((Message("user", (TextPart("Look: "), ImagePart(buffer.getvalue()), TextPart("!"))),))
    one, two = (asyncio.run(chunks_of(engine, request)) for engine in (sees, judge))
    assert one[-1].usage == two[-1].usage
    first, second = (
        [t for chunk in found for t in chunk.tokens if t.logprob is not None] for found in (one, two)
    )
    assert [token.id for token in first] == [token.id for token in second]
    assert [t.logprob for t in first] == pytest.approx([t.logprob for t in second], abs=0.03)


@pytest.mark.slow
def test_texts_are_scored_as_transformers_scores_them(sees: Engine, judge: Engine) -> None:
    tails = [" jumps over the dog", " zz"]
    one, two = (asyncio.run(engine.score("The quick brown fox", tails)) for engine in (sees, judge))
    for first, second in zip(one, two, strict=True):
        assert first.token_ids == second.token_ids
        assert first.token_logprobs == pytest.approx(second.token_logprobs, abs=0.05)
    with pytest.raises(UnsupportedError, match="behind images"):
        asyncio.run(sees.score(seen("red"), tails))


@pytest.mark.slow
def test_requests_with_and_without_images_share_a_batch_unharmed(sees: Engine) -> None:
    requests = [
        ask(seen("red")), ask(seen("blue")), ask((Message("user", "What is it?"),)), ask(seen("red", "blue")),
        ask(seen("green"), temperature=1.0, seed=5), ask(seen("red"), constraint=Constraint(schema=SCHEMA), max_new_tokens=30),
        ask(seen("blue"), max_new_tokens=40, min_new_tokens=40),
    ]  # fmt: skip
    alone = [answer(sees, request) for request in requests]

    async def crowd() -> list[str]:
        async def leave() -> None:
            stream = sees.generate(ask(seen("white"), max_new_tokens=100, min_new_tokens=100))
            await anext(stream)
            await stream.aclose()  # type: ignore[attr-defined]

        others = [asyncio.ensure_future(leave()) for _ in range(3)]
        found = await asyncio.gather(*(chunks_of(sees, one) for one in requests * 2))
        await asyncio.gather(*others)
        return [text_of(one) for one in found]

    assert asyncio.run(crowd()) == alone * 2
    assert json.loads(alone[5])["a"] in ("x", "y")
    stop = alone[6][2]
    assert stop not in answer(sees, ask(seen("blue"), max_new_tokens=40, stop=[stop]))
    assert sees.active == 0


@pytest.mark.slow
def test_a_prompt_whose_image_does_not_fit_is_refused_with_both_counts(sees: Engine) -> None:
    long = seen("red", text="word " * 300)
    count = asyncio.run(sees.count_tokens(long))
    with pytest.raises(InvalidArgumentError, match=f"{count} tokens.* 256"):
        answer(sees, ask(long))


@pytest.mark.slow
@pytest.mark.parametrize("mark", ["<|image_pad|>", "<ov_genai_image_0>", "<|vision_start|>", "<|video_pad|>"])
def test_a_text_that_holds_an_images_mark_is_refused_and_harms_nobody(sees: Engine, mark: str) -> None:
    for request in (ask(seen("red", text=mark)), ask((Message("user", mark),))):
        with pytest.raises(InvalidArgumentError, match="stands for an image"):
            answer(sees, request)
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        answer(sees, ask((Message("user", (ImagePart(b"no image"),)),)))
    narrow = ImagePart(png("red", (1, 300)))
    with pytest.raises(InvalidArgumentError, match="1 x 300 pixels"):
        answer(sees, ask((Message("user", (narrow,)),)))
    assert answer(sees, ask(seen("red")))


@pytest.mark.slow
def test_limits_of_pixels_are_kept(sees: Engine) -> None:
    large = (Message("user", (ImagePart(png("red", (280, 280))),)),)
    counts = []
    for limits in (
        {"max_pixels": 4 * 784},
        {},
        {"max_pixels": 100 * 784},
        {"min_pixels": 150 * 784, "max_pixels": 170 * 784},
    ):
        engine = load_engine(sees.model.spec, {"precision": "exact", **limits})
        usage = asyncio.run(chunks_of(engine, ask(large, max_new_tokens=2)))[-1].usage
        assert usage is not None
        counts.append(usage.prompt_tokens)
        engine.close()
    assert [one - counts[0] for one in counts] == [0, 12, 96, 165]
    with pytest.raises(InvalidArgumentError, match=r"min_pixels \(9\) is above max_pixels \(3\)"):
        load_engine(sees.model.spec, {"min_pixels": 9, "max_pixels": 3})


@pytest.mark.slow
def test_a_vision_model_that_is_in_openvinos_form_already_sees_too(
    sees: Engine, cache: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "ready"
    folder.mkdir()
    for file in sees.folder.iterdir():  # type: ignore[attr-defined]
        if file.name not in ("modelyard.json", "preprocessor_config.json"):
            (folder / file.name).symlink_to(file)
    looks = (models.tiny("qwen2.5-vl") / "preprocessor_config.json").read_text()
    (folder / "preprocessor_config.json").write_text(looks)
    ready = load_engine(spec_of(folder, "auto", task="vision"), {"precision": "exact"})
    assert ready.name == "openvino" and ready.capabilities.images
    assert answer(ready, ask(seen("red"))) == answer(sees, ask(seen("red")))
    ready.close()
    assert (folder / "preprocessor_config.json").read_text() == looks
    with pytest.raises(UnsupportedError, match="quantization '8bit'"):
        load_engine(spec_of(folder, quantization="8bit"), {})


# The export itself


@pytest.mark.slow
def test_a_second_load_does_not_export_again_even_without_the_exporter(
    cache: Path, export_environment: Any
) -> None:
    spec, told = spec_of(models.tiny("mistral")), Told()
    load_engine(spec, {}, progress=told).close()
    began = time.monotonic()
    load_engine(spec, {}, progress=told).close()
    assert time.monotonic() - began < 5 and len(told.notes) == told.ended == 1
    environments.unshare("openvino-export")
    try:
        load_engine(spec, {}, progress=told).close()
        with pytest.raises(EngineNotInstalledError):
            load_engine(spec.model_copy(update={"quantization": "8bit"}), {})
    finally:
        environments.shared("openvino-export")


@pytest.mark.slow
def test_in_a_worker_the_export_is_told_here(cache: Path, export_environment: Any) -> None:
    told = Told()
    engine = load_engine(spec_of(models.tiny("gpt2")), {}, worker=True, progress=told)
    assert told.labels == ["exporting m"] and engine.capabilities.chat is False
    assert answer(engine, ask((Message("user", "The quick"),)))
    engine.close()


@pytest.mark.slow
def test_an_architecture_that_cannot_be_exported_is_named_and_auto_goes_on(
    cache: Path, export_environment: Any, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer, CTRLConfig, CTRLLMHeadModel

    folder = tmp_path / "ctrl"
    with models.quiet():
        AutoTokenizer.from_pretrained(models.tiny("gpt2")).save_pretrained(folder)
        config = CTRLConfig(vocab_size=400, n_positions=64, n_embd=16, dff=32, n_layer=1, n_head=2)
        CTRLLMHeadModel(config).save_pretrained(folder)
    with pytest.raises(UnsupportedError, match=r"'m' \(architecture 'ctrl'\) cannot be exported") as caught:
        load_engine(spec_of(folder), {})
    assert "transformers" in caught.value.hint and list(cache.rglob(".making-*")) == []
    began = time.monotonic()
    with pytest.raises(UnsupportedError) as again:
        load_engine(spec_of(folder), {})
    assert str(again.value) == str(caught.value) and time.monotonic() - began < 2, "it is remembered"
    told = Told()
    found = prepare(spec_of(folder, "auto"), Placement.read({}, worker=False), progress=told)
    assert found.engine.name == "transformers" and "Trying the next engine" in told.notes[-1]


@pytest.mark.slow
def test_a_full_disk_is_said_beforehand(cache: Path, export_environment: Any, tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "hub", model_type="llama")
    os.truncate(folder / "model.safetensors", 2**43)
    with pytest.raises(DiskFullError, match="exporting 'm' needs"):
        load_engine(spec_of(folder), {})


@pytest.mark.slow
def test_a_broken_model_is_a_typed_error_with_the_exporters_words(
    cache: Path, export_environment: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    for name, data in models.tiny_repository("gpt2").items():
        (folder / name).write_bytes(data[:100] if name == "model.safetensors" else data)
    with pytest.raises(EngineError, match=r"exporting 'm' for OpenVINO failed.*\n  .*Error"):
        load_engine(spec_of(folder), {})
    assert [one for one in (cache / "openvino").iterdir() if one.is_dir()] == []


LOAD = """
import sys
from modelyard import create_llm
from modelyard.pool import Pool
class Told:
    def start(self, label, total): pass
    def advance(self, count): pass
    def note(self, text): print(text, flush=True)
    def done(self): pass
llm = create_llm(sys.argv[1], engine="openvino", pool=Pool(progress=Told()))
print("answer:", llm.generate("The quick", raw=True, temperature=0, max_tokens=4).usage.completion_tokens)
"""


def _running(mark: str) -> list[int]:
    """Processes whose command line holds the mark."""
    found = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark in one.read_text(errors="replace"):
                found.append(int(one.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_a_killed_export_leaves_nothing_that_is_taken_for_whole(
    cache: Path, export_environment: Any, start: Callable[..., subprocess.Popen[str]]
) -> None:
    path = str(models.tiny("phi"))
    env = {"MODELYARD_CACHE": str(cache), "MODELYARD_DATA": os.environ["MODELYARD_DATA"]}
    first = start(path, script=LOAD, env=env)
    until = time.monotonic() + 60
    while not list(cache.glob("openvino/.making-*/made/*")) and time.monotonic() < until:
        time.sleep(0.05)
    assert list(cache.glob("openvino/.making-*/made/*"))
    first.send_signal(signal.SIGKILL)
    first.wait()
    until = time.monotonic() + 5
    while (left := _running(str(cache))) and time.monotonic() < until:
        time.sleep(0.1)
    assert left == [], "the exporter has gone with the process that wanted it"
    assert list(cache.glob("openvino/*/modelyard.json")) == []
    second = start(path, script=LOAD, env=env)
    assert "answer: 4" in second.communicate(timeout=120)[0]
    assert list(cache.glob("openvino/.making-*")) == []


@pytest.mark.slow
def test_two_processes_export_once(
    cache: Path, export_environment: Any, start: Callable[..., subprocess.Popen[str]]
) -> None:
    env = {"MODELYARD_CACHE": str(cache), "MODELYARD_DATA": os.environ["MODELYARD_DATA"]}
    both = [start(str(models.tiny("gpt2")), script=LOAD, env=env) for _ in range(2)]
    outputs = [process.communicate(timeout=150)[0] for process in both]
    assert all("answer: 4" in output for output in outputs), outputs
    assert sum("Exporting" in output for output in outputs) == 1
    assert len([one for one in (cache / "openvino").iterdir() if one.is_dir()]) == 1
