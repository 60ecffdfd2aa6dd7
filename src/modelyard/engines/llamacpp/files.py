"""What a GGUF file says about itself that the engine needs, and its vocabulary as bytes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from modelyard.catalog.gguf import GGUFHeader, read_gguf
from modelyard.engines.llamacpp.settings import KV_TYPES
from modelyard.errors import UnsupportedError

_TOKENS, _TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
_NORMAL, _BYTE = 1, 6  # token types


def gguf_file(path: Path) -> Path:
    """The file to load: the path itself, the only GGUF in a folder, or the first part of a split one.

    Raises:
        UnsupportedError: there is no such file, or more than one.
    """
    if path.is_file():
        return path
    found = [one for one in sorted(path.glob("*.gguf")) if "-of-" not in one.stem or "-00001-of-" in one.stem]
    if len(found) != 1:
        raise UnsupportedError(
            f"{path} holds {len(found)} GGUF models, and engine llamacpp runs one",
            hint="Name the file in the catalogue ('file:'), or use engine: transformers.",
        )
    return found[0]


@dataclass(frozen=True)
class ModelFile:
    """A GGUF file and what its header says."""

    path: Path
    header: GGUFHeader
    bos: str
    eos: str
    vocabulary: int

    @classmethod
    def read(cls, path: Path) -> ModelFile:
        """Reads the header.

        Raises:
            CatalogError: it is cut off, or no GGUF file.
        """
        file = gguf_file(path)
        header = read_gguf(file, keep=(_TOKENS,))
        tokens = header.metadata.pop(_TOKENS, [])
        names = []
        for kind in ("bos", "eos"):
            at = header.metadata.get(f"tokenizer.ggml.{kind}_token_id")
            names.append(str(tokens[at]) if isinstance(at, int) and at < len(tokens) else "")
        return cls(file, header, bos=names[0], eos=names[1], vocabulary=len(tokens))

    def token(self, kind: str) -> int | None:
        """The id of a special token (`bos`, `eos`); None where the file names none."""
        found = self.header.metadata.get(f"tokenizer.ggml.{kind}_token_id")
        return found if isinstance(found, int) else None

    @property
    def pooled(self) -> bool:
        """Whether the file says how tokens are joined to one vector (type 0 is not at all)."""
        return bool(self.header.metadata.get(f"{self.header.architecture}.pooling_type"))

    @property
    def weights(self) -> int:
        """Bytes of the weights; of a split file, those of all parts."""
        head, found, _ = self.path.name.rpartition("-00001-of-")
        parts = self.path.parent.glob(f"{head}-?????-of-?????.gguf") if found else [self.path]
        return sum(one.stat().st_size for one in parts)

    def kv_cache(self, cells: int, number: str) -> int:
        """Bytes of a KV cache of so many tokens; of models with a sliding window, the most it can be."""
        header = self.header
        own = header.metadata.get(f"{header.architecture}.attention.value_length")
        width = header.key_length + (own if isinstance(own, int) else header.key_length)
        heads = header.metadata.get(f"{header.architecture}.attention.head_count_kv")
        layers = sum(heads) if isinstance(heads, list) else header.head_count_kv * header.block_count
        return int(layers * width * cells * KV_TYPES[number] / 8)

    @cached_property
    def spellings(self) -> dict[bytes, list[int]]:
        """The tokens that stand for some bytes; empty for a kind of vocabulary that is not read here."""
        table: dict[bytes, list[int]] = {}
        for token, piece in enumerate(self.pieces):
            table.setdefault(piece, []).append(token)
        return table

    @cached_property
    def pieces(self) -> list[bytes]:
        """The bytes of every token by its id; empty for a kind of vocabulary that is not read here."""
        metadata = read_gguf(self.path, keep=(_TOKENS, _TYPES)).metadata
        tokens = metadata.get(_TOKENS, [])
        types = metadata.get(_TYPES, [_NORMAL] * len(tokens))
        match metadata.get("tokenizer.ggml.model"):
            case "gpt2":
                table = _byte_table()
                return [
                    bytes(table[one] for one in text)
                    if kind == _NORMAL and table.keys() >= set(text)
                    else text.encode()
                    for text, kind in zip(tokens, types, strict=True)
                ]
            case "llama" | "t5":
                return [
                    bytes([int(text[3:5], 16)]) if kind == _BYTE else text.replace("▁", " ").encode()
                    for text, kind in zip(tokens, types, strict=True)
                ]
        return []


def _byte_table() -> dict[str, int]:
    """Byte-level BPE writes every byte as one printable character (Radford et al. 2019)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + at): byte for at, byte in enumerate(others)}
