"""llama.cpp in process, through xllamacpp: GGUF models of every architecture."""

from modelyard.engines.llamacpp.engine import LlamaCppEngine

__all__ = ["LlamaCppEngine"]
