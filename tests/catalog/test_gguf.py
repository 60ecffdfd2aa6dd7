"""GGUF headers: whole, cut off, and hostile."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.catalog.gguf import parse_gguf, read_gguf
from modelyard.errors import CatalogError


def string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def pair(key: str, kind: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def strings(items: list[str]) -> bytes:
    return struct.pack("<IQ", 8, len(items)) + b"".join(map(string, items))


def gguf(pairs: list[bytes], tensors: list[bytes] | None = None, version: int = 3) -> bytes:
    tensors = tensors or []
    return b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join([*pairs, *tensors])


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def tiny(words: int = 100) -> bytes:
    tensor = string("token_embd.weight") + struct.pack("<IQQIQ", 2, 64, 100, 12, 0)
    return gguf(
        [
            pair("general.architecture", 8, string("llama")),
            pair("general.file_type", 4, u32(15)),
            pair("llama.context_length", 4, u32(8192)),
            pair("llama.block_count", 4, u32(30)),
            pair("llama.embedding_length", 4, u32(576)),
            pair("llama.attention.head_count", 4, u32(9)),
            pair("llama.attention.head_count_kv", 9, struct.pack("<IQ3I", 4, 3, 1, 3, 2)),
            pair("tokenizer.chat_template", 8, string("{{ messages }}")),
            pair("tokenizer.ggml.tokens", 9, strings([f"w{n}" for n in range(words)])),
            pair("tokenizer.ggml.token_type", 9, struct.pack(f"<IQ{words}i", 5, words, *[1] * words)),
            pair("tokenizer.ggml.add_bos_token", 7, b"\x01"),
        ],
        [tensor],
    )


def test_a_header_says_what_the_model_is():
    header = parse_gguf(tiny())
    assert (header.architecture, header.file_type, header.context_length) == ("llama", "Q4_K_M", 8192)
    assert (header.block_count, header.embedding_length) == (30, 576)
    assert (header.head_count, header.head_count_kv, header.key_length) == (9, 3, 64)
    assert header.chat_template == "{{ messages }}"
    assert header.parameter_count == 6400 and header.tensors[0].type == "Q4_K"
    assert header.metadata["tokenizer.ggml.add_bos_token"] is True


def test_long_arrays_are_left_out_unless_wanted():
    header = parse_gguf(tiny())
    assert header.skipped == {"tokenizer.ggml.tokens": 100, "tokenizer.ggml.token_type": 100}
    kept = parse_gguf(tiny(), keep={"tokenizer.ggml.token_type"})
    assert kept.metadata["tokenizer.ggml.token_type"] == [1] * 100
    assert header.vocabulary_size == kept.vocabulary_size == 100


def test_a_large_vocabulary_is_skipped_quickly():
    data = tiny(150_000)
    started = time.perf_counter()
    assert parse_gguf(data).vocabulary_size == 150_000
    assert time.perf_counter() - started < 1


def test_a_header_without_facts_has_none():
    header = parse_gguf(gguf([]))
    assert (header.architecture, header.context_length, header.chat_template, header.file_type) == (
        "",
        0,
        None,
        "",
    )


@pytest.mark.parametrize("length", [0, 3, 4, 10, 23, 30, 100, 500])
def test_a_cut_off_header_is_named(length):
    Path("m.gguf").write_bytes(tiny()[:length])
    with pytest.raises(CatalogError, match=r"m\.gguf: not a (whole )?GGUF file"):
        read_gguf(Path("m.gguf"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04" + bytes(40), "not with b'GGUF'"),
        (gguf([], version=1), "version 1;"),
        (gguf([], version=0x03000000), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "key-value pairs"),
        (gguf([pair("a", 9, struct.pack("<IQ", 8, 2**60) + bytes(9))]), "strings"),
        (gguf([pair("a", 9, struct.pack("<IQ", 4, 2**62) + bytes(9))]), "array items"),
        (gguf([pair("a", 9, struct.pack("<IQ", 9, 1) + bytes(30))]), "array of type 9"),
        (gguf([pair("a", 77, bytes(9))]), "value of type 77"),
        (gguf([pair("a", 4, u32(1)), pair("a", 4, u32(1))]), "twice"),
        (gguf([], [string("t") + struct.pack("<I", 99) + bytes(40)]), "99 dimensions"),
    ],
)
def test_a_hostile_header_is_refused(data, words):
    with pytest.raises(CatalogError, match=words):
        parse_gguf(data)


def test_a_missing_file_is_named():
    with pytest.raises(CatalogError, match=r"gone\.gguf"):
        read_gguf(Path("gone.gguf"))


def _read_all(data: bytes) -> None:
    try:
        header = parse_gguf(data)
    except CatalogError:
        return
    for name in (
        "context_length",
        "head_count_kv",
        "key_length",
        "chat_template",
        "file_type",
        "parameter_count",
    ):
        getattr(header, name)


@given(st.binary(max_size=400))
def test_any_bytes_give_a_header_or_our_error(data):
    _read_all(data)
    _read_all(b"GGUF\x03\x00\x00\x00" + data)
    _read_all(b"GGUF" + struct.pack("<IQQ", 3, 1, 2) + data)


@given(st.integers(0, len(tiny()) - 1), st.integers(0, 255))
def test_any_changed_byte_gives_a_header_or_our_error(at, value):
    data = bytearray(tiny())
    data[at] = value
    _read_all(bytes(data))
