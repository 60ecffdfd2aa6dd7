"""Parameters: how many numbers a model has, worked out from its configuration alone.

Each function adds up the layers of one family as `transformers` 5.23 builds them (`modeling_*.py`); a test
compares every one with the model that `AutoModel.from_config` builds without memory. An architecture that is
not here is not guessed at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.catalog.memory.architecture import Architecture
from modelyard.catalog.memory.defaults import complete

Config = Mapping[str, Any]

# bitsandbytes' NF4: one scale for 64 weights; with double quantisation these are 8-bit themselves, 256 of them
# sharing a 4-byte scale (Dettmers et al. 2023, arXiv 2305.14314, section 3).
_BLOCK, _BLOCKS_TOGETHER = 64, 256


@dataclass(slots=True)
class Tally:
    """Numbers of a model, by what quantisation does to them.

    Attributes:
        packed: in the linear layers that bitsandbytes packs.
        rows: outputs of those layers; 8-bit keeps one scale for each.
        blocks: of 64 weights in those layers; 4-bit keeps one scale for each.
        groups: of 256 such blocks; 4-bit keeps one scale of scales for each.
        embedding: in token embeddings and the output layer, which stay as they are.
        rest: in norms, biases, convolutions, and experts (which transformers 5 stacks into one tensor, where
            bitsandbytes does not find them).
        wide: that stay in float32 whatever the others are: the routers of DeepSeek's experts, since
            transformers 5.24.
    """

    packed: int = 0
    rows: int = 0
    blocks: int = 0
    groups: int = 0
    embedding: int = 0
    rest: int = 0
    wide: int = 0

    @property
    def total(self) -> int:
        """All numbers, tied ones once."""
        return self.packed + self.embedding + self.rest + self.wide

    def linear(self, inputs: int, outputs: int, *, bias: bool = False, times: int = 1) -> None:
        """Adds linear layers."""
        self.packed += inputs * outputs * times
        self.rows += outputs * times
        blocks = -(-inputs * outputs // _BLOCK)
        self.blocks += blocks * times
        self.groups += -(-blocks // _BLOCKS_TOGETHER) * times
        self.rest += outputs * times if bias else 0


def count_parameters(model: Architecture) -> Tally | None:
    """The numbers of a model, None where its architecture is not known here.

    >>> from modelyard.catalog.memory.architecture import read_config
    >>> count_parameters(read_config({"model_type": "gpt2"})).total
    124439808
    """
    count = _FAMILIES.get(model.model_type)
    if count is None:
        return None
    tally = Tally()
    vision = model.outer.get("vision_config")
    see = _VISION.get(str(model.outer.get("model_type")))
    if vision is not None and see is None:
        return None
    try:
        count(tally, model.config)
        if vision is not None and see is not None:
            see(tally, vision, model)
    except (TypeError, KeyError, ValueError, ArithmeticError):
        return None  # a value is missing or of another kind
    return tally


def parameters_unknown(model: Architecture) -> str:
    """Why the count is not known, in words."""
    return (
        f"the parameters of architecture '{model.model_type}' cannot be counted from its configuration here"
    )


# ---- decoders in the line of Llama ----


def _attention(t: Tally, c: Config, *, bias: bool, output_bias: bool) -> None:
    hidden, heads = c["hidden_size"], c["num_attention_heads"]
    width = c.get("head_dim") or hidden // heads
    kv = (c.get("num_key_value_heads") or heads) * width
    t.linear(hidden, heads * width, bias=bias)
    t.linear(hidden, kv, bias=bias, times=2)
    t.linear(heads * width, hidden, bias=output_bias)


def _gated(t: Tally, hidden: int, inner: int, *, bias: bool = False, times: int = 1) -> None:
    t.linear(hidden, inner, bias=bias, times=2 * times)
    t.linear(inner, hidden, bias=bias, times=times)


def _ends(t: Tally, c: Config, *, tied: bool) -> None:
    """The embedding, the last norm, and the output layer where it is one of its own."""
    t.embedding += c["vocab_size"] * c["hidden_size"] * (1 if tied else 2)
    t.rest += c["hidden_size"]


def _llama(
    t: Tally, c: Config, *, bias: bool | None = None, norms: int = 2, head_norms: bool = False
) -> None:
    own = bool(c.get("attention_bias"))
    layers = c["num_hidden_layers"]
    for _ in range(layers):
        _attention(t, c, bias=own if bias is None else bias, output_bias=own)
        _gated(t, c["hidden_size"], c["intermediate_size"], bias=bool(c.get("mlp_bias")))
    t.rest += layers * (norms * c["hidden_size"] + (2 * c["head_dim"] if head_norms else 0))
    _ends(t, c, tied=bool(c.get("tie_word_embeddings")))


def _mixtral(t: Tally, c: Config) -> None:
    hidden, layers, experts = c["hidden_size"], c["num_hidden_layers"], c["num_local_experts"]
    for _ in range(layers):
        _attention(t, c, bias=False, output_bias=False)
    t.rest += layers * (2 * hidden + experts * hidden + 3 * experts * hidden * c["intermediate_size"])
    _ends(t, c, tied=bool(c.get("tie_word_embeddings")))


def _deepseek(t: Tally, c: Config) -> None:
    hidden, layers, inner = c["hidden_size"], c["num_hidden_layers"], c["moe_intermediate_size"]
    heads, rank, rope = c["num_attention_heads"], c["kv_lora_rank"], c["qk_rope_head_dim"]
    keys, values = c["qk_nope_head_dim"], c["v_head_dim"]
    bias = bool(c.get("attention_bias"))
    for layer in range(layers):
        if queries := c.get("q_lora_rank"):
            t.linear(hidden, queries, bias=bias)
            t.linear(queries, heads * (keys + rope))
            t.rest += queries
        else:
            t.linear(hidden, heads * (keys + rope))
        t.linear(hidden, rank + rope, bias=bias)
        t.linear(rank, heads * (keys + values))
        t.linear(heads * values, hidden, bias=bias)
        t.rest += rank + 2 * hidden
        if layer < (c.get("first_k_dense_replace") or 0):
            _gated(t, hidden, c["intermediate_size"])
            continue
        experts = c["n_routed_experts"]
        t.rest += 3 * experts * hidden * inner
        t.wide += hidden * experts
        _gated(t, hidden, inner * c["n_shared_experts"])
    _ends(t, c, tied=bool(c.get("tie_word_embeddings")))


def _phi(t: Tally, c: Config) -> None:
    hidden, layers = c["hidden_size"], c["num_hidden_layers"]
    for _ in range(layers):
        _attention(t, c, bias=True, output_bias=True)
        t.linear(hidden, c["intermediate_size"], bias=True)
        t.linear(c["intermediate_size"], hidden, bias=True)
    norms = 4 * hidden // c["num_attention_heads"] if c.get("qk_layernorm") else 0
    t.rest += layers * (2 * hidden + norms) + hidden + c["vocab_size"]  # the output layer has a bias
    _ends(t, c, tied=bool(c.get("tie_word_embeddings")))


def _gpt2(t: Tally, c: Config) -> None:
    hidden, layers = c["hidden_size"], c["num_hidden_layers"]
    inner = c.get("n_inner") or 4 * hidden
    for _ in range(layers):
        t.linear(hidden, 3 * hidden, bias=True)
        t.linear(hidden, hidden, bias=True)
        t.linear(hidden, inner, bias=True)
        t.linear(inner, hidden, bias=True)
    t.rest += layers * 4 * hidden + hidden + c["max_position_embeddings"] * hidden
    _ends(t, c, tied=bool(c.get("tie_word_embeddings", True)))


# ---- encoders, and encoders with decoders ----


def _bert(t: Tally, c: Config) -> None:
    hidden, layers, inner = c["hidden_size"], c["num_hidden_layers"], c["intermediate_size"]
    for _ in range(layers):
        t.linear(hidden, hidden, bias=True, times=4)
        t.linear(hidden, inner, bias=True)
        t.linear(inner, hidden, bias=True)
    t.linear(hidden, hidden, bias=True)  # the pooler
    t.rest += (
        layers * 4 * hidden + 2 * hidden + (c["max_position_embeddings"] + c["type_vocab_size"]) * hidden
    )
    t.embedding += c["vocab_size"] * hidden


def _t5(t: Tally, c: Config) -> None:
    hidden, inner = c["d_model"], c["d_ff"]
    width = c["num_heads"] * c["d_kv"]
    encoder, decoder = c["num_layers"], c.get("num_decoder_layers") or c["num_layers"]
    attentions = encoder + 2 * decoder
    t.linear(hidden, width, times=3 * attentions)
    t.linear(width, hidden, times=attentions)
    gates = 2 if str(c["feed_forward_proj"]).startswith("gated") else 1
    t.linear(hidden, inner, times=gates * (encoder + decoder))
    t.rest += (
        inner * hidden * (encoder + decoder)
    )  # `wo` is kept as it is (modeling_t5._keep_in_fp32_modules)
    t.rest += hidden * (2 * encoder + 3 * decoder + 2)
    t.rest += 2 * c["relative_attention_num_buckets"] * c["num_heads"]
    # The first T5s share one embedding; T5 1.1 and Flan publish an output layer of its own beside it, and a
    # published layer that differs is not tied (modeling_utils.tie_weights).
    t.embedding += c["vocab_size"] * hidden * (1 if c.get("tie_word_embeddings", True) else 2)


def _marian(t: Tally, c: Config) -> None:
    hidden = c["d_model"]
    _two_stacks(t, c)
    t.rest += 2 * c["max_position_embeddings"] * hidden
    shared = c.get("share_encoder_decoder_embeddings", True)
    second = c.get("decoder_vocab_size") or c["vocab_size"]
    t.embedding += (c["vocab_size"] + (0 if shared else second)) * hidden


def _bart(t: Tally, c: Config) -> None:
    hidden = c["d_model"]
    _two_stacks(t, c)
    t.rest += 2 * (c["max_position_embeddings"] + 2) * hidden + 4 * hidden  # positions, norms of embeddings
    t.embedding += c["vocab_size"] * hidden


def _two_stacks(t: Tally, c: Config) -> None:
    """Encoder and decoder as in BART (arXiv 1910.13461), with biases and a norm behind each part."""
    hidden = c["d_model"]
    for layers, attentions, inner in (
        (c["encoder_layers"], 1, c["encoder_ffn_dim"]),
        (c["decoder_layers"], 2, c["decoder_ffn_dim"]),
    ):
        t.linear(hidden, hidden, bias=True, times=4 * attentions * layers)
        t.linear(hidden, inner, bias=True, times=layers)
        t.linear(inner, hidden, bias=True, times=layers)
        t.rest += 2 * hidden * (attentions + 1) * layers


# ---- what sees ----


def _siglip(t: Tally, given: Config, model: Architecture) -> None:
    c = complete(given, "siglip_vision_model")
    hidden, layers, inner = c["hidden_size"], c["num_hidden_layers"], c["intermediate_size"]
    for _ in range(layers):
        t.linear(hidden, hidden, bias=True, times=4)
        t.linear(hidden, inner, bias=True)
        t.linear(inner, hidden, bias=True)
    patches = (c["image_size"] // c["patch_size"]) ** 2
    t.rest += layers * 4 * hidden + 2 * hidden + patches * hidden
    t.rest += c["num_channels"] * c["patch_size"] ** 2 * hidden + hidden
    if c["vision_use_head"]:  # attention pooling: packed input projection as a tensor, an MLP as layers
        t.rest += 3 * hidden * hidden + 3 * hidden + hidden * hidden + hidden + 3 * hidden
        t.linear(hidden, inner, bias=True)
        t.linear(inner, hidden, bias=True)
    t.rest += hidden * model.hidden + hidden  # Gemma 3's projector, a plain tensor, and its norm


def _qwen_vision(t: Tally, given: Config, model: Architecture) -> None:
    second = model.outer["model_type"] == "qwen2_5_vl"
    c = complete(given, "qwen2_5_vl_vision" if second else "qwen2_vl_vision")
    hidden, layers = c["hidden_size"] if second else c["embed_dim"], c["depth"]
    for _ in range(layers):
        t.linear(hidden, 3 * hidden, bias=True)
        t.linear(hidden, hidden, bias=True)
        if second:
            _gated(t, hidden, c["intermediate_size"], bias=True)
        else:
            inner = int(hidden * c["mlp_ratio"])
            t.linear(hidden, inner, bias=True)
            t.linear(inner, hidden, bias=True)
    t.rest += layers * (2 if second else 4) * hidden
    t.rest += c["in_channels"] * c["temporal_patch_size"] * c["patch_size"] ** 2 * hidden
    merged = hidden * c["spatial_merge_size"] ** 2
    t.rest += hidden if second else 2 * hidden
    t.linear(merged, merged, bias=True)
    t.linear(merged, c["out_hidden_size"] if second else c["hidden_size"], bias=True)


def _with_bias(t: Tally, c: Config) -> None:
    _llama(t, c, bias=True)


def _head_norms(t: Tally, c: Config) -> None:
    _llama(t, c, head_norms=True)


def _gemma2(t: Tally, c: Config) -> None:
    _llama(t, c, norms=4)


def _gemma3(t: Tally, c: Config) -> None:
    _llama(t, c, norms=4, head_norms=True)


def _plain(t: Tally, c: Config) -> None:
    _llama(t, c)


_FAMILIES: Mapping[str, Callable[[Tally, Config], None]] = {
    "llama": _plain, "mistral": _plain, "gemma": _plain, "phi3": _plain, "qwen2": _with_bias,
    "qwen2_vl_text": _with_bias, "qwen2_5_vl_text": _with_bias, "qwen3": _head_norms, "gemma2": _gemma2,
    "gemma3_text": _gemma3, "mixtral": _mixtral, "deepseek_v2": _deepseek, "deepseek_v3": _deepseek,
    "phi": _phi, "gpt2": _gpt2, "bert": _bert, "t5": _t5, "marian": _marian, "bart": _bart,
}  # fmt: skip
_VISION: Mapping[str, Callable[[Tally, Config, Architecture], None]] = {
    "gemma3": _siglip, "qwen2_vl": _qwen_vision, "qwen2_5_vl": _qwen_vision,
}  # fmt: skip
