"""Plan: which engine runs a model here, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from modelyard.catalog.gguf import GGUFHeader, read_gguf
from modelyard.catalog.lock import Lock
from modelyard.catalog.model import Model
from modelyard.catalog.pull import find_local
from modelyard.catalog.spec import AnySource, HubSource, ModelSpec, PackageSource, PathSource

Format = Literal["gguf", "openvino", "safetensors", "none"]
OPENVINO_ARCHITECTURES = frozenset({"llama", "qwen2", "qwen3"})
"""What OpenVINO GenAI's GGUF reader takes; other files belong to llama.cpp."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would run a model, before anything is loaded.

    Attributes:
        engine: the engine that is picked.
        reasons: why, in words, one step a line.
        missing: why that engine cannot run here; None where it can.
        format: of the files.
        path: where the files are, None while they are not here.
        source: where they are, or would come from.
        size: bytes on the disk, or to download; None where it is not known beforehand.
        weights: bytes of the weights.
        context_length: tokens, 0 where it is not known.
        architecture: of a GGUF file or a Hub configuration, empty where it is not known.
    """

    engine: str
    reasons: tuple[str, ...]
    missing: str | None = None
    format: Format = "none"
    path: Path | None = None
    source: str = ""
    size: int | None = None
    weights: int | None = None
    context_length: int = 0
    architecture: str = ""

    @property
    def local(self) -> bool:
        """Whether the files are here."""
        return self.path is not None


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is known of the files."""

    format: Format
    path: Path | None = None
    source: str = ""
    size: int | None = None
    weights: int | None = None
    context_length: int = 0
    architecture: str = ""
    reasons: tuple[str, ...] = field(default=())


def plan(
    spec: ModelSpec,
    missing: Mapping[str, str | None],
    *,
    model: Model | None = None,
    lock: Lock | None = None,
) -> Plan:
    """Picks the engine; reads headers of local files, and never the network.

    Args:
        spec: the model.
        missing: each engine, with what it lacks to run here, or None.
        model: the files, where they have been pulled.
        lock: to find the files where they have not been given.
    """
    facts = _facts(spec, model or find_local(spec, lock))
    engines, reasons = _preference(spec, facts)
    ready = next((one for one in engines if one in missing and missing[one] is None), None)
    chosen = ready or engines[0]
    passed = engines[: engines.index(chosen)]
    fallback = [f"{one} cannot run here: {missing.get(one) or 'it is not known'}" for one in passed]
    return Plan(
        engine=chosen,
        reasons=(*facts.reasons, *reasons, *fallback, *([f"so {chosen} runs it"] if fallback else [])),
        missing=None if ready else missing.get(chosen) or f"engine {chosen} is not known here",
        format=facts.format,
        path=facts.path,
        source=facts.source,
        size=facts.size,
        weights=facts.weights,
        context_length=facts.context_length,
        architecture=facts.architecture,
    )


def _preference(spec: ModelSpec, facts: _Facts) -> tuple[list[str], list[str]]:
    """Engines that can run the model, the best first, and why that order."""
    if spec.engine != "auto":
        return [spec.engine], [f"the catalogue says engine: {spec.engine}"]
    if spec.url:
        return ["endpoint"], ["the model has a url, so it runs there already"]
    if spec.adapter:
        return ["transformers"], ["it is an adapter, which transformers lays over its base"]
    if facts.format == "gguf":
        return _for_gguf(facts)
    if facts.format == "openvino":
        return ["openvino"], ["the files are an OpenVINO model"]
    if spec.task != "generation":
        return ["transformers"], [f"task {spec.task} on Hub files is run by transformers"]
    return ["transformers", "vllm"], ["Hub files (safetensors) of every architecture are run by transformers"]


def _for_gguf(facts: _Facts) -> tuple[list[str], list[str]]:
    if facts.architecture in OPENVINO_ARCHITECTURES:
        why = f"OpenVINO reads GGUF of architecture {facts.architecture} with no torch"
        return ["openvino", "llamacpp", "transformers"], [why]
    if facts.architecture:
        why = f"llama.cpp reads GGUF of every architecture; OpenVINO does not read {facts.architecture}"
        return ["llamacpp", "transformers"], [why]
    why = "a GGUF file; its architecture is known once it is pulled, and may make it llamacpp"
    return ["openvino", "llamacpp", "transformers"], [why]


def _facts(spec: ModelSpec, model: Model | None) -> _Facts:
    if spec.elsewhere:
        return _Facts("none", source=Model.builtin(spec).source)
    if model is None:
        return _expected(spec.source)
    if model.path.is_file():
        return _of_file(model)
    return _of_folder(model)


def _expected(source: AnySource) -> _Facts:
    """What the catalogue tells about files that are not here."""
    match source:
        case HubSource():
            name = source.file or ""
        case PackageSource():
            name = source.name
        case PathSource():
            name = source.path
    size = source.size if isinstance(source, PackageSource) else None
    kind: Format = "gguf" if name.endswith(".gguf") else "safetensors"
    weights = size if kind == "gguf" else None
    return _Facts(kind, source=str(source), size=size, weights=weights, reasons=(f"not here yet: {source}",))


def _of_file(model: Model) -> _Facts:
    size = model.path.stat().st_size
    if model.path.suffix != ".gguf":
        return _Facts("safetensors", model.path, model.source, size, size)
    header: GGUFHeader = read_gguf(model.path)
    return _Facts("gguf", model.path, model.source, size, size, header.context_length, header.architecture)


def _of_folder(model: Model) -> _Facts:
    files = {file.name: file.stat().st_size for file in model.path.iterdir() if file.is_file()}
    openvino = "openvino_model.xml" in files or "openvino_language_model.xml" in files
    kind: Format = "openvino" if openvino else "safetensors"
    ends = (".bin",) if openvino else (".safetensors", ".bin", ".pt", ".pth")
    weights = sum(size for name, size in files.items() if name.endswith(ends))
    config = _config(model.path / "config.json")
    context = config.get("max_position_embeddings", config.get("n_positions", 0))
    length = context if isinstance(context, int) else 0
    architecture = str(config.get("model_type", ""))
    return _Facts(kind, model.path, model.source, sum(files.values()), weights, length, architecture)


def _config(file: Path) -> dict[str, object]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
