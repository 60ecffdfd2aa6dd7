"""Plan: which engine runs a model here and why, and whether it fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from modelyard.catalog.lock import Lock
from modelyard.catalog.memory.device import Device, has_bfloat16, this_machine
from modelyard.catalog.memory.facts import ModelFacts, of_path
from modelyard.catalog.memory.footprint import How, Workload
from modelyard.catalog.memory.verdict import MemoryPlan, judge
from modelyard.catalog.memory.weights import DTYPE_BYTES
from modelyard.catalog.model import Model
from modelyard.catalog.pull import find_local
from modelyard.catalog.spec import AnySource, HubSource, ModelSpec, PackageSource, PathSource

Format = Literal["gguf", "openvino", "onnx", "safetensors", "none"]
Work = Literal["batch", "stream"]
OPENVINO_ARCHITECTURES = frozenset({"llama", "qwen2", "qwen3"})
"""What OpenVINO GenAI's GGUF reader takes; other files belong to llama.cpp."""
OPENVINO_VISION = frozenset({"qwen2_vl", "qwen2_5_vl"})
"""The vision-language architectures of which it is known how many tokens an image takes."""
OPENVINO_EXPORT = "openvino-export"
"""The environment that brings Hub files into OpenVINO's form; what it lacks stands among the missing."""

# Options that mean the same to openvino as to transformers, or that only it has; others belong to transformers.
OPENVINO_OPTIONS = frozenset({
    "device", "threads", "precision", "kv_cache_gb", "max_batch_tokens", "min_pixels", "max_pixels", "worker", "memory",
})  # fmt: skip

_FORMATS: dict[str, Format] = {".gguf": "gguf", ".onnx": "onnx"}
_LARGE = 1_000_000_000  # parameters from which llama.cpp writes one stream faster (35 tokens a second to 22)


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
        parameters: how many numbers the model has, None where that is not known.
        facts: what is known of its memory, None for a model that runs elsewhere.
        memory: whether it fits, where that was asked.
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
    parameters: int | None = None
    facts: ModelFacts | None = field(default=None, repr=False)
    memory: MemoryPlan | None = None

    @property
    def local(self) -> bool:
        """Whether the files are here."""
        return self.path is not None


@dataclass(frozen=True, slots=True)
class _Files:
    """What is known of the files."""

    format: Format
    facts: ModelFacts
    path: Path | None = None
    source: str = ""
    size: int | None = None
    reasons: tuple[str, ...] = ()

    @property
    def architecture(self) -> str:
        return self.facts.architecture.model_type if self.facts.architecture else ""

    @property
    def context_length(self) -> int:
        return self.facts.architecture.context_length if self.facts.architecture else 0


def plan(
    spec: ModelSpec,
    missing: Mapping[str, str | None],
    *,
    model: Model | None = None,
    lock: Lock | None = None,
    facts: ModelFacts | None = None,
    work: Work | None = None,
    load: Workload | None = None,
    device: Device | None = None,
    dtype: str | None = None,
) -> Plan:
    """Picks the engine; reads headers of local files, and never the network.

    Args:
        spec: the model.
        missing: each engine, with what it lacks to run here, or None.
        model: the files, where they have been pulled.
        lock: to find the files where they have not been given.
        facts: of a model that is not here, where `of_hub` has asked for them.
        work: a batch of requests, or one stream that somebody reads.
        load: what it is to do at once; the memory is worked out for it.
        device: where it would run.
        dtype: of the numbers; the engine's own choice by default.
    """
    files = _files(spec, model or find_local(spec, lock), facts)
    engines, reasons = _preference(spec, files, missing, work, device)
    ready = next((one for one in engines if one in missing and missing[one] is None), None)
    chosen = ready or engines[0]
    passed = engines[: engines.index(chosen)]
    fallback = [f"{one} cannot run here: {missing.get(one) or 'it is not known'}" for one in passed]
    memory = None
    if load is not None and device is not None and files.format != "none":
        how = run_how(spec, chosen, files.facts, device=device, dtype=dtype)
        memory = judge(files.facts, load, how, device, may_pack=_may_pack(chosen, files))
    return Plan(
        engine=chosen,
        reasons=(*files.reasons, *reasons, *fallback, *([f"so {chosen} runs it"] if fallback else [])),
        missing=None if ready else missing.get(chosen) or f"engine {chosen} is not known here",
        format=files.format,
        path=files.path,
        source=files.source,
        size=files.size,
        weights=files.facts.stored,
        context_length=files.context_length,
        architecture=files.architecture,
        parameters=files.facts.parameters,
        facts=files.facts if files.format != "none" else None,
        memory=memory,
    )


