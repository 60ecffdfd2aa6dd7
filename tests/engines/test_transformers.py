"""The transformers engine: it answers as the library's own `generate` does, in one batch, for every kind."""

from __future__ import annotations

import asyncio
import contextlib
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import models

from modelyard.catalog.spec import ModelSpec
from modelyard.engines.base import Engine
from modelyard.errors import (
    EngineError,
    InvalidArgumentError,
    ModelNotFoundError,
    PromptTooLongError,
    ResourceExhaustedError,
    UnsupportedError,
)
from modelyard.params import merge
from modelyard.pool import load_engine
from modelyard.types import Adapter, Chunk, Constraint, ImagePart, Message, Request, TextPart

PROMPTS = (
    "The quick brown fox",
    "Net income per share was 1.25 dollars, against 0.98 a year before. The quick brown fox jumps over",
    "a",
)
EXACT = {"dtype": "float32"}


def spec(folder: Path, **how: Any) -> ModelSpec:
    source = {"kind": "path", "path": str(folder)}
    return ModelSpec.model_validate({"alias": "m", "sources": [source], "engine": "transformers", **how})


@contextlib.contextmanager
def loaded(folder: Path, options: dict[str, Any] | None = None, **how: Any) -> Iterator[Engine]:
    engine = load_engine(spec(folder, **how), EXACT if options is None else options)
    try:
        yield engine
    finally:
        engine.close()


def ask(prompt: str | tuple[Message, ...], **how: Any) -> Request:
    own = {key: how.pop(key) for key in ("constraint", "adapter", "deadline", "logprobs") if key in how}
    params = merge(("request", {"temperature": 0, "max_new_tokens": 12, **how}))[0]
    said = {"prompt": prompt} if isinstance(prompt, str) else {"messages": prompt}
    return Request(params=params, **said, **own)  # type: ignore[arg-type]


async def collect(engine: Engine, request: Request) -> list[Chunk]:
    return [chunk async for chunk in engine.generate(request)]


def together(engine: Engine, *requests: Request) -> list[Any]:
    async def all_() -> list[Any]:
        return await asyncio.gather(*(collect(engine, one) for one in requests), return_exceptions=True)

    return asyncio.run(all_())


def ids(chunks: list[Chunk]) -> list[int]:
    return [token.id for chunk in chunks for token in chunk.tokens if token.id >= 0]


def text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def reference(
    folder: Path, kind: str, prompts: tuple[str, ...], inputs: dict[str, Any] | None = None
) -> list[list[int]]:
    """The tokens that the library's own `generate` gives each prompt alone, in float32."""
    import torch
    import transformers

    name = {"seq2seq": "AutoModelForSeq2SeqLM"}.get(kind, "AutoModelForCausalLM")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = getattr(transformers, name).from_pretrained(folder, dtype=torch.float32).eval()
    answers = []
    for prompt in prompts:
        given = tokenizer(prompt, return_tensors="pt")
        with torch.inference_mode():
            whole = model.generate(**given, do_sample=False, num_beams=1, max_new_tokens=12)[0].tolist()
        answer = whole[1:] if kind == "seq2seq" else whole[given["input_ids"].shape[1] :]
        ends = set(tokenizer.all_special_ids)
        answers.append(answer[:-1] if answer[-1] in ends else answer)
    return answers


@pytest.mark.parametrize("kind", ["gpt2", "phi", "mistral", "gemma3", "t5"])
@pytest.mark.parametrize("piece", [8, 512], ids=["read in pieces", "read at once"])
def test_a_batch_answers_as_generate_answers_each_alone(kind: str, piece: int) -> None:
    folder = models.tiny(kind)
    task = "seq2seq" if kind == "t5" else "generation"
    with loaded(folder, {**EXACT, "prompt_tokens": piece}, task=task) as engine:
        answers = together(engine, *(ask(prompt) for prompt in PROMPTS))
    assert [ids(one) for one in answers] == reference(folder, task, PROMPTS)


TAILS = (" jumps", " over the lazy dog, which sleeps", " and", " nobody at all")


