"""Weights: their bytes, exactly, from what is published beside them or from the count of their numbers."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

from modelyard.catalog.memory.parameters import Tally
from modelyard.errors import CatalogError

DTYPE_BYTES: Mapping[str, float] = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1, "int8": 1,
    "uint8": 1,
}  # fmt: skip
_SAFETENSORS = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I16": 2, "I8": 1,
    "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip
_MOST_HEADER = 100_000_000  # as the safetensors library allows


def index_bytes(index: Mapping[str, Any]) -> int | None:
    """Bytes of all shards, as `model.safetensors.index.json` promises them; None where it does not say.

    >>> index_bytes({"metadata": {"total_size": 137953316864}, "weight_map": {}})
    137953316864
    """
    metadata = index.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, Mapping) else None
    if isinstance(total, float) and total.is_integer():
        total = int(total)
    return total if isinstance(total, int) and not isinstance(total, bool) and total > 0 else None


def header_size(start: bytes) -> int:
    """How many bytes of a safetensors file are its header, the eight that say so included.

    Raises:
        CatalogError: these bytes do not start a safetensors file.
    """
    if len(start) < 8:
        raise CatalogError("not a safetensors file: it is shorter than eight bytes", hint=_HINT)
    (length,) = struct.unpack("<Q", start[:8])
    if not 2 <= length <= _MOST_HEADER:
        raise CatalogError(f"not a safetensors file: its header would have {length} bytes", hint=_HINT)
    return int(length) + 8


def header_tensors(start: bytes) -> dict[str, tuple[str, int]]:
    """Each tensor of a safetensors header with its type and its count of numbers.

    The layout is that of https://github.com/huggingface/safetensors#format: eight bytes of length, then JSON
    of `{name: {dtype, shape, data_offsets}}`.

    Raises:
        CatalogError: the header is cut off or broken.
    """
    size = header_size(start)
    try:
        table = json.loads(start[8:size])
        return {
            name: (str(one["dtype"]), math.prod(one["shape"]))
            for name, one in table.items()
            if name != "__metadata__"
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        raise CatalogError("not a whole safetensors file: its header cannot be read", hint=_HINT) from None


def tensor_bytes(tensors: Mapping[str, tuple[str, int]]) -> int:
    """Bytes of the tensors as they are stored.

    >>> tensor_bytes({"a": ("BF16", 10), "b": ("F32", 2)})
    28
    """
    return sum(count * _SAFETENSORS.get(kind, 1) for kind, count in tensors.values())


def weight_bytes(tally: Tally, dtype: str, quantization: str | None = None) -> int:
    """Bytes of the weights in memory.

    LLM.int8 keeps a float32 scale for each output (Dettmers et al. 2022, arXiv 2208.07339, section 2); NF4 as
    `Tally` counts.

    Args:
        tally: the model's numbers.
        dtype: of the numbers that are not packed.
        quantization: 4bit (NF4 with double quantisation), 8bit (LLM.int8), or None.

    >>> weight_bytes(Tally(packed=1024, rows=32, embedding=64), "bfloat16", "8bit")
    1280
    """
    width = DTYPE_BYTES[dtype]
    kept = (tally.embedding + tally.rest) * width + 4 * tally.wide
    if quantization == "4bit":
        return int(kept + -(-tally.packed // 2) + tally.blocks + 4 * tally.groups)
    if quantization == "8bit":
        return int(kept + tally.packed + 4 * tally.rows)
    return int(kept + tally.packed * width)


_HINT = "Download the file again, or check that it is a safetensors file."
