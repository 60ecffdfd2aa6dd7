"""The engine's options, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.engines.base import check_option
from modelyard.errors import InvalidArgumentError

OPTIONS = {
    "device": "OpenVINO device: CPU (default), GPU, NPU or AUTO",
    "threads": "CPU threads; all cores by default",
    "precision": "fast (default: the CPU's own, activations quantised on the fly) or exact (float32, and a GGUF file's zero points to the last bit, which may be off by a thirty-second of a step else)",
    "kv_cache_gb": "fixed size of the KV cache in GiB; by default it grows with the requests",
    "max_batch_tokens": "tokens of one step (256): larger reads prompts slightly faster, cancels later",
    "min_pixels": "images with fewer pixels are enlarged (vision)",
    "max_pixels": "images with more pixels are made smaller (vision)",
}

# Measured on SmolLM2 against float32 throughout, nats a token: as OpenVINO comes 0.07 on average and 0.3 at
# most; without dynamic quantisation 0.04 and 0.16; with float32 as well 0.0005 and 0.003. See docs/log.md.
EXACT = {
    "INFERENCE_PRECISION_HINT": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    "KV_CACHE_PRECISION": "f16",
}


@dataclass(slots=True, frozen=True)
class Settings:
    device: str = "CPU"
    threads: int | None = None
    precision: str = "fast"
    kv_cache_gb: int = 0
    max_batch_tokens: int = 256
    min_pixels: int | None = None
    max_pixels: int | None = None

    @classmethod
    def read(cls, options: Mapping[str, Any]) -> Settings:
        for key in options:
            check_option("openvino", key, OPTIONS)
        values = {key: value for key, value in options.items() if value is not None}
        device = {"cpu": "CPU", "auto": "AUTO", "gpu": "GPU", "npu": "NPU"}.get(
            str(values.pop("device", "CPU")).lower()
        )
        if device is None:
            raise InvalidArgumentError(
                f"option 'device' has value {options['device']!r}",
                hint="OpenVINO has CPU, GPU, NPU and AUTO.",
            )
        if values.get("precision", "fast") not in ("fast", "exact"):
            raise InvalidArgumentError(
                f"option 'precision' has value {values['precision']!r}",
                hint="It has to be 'fast' or 'exact'.",
            )
        for key in ("threads", "kv_cache_gb", "max_batch_tokens", "min_pixels", "max_pixels"):
            if key in values and (
                not isinstance(values[key], int) or isinstance(values[key], bool) or values[key] < 1
            ):
                raise InvalidArgumentError(
                    f"option '{key}' has value {values[key]!r}", hint="It has to be 1 or more."
                )
        return cls(device=device, **values)

    def scheduler(self, genai: Any, *, sees: bool) -> Any:
        config = genai.SchedulerConfig()
        config.cache_size = self.kv_cache_gb
        # Blocks of images are told apart by a few of their numbers alone: not safe enough to share an answer.
        config.enable_prefix_caching = not sees
        config.max_num_batched_tokens = self.max_batch_tokens
        return config

    def properties(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.threads:
            found["INFERENCE_NUM_THREADS"] = self.threads
            # Pinned, the threads of two models that share a machine would all take the first cores.
            found["ENABLE_CPU_PINNING"] = False
        if self.precision == "exact":
            found |= EXACT
        return found
