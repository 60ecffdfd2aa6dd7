"""`vllm`: vLLM's own server, started and watched by us, in an environment of its own."""

from modelyard.engines.vllm.engine import VLLMEngine

__all__ = ["VLLMEngine"]