def run_how(
    spec: ModelSpec, engine: str, facts: ModelFacts, *, device: Device | None = None, dtype: str | None = None
) -> How:
    """How a spec would be run on an engine: number type, quantisation, device, options."""
    options = spec.options
    asked = dtype or str(options.get("dtype") or options.get("torch_dtype") or "")
    wanted = asked.removeprefix("torch.")
    if wanted == "auto":
        wanted = facts.dtype
    kind = device.kind if device else "cpu"
    usual = (
        "bfloat16"
        if kind == "gpu" or (has_bfloat16() and spec.task not in ("embedding", "classification"))
        else "float32"
    )
    packed = spec.quantization or next(
        (name for name in ("4bit", "8bit") if options.get(f"load_in_{name}") is True), None
    )
    return How(engine, wanted if wanted in DTYPE_BYTES else usual, packed, kind, options)


def _may_pack(engine: str, files: _Files) -> bool:
    """Whether the engine could load these files at 4-bit."""
    return (
        engine in ("transformers", "openvino")
        and files.format == "safetensors"
        and files.facts.tally is not None
    )


def _preference(
    spec: ModelSpec,
    files: _Files,
    missing: Mapping[str, str | None],
    work: Work | None,
    device: Device | None,
) -> tuple[list[str], list[str]]:
    """Engines that can run the model, the best first, and why that order."""
    if spec.engine != "auto":
        return [spec.engine], [f"the catalogue says engine: {spec.engine}"]
    if spec.url:
        return ["endpoint"], ["the model has a url, so it runs there already"]
    if spec.adapter:
        return ["transformers"], ["it is an adapter, which transformers lays over its base"]
    if files.format == "gguf":
        return _for_gguf(spec, files, work, device)
    if files.format == "openvino":
        return ["openvino"], ["the files are an OpenVINO model"]
    if files.format == "onnx":
        return ["onnx"], ["the files are an ONNX model, which OpenVINO's runtime reads"]
    return _for_hub(spec, files, missing, work, device)


def _for_hub(
    spec: ModelSpec,
    files: _Files,
    missing: Mapping[str, str | None],
    work: Work | None,
    device: Device | None,
) -> tuple[list[str], list[str]]:
    engines, why = _torch(spec, work, device)
    if not _exportable(spec, files) or (device or this_machine()).kind == "gpu":
        return engines, [why]
    if OPENVINO_EXPORT in missing and missing[OPENVINO_EXPORT] is None:
        packed = f" with its weights in {spec.quantization}" if spec.quantization else ""
        return ["openvino", *engines], [
            f"on a CPU Hub files run fastest exported for OpenVINO{packed}: once, and kept"
        ]
    faster = missing.get(OPENVINO_EXPORT) or f"modelyard engines install {OPENVINO_EXPORT}"
    return engines, [f"{why}; exported for OpenVINO it would be faster on this CPU: {faster}"]


def _torch(spec: ModelSpec, work: Work | None, device: Device | None) -> tuple[list[str], str]:
    """Engines that load Hub files as they are, and why in that order."""
    if spec.task != "generation":
        return ["transformers"], f"task {spec.task} on Hub files is run by transformers"
    if spec.quantization:
        why = (
            f"quantization {spec.quantization} packs Hub files as they load: transformers, with bitsandbytes"
        )
        return ["transformers"], why
    if device is not None and device.kind == "gpu" and work == "batch":
        return ["vllm", "transformers"], "a batch on a GPU is served fastest by vLLM's continuous batching"
    return ["transformers", "vllm"], "Hub files (safetensors) of every architecture are run by transformers"


def _exportable(spec: ModelSpec, files: _Files) -> bool:
    """Whether OpenVINO could run Hub files as they are asked for, as far as that is known beforehand."""
    if spec.task not in ("generation", "vision") or spec.trust_remote_code or spec.allow_pickle:
        return False
    given = {name: value for name, value in spec.options.items() if value is not None}
    elsewhere = str(given.get("device", "cpu")).lower() not in ("cpu", "auto")
    if elsewhere or not given.keys() <= OPENVINO_OPTIONS or isinstance(given.get("kv_cache_gb"), float):
        return False
    model = files.facts.architecture
    if model is None:  # not here yet, or of a kind that is not known
        return spec.task == "generation"
    sees = spec.task == "vision" or "vision_config" in model.outer
    kind = str((model.outer or model.config).get("model_type"))
    return (
        bool(model.cache)
        and not model.encoder_layers
        and not model.quantized
        and (not sees or kind in OPENVINO_VISION)
    )


