"""Device: how much memory there is, on this machine or on a GPU that is named."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from modelyard.errors import InvalidArgumentError, nearest

Kind = Literal["cpu", "gpu"]
GIB = 1 << 30
GPUS: Mapping[str, int] = MappingProxyType(
    {
        "t4": 16, "l4": 24, "l40s": 48, "a10": 24, "a10g": 24, "a16": 16, "a30": 24, "a40": 48,
        "a100-40gb": 40, "a100-80gb": 80, "a6000": 48, "rtx6000-ada": 48, "h100": 80, "h100-nvl": 94,
        "h200": 141, "b200": 192, "v100-16gb": 16, "v100-32gb": 32, "p100": 16, "rtx2080ti": 11, "rtx3060": 12,
        "rtx3080": 10, "rtx3090": 24, "rtx4060ti-16gb": 16, "rtx4070": 12, "rtx4080": 16, "rtx4090": 24,
        "rtx5080": 16, "rtx5090": 32, "mi250x": 128, "mi300x": 192,
    }
)  # fmt: skip
"""Memory of GPUs by name, as their vendors state it, in GB."""

_SIZE = re.compile(r"\s*(?P<amount>\d+(?:\.\d+)?)\s*(?P<unit>[kmgt]?i?b?)\s*", re.IGNORECASE)
_STATED = 0.94  # of the stated GB, as GiB that a driver reports: 24 GB of an L4 are 22.5 GiB


@dataclass(frozen=True, slots=True)
class Device:
    """Where a model would run.

    Attributes:
        name: in words.
        kind: cpu or gpu.
        total: bytes of memory.
        available: bytes that are free now; the total where that is not known.
    """

    name: str
    kind: Kind
    total: int
    available: int


def this_machine() -> Device:
    """Its first GPU where there is one, else its memory, as far as a container's limit allows."""
    return _first_gpu() or host()


def host(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> Device:
    """The machine's own memory, the lower of what it has and what its control group allows."""
    total, available = _meminfo(proc / "meminfo")
    limit, used = _group_limit(groups)
    if limit is not None and limit < total:
        return Device("this machine (its container's limit)", "cpu", limit, min(available, limit - used))
    return Device("this machine", "cpu", total, available)


def named_gpu(name: str) -> Device:
    """A GPU of the table.

    Raises:
        InvalidArgumentError: it is not in the table; the nearest are named.

    >>> named_gpu("L4").total // GIB
    22
    """
    key = next((one for one in GPUS if _plain(one) == _plain(name)), None)
    if key is None:
        raise InvalidArgumentError(
            f"--gpu has value {name!r}.{nearest(name.lower(), GPUS)}",
            hint=f"Known: {', '.join(GPUS)}. Any other: --memory 24GB.",
        )
    size = int(GPUS[key] * GIB * _STATED)
    return Device(key, "gpu", size, size)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.lower())


def of_memory(text: str, kind: Kind = "cpu") -> Device:
    """So much memory.

    >>> of_memory("24GB").total
    24000000000
    """
    size = parse_size(text)
    return Device(f"{text.strip()} of memory", kind, size, size)


def parse_size(text: str) -> int:
    """Bytes of `24GB`, `16GiB`, `800M` or a plain count.

    Raises:
        InvalidArgumentError: it is none of these.
    """
    match = _SIZE.fullmatch(text)
    unit = match["unit"].lower().rstrip("b") if match else ""
    powers = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
    if match is None or unit.rstrip("i") not in powers or unit == "i":
        raise InvalidArgumentError(
            f"--memory has value {text!r}", hint="Write it as 24GB, 16GiB, 800MB or a count of bytes."
        )
    base = 1024 if unit.endswith("i") else 1000
    size = int(float(match["amount"]) * base ** powers[unit.rstrip("i")])
    if size < 1:
        raise InvalidArgumentError(f"--memory has value {text!r}", hint="It has to be above 0.")
    return size


def has_bfloat16(proc: Path = Path("/proc")) -> bool:
    """Whether this CPU computes bfloat16 itself."""
    try:
        text = (proc / "cpuinfo").read_text(errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in text or "amx_bf16" in text


def _first_gpu() -> Device | None:
    torch = sys.modules.get("torch")  # its import takes seconds: it is asked only where it is here already
    if torch is not None and getattr(torch, "cuda", None) is not None and torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info(0)
        return Device(str(torch.cuda.get_device_name(0)), "gpu", int(total), int(free))
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    query = [command, "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_smi(said.stdout) if said.returncode == 0 else None


def parse_smi(said: str) -> Device | None:
    """The first GPU that nvidia-smi lists, in MiB.

    >>> parse_smi("NVIDIA L4, 23034, 22500").kind
    'gpu'
    """
    cells = [cell.strip() for cell in next(iter(said.splitlines()), "").split(",")]
    if len(cells) != 3 or not (cells[1].isdigit() and cells[2].isdigit()):
        return None
    return Device(cells[0], "gpu", int(cells[1]) << 20, int(cells[2]) << 20)


def _meminfo(file: Path) -> tuple[int, int]:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
        return total, total
    kilobytes = {
        name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if rest
    }
    total = kilobytes.get("MemTotal", 0) * 1024
    return total, kilobytes.get("MemAvailable", total // 1024) * 1024


def _group_limit(groups: Path) -> tuple[int | None, int]:
    """Bytes that the control group allows and has in use (version 2, then 1), None where it sets none."""
    for limit, usage, folder in (
        ("memory.max", "memory.current", groups),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", groups / "memory"),
    ):
        try:
            allowed = (folder / limit).read_text().strip()
            used = int((folder / usage).read_text())
        except (OSError, ValueError):
            continue
        if allowed.isdigit():
            return int(allowed), max(used - _droppable(folder), 0)
    return None, 0


def _droppable(folder: Path) -> int:
    """Bytes of files that the group has read and the kernel drops when it needs room."""
    try:
        rows = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return int(rows.get("total_inactive_file", rows.get("inactive_file", 0)))
    except (OSError, ValueError):
        return 0