@pytest.mark.parametrize("kind", ["gpt2", "phi", "mistral", "gemma3", "t5"])
@pytest.mark.parametrize("tokens", [16, 512], ids=["few in a pass", "all in a pass"])
def test_prompts_that_are_scored_together_score_as_alone(kind: str, tokens: int) -> None:
    task = "seq2seq" if kind == "t5" else "generation"

    async def all_(engine: Engine, exact: bool) -> list[Any]:
        return await asyncio.gather(
            *(engine.score(one, TAILS[: at + 1], exact=exact) for at, one in enumerate(PROMPTS))
        )

    async def by_ids(engine: Engine, exact: bool) -> Any:
        (tail,) = await engine.encode([TAILS[1]], special=False)
        prompts = await engine.encode(PROMPTS)
        pairs = [(one, tail[:length]) for one in prompts for length in (1, len(tail))]
        return await engine.score_tokens(pairs, exact=exact)

    with loaded(models.tiny(kind), {**EXACT, "prompt_tokens": tokens}, task=task) as engine:
        alone, beside = (asyncio.run(all_(engine, exact)) for exact in (True, False))
        alone.append(asyncio.run(by_ids(engine, True)))
        beside.append(asyncio.run(by_ids(engine, False)))
    for ones, twos in zip(alone, beside, strict=True):
        for one, two in zip(ones, twos, strict=True):
            assert two.token_ids == one.token_ids
            assert two.token_logprobs == pytest.approx(one.token_logprobs, abs=1e-3)


def test_rows_that_join_an_answering_batch_change_nothing() -> None:
    folder = models.tiny("mistral")  # it looks back 8 tokens, which a wrong column would shift
    expected = reference(folder, "generation", PROMPTS)

    async def one_by_one(engine: Engine) -> list[list[int]]:
        async def later(at: int) -> list[int]:
            await asyncio.sleep(0.02 * at)
            return ids(await collect(engine, ask(PROMPTS[at % 3])))

        return await asyncio.gather(*(later(at) for at in range(9)))

    with loaded(folder) as engine:
        assert asyncio.run(one_by_one(engine)) == expected * 3


def test_a_model_with_a_state_beside_its_cache_answers_row_by_row(tmp_path: Path) -> None:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(models.tiny("gpt2"))
    config = transformers.MambaConfig(
        vocab_size=len(tokenizer), hidden_size=32, state_size=4, num_hidden_layers=2, initializer_range=0.3,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    transformers.set_seed(3)
    transformers.MambaForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with loaded(tmp_path) as engine:
        answers = together(engine, *(ask(prompt) for prompt in PROMPTS))
        (score,) = asyncio.run(engine.score(PROMPTS[0], [" jumps"]))
    assert [ids(one) for one in answers] == reference(tmp_path, "generation", PROMPTS)
    assert score.total < 0


# Images


def png(colour: str, size: tuple[int, int] = (56, 84)) -> ImagePart:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return ImagePart(buffer.getvalue())


def looking(colour: str) -> tuple[Message, ...]:
    return (Message("user", (png(colour), TextPart("What is in this picture?"))),)


@pytest.fixture(scope="module")
def sees() -> Iterator[Engine]:
    with loaded(models.tiny("qwen2.5-vl"), task="vision") as engine:
        yield engine


def test_two_images_give_two_answers_alone_and_in_one_batch(sees: Engine) -> None:
    (red,), (blue,) = together(sees, ask(looking("red"))), together(sees, ask(looking("blue")))
    plain = (Message("user", "What is in this picture?"),)
    crowd = together(sees, ask(looking("red")), ask(plain), ask(looking("blue")))
    assert ids(red) != ids(blue)
    assert [ids(one) for one in (crowd[0], crowd[2])] == [ids(red), ids(blue)]
    assert ids(crowd[1]) == ids(together(sees, ask(plain))[0])


def test_an_answer_about_an_image_is_that_of_generate(sees: Engine) -> None:
    import torch
    import transformers

    folder = models.tiny("qwen2.5-vl")
    from PIL import Image

    looks = transformers.AutoImageProcessor.from_pretrained(folder)
    pixels = looks(images=[Image.open(io.BytesIO(png("red").data))], return_tensors="pt")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    count = int(pixels["image_grid_thw"].prod()) // 4  # two by two patches become one token
    turns = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is in this picture?"}]}
    ]
    prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    inputs = tokenizer(prompt.replace("<|image_pad|>", "<|image_pad|>" * count), return_tensors="pt")
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    kinds = (inputs["input_ids"] == model.config.image_token_id).int()
    with torch.inference_mode():
        whole = model.generate(
            **inputs, **pixels, mm_token_type_ids=kinds, do_sample=False, max_new_tokens=12
        )
    (answer,) = together(sees, ask(looking("red")))
    assert ids(answer) == whole[0, inputs["input_ids"].shape[1] :].tolist()[: len(ids(answer))]
    assert answer[-1].usage.prompt_tokens == inputs["input_ids"].shape[1]