def _for_gguf(
    spec: ModelSpec, files: _Files, work: Work | None, device: Device | None
) -> tuple[list[str], list[str]]:
    packed = [f"the file is quantised already: it cannot be loaded at {spec.quantization}"]
    reasons = packed if spec.quantization else []
    kind = files.architecture
    if spec.task == "embedding":
        why = "llama.cpp makes vectors from GGUF files; OpenVINO does not"
        return ["llamacpp", "transformers"], [*reasons, why]
    if not kind:
        why = "a GGUF file; its architecture is known once it is pulled, and may make it llamacpp"
        return ["openvino", "llamacpp", "transformers"], [*reasons, why]
    if kind not in OPENVINO_ARCHITECTURES:
        why = f"llama.cpp reads GGUF of every architecture; OpenVINO does not read {kind}"
        return ["llamacpp", "transformers"], [*reasons, why]
    if device is not None and device.kind == "gpu":
        why = f"llama.cpp lays the layers of a GGUF file on {device.name}; OpenVINO would not use it"
        return ["llamacpp", "openvino", "transformers"], [*reasons, why]
    reasons.append(f"OpenVINO reads GGUF of architecture {kind} with no torch")
    large = (files.facts.parameters or 0) > _LARGE
    if work == "stream" and large:
        reasons.append(
            f"one stream of a model of {(files.facts.parameters or 0) / 1e9:.1f}B parameters is written fastest by "
            "llama.cpp: 35 tokens a second where OpenVINO writes 22 (Qwen2.5-Coder 1.5B, two cores)"
        )
        return ["llamacpp", "openvino", "transformers"], reasons
    if work == "stream":
        reasons.append("one stream of a small model is written about as fast by either")
    elif work == "batch":
        reasons.append(
            "a batch goes to OpenVINO: two to five times llama.cpp's tokens a second from 16 requests"
        )
    return ["openvino", "llamacpp", "transformers"], reasons


def _files(spec: ModelSpec, model: Model | None, facts: ModelFacts | None) -> _Files:
    if spec.elsewhere:
        return _Files("none", ModelFacts(), source=Model.builtin(spec).source)
    if model is None:
        return _expected(spec.source, facts)
    known = of_path(model.path, model.revision)
    if model.path.is_file():
        kind: Format = _FORMATS.get(model.path.suffix, "safetensors")
        return _Files(kind, known, model.path, model.source, model.path.stat().st_size)
    names = {one.name: one.stat().st_size for one in model.path.iterdir() if one.is_file()}
    openvino = "openvino_model.xml" in names or "openvino_language_model.xml" in names
    onnx = not any(name.endswith((".safetensors", ".bin")) for name in names) and bool(onnx_files(model.path))
    kind = "openvino" if openvino else "gguf" if known.gguf else "onnx" if onnx else "safetensors"
    return _Files(kind, known, model.path, model.source, sum(names.values()))


def onnx_files(folder: Path) -> list[Path]:
    """The ONNX models of a folder: its own, else those in `onnx/`, where repositories of the Hub have them."""
    return sorted(folder.glob("*.onnx")) or sorted(folder.glob("onnx/*.onnx"))


def _expected(source: AnySource, facts: ModelFacts | None) -> _Files:
    """What the catalogue, and the Hub where it was asked, tell about files that are not here."""
    match source:
        case HubSource():
            name = source.file or ""
        case PackageSource():
            name = source.name
        case PathSource():
            name = source.path
    size = source.size if isinstance(source, PackageSource) else None
    kind: Format = "gguf" if facts and facts.gguf else _FORMATS.get(Path(name).suffix, "safetensors")
    why = "neither a config.json nor a header is here; nothing was asked of the network"
    known = facts or ModelFacts(stored=size if kind == "gguf" else None, unknown=(why,))
    return _Files(
        kind, known, source=str(source), size=size or known.file_bytes, reasons=(f"not here yet: {source}",)
    )
