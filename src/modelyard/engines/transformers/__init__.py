"""The transformers engine: every architecture of the Hub, on torch."""

from modelyard.engines.transformers.engine import TransformersEngine

__all__ = ["TransformersEngine"]
