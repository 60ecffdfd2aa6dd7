"""Remote: facts of a model on the Hub, from a few kilobytes of what lies beside its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from modelyard.catalog.gguf import parse_gguf
from modelyard.catalog.lock import Lock
from modelyard.catalog.memory.facts import INDEX, ModelFacts, of_config, of_gguf
from modelyard.catalog.memory.weights import header_size, header_tensors
from modelyard.catalog.sources import hub
from modelyard.catalog.sources.repository import shards
from modelyard.catalog.spec import HubSource, ModelSpec
from modelyard.errors import CatalogError

_FIRST, _MOST = 1 << 20, 1 << 27  # bytes asked of a GGUF file: its header with a vocabulary has 2 to 12 MB
_SMALL = 1 << 24  # no config.json or index is larger


def of_hub(
    spec: ModelSpec, source: HubSource, *, lock: Lock | None = None, token: str | None = None
) -> ModelFacts:
    """The facts of a Hub model before any of its weights are downloaded.

    Raises:
        OfflineError: the Hub may not be asked.
        ModelNotFoundError, AuthenticationError, GatedModelError, RateLimitError, DownloadError: as the Hub
            answered.
        UnsupportedError: only pickled weights, and the spec does not allow them.
        CatalogError: a file of it is broken.
    """
    commit, sizes = hub.look(spec, source, lock, token)
    ggufs = [name for name in sizes if name.endswith(".gguf")]
    if ggufs:
        total = sum(sizes[name] for name in ggufs)
        return _gguf(source, commit, ggufs[0], sizes[ggufs[0]], total, token)

    def small(name: str) -> dict[str, Any] | None:
        if name not in sizes:
            return None
        return _object(hub.read_start(source, commit, name, min(sizes[name], _SMALL), token), name)

    config = small("config.json")
    files = [name for name in sizes if name.endswith((".safetensors", ".bin", ".pt", ".pth"))]
    whole = sum(sizes[name] for name in files)
    if config is None:
        why = f"{source.repo} has no config.json"
        return ModelFacts(stored=whole or None, file_bytes=whole or None, revision=commit, unknown=(why,))
    single = [name for name in files if name.endswith(".safetensors") and shards(name) == [name]]
    index = small(INDEX)
    tensors = _tensors(source, commit, single[0], token) if index is None and len(single) == 1 else None
    return of_config(config, index=index, tensors=tensors, file_bytes=whole or None, revision=commit)


def _gguf(source: HubSource, commit: str, name: str, size: int, total: int, token: str | None) -> ModelFacts:
    """The header of a GGUF file, asked for in pieces that grow until it is whole."""
    count = _FIRST
    while True:
        start = hub.read_start(source, commit, name, min(count, size), token)
        try:
            return of_gguf(parse_gguf(start, name=f"{source.repo}/{name}"), total, commit)
        except CatalogError:
            if count >= min(size, _MOST) or start[:4] != b"GGUF":
                raise
            count *= 4


def _tensors(source: HubSource, commit: str, name: str, token: str | None) -> Mapping[str, tuple[str, int]]:
    start = hub.read_start(source, commit, name, 1 << 17, token)
    size = header_size(start)
    if size > len(start):
        start = hub.read_start(source, commit, name, size, token)
    return header_tensors(start)


def _object(data: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise CatalogError(f"{name} of the Hub is no JSON: {error}", hint="Check the repository.") from None
    if not isinstance(value, dict):
        raise CatalogError(f"{name} of the Hub is no JSON object", hint="Check the repository.")
    return value
