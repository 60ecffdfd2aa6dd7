"""Whether a model fits: predictions, verdicts, and how much work fits with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.catalog.published import published

from modelyard.catalog.gguf import GGUFHeader, TensorInfo
from modelyard.catalog.memory.architecture import read_config
from modelyard.catalog.memory.device import Device, named_gpu
from modelyard.catalog.memory.facts import ModelFacts, of_config, of_gguf
from modelyard.catalog.memory.footprint import How, Workload, footprint, kv_a_token, with_room
from modelyard.catalog.memory.header import converted_bytes, read_header, repacked_bytes
from modelyard.catalog.memory.measured import remember
from modelyard.catalog.memory.verdict import judge, largest_batch, longest_context, predict, usable

GPU = How("transformers", "bfloat16", None, "gpu")


def header(architecture: str = "llama", **values: Any) -> GGUFHeader:
    """SmolLM2's header, or one with other values."""
    sizes = {
        "block_count": 30, "context_length": 8192, "embedding_length": 576, "feed_forward_length": 1536,
        "attention.head_count": 9, "attention.head_count_kv": 3,
    }  # fmt: skip
    known = {
        f"{architecture}.{name.replace('__', '.')}": value for name, value in {**sizes, **values}.items()
    }
    tensors = (
        TensorInfo("token_embd.weight", (576, 49152), "Q8_0"),
        TensorInfo("blk.0.attn_q.weight", (576, 184320), "Q4_1"),
        TensorInfo("output_norm.weight", (35136,), "F32"),
    )
    metadata = {"general.architecture": architecture, "general.file_type": 3, **known}
    return GGUFHeader(3, metadata, {"tokenizer.ggml.tokens": 49152}, tensors)


FACTS = {
    "llama": of_config(published("llama-2-70b")),
    "gemma": of_config(published("gemma-3-4b")),
    "deepseek": of_config(published("deepseek-v2")),
    "t5": of_config(published("t5-large")),
    "gguf": of_gguf(header(), 98_362_432),
    "llama_gguf": of_gguf(header(context_length=32_768), 98_362_432),
}


def of_bytes(size: int) -> Device:
    return Device("a test's", "gpu", size, size)


@pytest.fixture(autouse=True)
def unmeasured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_DATA", str(tmp_path / "data"))


@pytest.mark.parametrize(
    ("name", "gpu", "verdict"),
    [
        ("llama-2-70b", "a100-80gb", "fits at 4-bit"),
        ("llama-2-70b", "rtx4090", "does not fit"),
        ("gemma-3-4b", "t4", "fits"),
        ("gemma-3-27b", "rtx4090", "fits at 4-bit"),
        ("mixtral-8x7b", "a100-80gb", "does not fit"),  # its experts are not packed
        ("mixtral-8x7b", "h200", "fits"),
        ("deepseek-v2", "h200", "does not fit"),
        ("flan-t5-xl", "l4", "fits"),
        ("qwen2.5-vl-7b", "l4", "fits"),
    ],
)
def test_published_models_on_gpus(name: str, gpu: str, verdict: str) -> None:
    found = judge(of_config(published(name)), Workload(1, 2048), GPU, named_gpu(gpu), may_pack=True)
    assert found.verdict == verdict, found.why
    assert (found.longest > 0) == (found.largest > 0) == (verdict != "does not fit")


def test_a_tenth_of_the_memory_stays_free() -> None:
    peak = predict(FACTS["llama"], Workload(1, 2048), GPU)
    assert peak is not None
    enough, short = peak.needed * 10 // 9 + 10, peak.needed * 10 // 9 - 10
    assert judge(FACTS["llama"], Workload(1, 2048), GPU, of_bytes(enough)).verdict == "fits"
    assert judge(FACTS["llama"], Workload(1, 2048), GPU, of_bytes(short)).verdict == "does not fit"


