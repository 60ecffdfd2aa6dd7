"""Header: the same facts from a GGUF file, and what OpenVINO makes of its tensors."""

from __future__ import annotations

import math
from typing import Any

from modelyard.catalog.gguf import GGUFHeader
from modelyard.catalog.memory.architecture import MOST_LAYERS, Architecture, CacheLayer

_PATTERNS = {"gemma2": 2, "gemma3": 6, "cohere2": 4}  # every n-th layer sees everything (llama-model.cpp)
_RECURRENT = frozenset(
    {"mamba", "mamba2", "rwkv6", "rwkv7", "jamba", "qwen3next", "falcon-h1", "granitehybrid"}
)
_ENCODERS = frozenset({"bert", "nomic-bert", "jina-bert-v2", "modern-bert"})

# What becomes of a block for OpenVINO: bytes of one weight, and weights that share a 2-byte scale and a zero point of
# the weight's own width. Q4_1 and Q4_K are kept in 8 bits (engines/openvino/zeros.py). Within 1% of the converted files
# of the two starter models.
_CONVERTED = {
    "Q4_0": (0.5, 32), "Q4_1": (1.0, 32), "Q4_K": (1.0, 32), "Q8_0": (1.0, 32), "Q6_K": (1.0, 16),
    "F16": (2.0, 0), "BF16": (2.0, 0), "F32": (4.0, 0),
}  # fmt: skip


def read_header(header: GGUFHeader) -> Architecture:
    """The architecture that a GGUF header describes."""
    cache, latent, expanded, unknown = _cache(header)
    return Architecture(
        model_type=header.architecture,
        hidden=header.embedding_length,
        intermediate=_active(header),
        heads=header.head_count,
        vocabulary=header.vocabulary_size or _of(header, "vocab_size"),
        context_length=header.context_length,
        cache=cache,
        latent=latent,
        expanded=expanded,
        dtype=header.file_type,
        quantized=header.file_type,
        unknown=unknown,
    )


def _cache(header: GGUFHeader) -> tuple[tuple[CacheLayer, ...], int, CacheLayer | None, str]:
    kind, layers = header.architecture, header.block_count
    if kind in _ENCODERS:
        return (), 0, None, ""
    if kind in _RECURRENT or _of(header, "ssm.state_size"):
        return (), 0, None, f"{kind} keeps a recurrent state whose size is not known here"
    if not 0 < layers <= MOST_LAYERS or not header.head_count:
        return (), 0, None, "the header does not say how many layers and heads the model has"
    keys = header.key_length
    values = _of(header, "attention.value_length") or keys
    if rank := _of(header, "attention.kv_lora_rank"):
        rope = _of(header, "rope.dimension_count")
        wide = _of(header, "attention.key_length_mla") or keys
        own = CacheLayer(header.head_count, wide, _of(header, "attention.value_length_mla") or values)
        return (CacheLayer(1, rank, rope),) * layers, rank + rope, own, ""
    window = _of(header, "attention.sliding_window")
    every = _PATTERNS.get(kind, 0)
    heads = header.metadata.get(f"{kind}.attention.head_count_kv")
    each = heads if isinstance(heads, list) and len(heads) == layers else [header.head_count_kv] * layers
    own_windows = [window if every and (index + 1) % every else 0 for index in range(layers)]
    layered = tuple(CacheLayer(int(each[i]), keys, values, own_windows[i]) for i in range(layers))
    return layered, 0, None, ""


def _active(header: GGUFHeader) -> int:
    """The width inside the feed-forward layers that one token passes, its experts together."""
    dense = _of(header, "feed_forward_length")
    expert = _of(header, "expert_feed_forward_length") or dense
    return max(dense, expert * _of(header, "expert_used_count"))


def converted_bytes(header: GGUFHeader) -> int | None:
    """Bytes of the weights once OpenVINO has read the file; None for tensors that it does not read.

    >>> from modelyard.catalog.gguf import TensorInfo
    >>> converted_bytes(GGUFHeader(3, {}, {}, (TensorInfo("w", (64, 2), "Q4_1"),)))
    140
    """
    total = 0.0
    for tensor in header.tensors:
        if tensor.type not in _CONVERTED:
            return None
        each, group = _CONVERTED[tensor.type]
        count = math.prod(tensor.shape)
        total += count * each + (count / group * (2 + each) if group else 0)
    return int(total)


def largest_tensor(header: GGUFHeader) -> int:
    """Numbers of the largest tensor."""
    return max((math.prod(tensor.shape) for tensor in header.tensors), default=0)


def repacked_bytes(header: GGUFHeader) -> int:
    """Bytes of the tensors that llama.cpp copies into another order for the CPU (ggml-cpu/repack.cpp).

    Matrices of 4-bit blocks are; embeddings are only looked up, and stay in the file.
    """
    blocks = {"Q4_0": 18 / 32, "Q4_K": 144 / 256, "IQ4_NL": 18 / 32}
    found = (
        math.prod(tensor.shape) * blocks[tensor.type]
        for tensor in header.tensors
        if tensor.type in blocks and len(tensor.shape) > 1 and tensor.name != "token_embd.weight"
    )
    return int(sum(found))


def _of(header: GGUFHeader, key: str) -> int:
    value: Any = header.metadata.get(f"{header.architecture}.{key}")
    numbers = value if isinstance(value, list) else [value]
    return max((one for one in numbers if isinstance(one, int) and not isinstance(one, bool)), default=0)
