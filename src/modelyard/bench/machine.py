"""Machine: what a run was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from modelyard.catalog.memory.device import this_machine


def machine() -> dict[str, Any]:
    """Processor, cores that may be used, memory in bytes, and the GPU where there is one.

    >>> machine()["cores"] >= 1
    True
    """
    device = this_machine()
    found: dict[str, Any] = {"cpu": _processor(), "cores": _cores(), "system": platform.system()}
    if device.kind == "gpu":
        return {**found, "gpu": device.name, "gpu_memory": device.total}
    return {**found, "memory": device.total}


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    if file.is_file():
        for line in file.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
