"""GGUF header: what a GGUF file says about itself, read without its tensors.

The layout is that of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3: counts,
key-value pairs, then one entry a tensor. Every count is checked against the bytes that are left, so a
hostile file costs no memory.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard.errors import CatalogError

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_LEAST_PAIR, _LEAST_TENSOR = 13, 24  # bytes of the smallest possible pair and tensor entry
_LONG = 64  # arrays longer than this are the tokenizer's tables

_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0",
    37: "TQ2_0", 38: "MXFP4_MOE",
}  # fmt: skip
_TENSOR_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K",
    11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS",
    19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32",
    27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: its name, its shape (fastest dimension first), its type, where it lies behind `data_start`."""

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int = 0


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """The header of a GGUF file.

    Attributes:
        version: of the format.
        metadata: the key-value pairs, long arrays left out.
        skipped: of each array left out, how many items it has.
        tensors: the entries of all tensors.
        data_start: the byte of the file at which the tensors begin.
    """

    version: int
    metadata: dict[str, Any]
    skipped: dict[str, int]
    tensors: tuple[TensorInfo, ...] = field(repr=False)
    data_start: int = 0

    @property
    def architecture(self) -> str:
        """As in `llama` or `qwen2`; empty where the file does not say."""
        return self._text("general.architecture")

    @property
    def context_length(self) -> int:
        """Tokens the model was trained for; 0 where the file does not say."""
        return self._number("context_length")

    @property
    def block_count(self) -> int:
        """Transformer layers."""
        return self._number("block_count")

    @property
    def embedding_length(self) -> int:
        """Width of the hidden state."""
        return self._number("embedding_length")

    @property
    def head_count(self) -> int:
        """Attention heads; of models where layers differ, the most."""
        return self._number("attention.head_count")

    @property
    def head_count_kv(self) -> int:
        """Heads of keys and values; as many as attention heads where the file does not say."""
        return self._number("attention.head_count_kv") or self.head_count

    @property
    def key_length(self) -> int:
        """Width of one head's keys."""
        own = self._number("attention.key_length")
        return own or (self.embedding_length // self.head_count if self.head_count else 0)

    @property
    def vocabulary_size(self) -> int:
        """Tokens of the tokenizer."""
        tokens = self.metadata.get("tokenizer.ggml.tokens")
        return len(tokens) if isinstance(tokens, list) else self.skipped.get("tokenizer.ggml.tokens", 0)

    @property
    def chat_template(self) -> str | None:
        """The chat template, None for a base model."""
        return self._text("tokenizer.chat_template") or None

    @property
    def file_type(self) -> str:
        """The quantisation, as in `Q4_K_M`; empty where the file does not say."""
        number = self.metadata.get("general.file_type")
        return _FILE_TYPES.get(number, f"type {number}") if isinstance(number, int) else ""

    @property
    def parameter_count(self) -> int:
        """Numbers in all tensors."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)

    def _text(self, key: str) -> str:
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""

    def _number(self, key: str) -> int:
        value = self.metadata.get(f"{self.architecture}.{key}")
        numbers = value if isinstance(value, list) else [value]
        return max((one for one in numbers if isinstance(one, int)), default=0)


def read_gguf(path: Path, *, keep: Collection[str] = ()) -> GGUFHeader:
    """The header of a GGUF file; `keep` names long arrays that are wanted too.

    Raises:
        CatalogError: the file is missing, cut off, or no GGUF file of a version that is read here.
    """
    try:
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                raise CatalogError("not a GGUF file: it is empty", file=str(path), hint=_HINT)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                return parse_gguf(view, keep=keep, name=str(path))
    except OSError as error:
        raise CatalogError(
            f"cannot be read: {error.strerror}", file=str(path), hint="Check the path."
        ) from None


def parse_gguf(data: bytes | mmap.mmap, *, keep: Collection[str] = (), name: str = "GGUF data") -> GGUFHeader:
    """The header at the start of some bytes, which have to hold all of it.

    Raises:
        CatalogError: as `read_gguf`.
    """
    try:
        return _Reader(data, frozenset(keep)).header()
    except (_MalformedError, struct.error) as error:
        raise CatalogError(f"not a whole GGUF file: {error}", file=name, hint=_HINT) from None


_HINT = "Download the file again, or check that it is a GGUF file."


class _MalformedError(ValueError):
    """What is wrong, and at which byte."""


class _Reader:
    """Walks the header from its first byte."""

    def __init__(self, data: bytes | mmap.mmap, keep: frozenset[str]) -> None:
        self.data, self.keep, self.at, self.size = data, keep, 0, len(data)
        self.skipped: dict[str, int] = {}

    def header(self) -> GGUFHeader:
        if self.data[:4] != b"GGUF":
            raise _MalformedError(f"it starts with {bytes(self.data[:4])!r}, not with b'GGUF'")
        self.at = 4
        version = self._one("I")
        if version not in (2, 3):
            big = " (big-endian files are not read)" if version > 0xFFFF else ""
            raise _MalformedError(f"version {version}; versions 2 and 3 are read{big}")
        tensors, pairs = self._one("Q"), self._one("Q")
        self._fits(tensors, _LEAST_TENSOR, "tensors")
        self._fits(pairs, _LEAST_PAIR, "key-value pairs")
        metadata = self._pairs(pairs)
        entries = tuple(self._tensor() for _ in range(tensors))
        align = metadata.get("general.alignment", 32)
        if not isinstance(align, int) or align < 1:
            raise _MalformedError(f"general.alignment is {align!r:.40}")
        return GGUFHeader(version, metadata, self.skipped, entries, -(-self.at // align) * align)

    def _pairs(self, count: int) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        for _ in range(count):
            key, kind = self._string(), self._one("I")
            if key in metadata or key in self.skipped:
                raise _MalformedError(f"key '{key[:80]}' is there twice")
            if kind == _ARRAY:
                self._array(key, metadata)
            else:
                metadata[key] = self._value(kind)
        return metadata

    def _array(self, key: str, metadata: dict[str, Any]) -> None:
        kind, count = self._one("I"), self._one("Q")
        if count > _LONG and key not in self.keep:
            self._skip(kind, count)
            self.skipped[key] = count
        else:
            metadata[key] = self._items(kind, count)

    def _items(self, kind: int, count: int) -> list[Any]:
        if kind in _SCALARS:
            layout = _SCALARS[kind]
            self._fits(count, struct.calcsize(layout), "array items")
            values = struct.unpack_from(f"<{count}{layout}", self.data, self.at)
            self.at += count * struct.calcsize(layout)
            return list(values)
        if kind != _STRING:
            # Nested arrays are allowed by the format and written by nobody.
            raise _MalformedError(f"array of type {kind} at byte {self.at}")
        self._fits(count, 8, "strings")
        return [self._string() for _ in range(count)]

    def _skip(self, kind: int, count: int) -> None:
        if kind in _SCALARS:
            width = struct.calcsize(_SCALARS[kind])
            self._fits(count, width, "array items")
            self.at += count * width
            return
        if kind != _STRING:
            raise _MalformedError(f"array of type {kind} at byte {self.at}")
        self._fits(count, 8, "strings")
        # The one hot loop: a vocabulary has some 150,000 strings.
        unpack, data, at, size = struct.Struct("<Q").unpack_from, self.data, self.at, self.size
        for _ in range(count):
            at += 8 + unpack(data, at)[0]
            if at > size:
                raise _MalformedError(f"a string reaches past the end, {size} bytes")
        self.at = at

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind not in _SCALARS:
            raise _MalformedError(f"value of type {kind} at byte {self.at}")
        return self._one(_SCALARS[kind])

    def _tensor(self) -> TensorInfo:
        name, dimensions = self._string(), self._one("I")
        if dimensions > 8:
            raise _MalformedError(f"tensor '{name[:80]}' has {dimensions} dimensions")
        shape = tuple(self._one("Q") for _ in range(dimensions))
        kind = self._one("I")
        return TensorInfo(name, shape, _TENSOR_TYPES.get(kind, f"type {kind}"), self._one("Q"))

    def _string(self) -> str:
        length = self._one("Q")
        self._fits(length, 1, "characters")
        start, self.at = self.at, self.at + length
        return bytes(self.data[start : self.at]).decode("utf-8", errors="replace")

    def _one(self, layout: str) -> Any:
        width = struct.calcsize(layout)
        if self.at + width > self.size:
            raise _MalformedError(f"it ends at byte {self.size}, in the middle of its header")
        (value,) = struct.unpack_from(f"<{layout}", self.data, self.at)
        self.at += width
        return value

    def _fits(self, count: int, width: int, what: str) -> None:
        left = self.size - self.at
        if count * width > left:
            raise _MalformedError(f"{count} {what} at byte {self.at}, where {left} bytes are left")