def test_pixel_limits_scale_the_images() -> None:
    def tokens(**limits: int) -> int:
        with loaded(models.tiny("qwen2.5-vl"), {**EXACT, **limits}, task="vision") as engine:
            (answer,) = together(engine, ask(looking("red")))
        return int(answer[-1].usage.prompt_tokens)

    usual = tokens()
    assert tokens(min_pixels=64 * 28 * 28, max_pixels=100 * 28 * 28) > usual + 50
    assert tokens(min_pixels=28 * 28, max_pixels=2 * 28 * 28) < usual


def test_bytes_that_are_no_image_are_refused_alone(sees: Engine) -> None:
    bad = (Message("user", (ImagePart(b"no image", "image/png"), TextPart("What is it?"))),)
    good, error = together(sees, ask(looking("red")), ask(bad))
    assert isinstance(error, InvalidArgumentError) and "cannot be read" in error.message
    assert ids(good) == ids(together(sees, ask(looking("red")))[0])


def test_a_model_without_pixel_limits_says_so_and_limits_that_contradict_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"min_pixels \(9000\) is above max_pixels \(8000\)"):
        load_engine(spec(models.tiny("qwen2.5-vl"), task="vision"), {"min_pixels": 9000, "max_pixels": 8000})


# Adapters

ASK = (Message("user", "What is the capital of Italy?"),)


@pytest.mark.slow
def test_base_and_two_adapters_answer_in_one_batch_each_as_when_alone(
    smollm2: Path, adapters: dict[str, Path]
) -> None:
    one, two = (Adapter(said[:3], str(folder)) for said, folder in adapters.items())
    with loaded(smollm2) as engine:
        base = text(together(engine, ask(ASK))[0])
        alone = [text(together(engine, ask(ASK, adapter=adapter))[0]) for adapter in (one, two)]
        after = text(together(engine, ask(ASK))[0])
        crowd = together(
            engine, ask(ASK), ask(ASK, adapter=one), ask(ASK, adapter=two), ask(ASK, adapter=one)
        )
    assert alone[0] != base != alone[1] != alone[0]
    assert "AYE" in alone[0] and "BONJOUR" in alone[1]
    assert after == base
    assert [text(answer) for answer in crowd] == [base, alone[0], alone[1], alone[0]]


@pytest.mark.slow
@pytest.mark.model
def test_an_adapter_of_another_base_is_refused_and_harms_nobody(smollm2: Path, tmp_path: Path) -> None:
    foreign = Adapter("foreign", str(models.random_lora(smollm2, 1)))
    with loaded(models.tiny("gpt2")) as engine:
        before = ids(together(engine, ask(PROMPTS[0]))[0])
        good, error = together(engine, ask(PROMPTS[0]), ask(PROMPTS[0], adapter=foreign))
        (missing,) = together(engine, ask(PROMPTS[0], adapter=Adapter("gone", str(tmp_path))))
        assert isinstance(error, EngineError) and "does not fit" in error.message
        assert isinstance(missing, ModelNotFoundError) and "gone" in missing.message
        assert ids(good) == ids(together(engine, ask(PROMPTS[0]))[0]) == before


# Number types and memory


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_quantised_weights_load_on_a_cpu_take_less_and_answer(smollm2: Path, bits: str) -> None:
    with loaded(smollm2, {"dtype": "bfloat16"}) as engine:
        whole = engine.memory.weights
    with loaded(smollm2, {}, quantization=bits) as engine:
        answer, other = together(engine, ask(ASK), ask((Message("user", "Name a colour."),)))
        held, precision = engine.memory.weights, engine.fingerprint.precision
    # The embedding, a fifth of this model, stays as it is.
    assert held < whole * (0.5 if bits == "4bit" else 0.7)
    assert precision.startswith(bits[0] + "-bit")
    assert text(answer) and text(other)


