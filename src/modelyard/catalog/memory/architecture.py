"""Architecture: what decides a model's memory, read from its config.json under one set of names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelyard.catalog.memory.defaults import complete
from modelyard.errors import CatalogError

# The language model's configuration inside one of several parts, and the type it has where it does not say.
_TEXT = ("text_config", "llm_config", "language_config")
_TEXT_TYPES = {
    "gemma3": "gemma3_text", "qwen2_vl": "qwen2_vl_text", "qwen2_5_vl": "qwen2_5_vl_text",
    "llava": "llama", "paligemma": "gemma",
}  # fmt: skip
_ENCODERS = frozenset({
    "bert", "roberta", "xlm-roberta", "distilbert", "electra", "albert", "mpnet", "deberta", "deberta-v2",
    "modernbert", "nomic_bert",
})  # fmt: skip
MOST_LAYERS = 10_000
_FULL, _SLIDING, _CHUNKED = "full_attention", "sliding_attention", "chunked_attention"
_WINDOWED_BY_CHOICE = ("qwen2", "qwen3")  # only where use_sliding_window says so, and only above a layer
_PATTERNS = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6}  # every n-th layer sees everything


@dataclass(frozen=True, slots=True)
class CacheLayer:
    """What one layer keeps of each token.

    Attributes:
        heads: of keys and values.
        keys: width of one head's keys.
        values: width of one head's values.
        window: tokens that stay; 0 keeps all.
    """

    heads: int
    keys: int
    values: int
    window: int = 0

    @property
    def width(self) -> int:
        """Numbers kept of one token."""
        return self.heads * (self.keys + self.values)


@dataclass(frozen=True, slots=True)
class Architecture:
    """The facts of a model that decide its memory.

    Attributes:
        model_type: of the language model, as transformers or GGUF names it.
        hidden: width of the hidden state.
        intermediate: width inside the feed-forward layers that one token passes.
        heads: of attention.
        vocabulary: entries of the token embedding.
        context_length: tokens the model was made for, 0 where it is not said.
        cache: of each decoder layer that keeps a cache, what it keeps; none for an encoder.
        latent: MLA's compressed row (`kv_lora_rank`) and its rotary part, 0 elsewhere.
        expanded: MLA's keys and values once they are unpacked for the attention itself.
        encoder_layers: of a model with encoder and decoder, else 0.
        dtype: of the published weights.
        quantized: the method by which the published weights are packed already, empty where they are not.
        unknown: why the cache is not known, empty where it is.
        config: the language model's configuration, completed; empty for GGUF.
        outer: the whole configuration, where the language model is one of several parts.
    """

    model_type: str
    hidden: int
    intermediate: int
    heads: int
    vocabulary: int
    context_length: int = 0
    cache: tuple[CacheLayer, ...] = ()
    latent: int = 0
    expanded: CacheLayer | None = None
    encoder_layers: int = 0
    dtype: str = ""
    quantized: str = ""
    unknown: str = ""
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    outer: Mapping[str, Any] = field(default_factory=dict, repr=False)


def read_config(config: Mapping[str, Any]) -> Architecture:
    """The architecture that a config.json describes.

    Raises:
        CatalogError: it lacks the size of the model altogether; names the keys.

    >>> llama = read_config({"model_type": "llama", "num_hidden_layers": 2, "num_key_value_heads": 8})
    >>> len(llama.cache), llama.cache[0].width
    (2, 2048)
    """
    kind, text = _language(config)
    known = complete(text, kind)
    if "tie_word_embeddings" in config:  # the whole model decides, whatever its part says
        known["tie_word_embeddings"] = config["tie_word_embeddings"]
    sizes = {
        name: _count(known, name) for name in ("hidden_size", "num_hidden_layers", "num_attention_heads")
    }
    if missing := [name for name, value in sizes.items() if not value]:
        raise CatalogError(
            f"config.json (model_type {kind or 'missing'}) does not say {', '.join(missing)}",
            hint="Without them nothing can be said of the model's memory.",
        )
    hidden, layers, heads = sizes.values()
    if layers > MOST_LAYERS:
        raise CatalogError(f"config.json says num_hidden_layers: {layers}", hint="Check the file.")
    cache, latent, expanded, unknown = _cache(known, kind, layers, heads, hidden)
    both = bool(known.get("is_encoder_decoder"))
    return Architecture(
        model_type=kind,
        hidden=hidden,
        intermediate=_active(known, hidden),
        heads=heads,
        vocabulary=_count(known, "vocab_size"),
        context_length=_count(known, "max_position_embeddings"),
        cache=cache,
        latent=latent,
        expanded=expanded,
        encoder_layers=(_count(known, "encoder_layers") or layers) if both else 0,
        dtype=_dtype(text) or _dtype(config),
        quantized=_method(config) or _method(text),
        unknown=unknown,
        config=known,
        outer=config if text is not config or "vision_config" in config else {},
    )


def _language(config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The type and configuration of the part that writes text."""
    outer = str(config.get("model_type") or "")
    part = next((config[name] for name in _TEXT if isinstance(config.get(name), Mapping)), None)
    if part is None:
        return _TEXT_TYPES.get(outer, outer), config  # some are published flat
    return str(part.get("model_type") or _TEXT_TYPES.get(outer, outer)), part


