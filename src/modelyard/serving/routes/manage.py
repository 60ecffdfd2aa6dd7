"""GET /models, POST /models/{name}/load and /unload."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Header
from pydantic import BaseModel
from starlette.responses import Response

from modelyard.pool import ModelStatus
from modelyard.serving.body import JsonRoute
from modelyard.serving.context import Here
from modelyard.serving.logs import say
from modelyard.serving.models import Models, Served
from modelyard.serving.refusals import GUARD, MODEL, refusals
from modelyard.serving.routes.events import EVENTS, event

router = APIRouter(route_class=JsonRoute, tags=["Management"])
_LOOK = 0.1  # seconds between two looks at a load


class ModelState(BaseModel):
    """A model that is served, and what it is at.

    `state` is `unloaded`, or what the pool says: `fetching`, `waiting`, `loading`, `idle`, `in use`, `closing`;
    or `stuck` while its process gives no sign of life. Memory is in bytes.
    """

    name: str
    title: str
    description: str | None
    task: str
    state: str
    engine: str
    memory: int | None
    predicted_memory: int | None
    running: int
    waiting: int
    places: int
    endpoint: str | None
    context_length: int | None
    abilities: list[str]
    top_logprobs: int
    problem: str
    licence: str | None
    pid: int | None


class ModelStates(BaseModel):
    """All models that are served, and the memory that they may take together."""

    models: list[ModelState]
    memory: int
    memory_budget: int


class Unloaded(BaseModel):
    """Whether the model was loaded; one in use is closed when the last request on it has ended."""

    unloaded: bool


@router.get(
    "/models", response_model=ModelStates, responses=refusals(*GUARD), summary="What each model is at"
)
async def states(here: Here) -> dict[str, Any]:
    """Each model's state, memory and queue."""
    return listed(here.parts.models)


@router.get(
    "/models/{name}", response_model=ModelState, responses=refusals(*GUARD), summary="What a model is at"
)
async def state(name: str, here: Here) -> dict[str, Any]:
    """One model's state, memory and queue."""
    served = here.find(name)
    return described(served, here.parts.models.status().get(served.loaded_name))


@router.post(
    "/models/{name}/load",
    response_model=ModelState,
    responses={200: EVENTS, **refusals(*MODEL)},
    summary="Load a model",
)
async def load(name: str, here: Here, accept: str | None = Header(None)) -> Response:
    """Loads a model now; with `Accept: text/event-stream` the reply is its progress, event by event."""
    served = here.find(name)
    if "text/event-stream" in (accept or ""):
        return here.events(_progress(served, here.parts.models))
    return here.reply(_loaded(served, here.parts.models))


@router.post(
    "/models/{name}/unload", response_model=Unloaded, responses=refusals(*MODEL), summary="Unload a model"
)
async def unload(name: str, here: Here) -> dict[str, bool]:
    """Gives a model's memory back, as soon as no request runs on it."""
    served = here.find(name)
    done = await asyncio.to_thread(here.parts.models.pool.unload, served.loaded_name)
    say("unload", model=served.name, unloaded=done)
    return {"unloaded": done}


def listed(models: Models) -> dict[str, Any]:
    """All models and their memory."""
    status = models.status()
    rows = [described(one, status.get(one.loaded_name)) for one in models]
    memory = sum(row.measured or 0 for row in models.pool.status())
    return {"models": rows, "memory": memory, "memory_budget": models.pool.memory_budget}


def described(served: Served, status: ModelStatus | None) -> dict[str, Any]:
    """A model's state, for programs and the page."""
    can = served.capabilities
    state = "unloaded" if status is None else status.state
    return {
        "name": served.name,
        "title": served.spec.title,
        "description": served.spec.description,
        "task": served.spec.task,
        "state": "stuck" if served.stuck else state,
        "engine": status.engine if status else "",
        "memory": status.measured if status else None,
        "predicted_memory": status.predicted or None if status else None,
        "running": served.admission.running,
        "waiting": served.admission.waiting,
        "places": served.admission.places,
        "endpoint": None if served.spec.endpoint is None else f"/{served.spec.endpoint}",
        "context_length": can.context_length if can else None,
        "abilities": [name for name, value in asdict(can).items() if value is True] if can else [],
        "top_logprobs": can.top_logprobs if can else 0,
        "problem": served.problem,
        "licence": served.spec.licence,
        "pid": status.pid if status else None,
    }


async def _loaded(served: Served, models: Models) -> dict[str, Any]:
    await served.load()
    return described(served, models.status().get(served.loaded_name))


async def _progress(served: Served, models: Models) -> AsyncGenerator[bytes, None]:
    """An event for each change, and the model's state as the last."""
    began = time.monotonic()
    loading = asyncio.ensure_future(served.load())
    said: dict[str, Any] = {}
    try:
        while not loading.done():
            now = served.feed.now
            status = models.status().get(served.loaded_name)
            news = {
                "state": status.state if status else "waiting",
                "label": now.label,
                "done": now.done,
                "total": now.total,
                "notes": list(now.notes),
            }
            if news != said:
                said = news
                yield event({**news, "seconds": round(time.monotonic() - began, 2)})
            await asyncio.wait({loading}, timeout=_LOOK)
        await loading
    finally:
        loading.cancel()  # who stops waiting does so for himself alone
    state = described(served, models.status().get(served.loaded_name))
    yield event({"state": "loaded", "seconds": round(time.monotonic() - began, 2), "model": state})
