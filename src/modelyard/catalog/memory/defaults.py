"""Defaults: the values that a config.json leaves out, by `model_type`.

A published configuration often names only what differs from its class; Gemma 3 4B does not even say how many
heads it has. These are the defaults of transformers 5.23 (`src/transformers/models/*/configuration_*.py`);
a test holds them to the installed classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

# What older architectures call the same thing.
ALIASES = MappingProxyType(
    {
        "hidden_size": ("n_embd", "d_model", "dim"),
        "num_hidden_layers": ("n_layer", "num_layers", "n_layers", "decoder_layers"),
        "num_attention_heads": ("n_head", "num_heads", "n_heads", "decoder_attention_heads"),
        "intermediate_size": ("n_inner", "d_ff", "decoder_ffn_dim", "ffn_dim", "hidden_dim"),
        "max_position_embeddings": ("n_positions", "n_ctx", "max_sequence_length", "seq_length"),
        "head_dim": ("d_kv",),
    }
)

_LLAMA = {
    "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "max_position_embeddings": 2048,
}  # fmt: skip
_MISTRAL = {
    **_LLAMA, "intermediate_size": 14336, "num_key_value_heads": 8, "max_position_embeddings": 131072,
}  # fmt: skip
_QWEN2 = {
    **_LLAMA, "vocab_size": 151936, "intermediate_size": 22016, "num_key_value_heads": 32,
    "max_position_embeddings": 32768, "use_sliding_window": False, "sliding_window": 4096,
    "max_window_layers": 28,
}  # fmt: skip
_QWEN2_VL = {
    **_QWEN2, "vocab_size": 152064, "hidden_size": 8192, "intermediate_size": 29568, "num_hidden_layers": 80,
    "num_attention_heads": 64, "num_key_value_heads": 8, "max_window_layers": 80,
}  # fmt: skip
_GEMMA = {
    "vocab_size": 256000, "hidden_size": 3072, "intermediate_size": 24576, "num_hidden_layers": 28,
    "num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 256, "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}  # fmt: skip
_GEMMA2 = {
    **_GEMMA, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
    "num_attention_heads": 8, "num_key_value_heads": 4, "sliding_window": 4096,
}  # fmt: skip
_DEEPSEEK = {
    "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
    "v_head_dim": 128,
}  # fmt: skip
_MARIAN = {
    "vocab_size": 58101, "d_model": 1024, "encoder_layers": 12, "encoder_ffn_dim": 4096,
    "encoder_attention_heads": 16, "decoder_layers": 12, "decoder_ffn_dim": 4096,
    "decoder_attention_heads": 16, "max_position_embeddings": 1024, "is_encoder_decoder": True,
    "tie_word_embeddings": True,
}  # fmt: skip

DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "llama": _LLAMA,
        "mistral": {**_MISTRAL, "sliding_window": 4096},
        "mixtral": {**_MISTRAL, "num_local_experts": 8, "num_experts_per_tok": 2},
        "qwen2": _QWEN2,
        "qwen3": {**_QWEN2, "head_dim": 128},
        "qwen2_vl_text": {**_QWEN2_VL},
        "qwen2_5_vl_text": {**_QWEN2_VL},
        "gemma": _GEMMA,
        "gemma2": _GEMMA2,
        "gemma3_text": {**_GEMMA2, "vocab_size": 262208, "max_position_embeddings": 131072},
        "phi": {
            **_LLAMA, "vocab_size": 51200, "hidden_size": 2048, "intermediate_size": 8192,
            "num_hidden_layers": 24,
        },
        "phi3": {
            **_LLAMA, "vocab_size": 32064, "hidden_size": 3072, "intermediate_size": 8192,
            "max_position_embeddings": 4096,
        },
        "deepseek_v2": {
            **_LLAMA, **_DEEPSEEK, "vocab_size": 102400, "n_routed_experts": 64, "n_shared_experts": 2,
            "moe_intermediate_size": 1407, "first_k_dense_replace": 0,
        },
        "deepseek_v3": {
            **_DEEPSEEK, "vocab_size": 129280, "hidden_size": 7168, "intermediate_size": 18432,
            "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128,
            "max_position_embeddings": 4096, "n_routed_experts": 256, "n_shared_experts": 1,
            "moe_intermediate_size": 2048, "first_k_dense_replace": 3, "num_experts_per_tok": 8,
        },
        "gpt2": {
            "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12,
            "tie_word_embeddings": True,
        },
        "t5": {
            "vocab_size": 32128, "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8,
            "relative_attention_num_buckets": 32, "feed_forward_proj": "relu", "is_encoder_decoder": True,
        },
        "marian": {**_MARIAN, "share_encoder_decoder_embeddings": True},
        "bart": {**_MARIAN, "vocab_size": 50265},
        "bert": {
            "vocab_size": 30522, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
            "num_attention_heads": 12, "max_position_embeddings": 512, "type_vocab_size": 2,
        },
        "qwen2_vl_vision": {
            "depth": 32, "embed_dim": 1280, "hidden_size": 3584, "mlp_ratio": 4, "num_heads": 16,
            "in_channels": 3, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
        },
        "qwen2_5_vl_vision": {
            "depth": 32, "hidden_size": 3584, "intermediate_size": 3420, "num_heads": 16, "in_channels": 3,
            "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 3584,
        },
        "siglip_vision_model": {
            "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_channels": 3,
            "num_attention_heads": 12, "image_size": 224, "patch_size": 16, "vision_use_head": True,
        },
    }
)  # fmt: skip


def complete(config: Mapping[str, Any], model_type: str) -> dict[str, Any]:
    """The configuration with its class's defaults under it, and under today's names too.

    >>> complete({"n_layer": 2}, "gpt2")["num_hidden_layers"]
    2
    """
    known = {**DEFAULTS.get(model_type, {}), **config}
    for name, others in ALIASES.items():
        if name not in config and (found := next((one for one in others if one in known), None)):
            known[name] = known[found]
    return known
