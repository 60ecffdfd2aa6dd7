"""Which number type a CPU computes fastest in: measured once, then remembered.

bfloat16 is twice as fast as float32 on a CPU with instructions for it, and far slower on one without.
"""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

from modelyard.paths import cache_dir, write_atomically

_WORTH = 0.9  # bfloat16 is taken where it needs less than this share of float32's time: it is less exact


def best_dtype(device: Any) -> torch.dtype:
    """The type to load weights in where the catalogue names none."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type != "cpu":
        return torch.float16
    return torch.bfloat16 if remembered_ratio() < _WORTH else torch.float32


def remembered_ratio() -> float:
    """bfloat16's time over float32's, of the matrix products that a decoder makes on this CPU."""
    file = cache_dir() / "transformers" / "precision.json"
    key = f"{_cpu()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    known = _read(file)
    if key not in known:
        known[key] = round(measured_ratio(), 3)
        write_atomically(file, json.dumps(known, indent=1))
    return float(known[key])


def measured_ratio(rows: int = 8, width: int = 1024, repeats: int = 5) -> float:
    """Measures now; about a tenth of a second."""
    return _time(torch.bfloat16, rows, width, repeats) / _time(torch.float32, rows, width, repeats)


def _time(dtype: torch.dtype, rows: int, width: int, repeats: int) -> float:
    one = torch.ones((rows, width), dtype=dtype)
    two = torch.ones((4 * width, width), dtype=dtype)
    torch.nn.functional.linear(one, two)
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in range(4):
            torch.nn.functional.linear(one, two)
        best = min(best, time.perf_counter() - began)
    return best


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")


def _read(file: Path) -> dict[str, Any]:
    try:
        known = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
