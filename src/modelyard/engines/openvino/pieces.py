"""Vocabulary entries as bytes, so that tokens become text without asking the tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from modelyard.errors import (
    EngineError,
)

_SAMPLE = "Revenue rose 4.5% to €1,234 — naïve “quotes”, 日本 😀.\n\tEnd"


def piece_kind(tokenizer: Any) -> str:
    """How vocabulary entries become bytes, found out by rebuilding a sample."""
    ids = [int(one) for one in tokenizer.encode(_SAMPLE, add_special_tokens=False).input_ids.data[0]]
    for kind in ("bytes", "sentencepiece"):
        table = piece_table(tokenizer, kind, frozenset())
        if b"".join(table[token] for token in ids).decode("utf-8", "replace").lstrip(" ") == _SAMPLE:
            return kind
    raise EngineError("the tokenizer's vocabulary does not rebuild a text", hint="Use engine: llamacpp.")


def special_tokens(tokenizer: Any, left_out: Sequence[int]) -> dict[int, bytes]:
    """The special tokens, as they are written.

    Args:
        tokenizer: of OpenVINO GenAI.
        left_out: tokens that alone give no text; those that are part of a character give none either.
    """
    shown = tokenizer.decode([[token] for token in left_out], skip_special_tokens=False) if left_out else []
    return {token: text.encode() for token, text in zip(left_out, shown, strict=True) if text}


def piece_table(tokenizer: Any, kind: str, special: AbstractSet[int]) -> list[bytes]:
    """The bytes of every token by its id; none for the special ones."""
    vocabulary: dict[bytes, int] = tokenizer.get_vocab()
    table = [b""] * (max(vocabulary.values()) + 1)
    for piece, token in vocabulary.items():
        table[token] = piece if kind == "bytes" else _from_sentencepiece(piece)
    for token in special:
        table[token] = b""
    return table


def _from_sentencepiece(piece: bytes) -> bytes:
    if len(piece) == 6 and piece.startswith(b"<0x") and piece.endswith(b">"):
        return bytes([int(piece[3:5], 16)])
    return piece.replace("▁".encode(), b" ")
