"""Memory: what is free on a device, and what an allocation that failed looks like."""

from __future__ import annotations

import gc
from typing import Any

import torch

from modelyard.errors import ResourceExhaustedError

_SHARE = {"cpu": 0.5, "cuda": 0.8}  # of what is free after the weights are loaded, for the KV cache


def free_bytes(device: Any) -> int:
    """Bytes that are free on the device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def cache_room(device: Any) -> int:
    """Bytes that the KV cache may take by default: half of a CPU's free memory, 0.8 of a GPU's."""
    return int(free_bytes(device) * _SHARE.get(device.type, 0.5))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed: torch has one class for GPUs and a plain RuntimeError for a CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def release() -> None:
    """Gives back what torch keeps for later."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def too_large(tokens: int, others: int, row_bytes: int) -> ResourceExhaustedError:
    """The error for a request that the memory did not hold."""
    beside = f" beside {others} other requests" if others else ""
    return ResourceExhaustedError(
        f"out of memory{beside}: prompt and answer of {tokens} tokens take {tokens * row_bytes / 2**20:,.0f} MiB "
        "of KV cache, and the forward pass some more",
        hint="Send fewer requests at once (option max_batch), shorter ones, or use quantization: 4bit.",
    )