@pytest.mark.parametrize("rows", [1, 3, 40])
def test_packed_weights_give_the_same_numbers_to_the_bit(rows: int) -> None:
    import torch

    from modelyard.engines.transformers.packing import pack

    torch.manual_seed(1)
    embedding = torch.nn.Embedding(50, 32)
    head = torch.nn.Linear(32, 50, bias=False)
    head.weight = embedding.weight
    layers = torch.nn.Sequential(
        embedding, torch.nn.Linear(32, 64), torch.nn.SiLU(), torch.nn.Linear(64, 32), head
    )
    layers = layers.to(torch.bfloat16).eval()
    ids = torch.arange(rows)[None, :] % 50
    with torch.inference_mode():
        before = layers(ids)
        pack(layers)
        assert torch.equal(layers(ids), before)
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        assert all("forward" in vars(one) for one in layers if isinstance(one, torch.nn.Linear))


def test_a_request_that_cannot_fit_is_refused_with_what_would_and_the_engine_goes_on() -> None:
    with loaded(models.tiny("gpt2"), {**EXACT, "kv_cache_gb": 0.00003}) as engine:
        small, large = together(engine, ask("a", max_new_tokens=4), ask(PROMPTS[1], max_new_tokens=100))
        assert isinstance(large, ResourceExhaustedError) and "has room for" in large.message
        assert small[-1].finish_reason == "length"


def test_requests_beyond_the_cache_wait_for_room() -> None:
    expected = reference(models.tiny("gpt2"), "generation", PROMPTS)
    with loaded(models.tiny("gpt2"), {**EXACT, "kv_cache_gb": 0.00003}) as engine:
        answers = together(engine, *(ask(PROMPTS[at % 2 * 2]) for at in range(8)))
    assert [ids(one) for one in answers] == [expected[at % 2 * 2] for at in range(8)]


