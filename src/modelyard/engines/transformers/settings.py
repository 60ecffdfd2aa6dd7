"""The engine's options, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelyard.engines.base import check_option
from modelyard.errors import InvalidArgumentError, nearest

OPTIONS = {
    "device": "where the weights lie: cpu, cuda, cuda:1, mps; a GPU where there is one, by default",
    "device_map": "auto spreads the weights over the devices; or a mapping, as accelerate takes it",
    "dtype": "number type of the weights: bfloat16, float16, float32, or auto (as they are stored); by default the fastest on this device, measured once",
    "attn_implementation": "sdpa (default), eager, flash_attention_2, …, as transformers names them",
    "threads": "CPU threads; all cores by default",
    "max_batch": "most requests that answer at once (32; on a GPU 256)",
    "kv_cache_gb": "most GiB of KV cache; by default half of the memory that is free after loading",
    "prompt_tokens": "tokens of a prompt read in one step, and of short ones that are scored together (512, the latter 256 at most; on a GPU 4096): larger reads faster, cancels later",
    "context_length": "tokens of prompt and answer, below what the model was trained for",
    "min_pixels": "images with fewer pixels are enlarged (vision)",
    "max_pixels": "images with more pixels are made smaller (vision)",
    "model_kwargs": "further arguments of transformers' from_pretrained",
}

_MORE = " Other arguments of from_pretrained go into the option model_kwargs, a mapping."
_RENAMED = {"torch_dtype": "dtype"}
_DTYPES = ("bfloat16", "float16", "float32", "auto")
_COUNTS = ("threads", "max_batch", "prompt_tokens", "context_length", "min_pixels", "max_pixels")
# Written for transformers 4, and the only way now: asked for at the value they have anyway.
_NEUTRAL = {"low_cpu_mem_usage": True, "use_safetensors": True, "use_cache": True, "local_files_only": True}


@dataclass(slots=True, frozen=True)
class Settings:
    device: str | None = None
    device_map: Any = None
    dtype: str | None = None
    attn_implementation: str | None = None
    threads: int | None = None
    max_batch: int | None = None
    kv_cache_gb: float | None = None
    prompt_tokens: int | None = None
    context_length: int | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    quantization: str | None = None
    model_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def sizes(self, device: str) -> tuple[int, int]:
        """Most requests that answer at once, and tokens of a prompt read in one step, on a type of device."""
        usual = (256, 4096) if device == "cuda" else (32, 512)
        return self.max_batch or usual[0], self.prompt_tokens or usual[1]

    @classmethod
    def read(cls, options: Mapping[str, Any], quantization: str | None) -> Settings:
        """The options of a model.

        Raises:
            InvalidArgumentError: one is not known, or has a value that it cannot have; it says which.
        """
        values: dict[str, Any] = {}
        for given, value in options.items():
            key = _RENAMED.get(given, given)
            if value is None:
                continue
            if key in ("load_in_4bit", "load_in_8bit"):
                quantization = _quantized(key, value, quantization)
            elif key in _NEUTRAL:
                _check_neutral(key, value)
            else:
                check_option("transformers", key, OPTIONS, _MORE)
                values[key] = _checked(key, value)
        if values.get("device") and values.get("device_map"):
            raise InvalidArgumentError("device and device_map are both given", hint="Keep one of them.")
        return cls(quantization=quantization, **values)


def _quantized(key: str, value: Any, before: str | None) -> str | None:
    if not isinstance(value, bool):
        raise InvalidArgumentError(f"option '{key}' has value {value!r:.80}", hint="It is true or false.")
    wanted = key.removeprefix("load_in_")
    if value and before not in (None, wanted):
        raise InvalidArgumentError(
            f"option '{key}' contradicts quantization '{before}'", hint="Keep one of them."
        )
    return wanted if value else before


def _check_neutral(key: str, value: Any) -> None:
    if value != _NEUTRAL[key]:
        raise InvalidArgumentError(
            f"option '{key}' has value {value!r:.80}; here it is always {_NEUTRAL[key]}", hint="Leave it out."
        )


def _checked(key: str, value: Any) -> Any:
    if key == "dtype":
        name = str(value).removeprefix("torch.")
        if name not in _DTYPES:
            raise InvalidArgumentError(
                f"option 'dtype' has value {value!r:.80}.{nearest(name, _DTYPES)}",
                hint=f"It is one of {', '.join(_DTYPES)}.",
            )
        return name
    if key in _COUNTS and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise InvalidArgumentError(f"option '{key}' has value {value!r:.80}", hint="It has to be 1 or more.")
    if key == "kv_cache_gb" and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0):
        raise InvalidArgumentError(f"option '{key}' has value {value!r:.80}", hint="It has to be above 0.")
    if key == "model_kwargs" and not isinstance(value, Mapping):
        raise InvalidArgumentError(f"option '{key}' has value {value!r:.80}", hint="It has to be a mapping.")
    if key in ("device", "attn_implementation") and not isinstance(value, str):
        raise InvalidArgumentError(f"option '{key}' has value {value!r:.80}", hint="It has to be a name.")
    return value
