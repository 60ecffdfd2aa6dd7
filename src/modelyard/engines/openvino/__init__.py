"""OpenVINO GenAI in process: GGUF and OpenVINO models on a CPU, with no torch."""

from modelyard.engines.openvino.engine import OpenVINOEngine

__all__ = ["OpenVINOEngine"]
