"""The KV cache: what transformers allocates, byte for byte, and what the other engines keep of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.catalog.published import SCALED, build, published

from modelyard.catalog.memory.architecture import Architecture, CacheLayer, read_config
from modelyard.catalog.memory.kv_cache import (
    kv_bytes,
    kv_bytes_a_token,
    kv_bytes_expanded,
    kv_bytes_joined,
    kv_bytes_llamacpp,
    kv_bytes_openvino,
    kv_bytes_slots,
    kv_bytes_vllm,
)

BOTH = ("T5", "opus-mt")
ROWS = 3


@pytest.mark.parametrize("name", [name for name in SCALED if name not in BOTH])
@pytest.mark.parametrize(("prompt", "context"), [(5, 5), (5, 9), (12, 12), (12, 20), (20, 21)])
def test_a_decoder_keeps_what_was_predicted(name: str, prompt: int, context: int) -> None:
    """Below a window, across it and far beyond it; read in one pass, and written token by token."""
    import torch

    model = build(SCALED[name], real=True)
    with torch.no_grad():
        cache = model(_ids(prompt), use_cache=True).cache
        for _ in range(context - prompt):
            model(_ids(1), cache=cache, use_cache=True)
    width = model.dtype.itemsize
    expected = kv_bytes(read_config(SCALED[name]), ROWS, context, width=width, reading=prompt == context)
    assert _allocated(cache) == expected > 0


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize(("source", "context"), [(7, 1), (7, 6), (30, 11)])
def test_an_encoder_with_a_decoder_keeps_both_attentions(name: str, source: int, context: int) -> None:
    import torch

    model = build(SCALED[name], real=True)
    with torch.no_grad():
        read = model.get_encoder()(_ids(source))
        cache = None
        for _ in range(context):
            done = model(encoder_outputs=read, decoder_input_ids=_ids(1), cache=cache, use_cache=True)
            cache = done.cache
    expected = kv_bytes(read_config(SCALED[name]), ROWS, context, source=source, width=model.dtype.itemsize)
    assert _allocated(cache) == expected > 0


def test_our_transformers_engine_holds_the_slots_that_were_predicted() -> None:
    import torch

    from modelyard.engines.transformers.cache import SlotCache

    config, prompt, context = SCALED["Llama-2-70B"], 11, 200
    model, cache = build(config, real=True), SlotCache(4, [0] * ROWS, prompt)
    with torch.no_grad():
        for width in [prompt] + [1] * (context - prompt):
            cache.reserve(width)
            model(_ids(width), cache=cache, use_cache=True)
            cache.advance(width)
    assert cache.nbytes == kv_bytes_slots(read_config(config), ROWS, prompt, context, model.dtype.itemsize)


@pytest.mark.parametrize(
    ("name", "context", "gigabytes"),
    [
        ("llama-2-70b", 4096, 1.342),  # 80 layers x 8 heads x 2 x 128 x 2 bytes: 320 KiB a token
        ("mixtral-8x7b", 32768, 4.295),  # 128 KiB a token
        ("deepseek-v2", 32768, 2.265),  # (512 + 64) x 60 layers x 2 bytes (arXiv 2405.04434, table 1)
        ("qwen2.5-vl-7b", 32768, 1.879),  # 56 KiB a token
    ],
)
def test_published_models_take_what_their_papers_say(name: str, context: int, gigabytes: float) -> None:
    assert kv_bytes(read_config(published(name)), 1, context) / 1e9 == pytest.approx(gigabytes, abs=0.001)


def test_gemma_3_keeps_a_window_in_five_layers_of_six() -> None:
    gemma = read_config(published("gemma-3-4b"))
    windows = [layer.window for layer in gemma.cache]
    assert len(windows) == 34 and windows.count(0) == 5 and windows[5] == 0 and windows[0] == 1024
    naive = 34 * 2 * 8 * 256 * 131_072 * 2  # every head, every layer, every token
    assert naive / kv_bytes(gemma, 1, 131_072) == pytest.approx(13.01, abs=0.01)


def test_mla_keeps_its_latent_and_would_be_57_times_larger_unpacked() -> None:
    deepseek = read_config(published("deepseek-v2"))
    assert deepseek.latent == 576
    ratio = kv_bytes_expanded(deepseek, 1, 1000) / kv_bytes(deepseek, 1, 1000)
    assert ratio == pytest.approx(128 * (192 + 128) / 576)


def test_what_keeps_no_known_cache_says_so() -> None:
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    mixed = read_config({"model_type": "new", **sizes, "layer_types": ["linear_attention", "full_attention"]})
    assert mixed.cache == () and "linear_attention" in mixed.unknown
    assert "recurrent" in read_config({"model_type": "mamba", **sizes, "state_size": 16}).unknown
    assert read_config({"model_type": "bert"}).cache == () and not read_config({"model_type": "bert"}).unknown


def test_openvino_keeps_blocks_of_32_tokens() -> None:
    """The pipeline's own figures, measured: 26.71875 MiB and 8.09375 MiB."""
    smollm = Architecture("llama", 576, 1536, 9, 49152, cache=(CacheLayer(3, 64, 64),) * 30)
    qwen = Architecture("qwen2", 1536, 8960, 12, 151936, cache=(CacheLayer(2, 128, 128),) * 28)
    assert kv_bytes_openvino(smollm, 1, 2048) == 26.71875 * 2**20
    assert kv_bytes_openvino(qwen, 1, 512) == kv_bytes_openvino(qwen, 1, 481) == 8.09375 * 2**20


layers = st.lists(
    st.builds(CacheLayer, st.integers(1, 8), st.integers(1, 256), st.integers(1, 256), st.integers(0, 5000)),
    max_size=6,
)


@given(layers, st.integers(1, 50), st.integers(1, 9000), st.integers(0, 9000))
def test_more_work_never_takes_less(cache: list[CacheLayer], batch: int, context: int, more: int) -> None:
    model = Architecture("x", 64, 64, 8, 100, cache=tuple(cache))
    sizes: list[Any] = [
        lambda b, c: kv_bytes(model, b, c),
        lambda b, c: kv_bytes(model, b, c, reading=True),
        lambda b, c: kv_bytes_openvino(model, b, c),
        lambda b, c: kv_bytes_llamacpp(model, b, c),
        lambda b, c: kv_bytes_vllm(model, b, c),
        lambda b, c: kv_bytes_slots(model, b, c, c, 2),
        lambda b, c: kv_bytes_joined(model, b, c, c, 2),
    ]
    for size in sizes:
        assert size(batch, context) <= size(batch, context + more) and size(batch, context) <= size(
            batch + 1, context
        )
    assert kv_bytes(model, batch, context) <= batch * context * kv_bytes_a_token(model)


def _ids(count: int) -> Any:
    import torch

    return torch.randint(2, 99, (ROWS, count))


def _allocated(cache: Any) -> int:
    """Bytes of the memory behind the cache's tensors; a view counts with all that it keeps alive."""
    from transformers.cache_utils import EncoderDecoderCache

    both = isinstance(cache, EncoderDecoderCache)
    parts = [cache.self_attention_cache, cache.cross_attention_cache] if both else [cache]
    tensors = [one for part in parts for layer in part.layers for one in (layer.keys, layer.values)]
    return sum(one.untyped_storage().nbytes() for one in tensors if one is not None)
