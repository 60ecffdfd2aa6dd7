"""Tokens that llama.cpp does not report: those that end in the middle of a character.

Its server says nothing of such a token, only counts it; the next chunk has the whole character and the id of
the token that completes it. The ids between are worked out from the bytes.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence


def spelled(
    text: bytes, last: bytes, count: int, spellings: Mapping[bytes, Sequence[int]]
) -> list[tuple[list[bytes], list[int]]]:
    """All ways in which `count` unreported tokens and then `last` make up `text`: their bytes and ids.

    >>> spelled("é".encode(), b"\\xa9", 1, {b"\\xc3": [7]})
    [([b'\\xc3'], [7])]
    """
    if not last or not text.endswith(last):
        return []
    return _ways(text[: -len(last)], b"", count, spellings)


def _ways(
    rest: bytes, before: bytes, count: int, spellings: Mapping[bytes, Sequence[int]]
) -> list[tuple[list[bytes], list[int]]]:
    if count == 0:
        return [([], [])] if not rest else []
    found = []
    for end in range(1, len(rest) + 1):
        piece = rest[:end]
        if piece in spellings and not _whole(before + piece):
            tails = _ways(rest[end:], before + piece, count - 1, spellings)
            found += [
                ([piece, *pieces], [token, *ids]) for token in spellings[piece] for pieces, ids in tails
            ]
    return found


def _whole(text: bytes) -> bool:
    """Whether no character is cut off at the end: a token after which the text is whole is reported."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(text)
    return not decoder.getstate()[0]
