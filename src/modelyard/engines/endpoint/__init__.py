"""`endpoint`: a model behind any server that speaks OpenAI's protocol."""

from modelyard.engines.endpoint.engine import EndpointEngine

__all__ = ["EndpointEngine"]