OUT_OF_MEMORY = """
import asyncio, resource, sys
from modelyard.catalog.spec import ModelSpec
from modelyard.errors import ResourceExhaustedError
from modelyard.params import merge
from modelyard.pool import load_engine
from modelyard.types import Request

spec = ModelSpec.model_validate(
    {"alias": "m", "sources": [{"kind": "path", "path": sys.argv[1]}], "engine": "transformers"}
)
engine = load_engine(spec, {"dtype": "float32", "prompt_tokens": 50_000})

async def answer(prompt):
    params = merge(("r", {"temperature": 0, "max_new_tokens": 3}))[0]
    return [chunk async for chunk in engine.generate(Request(prompt=prompt, params=params))]

async def crowd():
    return await asyncio.gather(answer("word " * 30_000), return_exceptions=True)

before = asyncio.run(answer("Hello"))[-1].usage
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 150 * 2**20, resource.RLIM_INFINITY))
found = asyncio.run(crowd())
after = asyncio.run(answer("Hello"))[-1].usage
print([type(one).__name__ for one in found], before == after)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the address space")
def test_an_allocation_that_fails_is_resource_exhausted_and_the_engine_stays_usable(tmp_path: Path) -> None:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(models.tiny("gpt2"))
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=1, max_position_embeddings=200_000, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY, str(tmp_path)],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "['ResourceExhaustedError'] True", done.stdout + done.stderr[-2000:]


def test_the_number_type_is_measured_once_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelyard.engines.transformers import precision

    monkeypatch.setenv("MODELYARD_CACHE", str(tmp_path))
    first = precision.remembered_ratio()
    file = tmp_path / "transformers" / "precision.json"
    written = file.stat().st_mtime_ns
    assert precision.remembered_ratio() == first > 0
    assert file.stat().st_mtime_ns == written
    file.write_text("torn{", "utf-8")
    assert precision.remembered_ratio() > 0


# What is refused, and what other parts of a model's configuration mean

BAD_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"devise": "cpu"}, "'devise' is not known to engine transformers. Did you mean 'device'"),
    ({"dtype": "float8"}, "'dtype' has value 'float8'"),
    ({"max_batch": 0}, "'max_batch' has value 0"),
    ({"kv_cache_gb": -1}, "'kv_cache_gb' has value -1"),
    ({"device": "cuda:7x"}, "'device' has value 'cuda:7x'"),
    ({"device": "cpu", "device_map": "auto"}, "both given"),
    ({"context_length": 100_000}, "was trained for 256"),
    ({"load_in_4bit": "yes"}, "'load_in_4bit' has value 'yes'"),
]


@pytest.mark.parametrize(("options", "words"), BAD_OPTIONS, ids=[str(one) for one, _ in BAD_OPTIONS])
def test_a_bad_option_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        load_engine(spec(models.tiny("gpt2")), options)
    assert words in caught.value.message


def test_broken_files_are_an_error_that_says_where(tmp_path: Path) -> None:
    for name, data in models.tiny_repository("gpt2").items():
        (tmp_path / name).write_bytes(data if name != "model.safetensors" else data[: len(data) // 2])
    with pytest.raises(EngineError, match="cannot be loaded from"):
        load_engine(spec(tmp_path), {})


def test_pickled_weights_are_refused_unless_allowed_by_name(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    for name, data in models.tiny_repository("gpt2").items():
        (tmp_path / name).write_bytes(data)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UnsupportedError, match="pickled"):
        load_engine(spec(tmp_path), {})
    with loaded(tmp_path, allow_pickle=True) as engine:
        assert ids(together(engine, ask(PROMPTS[0]))[0]) == reference(models.tiny("gpt2"), "", PROMPTS[:1])[0]


def test_a_task_that_the_architecture_does_not_do_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="no image processor"):
        load_engine(spec(models.tiny("gpt2"), task="vision"), {})


def test_a_prompt_longer_than_the_encoder_reads_is_refused() -> None:
    with loaded(models.tiny("t5"), {**EXACT, "context_length": 20}, task="seq2seq") as engine:
        good, long = together(engine, ask("a"), ask("word " * 50))
        assert isinstance(long, PromptTooLongError) and "20" in long.message
        assert good[-1].finish_reason in ("stop", "length")


@pytest.mark.parametrize("kind", ["mistral", "gpt2"])
def test_a_constraint_is_kept_by_each_row_of_a_batch(kind: str) -> None:
    with loaded(models.tiny(kind)) as engine:
        choices = Constraint(choices=("yes", "no"))
        number = Constraint(regex=r"\d{3}-\d{2}")
        answers = together(
            engine, ask(PROMPTS[0], constraint=choices), ask(PROMPTS[1]), ask(PROMPTS[2], constraint=number)
        )
        free = ids(together(engine, ask(PROMPTS[1]))[0])
    assert text(answers[0]) in ("yes", "no")
    assert len(text(answers[2])) == 6 and text(answers[2])[3] == "-"
    assert ids(answers[1]) == free


# Models that were trained


@pytest.mark.model
def test_opus_mt_translates_ten_sentences_into_french(opus_mt: Path) -> None:
    sentences = {
        "Hello, how are you?": "Bonjour", "The cat sleeps on the chair.": "chat", "I would like a glass of water.": "eau",
        "Where is the train station?": "gare", "She reads a book every evening.": "livre",
        "The company reported a loss of two million dollars.": "perte", "My brother lives in London.": "frère",
        "It is raining today.": "pleut", "Thank you very much for your help.": "Merci", "The patient has no fever.": "fièvre",
    }  # fmt: skip
    with loaded(opus_mt, {}, task="seq2seq") as engine:
        answers = together(engine, *(ask(one, max_new_tokens=40) for one in sentences))
        (good, bad) = asyncio.run(engine.score("The cat sleeps.", ["Le chat dort.", "Le train part."]))
    for answer, (sentence, word) in zip(answers, sentences.items(), strict=True):
        assert word in text(answer), (sentence, text(answer))
        assert text(answer) == text(answer).strip()
        assert answer[-1].finish_reason == "stop"
    assert [one.code for one in answers[0][-1].warnings] == ["beam_search_ignored"]
    assert good.total > bad.total


@pytest.mark.model
def test_embeddings_of_like_sentences_are_near(minilm: Path) -> None:
    with loaded(minilm, {}, task="embedding") as engine:
        texts = ["A man is eating food.", "A man eats a meal.", "The stock market fell sharply."]
        one, two, three = asyncio.run(engine.embed(texts))
        (alone,) = asyncio.run(engine.embed(texts[:1]))
        with pytest.raises(PromptTooLongError, match="text 2 of 2"):
            asyncio.run(engine.embed(["short", "word " * 600]))
        (error,) = together(engine, ask("a"))
    near, far = (sum(a * b for a, b in zip(one, other, strict=True)) for other in (two, three))
    assert sum(a * a for a in one) == pytest.approx(1, abs=1e-4)
    assert len(one) == 384 and near > 0.7 > 0.2 > far
    assert alone == pytest.approx(one, abs=1e-5)
    assert isinstance(error, UnsupportedError)
