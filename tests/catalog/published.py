"""Published configurations, and small ones of the same making."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).with_name("configs")


def published(name: str) -> dict[str, Any]:
    """The config.json of a model as its publisher put it on the Hub, without what says nothing of its size."""
    found: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def build(config: dict[str, Any], *, real: bool = False) -> Any:
    """The model that transformers makes of a configuration: without memory, or with random numbers."""
    import torch
    import transformers

    kind = config["model_type"]
    rest = {name: value for name, value in config.items() if name != "model_type"}
    made = transformers.AutoConfig.for_model(kind, **rest)
    cls = {
        "gemma3": "AutoModelForImageTextToText", "qwen2_vl": "AutoModelForImageTextToText",
        "qwen2_5_vl": "AutoModelForImageTextToText", "bert": "AutoModel", "t5": "AutoModelForSeq2SeqLM",
        "marian": "AutoModelForSeq2SeqLM", "bart": "AutoModelForSeq2SeqLM",
    }.get(kind, "AutoModelForCausalLM")  # fmt: skip
    with torch.device("cpu" if real else "meta"):
        return getattr(transformers, cls).from_config(made).eval()


_SIZES = {
    "hidden_size": 64, "intermediate_size": 96, "vocab_size": 128, "num_hidden_layers": 4,
    "num_attention_heads": 8,
}  # fmt: skip
_MLA = {
    "num_key_value_heads": 8, "kv_lora_rank": 24, "q_lora_rank": 16, "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4, "v_head_dim": 8, "n_routed_experts": 4, "moe_intermediate_size": 16,
    "num_experts_per_tok": 2,
}  # fmt: skip
_SEES = {
    "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 4, "out_hidden_size": 64,
    "fullatt_block_indexes": [1],
}  # fmt: skip
_PARTS = {"d_model": 64, "vocab_size": 128}

SCALED: dict[str, dict[str, Any]] = {
    "Llama-2-70B": published("llama-2-70b") | _SIZES | {"num_key_value_heads": 2},
    "Gemma-3": {
        "model_type": "gemma3_text",
        **published("gemma-3-4b")["text_config"],
        **_SIZES, "num_hidden_layers": 7, "num_key_value_heads": 2, "head_dim": 16, "sliding_window": 7,
        "rope_scaling": None,
    },
    "DeepSeek-V2": published("deepseek-v2") | _SIZES | _MLA | {"n_group": 2, "topk_group": 1},
    "Mixtral": published("mixtral-8x7b") | _SIZES | {"num_key_value_heads": 2, "num_local_experts": 2},
    "T5": published("t5-large") | _PARTS | {"d_kv": 16, "d_ff": 96, "num_layers": 3, "num_heads": 4},
    "Qwen2.5-VL": published("qwen2.5-vl-7b")
    | _SIZES
    | {"num_key_value_heads": 2, "rope_scaling": {"mrope_section": [1, 1, 2], "type": "mrope"}}
    | {"vision_config": published("qwen2.5-vl-7b")["vision_config"] | _SEES},
    "Mistral 7B v0.1": {"model_type": "mistral", **_SIZES, "num_key_value_heads": 2, "sliding_window": 7},
    "Gemma-2": {
        "model_type": "gemma2", **_SIZES, "num_key_value_heads": 2, "head_dim": 16, "sliding_window": 7,
    },
    "Qwen2 with windows": {
        "model_type": "qwen2", **_SIZES, "num_key_value_heads": 2, "use_sliding_window": True,
        "sliding_window": 6, "max_window_layers": 2,
    },
    "DeepSeek-V3": {
        "model_type": "deepseek_v3", **_SIZES, **_MLA, "n_group": 2, "topk_group": 1,
        "first_k_dense_replace": 1,
    },
    "Phi-3": {
        "model_type": "phi3", **_SIZES, "num_key_value_heads": 2, "sliding_window": 9, "pad_token_id": 0,
    },
    "GPT-2": {"model_type": "gpt2", "n_embd": 64, "n_layer": 3, "n_head": 4, "vocab_size": 128},
    "opus-mt": published("opus-mt-en-fr")
    | _PARTS
    | {"decoder_vocab_size": 128, "encoder_layers": 2, "num_hidden_layers": 2, "decoder_layers": 3, "pad_token_id": 0}
    | {"encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "decoder_start_token_id": 1},
}  # fmt: skip
