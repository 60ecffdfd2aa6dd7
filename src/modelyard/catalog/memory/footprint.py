"""Footprint: the most memory that one engine takes for a model and its work.

The peak is the larger of two moments: loading, and answering (process, weights, KV cache, activations). The
constants of each engine were measured on its own process; docs/log.md has the runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from modelyard.catalog.memory.activations import pass_bytes, unpacked_bytes
from modelyard.catalog.memory.architecture import Architecture
from modelyard.catalog.memory.device import Kind
from modelyard.catalog.memory.facts import ModelFacts
from modelyard.catalog.memory.kv_cache import (
    kv_bytes,
    kv_bytes_a_token,
    kv_bytes_joined,
    kv_bytes_llamacpp,
    kv_bytes_openvino,
    kv_bytes_vllm,
)
from modelyard.catalog.memory.weights import DTYPE_BYTES

MIB = 1 << 20
_ANSWER = 256  # tokens of an answer, where the work does not say
_LLAMACPP_SLOTS, _LLAMACPP_CONTEXT = 4, 8192  # where the options say nothing
_LEAST_COLUMNS = 32  # that our transformers engine reads of each prompt in a step

# Measured: VmHWM of the child process, SmolLM2 135M and Qwen2.5-Coder 1.5B, Linux x86-64, two cores.
_OPENVINO_PROCESS, _OPENVINO_COPIES = 240 * MIB, 2.05
_LLAMACPP_PROCESS, _LLAMACPP_A_TOKEN = 50 * MIB, 450
_TORCH_PROCESS, _TORCH_LOADED = 249 * MIB, 150 * MIB
# Not measured here: what NVIDIA's driver and the kernels take of a GPU, and vLLM's graphs beside them.
_CUDA_CONTEXT, _VLLM_GRAPHS = 600 * MIB, 1000 * MIB


@dataclass(frozen=True, slots=True)
class Workload:
    """What a model is to do at once.

    Attributes:
        batch: requests.
        context: tokens of prompt and answer, each.
        answer: tokens of the answer; half of a short context, at most 256, where None.
    """

    batch: int = 1
    context: int = 4096
    answer: int | None = None

    @property
    def prompt(self) -> int:
        """Tokens of one prompt."""
        answer = min(_ANSWER, self.context // 2) if self.answer is None else self.answer
        return max(self.context - answer, 1)


@dataclass(frozen=True, slots=True)
class Footprint:
    """Predicted bytes.

    Attributes:
        process: of the engine itself, its libraries and buffers.
        weights: of the model, with the copies that the engine makes.
        kv_cache: of the work's tokens.
        activations: at the widest point of a forward pass.
        loading: the peak while it loads.
        mapped: of that, pages of files read once, which the system drops where it needs room.
        factor: by which measurements correct all this.
        notes: what to know about it.
    """

    process: int
    weights: int
    kv_cache: int
    activations: int
    loading: int = 0
    mapped: int = 0
    factor: float = 1.0
    notes: tuple[str, ...] = ()

    @property
    def predicted(self) -> int:
        """The peak, before any correction."""
        return max(self.process + self.weights + self.kv_cache + self.activations, self.loading)

    @property
    def total(self) -> int:
        """The peak, corrected by what was measured."""
        return int(self.predicted * self.factor)

    @property
    def needed(self) -> int:
        """What has to be free for it, corrected: the peak without pages that can be dropped."""
        answering = self.process + self.weights + self.kv_cache + self.activations
        return int(max(answering, self.loading - self.mapped) * self.factor)

    def corrected(self, factor: float, why: str) -> Footprint:
        """The same, with the factor that `measured.correction` found."""
        return replace(self, factor=factor, notes=(*self.notes, f"x {factor:.2f}, {why}")) if why else self


@dataclass(frozen=True, slots=True)
class How:
    """How a model would be run.

    Attributes:
        engine: its name.
        dtype: of the numbers.
        quantization: 4bit, 8bit, or None.
        device: cpu or gpu.
        options: of the engine.
    """

    engine: str
    dtype: str = "bfloat16"
    quantization: str | None = None
    device: Kind = "cpu"
    options: Mapping[str, Any] = field(default_factory=dict)


def footprint(facts: ModelFacts, work: Workload, how: How) -> Footprint | None:
    """The predicted peak; None where the engine holds nothing here, or too little is known of the model.

    >>> from modelyard.catalog.memory.facts import of_config
    >>> gpt2 = of_config({"model_type": "gpt2"})
    >>> found = footprint(gpt2, Workload(1, 1024), How("transformers", "float32"))
    >>> found.weights, found.kv_cache
    (497759232, 96804864)
    """
    model, predict = facts.architecture, _ENGINES.get(how.engine)
    if predict is None or model is None or model.unknown:
        return None
    return predict(facts, model, work, how)


def _transformers(facts: ModelFacts, model: Architecture, work: Workload, how: How) -> Footprint | None:
    weights = facts.loaded_bytes(how.dtype, how.quantization)
    if weights is None:
        return None
    width, notes = int(DTYPE_BYTES[how.dtype]), _unpackable(facts, how)
    if model.encoder_layers:  # the prompt is the encoder's, read whole; the answer is the decoder's
        cache = kv_bytes(model, work.batch, work.context - work.prompt, source=work.prompt, width=width)
        reading = work.batch * work.prompt
    elif not model.cache:
        cache, reading = 0, work.batch * work.context
    else:
        cache = kv_bytes_joined(model, work.batch, work.prompt, work.context, width)
        reading = max(
            _number(how, "prompt_tokens", 4096 if how.device == "gpu" else 512), work.batch * _LEAST_COLUMNS
        )
    active = pass_bytes(model, work.batch, work.prompt, width=width, total=reading)
    active += min(reading, work.batch * work.prompt) * work.context  # the attention mask, a byte each
    active += unpacked_bytes(model, work.batch, work.context, width)
    if how.device == "gpu":
        notes = (*notes, f"{_CUDA_CONTEXT // MIB} MiB are assumed for CUDA's context: not measured here")
        return Footprint(_CUDA_CONTEXT, weights, cache, active, notes=notes)
    process = _TORCH_PROCESS + _TORCH_LOADED
    loading, mapped = process + weights, 0
    if facts.gguf is not None:
        loading += 8 * facts.largest  # unpacked to float32, and copied once
    elif how.quantization or how.dtype != facts.dtype:
        mapped = facts.file_bytes or 0  # the published numbers, read beside those made of them
    return Footprint(process, weights, cache, active, loading + mapped, mapped, notes=notes)


def _unpackable(facts: ModelFacts, how: How) -> tuple[str, ...]:
    """Says so where quantisation leaves most of a model as it is."""
    if how.quantization is None or facts.tally is None or facts.tally.rest < facts.tally.packed:
        return ()
    share = facts.tally.rest / facts.tally.total
    return (
        f"{share:.0%} of its numbers stay as they are: transformers 5 stacks the experts of a layer into one "
        "tensor, which bitsandbytes does not pack",
    )


def _openvino(facts: ModelFacts, model: Architecture, work: Workload, how: How) -> Footprint | None:
    stored = facts.converted
    if stored is None:
        return None
    if (
        facts.gguf is None
    ):  # Hub files are exported in 16 bits or less; of an OpenVINO model its own size is less
        stored = min(stored, facts.loaded_bytes("float16", how.quantization) or stored)
    tokens = _number(how, "max_batch_tokens", 256)
    cache = kv_bytes_openvino(model, work.batch, work.context)
    if fixed := _number(how, "kv_cache_gb", 0):
        cache = fixed << 30
    active = pass_bytes(model, work.batch, work.prompt, total=max(tokens, work.batch))
    return Footprint(_OPENVINO_PROCESS, int(stored * _OPENVINO_COPIES), cache, active)


def _llamacpp(facts: ModelFacts, model: Architecture, work: Workload, how: How) -> Footprint | None:
    if facts.gguf is None or facts.stored is None:
        return None
    slots = _number(how, "slots", _LLAMACPP_SLOTS)
    usual = min(model.context_length or _LLAMACPP_CONTEXT, _LLAMACPP_CONTEXT)
    context = _number(how, "context_length", usual)
    tokens = _number(how, "max_batch_tokens", 64)
    bits = {"f32": 32.0, "q8_0": 8.5, "q4_0": 4.5}.get(str(how.options.get("kv_cache_type")), 16.0)
    cache = kv_bytes_llamacpp(model, slots + 1, context, chunk=tokens, bits=bits)  # one slot more scores
    active = pass_bytes(model, work.batch, work.prompt, total=max(tokens, work.batch))
    weights = facts.stored + (facts.repacked if how.device == "cpu" else 0)
    process = _LLAMACPP_PROCESS + _LLAMACPP_A_TOKEN * model.vocabulary
    notes = [
        f"the cache of {slots} slots and one for scoring is held from the start, {context:,} tokens each"
    ]
    return Footprint(process, weights, cache, active, notes=tuple(notes))


def with_room(how: How, work: Workload) -> How:
    """The same, with the options that an engine needs to do all of the work at once.

    >>> with_room(How("llamacpp"), Workload(16, 512)).options
    {'slots': 16}
    """
    if how.engine != "llamacpp":
        return how
    options = dict(how.options)
    if work.batch > _LLAMACPP_SLOTS:
        options.setdefault("slots", work.batch)
    if work.context > _LLAMACPP_CONTEXT:
        options.setdefault("context_length", work.context)
    return replace(how, options=options)


def _vllm(facts: ModelFacts, model: Architecture, work: Workload, how: How) -> Footprint | None:
    weights = facts.loaded_bytes(how.dtype, how.quantization)
    if weights is None:
        return None
    width = int(DTYPE_BYTES[how.dtype])
    cache = kv_bytes_vllm(model, work.batch, work.context, width)
    active = pass_bytes(model, work.batch, work.prompt, width=width, total=8192)
    note = "vLLM's own overhead is assumed, not measured; it takes the rest of its share for its cache"
    return Footprint(_CUDA_CONTEXT + _VLLM_GRAPHS, weights, cache, active, notes=(note,))


_ENGINES: Mapping[str, Callable[[ModelFacts, Architecture, Workload, How], Footprint | None]] = {
    "transformers": _transformers, "openvino": _openvino, "llamacpp": _llamacpp, "vllm": _vllm,
}  # fmt: skip


def kv_a_token(model: Architecture, how: How) -> int:
    """Bytes of KV cache that one more token takes on this engine."""
    if how.engine == "openvino":
        return kv_bytes_openvino(model, 1, 32) // 32
    if how.engine == "llamacpp":
        return kv_bytes_a_token(model, 2)
    return kv_bytes_a_token(model, int(DTYPE_BYTES[how.dtype]))


def _number(how: How, name: str, default: int) -> int:
    value = how.options.get(name)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else default
