"""The application's OpenAPI, with the names of the models that are served wherever one is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI

_BODIES = ("ChatRequest", "CompletionRequest", "EmbeddingRequest", "ExtractRequest")


def with_names(app: FastAPI, names: Sequence[str]) -> Callable[[], dict[str, Any]]:
    """A function in place of `app.openapi`."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        fresh = app.openapi_schema is None
        found = plain()
        if fresh and names:
            for body in _BODIES:
                found["components"]["schemas"][body]["properties"]["model"]["enum"] = list(names)
            for path in found["paths"].values():
                for operation in path.values():
                    for one in operation.get("parameters", ()):
                        if (one["in"], one["name"]) == ("path", "name"):
                            one["schema"]["enum"] = list(names)
        return found

    return openapi
