"""`inference_api`: hosted models of the Hugging Face Hub, with one token."""

from modelyard.engines.inference_api.engine import InferenceAPIEngine

__all__ = ["InferenceAPIEngine"]
