"""GET /livez, /readyz and /metrics."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from modelyard.serving.context import Here
from modelyard.serving.metrics import CONTENT_TYPE
from modelyard.serving.models import Served
from modelyard.serving.refusals import GUARD, refusals

router = APIRouter(tags=["Health"])
LIVE = "/livez"


class Live(BaseModel):
    """The server runs."""

    status: str


class ModelReadiness(BaseModel):
    """Whether a model takes requests. One that is not loaded does: it loads on the first."""

    ready: bool
    state: str
    reason: str


class Readiness(BaseModel):
    """Whether the server takes requests, and for which models."""

    ready: bool
    reason: str
    models: dict[str, ModelReadiness]


@router.get(LIVE, response_model=Live, summary="Does the server run")
async def live() -> dict[str, str]:
    """Answers at once as long as the server itself works, whatever its models do."""
    return {"status": "live"}


@router.get(
    "/readyz",
    response_model=Readiness,
    responses={**refusals(*GUARD), 503: {"model": Readiness, "description": "The server is stopping."}},
    summary="Does the server take requests",
)
async def ready(here: Here) -> Response:
    """503 once the server is stopping. A model in trouble is listed, and takes no other model with it."""
    parts = here.parts
    found = {
        "ready": not parts.draining,
        "reason": "the server is stopping" if parts.draining else "",
        "models": {one.name: readiness(one, here) for one in parts.models},
    }
    return Response(orjson.dumps(found), 503 if parts.draining else 200, media_type="application/json")


@router.get(
    "/readyz/{name}",
    response_model=ModelReadiness,
    responses={**refusals(*GUARD), 503: {"model": ModelReadiness, "description": "Not now."}},
    summary="Does a model take requests",
)
async def model_ready(name: str, here: Here) -> Response:
    """503 while the model gives no sign of life or cannot be loaded."""
    found = readiness(here.find(name), here)
    return Response(orjson.dumps(found), 200 if found["ready"] else 503, media_type="application/json")


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **refusals(*GUARD)},
    summary="Figures for Prometheus",
)
async def metrics(here: Here) -> Response:
    """Queue, time to the first token, tokens, cancels, loads and memory, by model."""
    return Response(here.parts.metrics.page(), media_type=CONTENT_TYPE)


def readiness(served: Served, here: Here) -> dict[str, Any]:
    """Whether a model takes requests, and why not."""
    status = here.parts.models.status().get(served.loaded_name)
    state = "stuck" if served.stuck else status.state if status else "unloaded"
    reason = "its process gives no sign of life" if served.stuck else served.problem
    if here.parts.draining:
        reason = "the server is stopping"
    return {"ready": not reason, "state": state, "reason": reason}
