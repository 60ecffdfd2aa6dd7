"""Run, compare and trust open Hugging Face models.

The public names; each loads its module when it is first used, so that `import modelyard` stays light.

>>> import modelyard
>>> str(modelyard.create_llm("fake", options={"reply": "Paris"}).generate("The capital of France?"))
'Paris'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from modelyard.bench.runner import create_benchmark_runner
    from modelyard.catalog.load import Catalog, load_catalog
    from modelyard.catalog.spec import ModelSpec
    from modelyard.create import create_llm
    from modelyard.errors import (
        CancelledError,
        CatalogError,
        DeadlineExceededError,
        DocumentError,
        DownloadError,
        EngineError,
        InvalidArgumentError,
        ModelNotFoundError,
        ModelyardError,
        PromptTooLongError,
        ProviderAPIError,
        ResourceExhaustedError,
        SchemaError,
        UnsupportedError,
    )
    from modelyard.extraction import extract, extract_async
    from modelyard.llm import LLM, ModelCapability
    from modelyard.loader import ModelLoader, get_model_loader
    from modelyard.pool import Pool
    from modelyard.session import Session
    from modelyard.types import Chunk, ImagePart, Message, Result, Score, TextPart, Token

_WHERE = {
    "modelyard.bench.runner": ("create_benchmark_runner",),
    "modelyard.catalog.load": ("Catalog", "load_catalog"),
    "modelyard.catalog.spec": ("ModelSpec",),
    "modelyard.errors": (
        "CancelledError", "CatalogError", "DeadlineExceededError", "DocumentError", "DownloadError", "EngineError",
        "InvalidArgumentError", "ModelNotFoundError", "ModelyardError", "PromptTooLongError", "ProviderAPIError",
        "ResourceExhaustedError", "SchemaError", "UnsupportedError",
    ),
    "modelyard.extraction": ("extract", "extract_async"),
    "modelyard.create": ("create_llm",),
    "modelyard.llm": ("LLM", "ModelCapability"),
    "modelyard.loader": ("ModelLoader", "get_model_loader"),
    "modelyard.pool": ("Pool",),
    "modelyard.session": ("Session",),
    "modelyard.types": ("Chunk", "ImagePart", "Message", "Result", "Score", "TextPart", "Token"),
}  # fmt: skip
_HOME = {name: module for module, names in _WHERE.items() for name in names}

__all__ = [
    "LLM", "CancelledError", "Catalog", "CatalogError", "Chunk", "DeadlineExceededError", "DocumentError",
    "DownloadError", "EngineError", "ImagePart", "InvalidArgumentError", "Message", "ModelCapability",
    "ModelLoader", "ModelNotFoundError", "ModelSpec", "ModelyardError", "Pool", "PromptTooLongError", "ProviderAPIError",
    "ResourceExhaustedError", "Result", "SchemaError", "Score", "Session", "TextPart", "Token", "UnsupportedError",
    "create_benchmark_runner", "create_llm", "extract", "extract_async", "get_model_loader", "load_catalog",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'modelyard' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
