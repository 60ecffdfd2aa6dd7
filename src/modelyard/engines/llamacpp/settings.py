"""The engine's options, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.engines.base import check_option
from modelyard.errors import InvalidArgumentError, UnsupportedError

OPTIONS = {
    "slots": "requests that are answered at once (4); others wait their turn. One more is kept for scoring",
    "context_length": "tokens of prompt and answer, held in memory for each slot (8192, of embedding models 2048, or what the model was trained for)",
    "kv_cache_type": "number type of the KV cache: f16 (default), bf16, f32, q8_0 or q4_0",
    "threads": "CPU threads; by default as many as llama.cpp thinks best",
    "gpu_layers": "layers that lie on a GPU; by default as many as fit",
    "max_batch_tokens": "tokens of one step (64; of weights above 500 MB 32; with gpu_layers 512): larger reads prompts faster, cancels later",
    "adapters": "LoRA adapters that requests may choose: GGUF files, or folders that hold one each",
    "pooling": "how an embedding model joins its tokens: mean, cls or last; by default as the file says",
}

_CONTEXT = 8192
_LARGE = 500 * 10**6  # bytes of weights
_EMBEDDING_CONTEXT = 2048  # a text is embedded in one step, whose buffers grow with it
KV_TYPES = {"f16": 16.0, "bf16": 16.0, "f32": 32.0, "q8_0": 8.5, "q4_0": 4.5}
"""Bits of one number in the KV cache."""

_COUNTS = {
    "slots": 1,
    "context_length": 1,
    "threads": 1,
    "gpu_layers": 0,
    "max_batch_tokens": 1,
}
_CHOICES = {"kv_cache_type": tuple(KV_TYPES), "pooling": ("mean", "cls", "last")}


@dataclass(slots=True, frozen=True)
class Settings:
    slots: int = 4
    context_length: int | None = None
    kv_cache_type: str = "f16"
    threads: int | None = None
    gpu_layers: int | None = None
    max_batch_tokens: int | None = None
    adapters: tuple[Path, ...] = ()
    pooling: str | None = None

    @classmethod
    def read(cls, options: Mapping[str, Any]) -> Settings:
        """The options of a model.

        Raises:
            InvalidArgumentError: one is not known, or has a value that it cannot have; it says which.
        """
        values = {key: value for key, value in options.items() if value is not None}
        for key, value in values.items():
            check_option("llamacpp", key, OPTIONS)
            if key in _COUNTS and (
                isinstance(value, bool) or not isinstance(value, int) or not _COUNTS[key] <= value < 2**31
            ):
                raise _refused(key, value, f"It has to be a whole number, {_COUNTS[key]} or more.")
            if key in _CHOICES and value not in _CHOICES[key]:
                raise _refused(key, value, f"It has to be one of {', '.join(_CHOICES[key])}.")
        adapters = values.pop("adapters", ())
        if not isinstance(adapters, list | tuple) or not all(isinstance(one, str) for one in adapters):
            raise _refused("adapters", adapters, "It has to be a list of paths.")
        return cls(**values, adapters=tuple(adapter_file(one) for one in adapters))

    def context(self, trained: int, *, embedding: bool = False) -> int:
        """Most tokens of one request, for a model trained for so many (0 where its file does not say).

        Raises:
            InvalidArgumentError: the model was trained for less than the option asks for.
        """
        usual = _EMBEDDING_CONTEXT if embedding else _CONTEXT
        if self.context_length is None:
            return min(trained or usual, usual)
        if trained and self.context_length > trained:
            raise _refused(
                "context_length", self.context_length, f"The model was trained for {trained} tokens."
            )
        return self.context_length

    def batch_tokens(self, weights: int) -> int:
        """Tokens of one step, for weights of so many bytes.

        Whoever leaves while a prompt is read waits for up to two steps, and a larger model's take longer.
        """
        if self.max_batch_tokens is not None:
            return self.max_batch_tokens
        return 512 if self.gpu_layers else 64 if weights < _LARGE else 32


def adapter_file(path: str) -> Path:
    """The GGUF file of an adapter, given as that file or as the folder that holds it.

    Raises:
        UnsupportedError: there is no such file, or a folder holds none or several.
    """
    place = Path(path).expanduser()
    found = sorted(place.glob("*.gguf")) if place.is_dir() else [place] if place.is_file() else []
    if len(found) != 1 or found[0].suffix != ".gguf":
        raise UnsupportedError(
            f"the adapter {path} is not one GGUF file",
            hint="llama.cpp takes LoRA adapters as GGUF; its convert_lora_to_gguf.py makes one of a PEFT folder.",
        )
    return found[0].resolve()


def _refused(key: str, value: Any, hint: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"option '{key}' has value {value!r}", hint=hint)
