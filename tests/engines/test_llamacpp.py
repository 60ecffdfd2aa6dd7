"""What is particular to llama.cpp; the rest is in the contract suite."""

from __future__ import annotations

import asyncio
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import models

from modelyard.catalog.load import load_catalog
from modelyard.catalog.spec import ModelSpec
from modelyard.engines.llamacpp import LlamaCppEngine
from modelyard.engines.llamacpp.settings import Settings
from modelyard.engines.llamacpp.slots import Slots
from modelyard.errors import (
    CatalogError,
    EngineError,
    InvalidArgumentError,
    ModelyardError,
    PromptTooLongError,
    SchemaError,
    UnsupportedError,
)
from modelyard.params import merge
from modelyard.pool import load_engine
from modelyard.types import Adapter, Chunk, Constraint, Message, Request, Token

pytestmark = pytest.mark.model

SMALL: dict[str, Any] = {"slots": 2, "context_length": 1024}
ASK = (Message("user", "Write one sentence about the sea."),)


def load(path: Path | None = None, *, task: str = "generation", **options: Any) -> LlamaCppEngine:
    if path is None:
        spec = load_catalog().get("smollm2-135m").model_copy(update={"engine": "llamacpp", "task": task})
    else:
        source = [{"kind": "path", "path": str(path)}]
        spec = ModelSpec.model_validate(
            {"alias": "file", "sources": source, "engine": "llamacpp", "task": task}
        )
    engine = load_engine(spec, options)
    assert isinstance(engine, LlamaCppEngine)
    return engine


@pytest.fixture(scope="module")
def engine() -> Iterator[LlamaCppEngine]:
    loaded = load(**SMALL)
    yield loaded
    loaded.close()


def ask(**how: Any) -> Request:
    names = ("prompt", "constraint", "logprobs", "top_logprobs", "adapter")
    own = {key: how.pop(key) for key in names if key in how}
    messages = None if "prompt" in own else how.pop("messages", ASK)
    return Request(messages=messages, params=merge(("request", {"temperature": 0, **how}))[0], **own)


async def collect(engine: LlamaCppEngine, request: Request) -> list[Chunk]:
    return [chunk async for chunk in engine.generate(request)]


def answer(engine: LlamaCppEngine, request: Request) -> list[Chunk]:
    return asyncio.run(collect(engine, request))


def tokens_of(chunks: list[Chunk]) -> list[Token]:
    return [token for chunk in chunks for token in chunk.tokens]


