"""Facts before a download: a few files of the Hub, and never the weights."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from tests.catalog.published import published
from tests.catalog.test_weights import safetensors
from tests.hub import COMMIT, Hub

from modelyard.catalog.memory.remote import of_hub
from modelyard.catalog.spec import HubSource, ModelSpec
from modelyard.errors import (
    CatalogError,
    DownloadError,
    GatedModelError,
    ModelNotFoundError,
    UnsupportedError,
)

LLAMA = json.dumps(published("llama-2-70b")).encode()
INDEX = json.dumps({"metadata": {"total_size": 137_953_316_864}, "weight_map": {}}).encode()
SOURCE = HubSource(repo="org/tiny")
SPEC = ModelSpec(alias="tiny", sources=(SOURCE,))


def put(hub: Hub, files: dict[str, bytes]) -> None:
    hub.add("org/tiny", files)


def asked(hub: Hub) -> list[str]:
    """The files that were asked for."""
    return [path.rsplit("/", 1)[1] for _, path, _ in hub.requests if "/resolve/" in path]


def test_shards_are_known_by_config_and_index_alone(hub: Hub) -> None:
    shards = {f"model-0000{n}-of-00002.safetensors": b"w" * 50 for n in (1, 2)}
    put(hub, {"config.json": LLAMA, "model.safetensors.index.json": INDEX, **shards})
    facts = of_hub(SPEC, SOURCE)
    assert (facts.stored, facts.parameters) == (137_953_316_864, 68_976_648_192)
    assert facts.revision == COMMIT and facts.file_bytes == 100
    assert set(asked(hub)) == {"config.json", "model.safetensors.index.json"}


def test_one_file_is_known_by_its_header(hub: Hub) -> None:
    data = safetensors({"a": ("BF16", [100])})
    put(hub, {"config.json": LLAMA, "model.safetensors": data + bytes(200)})
    assert of_hub(SPEC, SOURCE).stored == 200
    ranges = {path.rsplit("/", 1)[1]: headers.get("range", "") for _, path, headers in hub.requests}
    assert ranges["model.safetensors"] == "bytes=0-131071"


def test_a_long_header_is_asked_for_to_its_end(hub: Hub) -> None:
    data = safetensors({f"tensor.{number:05}": ("F32", [10]) for number in range(3000)})
    assert len(data) > 1 << 17
    put(hub, {"config.json": LLAMA, "model.safetensors": data + bytes(1000)})
    assert of_hub(SPEC, SOURCE).stored == 3000 * 40


def gguf(words: int) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    pairs = [text("general.architecture") + struct.pack("<I", 8) + text("llama")]
    sizes = {
        "block_count": 30,
        "embedding_length": 576,
        "attention.head_count": 9,
        "attention.head_count_kv": 3,
    }
    pairs += [text(f"llama.{name}") + struct.pack("<II", 4, value) for name, value in sizes.items()]
    table = b"".join(text("word" * 20) for _ in range(words))
    pairs.append(text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, words) + table)
    tensor = text("output.weight") + struct.pack("<IQQIQ", 2, 32, 10, 3, 0)
    return b"GGUF" + struct.pack("<IQQ", 3, 1, len(pairs)) + b"".join(pairs) + tensor


def test_a_gguf_header_is_read_in_pieces_that_grow(hub: Hub) -> None:
    data = gguf(30_000)  # 2.6 MB of vocabulary
    put(hub, {"m.gguf": data + bytes(6_000_000)})
    facts = of_hub(SPEC, SOURCE)
    assert facts.stored == len(data) + 6_000_000 and facts.parameters == 320
    assert facts.architecture is not None and facts.architecture.vocabulary == 30_000
    assert len(facts.architecture.cache) == 30 and facts.architecture.cache[0].width == 384
    assert asked(hub) == ["m.gguf", "m.gguf"]


def test_a_gguf_file_that_is_broken_is_named(hub: Hub) -> None:
    put(hub, {"m.gguf": gguf(10)[:-5]})
    with pytest.raises(CatalogError, match="not a whole GGUF file"):
        of_hub(SPEC, SOURCE)


def test_nothing_is_written_to_the_cache(hub: Hub, machine: Any) -> None:
    put(hub, {"config.json": LLAMA, "model.safetensors": safetensors({}) + b"w"})
    of_hub(SPEC, SOURCE)
    left = (
        [one for one in (machine / "hub").rglob("*") if one.is_file()] if (machine / "hub").exists() else []
    )
    assert not [
        one for one in left if one.name in ("config.json", "model.safetensors") or "blobs" in one.parts
    ]


@pytest.mark.parametrize("config", [b"{", b"[]", b"\xff\xfe"])
def test_a_broken_config_is_named(hub: Hub, config: bytes) -> None:
    put(hub, {"config.json": config, "model.safetensors": safetensors({}) + b"w"})
    with pytest.raises(CatalogError, match=r"config\.json"):
        of_hub(SPEC, SOURCE)


def test_a_repository_without_a_config_has_its_size(hub: Hub) -> None:
    put(hub, {"model.safetensors": b"weights"})
    facts = of_hub(SPEC, SOURCE)
    assert facts.stored == 7 and facts.architecture is None and "no config.json" in facts.unknown[0]


def test_pickles_alone_are_refused_before_any_is_fetched(hub: Hub) -> None:
    put(hub, {"config.json": LLAMA, "pytorch_model.bin": b"pickle"})
    with pytest.raises(UnsupportedError, match="pickled"):
        of_hub(SPEC, SOURCE)
    allowed = SPEC.model_copy(update={"allow_pickle": True})
    assert of_hub(allowed, SOURCE).stored == 6 and "pytorch_model.bin" not in asked(hub)


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (404, {"X_Error_Code": "RepoNotFound"}, ModelNotFoundError),
        (403, {"X_Error_Code": "GatedRepo"}, GatedModelError),
    ],
)
def test_what_the_hub_answers_is_named(
    hub: Hub, status: int, headers: dict[str, str], error: type[Exception]
) -> None:
    hub.fail = (status, headers)
    with pytest.raises(error):
        of_hub(SPEC, SOURCE)


def test_a_hub_that_is_not_there_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match="cannot be reached"):
        of_hub(SPEC, SOURCE)


def test_the_token_goes_to_the_hub_alone(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_geheim")
    put(hub, {"config.json": LLAMA, "model.safetensors": safetensors({}) + b"w"})
    of_hub(SPEC, SOURCE)
    assert all(headers.get("authorization") == "Bearer hf_geheim" for _, _, headers in hub.requests)
