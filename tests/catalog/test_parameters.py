"""Parameters: as published, and as transformers builds them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.catalog.published import SCALED, build, published

from modelyard.catalog.memory.architecture import read_config
from modelyard.catalog.memory.defaults import DEFAULTS, complete
from modelyard.catalog.memory.facts import of_config
from modelyard.catalog.memory.parameters import count_parameters

# As the publishers' own index files (total_size over two bytes) and model pages give them.
PUBLISHED = {
    "llama-2-70b": 68_976_648_192,
    "gemma-3-4b": 4_300_079_472,
    "gemma-3-27b": 27_432_406_640,
    "deepseek-v2": 235_741_434_880,
    "mixtral-8x7b": 46_702_792_704,
    "t5-large": 737_668_096,
    "flan-t5-xl": 2_849_757_184,
    "qwen2.5-vl-7b": 8_292_166_656,
}
# Two layers of each class's own defaults, and every branch of the formulas.
BOTH = ("t5", "marian", "bart")
VARIANTS: dict[str, dict[str, Any]] = {
    **{kind: {"num_hidden_layers": 2} for kind in DEFAULTS if not kind.endswith(("_vision", "_model", "_text"))},
    "llama, biases": {"model_type": "llama", "num_hidden_layers": 2, "attention_bias": True, "mlp_bias": True},
    "llama, tied": {"model_type": "llama", "num_hidden_layers": 2, "tie_word_embeddings": True},
    **{kind: {} for kind in BOTH},
    "gemma3_text": {"model_type": "gemma3_text", "num_hidden_layers": 2},
    "phi, norms of heads": {"model_type": "phi", "num_hidden_layers": 2, "qk_layernorm": True},
    "deepseek_v2, queries whole": {"model_type": "deepseek_v2", "num_hidden_layers": 2, "q_lora_rank": None},
    "t5, fewer decoders": {"model_type": "t5", "num_decoder_layers": 2, "feed_forward_proj": "gated-gelu"},
    "qwen2_vl": {"model_type": "qwen2_vl", "vision_config": {}, "num_hidden_layers": 2},
    "gemma3, with a head": {
        "model_type": "gemma3",
        "text_config": {"num_hidden_layers": 2},
        "vision_config": {
            "model_type": "siglip_vision_model", "hidden_size": 64, "num_attention_heads": 4,
            "num_hidden_layers": 2,
        },
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_count_is_the_published_one(name: str) -> None:
    tally = count_parameters(read_config(published(name)))
    assert tally is not None and tally.total == PUBLISHED[name]


@pytest.mark.parametrize(
    "name", ["Llama-2-70B", "gemma-3-4b", "deepseek-v2", "mixtral-8x7b", "t5-large", "qwen2.5-vl-7b"]
)
def test_the_count_is_that_of_the_model_that_transformers_builds(name: str) -> None:
    config = published(name.lower())
    assert _tally(config) == _built(config)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_family_is_counted_and_split_as_transformers_builds_it(name: str) -> None:
    config = {"model_type": name, **VARIANTS[name]}
    assert _tally(config) == _built(config)


@pytest.mark.parametrize("name", SCALED)
def test_scaled_down_configurations_are_counted_too(name: str) -> None:
    assert _tally(SCALED[name])[0] == _built(SCALED[name])[0]


@pytest.mark.parametrize("kind", DEFAULTS)
def test_the_defaults_are_those_of_the_installed_classes(kind: str) -> None:
    from transformers import AutoConfig

    made = AutoConfig.for_model(kind)
    for name, value in DEFAULTS[kind].items():
        own = getattr(made, name)
        assert own == value or (name == "sliding_window" and not getattr(made, "use_sliding_window", True)), (
            name
        )


@pytest.mark.parametrize("kind", DEFAULTS)
def test_no_default_that_decides_a_size_is_left_out(kind: str) -> None:
    if kind.endswith(("_vision", "_model")):
        pytest.skip("a part that sees is only counted")
    from transformers import AutoConfig

    made = AutoConfig.for_model(kind)
    known = complete({}, kind)
    for name in (
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "vocab_size",
        "tie_word_embeddings",
    ):
        if name == "tie_word_embeddings":
            if not kind.endswith("_vl_text"):  # the whole model says it, not this part
                assert bool(known.get(name, kind in ("t5", "bert"))) == bool(getattr(made, name)), name
        else:
            assert known[name] == getattr(made, name), name


def test_an_architecture_that_is_not_known_is_not_guessed_at() -> None:
    config = {"model_type": "brandnew", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    facts = of_config(config)
    assert facts.parameters is None and facts.stored is None
    assert "architecture 'brandnew' cannot be counted" in facts.unknown[0]
    assert of_config(config, index={"metadata": {"total_size": 77}}).stored == 77


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"model_type": "brandnew"},
        {"model_type": "gpt2", "n_layer": 10**12},
        {"model_type": "llama", "hidden_size": "x"},
    ],
)
def test_a_config_without_sizes_says_what_it_lacks(config: dict[str, Any]) -> None:
    facts = of_config(config)
    assert facts.architecture is None and facts.parameters is None
    assert "config.json" in facts.unknown[0]


@pytest.mark.parametrize("broken", ["vocab_size", "intermediate_size", "tie_word_embeddings", "head_dim"])
def test_values_of_a_wrong_kind_are_no_crash(broken: str) -> None:
    of_config({"model_type": "llama", broken: {"a": [1]}})
    of_config({"model_type": "llama", broken: "many"})


def _tally(config: dict[str, Any]) -> tuple[int, int, int]:
    tally = count_parameters(read_config(config))
    assert tally is not None
    return tally.total, tally.packed, tally.rows


def _built(config: dict[str, Any]) -> tuple[int, int, int]:
    """Numbers in all, and in the layers that transformers hands to bitsandbytes, with their outputs."""
    import torch
    from transformers.pytorch_utils import Conv1D

    model = build(config)
    last, kept = model.get_output_embeddings(), model._keep_in_fp32_modules or ()
    packed = rows = 0
    for name, module in model.named_modules():
        if module is last or name.rsplit(".", 1)[-1] in kept:
            continue
        if type(module) is torch.nn.Linear or isinstance(module, Conv1D):
            packed += module.weight.numel()
            rows += module.weight.shape[isinstance(module, Conv1D)]
    return sum(one.numel() for one in model.parameters()), packed, rows
