"""The engines by name; a module is imported when its engine is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from modelyard.catalog.plan import OPENVINO_EXPORT
from modelyard.engines.base import Engine
from modelyard.errors import EngineNotInstalledError, UnsupportedError

_CLASSES = {
    "openvino": "modelyard.engines.openvino:OpenVINOEngine",
    "llamacpp": "modelyard.engines.llamacpp:LlamaCppEngine",
    "transformers": "modelyard.engines.transformers:TransformersEngine",
    "onnx": "modelyard.engines.onnx:ONNXEngine",
    "endpoint": "modelyard.engines.endpoint:EndpointEngine",
    "inference_api": "modelyard.engines.inference_api:InferenceAPIEngine",
    "vllm": "modelyard.engines.vllm:VLLMEngine",
    "ray": "modelyard.engines.ray_serve:RayServeEngine",
    "fake": "modelyard.engines.fake:FakeEngine",
}


def engine_names() -> tuple[str, ...]:
    """The engines of this version, in the order in which `doctor` shows them."""
    return tuple(_CLASSES)


def engine_class(name: str) -> type[Engine]:
    """The class of an engine.

    Raises:
        UnsupportedError: this version has no such engine.
    """
    if name not in _CLASSES:
        raise UnsupportedError(
            f"this version has no engine '{name}'",
            hint=f"It has: {', '.join(_CLASSES)}. Use engine: auto to let it pick.",
        )
    module, _, attribute = _CLASSES[name].partition(":")
    found: type[Engine] = getattr(importlib.import_module(module), attribute)
    return found


def installed_engine(name: str, options: Mapping[str, Any] | None = None) -> type[Engine]:
    """The class of an engine that can run here.

    Raises:
        EngineNotInstalledError: what is missing, and how to get it.
    """
    found = engine_class(name)
    missing = found.missing_with(options or {})
    if missing:
        raise EngineNotInstalledError(f"engine '{name}' cannot run here: {missing}")
    return found


def availability() -> dict[str, str | None]:
    """For each engine None when it can run here, else what is missing; and the same for OpenVINO's exporter."""
    from modelyard.engines.environments import find

    found = {name: engine_class(name).missing() for name in _CLASSES}
    exporter = None if find(OPENVINO_EXPORT) else f"modelyard engines install {OPENVINO_EXPORT}"
    return {**found, OPENVINO_EXPORT: exporter}
