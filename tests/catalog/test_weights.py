"""Weights: exact from indexes and headers, and packed as bitsandbytes packs them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from tests.catalog.published import SCALED, build, published

from modelyard.catalog.memory.architecture import read_config
from modelyard.catalog.memory.facts import of_config, of_path
from modelyard.catalog.memory.parameters import Tally, count_parameters
from modelyard.catalog.memory.weights import (
    header_size,
    header_tensors,
    index_bytes,
    tensor_bytes,
    weight_bytes,
)
from modelyard.errors import CatalogError


@pytest.mark.parametrize(
    ("name", "total", "extra"),
    [
        # What `metadata.total_size` says in the publishers' index files.
        ("llama-2-70b", 137_953_316_864, 80 * 64 * 4),  # with one rotary table a layer, as float32
        ("mixtral-8x7b", 93_405_585_408, 0),
        ("gemma-3-4b", 8_600_158_944, 0),
        ("qwen2.5-vl-7b", 16_584_333_312, 0),
    ],
)
def test_the_weights_are_those_of_the_published_index(name: str, total: int, extra: int) -> None:
    config = published(name)
    assert of_config(config, index={"metadata": {"total_size": total}, "weight_map": {}}).stored == total
    assert of_config(config).stored == total - extra


@pytest.mark.parametrize(
    "index", [{}, {"metadata": None}, {"metadata": {"total_size": "x"}}, {"metadata": {"total_size": -1}}]
)
def test_an_index_without_a_size_tells_none(index: dict[str, Any]) -> None:
    assert index_bytes(index) is None


def safetensors(tensors: dict[str, tuple[str, list[int]]]) -> bytes:
    table: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (kind, shape) in tensors.items():
        table[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at]}
    text = json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text


def test_a_header_tells_bytes_by_type() -> None:
    found = header_tensors(safetensors({"a": ("BF16", [3, 4]), "b": ("F32", [5]), "c": ("I8", [])}))
    assert found == {"a": ("BF16", 12), "b": ("F32", 5), "c": ("I8", 1)} and tensor_bytes(found) == 45


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"short",
        struct.pack("<Q", 2**60),
        struct.pack("<Q", 4) + b"[1]",
        safetensors({})[:-2],
        b"\0" * 20,
    ],
)
def test_a_broken_header_is_named(data: bytes) -> None:
    with pytest.raises(CatalogError, match="safetensors"):
        header_tensors(data)
    assert data == safetensors({})[:-2] or len(data) < 8 or header_size(struct.pack("<Q", 2)) == 10


def test_a_folder_with_one_file_is_read_by_its_header(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**published("llama-2-70b"), "num_hidden_layers": 2}))
    (tmp_path / "model.safetensors").write_bytes(safetensors({"a": ("F32", [10])}) + bytes(40))
    facts = of_path(tmp_path)
    assert facts.stored == 40 and facts.dtype == "float16"
    assert facts.parameters == 2 * 855_654_400 + 524_296_192


@pytest.mark.parametrize("text", ["[]", "{", "\0\0", '"x"', ""])
def test_a_folder_with_a_broken_config_says_so_and_has_its_size(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    facts = of_path(tmp_path)
    assert facts.stored == 7 and facts.architecture is None and "config.json" in facts.unknown[0]


def test_weights_that_are_packed_already_stay_as_they_are() -> None:
    config = {**published("llama-2-70b"), "quantization_config": {"quant_method": "awq", "bits": 4}}
    facts = of_config(config, index={"metadata": {"total_size": 36_000}})
    assert facts.parameters is None and "awq" in facts.unknown[0]
    assert facts.loaded_bytes("bfloat16", None) == facts.loaded_bytes("float32", "4bit") == 36_000


def test_an_unknown_architecture_is_scaled_by_its_type_and_not_packed() -> None:
    config = {
        "model_type": "new",
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "dtype": "bfloat16",
    }
    facts = of_config(config, index={"metadata": {"total_size": 100}})
    assert facts.loaded_bytes("float32", None) == 200 and facts.loaded_bytes("float32", "4bit") is None


@pytest.mark.parametrize("name", ["Llama-2-70B", "Mixtral", "GPT-2", "T5", "DeepSeek-V2"])
@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
def test_bitsandbytes_takes_the_bytes_that_were_predicted(
    tmp_path: Path, name: str, quantization: str
) -> None:
    pytest.importorskip("bitsandbytes")
    import torch
    import transformers

    config = SCALED[name]
    model = build(config, real=True)
    model.save_pretrained(tmp_path)
    how: dict[str, Any] = {"load_in_8bit": True}
    if quantization == "4bit":
        how = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
    packed = type(model).from_pretrained(
        tmp_path,
        quantization_config=transformers.BitsAndBytesConfig(**how, **_compute(quantization)),
        dtype=torch.bfloat16,
        device_map={"": "cpu"},
    )
    tally = count_parameters(read_config(config))
    assert tally is not None
    assert _held(packed) == weight_bytes(tally, "bfloat16", quantization)


def test_packing_saves_nothing_of_embeddings_and_little_of_experts() -> None:
    assert weight_bytes(Tally(embedding=1000), "bfloat16", "4bit") == 2000
    mixtral = count_parameters(read_config(published("mixtral-8x7b")))
    llama = count_parameters(read_config(published("llama-2-70b")))
    assert mixtral is not None and llama is not None
    assert weight_bytes(mixtral, "bfloat16", "4bit") / weight_bytes(mixtral, "bfloat16") > 0.97
    assert weight_bytes(llama, "bfloat16", "4bit") / weight_bytes(llama, "bfloat16") == pytest.approx(
        0.264, abs=0.001
    )


def _compute(quantization: str) -> dict[str, Any]:
    import torch

    return {"bnb_4bit_compute_dtype": torch.bfloat16} if quantization == "4bit" else {}


def _held(model: Any) -> int:
    """Bytes of the parameters and of the scales beside them, each piece of memory once."""
    held: dict[int, int] = {}
    for one in model.parameters():
        state = getattr(one, "quant_state", None)
        scales = [state.absmax, state.state2.absmax] if state is not None else [getattr(one, "SCB", None)]
        for tensor in (one.data, *scales):
            if tensor is not None:
                held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(held.values())