def text_of(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


# -- loading -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"slot": 2}, "Did you mean 'slots'"),
        ({"slots": 0}, "'slots' has value 0"),
        ({"threads": "two"}, "'threads' has value 'two'"),
        ({"kv_cache_type": "f15"}, "f16"),
        ({"adapters": "one.gguf"}, "list of paths"),
        ({"adapters": ["/nowhere"]}, "/nowhere"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Settings.read(options)
    assert said in str(caught.value)


def test_a_context_longer_than_the_training_is_refused_before_loading() -> None:
    with pytest.raises(InvalidArgumentError, match="8193") as caught:
        load(context_length=8193)
    assert "8192" in caught.value.hint


def test_asking_whether_it_can_run_imports_nothing() -> None:
    code = (
        "import sys; from modelyard.engines.llamacpp import LlamaCppEngine as E;"
        "assert E.missing() is None and 'xllamacpp' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_llama_cpp_writes_nothing_to_the_terminal_and_leaves_the_signals_alone() -> None:
    code = """
import asyncio, signal
from modelyard.catalog.load import load_catalog
from modelyard.pool import load_engine
from modelyard.types import Request
from modelyard.params import SamplingParams
async def run():
    return [c async for c in engine.generate(Request(prompt="Hi", params=SamplingParams(max_new_tokens=2)))]
before = signal.getsignal(signal.SIGINT)
spec = load_catalog().get("smollm2-135m").model_copy(update={"engine": "llamacpp"})
engine = load_engine(spec, {"slots": 1, "context_length": 256})
asyncio.run(run())
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    engine.close()
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


@pytest.mark.parametrize("kept", [0, 100, 1_000_000, 50_000_000])
def test_a_file_that_is_cut_off_is_an_error_of_ours(small_gguf: Path, tmp_path: Path, kept: int) -> None:
    broken = tmp_path / "model.gguf"
    with small_gguf.open("rb") as whole:
        broken.write_bytes(whole.read(kept))
    with pytest.raises((CatalogError, EngineError), match=r"model\.gguf"):
        load(broken, **SMALL)


def test_two_models_are_loaded_side_by_side(engine: LlamaCppEngine) -> None:
    other = load(slots=1, context_length=256)
    try:
        request = ask(max_new_tokens=6)
        assert text_of(answer(other, request)) == text_of(answer(engine, request))
    finally:
        other.close()


def test_the_kv_cache_has_the_size_that_llama_cpp_says(engine: LlamaCppEngine, small_gguf: Path) -> None:
    code = f"""
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path = {str(small_gguf)!r}
params.n_parallel, params.n_ctx, params.verbosity, params.warmup = 3, 3 * 1024, 5, False
xllamacpp.Server(params).handle_completions({{"prompt": [1], "max_tokens": 1}})
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    sizes = re.findall(r"KV buffer size = +([\d.]+) MiB", said.stdout + said.stderr)
    assert sizes, said.stderr[-2000:]
    assert engine.memory.kv_cache == max(float(size) for size in sizes) * 2**20


def test_a_quantised_kv_cache_is_smaller_and_answers() -> None:
    small = load(**SMALL, kv_cache_type="q8_0", threads=2, max_batch_tokens=32)
    try:
        assert len(tokens_of(answer(small, ask(max_new_tokens=4, min_new_tokens=4)))) == 4
        assert small.memory.kv_cache == 30 * (192 + 192) * 3 * 1024 * 34 / 32
        assert "q8_0" in small.fingerprint.precision
    finally:
        small.close()


# -- tokens --------------------------------------------------------------------------------------------


def test_tokens_that_end_inside_a_character_have_their_ids(engine: LlamaCppEngine) -> None:
    wanted = "naïve 😀 日本 — 😂"
    chunks = answer(engine, ask(prompt="Emoji:", constraint=Constraint(choices=(wanted,))))
    tokens = tokens_of(chunks)
    assert text_of(chunks) == wanted and chunks[-1].warnings == ()
    assert b"".join(engine._file.pieces[token.id] for token in tokens).decode() == wanted
    assert any(token.text == "" for token in tokens)
    assert all(token.logprob is not None and token.logprob < 0 for token in tokens)


def test_tokens_that_end_inside_a_character_have_the_logprobs_of_a_score(engine: LlamaCppEngine) -> None:
    prompt = "Emoji:" + " 😀" * 7
    chunks = answer(engine, ask(prompt=prompt, max_new_tokens=6, min_new_tokens=6))
    assert text_of(chunks) == " 😀 😀 😀"
    (score,) = asyncio.run(engine.score(prompt, [text_of(chunks)]))
    tokens = tokens_of(chunks)
    assert [token.id for token in tokens] == list(score.token_ids)
    assert [token.logprob for token in tokens] == pytest.approx(score.token_logprobs, abs=0.02)


def test_the_likeliest_tokens_are_the_models_own_also_inside_a_character(engine: LlamaCppEngine) -> None:
    wanted = "naïve 😀 日本"
    request = ask(prompt="Emoji:", constraint=Constraint(choices=(wanted,)), top_logprobs=20)
    tokens = tokens_of(answer(engine, request))
    assert any(token.text == "" for token in tokens)
    assert any(token.id not in {one.id for one in token.top} for token in tokens), "the grammar made it"
    for token in tokens:
        assert [one.logprob for one in token.top] == sorted((one.logprob for one in token.top), reverse=True)
        assert len({one.id for one in token.top}) == 20
        assert all(
            one.text == engine._file.pieces[one.id or 0].decode("utf-8", "replace")
            for one in token.top
            if one.text
        )
        known = {one.id: one.logprob for one in token.top}
        assert known.get(token.id, token.logprob) == pytest.approx(token.logprob, abs=0.02)


def test_the_logprob_is_the_models_own_under_a_constraint_and_at_any_temperature(
    engine: LlamaCppEngine,
) -> None:
    (score,) = asyncio.run(engine.score("2 + 2 =", [" 9"]))
    for how in ({}, {"temperature": 2.0, "top_k": 3, "seed": 1}):
        request = ask(prompt="2 + 2 =", constraint=Constraint(choices=(" 9",)), **how)
        tokens = tokens_of(answer(engine, request))
        assert [token.id for token in tokens] == list(score.token_ids)
        assert sum(token.logprob or 0 for token in tokens) == pytest.approx(score.total, abs=0.02)


def test_a_least_length_goes_on_behind_the_natural_end(engine: LlamaCppEngine) -> None:
    request = (Message("user", "Say hi."),)
    natural = answer(engine, ask(messages=request, max_new_tokens=100))
    assert natural[-1].finish_reason == "stop" and natural[-1].usage is not None
    least = natural[-1].usage.completion_tokens + 5
    longer = answer(engine, ask(messages=request, max_new_tokens=100, min_new_tokens=least))
    assert longer[-1].usage is not None and longer[-1].usage.completion_tokens >= least
    assert text_of(longer).startswith(text_of(natural))


def test_a_least_length_beside_a_constraint_is_refused(engine: LlamaCppEngine) -> None:
    with pytest.raises(UnsupportedError, match="least length"):
        answer(engine, ask(min_new_tokens=5, constraint=Constraint(choices=("yes",))))


def test_a_repetition_penalty_looks_back_over_prompt_and_answer(engine: LlamaCppEngine) -> None:
    prompt = "one two three four five six one two three four five six one two three"
    seen = set(engine._server.tokenize(prompt, special=True))
    request = ask(prompt=prompt, repetition_penalty=100.0, max_new_tokens=90, min_new_tokens=90)
    made = [token.id for token in tokens_of(answer(engine, request))]
    assert not seen & set(made) and len(set(made)) == len(made) > 64


def test_presence_and_frequency_penalties_say_that_the_prompt_counts(engine: LlamaCppEngine) -> None:
    for name in ("presence_penalty", "frequency_penalty"):
        last = answer(engine, ask(max_new_tokens=2, **{name: 0.5}))[-1]
        assert [warning.code for warning in last.warnings] == ["penalties_count_prompt"]


def test_top_k_of_one_is_greedy_at_any_temperature(engine: LlamaCppEngine) -> None:
    greedy = text_of(answer(engine, ask(max_new_tokens=12)))
    assert text_of(answer(engine, ask(max_new_tokens=12, temperature=5.0, top_k=1))) == greedy
    assert text_of(answer(engine, ask(max_new_tokens=12, temperature=5.0, top_p=1e-6))) == greedy
    assert text_of(answer(engine, ask(max_new_tokens=12, temperature=5.0, min_p=1.0))) == greedy


def test_a_seed_of_64_bits_repeats_itself(engine: LlamaCppEngine) -> None:
    request = ask(max_new_tokens=12, temperature=1.5, seed=2**64 - 1)
    assert text_of(answer(engine, request)) == text_of(answer(engine, request))


# -- slots ---------------------------------------------------------------------------------------------


def test_a_prompt_goes_to_the_slot_that_has_read_its_beginning() -> None:
    slots = Slots(3)
    assert slots.take([1, 2, 3]) == 0
    slots.give(0, [1, 2, 3, 4])
    assert slots.take([7, 8]) == 1
    assert slots.take([1, 2, 9]) == 0
    assert len(slots) == 1


def test_requests_beyond_the_slots_wait_their_turn(engine: LlamaCppEngine) -> None:
    answering: set[int] = set()
    most = 0

    async def one(at: int) -> str:
        nonlocal most
        text = ""
        async for chunk in engine.generate(ask(max_new_tokens=12, min_new_tokens=12)):
            answering.add(at)
            most = max(most, len(answering))
            text += chunk.text
            if chunk.finish_reason is not None:
                answering.remove(at)
        return text

    async def crowd() -> list[str]:
        return await asyncio.gather(*(one(at) for at in range(5)))

    assert len(set(asyncio.run(crowd()))) == 1
    assert most == SMALL["slots"]


def test_a_prompt_that_was_read_before_is_not_read_again(engine: LlamaCppEngine) -> None:
    long = "The quick brown fox jumps over the lazy dog. " * 80

    def first_token(prompt: str) -> float:
        last = answer(engine, ask(prompt=prompt, max_new_tokens=1))[-1]
        assert last.timings is not None and last.timings.first_token is not None
        return last.timings.first_token

    cold = first_token(long)
    assert first_token(long + "Then") < cold / 3


def test_a_grammar_that_llama_cpp_refuses_is_a_schema_error(engine: LlamaCppEngine) -> None:
    body = {"prompt": [1, 2], "n_predict": 1, "grammar": "root ::= nowhere"}
    with pytest.raises(SchemaError, match="grammar"):
        engine._server.complete(body, lambda message: False)
    assert text_of(answer(engine, ask(max_new_tokens=4)))


# -- adapters ------------------------------------------------------------------------------------------


def test_an_adapter_is_chosen_for_each_request_and_changes_no_other(
    engine: LlamaCppEngine, small_gguf: Path, tmp_path: Path
) -> None:
    file = models.write_gguf_lora(tmp_path / "adapter.gguf", small_gguf)
    tuned = load(**SMALL, adapters=[str(tmp_path)])
    try:
        assert tuned.capabilities.adapters
        base = ask(max_new_tokens=12)
        laid_over = ask(max_new_tokens=12, adapter=Adapter("sine", str(file)))

        async def both() -> list[list[Chunk]]:
            return await asyncio.gather(*(collect(tuned, one) for one in (base, laid_over, base)))

        one, two, three = asyncio.run(both())
        expected = answer(engine, base)
        assert tokens_of(one) == tokens_of(three) == tokens_of(expected)
        assert [token.logprob for token in tokens_of(two)] != [token.logprob for token in tokens_of(one)]
        with pytest.raises(UnsupportedError, match="'other' was not loaded") as caught:
            answer(tuned, ask(adapter=Adapter("other", "/elsewhere.gguf")))
        assert "adapters" in caught.value.hint
    finally:
        tuned.close()


# -- embeddings ----------------------------------------------------------------------------------------


def test_an_embedding_model_gives_vectors_of_length_one_and_generates_nothing() -> None:
    model = load(task="embedding", pooling="mean", context_length=256)
    try:
        texts = ["The cat sat on the mat.", "A cat is sitting on a mat.", "Revenue rose by four percent."]
        one, two, three = asyncio.run(model.embed(texts))
        assert len(one) == 576
        assert all(math.hypot(*vector) == pytest.approx(1) for vector in (one, two, three))

        def likeness(left: tuple[float, ...], right: tuple[float, ...]) -> float:
            return sum(x * y for x, y in zip(left, right, strict=True))

        assert likeness(one, two) > likeness(one, three)
        assert asyncio.run(model.embed([texts[2], texts[0]]))[1] == pytest.approx(one, abs=1e-3)
        assert model.capabilities.embeddings and not model.capabilities.streaming
        with pytest.raises(UnsupportedError, match="embedding model"):
            answer(model, ask(max_new_tokens=2))
        with pytest.raises(PromptTooLongError, match="256"):
            asyncio.run(model.embed(["word " * 300]))
    finally:
        model.close()


def test_an_embedding_model_whose_file_names_no_pooling_has_to_be_told() -> None:
    with pytest.raises(InvalidArgumentError, match="one vector") as caught:
        load(task="embedding")
    assert "pooling" in caught.value.hint


def test_a_model_that_generates_gives_no_embeddings(engine: LlamaCppEngine) -> None:
    with pytest.raises(UnsupportedError, match="embeddings"):
        asyncio.run(engine.embed(["text"]))


# -- the end -------------------------------------------------------------------------------------------


def test_a_scoring_that_is_abandoned_stops_reading() -> None:
    model = load(slots=1, context_length=4096)

    async def leave() -> bool:
        task = asyncio.ensure_future(model.score("word " * 3500, ["one", "two"]))
        await asyncio.sleep(0.5)
        assert model.active == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for _ in range(200):
            if model.active == 0:
                return True
            await asyncio.sleep(0.01)
        return False

    try:
        assert asyncio.run(leave())
    finally:
        model.close()


def test_closing_in_mid_answer_ends_it_with_an_error() -> None:
    model = load(**SMALL)

    async def interrupted() -> None:
        stream = model.generate(ask(max_new_tokens=500, min_new_tokens=500))
        await anext(stream)
        await asyncio.to_thread(model.close)
        with pytest.raises(ModelyardError, match="unloaded"):
            async for _ in stream:
                pass

    asyncio.run(interrupted())
    assert model.memory == type(model.memory)(0, 0)