def test_what_is_asked_for_at_4_bit_is_not_packed_again() -> None:
    how = How("transformers", "bfloat16", "4bit", "gpu")
    found = judge(FACTS["llama"], Workload(1, 2048), how, of_bytes(20 * 10**9), may_pack=True)
    assert found.verdict == "does not fit" and found.packed is None


def test_experts_that_stay_unpacked_are_told() -> None:
    found = predict(
        of_config(published("mixtral-8x7b")), Workload(), How("transformers", "bfloat16", "4bit", "gpu")
    )
    assert found is not None and "97% of its numbers stay as they are" in found.notes[0]


def test_too_little_known_is_no_verdict() -> None:
    new = of_config(
        {"model_type": "brandnew", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    )
    found = judge(new, Workload(), GPU, of_bytes(10**12))
    assert found.verdict == "not known" and "brandnew" in found.why
    mamba = of_config(
        {
            "model_type": "mamba",
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "state_size": 16,
        },
        index={"metadata": {"total_size": 100}},
    )
    assert "recurrent" in judge(mamba, Workload(), GPU, of_bytes(10**12)).why
    assert judge(ModelFacts(unknown=("why",)), Workload(), GPU, of_bytes(10)).why == "why"
    assert footprint(FACTS["gguf"], Workload(), How("endpoint")) is None
    assert footprint(FACTS["llama"], Workload(), How("llamacpp")) is None  # no GGUF file


def test_a_measurement_corrects_what_comes_after() -> None:
    facts = of_gguf(header(), 98_362_432, "sha256:a")
    how, work = How("openvino"), Workload(1, 2048)
    before = predict(facts, work, how)
    assert before is not None
    remember("sha256:a", "openvino", before.predicted, before.predicted * 5 // 4, dtype=how.dtype)
    after = predict(facts, work, how)
    assert after is not None and after.total == pytest.approx(before.total * 1.25, rel=1e-6)
    assert after.predicted == before.predicted and "measured here with this model" in after.notes[-1]
    room = before.total + 30_000_000
    assert longest_context(facts, how, room) < longest_context(of_gguf(header(), 98_362_432), how, room)


loads = st.builds(Workload, st.integers(1, 40), st.integers(2, 20_000), st.none() | st.integers(1, 400))
hows = st.sampled_from(
    [
        GPU, How("transformers", "float32"), How("transformers", "bfloat16", "4bit"), How("openvino"),
        How("llamacpp"), How("llamacpp", options={"slots": 2}), How("vllm", "bfloat16", None, "gpu"),
    ]
)  # fmt: skip


@given(st.sampled_from(sorted(FACTS)), loads, hows, st.integers(0, 5), st.integers(0, 5000))
def test_more_work_never_takes_less(name: str, load: Workload, how: How, more: int, longer: int) -> None:
    def peak(batch: int, context: int) -> int:
        found = footprint(FACTS[name], Workload(batch, context), how)
        return found.predicted if found else 0

    now = peak(load.batch, load.context)
    assert now <= peak(load.batch + more, load.context) and now <= peak(load.batch, load.context + longer)


@settings(max_examples=50)
@given(st.sampled_from(sorted(FACTS)), hows, st.integers(1, 700), st.integers(2, 6000))
def test_the_limits_fit_and_one_more_does_not(name: str, how: How, gigabytes: int, context: int) -> None:
    facts, room = FACTS[name], gigabytes * 10**9
    found = footprint(facts, Workload(1, 1), how)
    if found is None:
        return
    limit = facts.architecture.context_length if facts.architecture else 0
    longest = longest_context(facts, how, room)
    if longest:
        assert _peak(facts, Workload(1, longest), how) <= room
    if longest < (limit or 1 << 20):
        assert _peak(facts, Workload(1, longest + 1), how) > room
    largest = largest_batch(facts, how, room, Workload(1, context))
    if largest:
        assert _peak(facts, Workload(largest, context), how) <= room
    if largest < 4096:
        assert _peak(facts, Workload(largest + 1, context), how) > room


def _peak(facts: ModelFacts, load: Workload, how: How) -> int:
    found = footprint(facts, load, with_room(how, load))
    assert found is not None
    return found.needed


def test_a_longer_context_than_the_model_has_is_not_promised() -> None:
    assert longest_context(FACTS["llama"], GPU, 10**15) == 4096


def test_usable_memory_is_what_is_free_now() -> None:
    assert usable(Device("x", "cpu", 100, 50)) == 45


def test_llamacpp_holds_every_slot_from_the_start_and_tells_the_options_for_more() -> None:
    small = footprint(FACTS["gguf"], Workload(1, 100), How("llamacpp"))
    assert small is not None and small.kv_cache == 5 * 8192 * 23_040
    queued = footprint(FACTS["gguf"], Workload(16, 100), How("llamacpp"))
    assert queued is not None and queued.kv_cache == small.kv_cache
    large = judge(FACTS["llama_gguf"], Workload(16, 16_384), How("llamacpp"), of_bytes(10**12))
    assert large.predicted is not None and large.predicted.kv_cache == 17 * 16_384 * 23_040
    assert large.how.options == {"slots": 16, "context_length": 16_384}
    given = footprint(
        FACTS["gguf"], Workload(1, 100), How("llamacpp", options={"slots": 1, "context_length": 512})
    )
    assert given is not None and given.kv_cache == 2 * 512 * 23_040


def test_a_gguf_header_tells_the_same_as_a_config() -> None:
    model = read_header(header())
    assert (model.hidden, model.heads, model.vocabulary, model.context_length) == (576, 9, 49152, 8192)
    assert len(model.cache) == 30 and model.cache[0].width == 3 * 128
    config = {
        "model_type": "llama", "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9,
        "num_key_value_heads": 3,
    }  # fmt: skip
    assert model.cache == read_config(config).cache


def test_a_gguf_header_has_windows_mla_experts_and_heads_by_layer() -> None:
    gemma = read_header(header("gemma3", attention__sliding_window=512, attention__key_length=256))
    assert [layer.window for layer in gemma.cache[:7]] == [512] * 5 + [0, 512] and gemma.cache[0].keys == 256
    mla = read_header(header("deepseek2", attention__kv_lora_rank=512, rope__dimension_count=64))
    assert mla.latent == 576 and mla.cache[0].width == 576
    experts = read_header(header("qwen2moe", expert_used_count=4, expert_feed_forward_length=1000))
    assert experts.intermediate == 4000
    mixed = read_header(header("openelm", attention__head_count_kv=[1, 2] * 15))
    assert [layer.heads for layer in mixed.cache[:4]] == [1, 2, 1, 2]


@pytest.mark.parametrize("architecture", ["mamba2", "rwkv7"])
def test_a_recurrent_gguf_is_not_guessed_at(architecture: str) -> None:
    assert "recurrent" in read_header(header(architecture)).unknown
    assert "how many layers" in read_header(header("llama", block_count=10**12)).unknown
    assert "how many layers" in read_header(header("llama", attention__head_count=0)).unknown


def test_openvinos_conversion_is_known_to_within_a_hundredth() -> None:
    assert converted_bytes(header()) == pytest.approx(147_228_380, rel=0.01)  # measured: openvino_model.bin
    odd = GGUFHeader(3, {}, {}, (TensorInfo("w", (64, 4), "IQ2_XS"),))
    assert converted_bytes(odd) is None and repacked_bytes(odd) == 0
    packed = GGUFHeader(
        3,
        {},
        {},
        (TensorInfo("a.weight", (256, 4), "Q4_K"), TensorInfo("token_embd.weight", (256, 9), "Q4_K")),
    )
    assert repacked_bytes(packed) == 4 * 144


def test_a_token_costs_what_the_engine_keeps() -> None:
    model = read_header(header())
    assert kv_a_token(model, How("openvino")) == 13_680
    assert kv_a_token(model, How("llamacpp")) == 23_040
    assert kv_a_token(model, How("transformers", "float32")) == 46_080
