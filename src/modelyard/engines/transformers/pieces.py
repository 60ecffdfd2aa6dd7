"""The bytes that each token stands for, however its tokenizer writes them down."""

from __future__ import annotations

import re
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class Pieces:
    """Bytes by token id; a special token has none.

    Args:
        tokenizer: of transformers, fast or slow.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        self._special = set(tokenizer.all_special_ids) | {at for at, one in added.items() if one.special}
        self._plain = {at: str(one.content) for at, one in added.items()}
        self.special = {at: self._plain.get(at, "").encode() for at in self._special}
        self._kind = _kind(tokenizer)
        self._known: dict[int, bytes] = {}

    def __call__(self, token_id: int) -> bytes:
        found = self._known.get(token_id)
        if found is None:
            found = self._known[token_id] = self._read(token_id)
        return found

    def _read(self, token_id: int) -> bytes:
        if token_id in self._special:
            return b""
        if token_id in self._plain:
            return self._plain[token_id].encode()
        token: str | None = self._tokenizer.convert_ids_to_tokens(token_id)
        if token is None:
            return b""  # the model has more rows than the tokenizer has tokens
        if self._kind == "bytes":
            table = _byte_table()
            return b"".join(table.get(char, char.encode()) for char in token)
        if self._kind == "words":
            return token[2:].encode() if token.startswith("##") else b" " + token.encode()
        byte = _BYTE.fullmatch(token)
        return (
            bytes([int(byte[1], 16)]) if byte else token.replace("\N{LOWER ONE EIGHTH BLOCK}", " ").encode()
        )


class FirstWord:
    """Pieces of one answer, without the space before its first word."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._begun = False

    def __call__(self, token_id: int) -> bytes:
        found = self._pieces(token_id)
        if self._begun or not found:
            return found
        self._begun = True
        return found.removeprefix(b" ")


def _kind(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    decoder = repr(getattr(backend, "decoder", ""))
    if "ByteLevel" in decoder:
        return "bytes"
    return "words" if "WordPiece" in decoder else "sentencepiece"


_TABLE: dict[str, bytes] = {}


def _byte_table() -> dict[str, bytes]:
    """The characters that stand for bytes in byte-level BPE (Radford et al. 2019): printable ones themselves."""
    if not _TABLE:
        printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
        rest = [byte for byte in range(256) if byte not in printable]
        _TABLE.update({chr(byte): bytes([byte]) for byte in printable})
        _TABLE.update({chr(256 + at): bytes([byte]) for at, byte in enumerate(rest)})
    return _TABLE