def _cache(
    known: Mapping[str, Any], kind: str, layers: int, heads: int, hidden: int
) -> tuple[tuple[CacheLayer, ...], int, CacheLayer | None, str]:
    if kind in _ENCODERS:
        return (), 0, None, ""
    if rank := _count(known, "kv_lora_rank"):
        rope = _count(known, "qk_rope_head_dim")
        # transformers keeps the latent and the shared rotary key, as one head of each (modeling_deepseek_v2).
        layer = CacheLayer(1, rank, rope)
        own = CacheLayer(heads, _count(known, "qk_nope_head_dim") + rope, _count(known, "v_head_dim"))
        return (layer,) * layers, rank + rope, own, ""
    if known.get("is_encoder_decoder"):
        layers = _count(known, "num_decoder_layers") or _count(known, "decoder_layers") or layers
    width = _count(known, "head_dim") or hidden // heads
    kv_heads = _kv_heads(known, heads)
    windows, unknown = _windows(known, kind, layers)
    return tuple(CacheLayer(kv_heads, width, width, one) for one in windows), 0, None, unknown


def _active(known: Mapping[str, Any], hidden: int) -> int:
    """The width inside the feed-forward layers that one token passes, its experts together."""
    dense = _count(known, "intermediate_size") or 4 * hidden
    each = _count(known, "moe_intermediate_size") or dense
    return max(dense, each * (_count(known, "num_experts_per_tok") + _count(known, "n_shared_experts")))


def _kv_heads(known: Mapping[str, Any], heads: int) -> int:
    if known.get("multi_query") is True:  # GPT BigCode and the first Falcons: one head for all
        return 1
    return _count(known, "num_key_value_heads") or _count(known, "num_kv_heads") or heads


def _windows(known: Mapping[str, Any], kind: str, layers: int) -> tuple[list[int], str]:
    """The window of each layer that keeps a cache, 0 for all tokens; and why that is not known."""
    kinds = known.get("layer_types")
    window = _count(known, "sliding_window")
    if isinstance(kinds, list):
        sizes = {_FULL: 0, _SLIDING: window, _CHUNKED: _count(known, "attention_chunk_size")}
        if odd := sorted({str(one) for one in kinds} - set(sizes)):
            return [], f"layers of type {', '.join(odd)} keep a state whose size is not known here"
        shared = _count(known, "num_kv_shared_layers")  # the last layers read the cache of earlier ones
        return [sizes[str(one)] for one in kinds[: layers - shared]], ""
    if _recurrent(known):
        return [], f"{kind or 'this model'} keeps a recurrent state whose size is not known here"
    if kind.startswith(_WINDOWED_BY_CHOICE):
        first = _count(known, "max_window_layers")
        on = window if known.get("use_sliding_window") else 0
        return [on if index >= first else 0 for index in range(layers)], ""
    if pattern := _PATTERNS.get(kind):
        every = _count(known, "sliding_window_pattern") or pattern
        return [window if (index + 1) % every else 0 for index in range(layers)], ""
    return [window] * layers, ""


def _recurrent(known: Mapping[str, Any]) -> bool:
    names = (
        "ssm_cfg",
        "mamba_d_state",
        "state_size",
        "conv_kernel",
        "linear_num_key_heads",
        "attn_layer_period",
    )
    return any(name in known for name in names)


def _count(known: Mapping[str, Any], name: str) -> int:
    value = known.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _dtype(config: Mapping[str, Any]) -> str:
    return str(config.get("dtype") or config.get("torch_dtype") or "").removeprefix("torch.")


def _method(config: Mapping[str, Any]) -> str:
    packed = config.get("quantization_config")
    return str(packed.get("quant_method") or "unknown method") if isinstance(packed, Mapping) else ""
