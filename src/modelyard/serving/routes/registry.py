"""The models' own routes: POST /{endpoint} for each spec that has one, and GET /registry/models."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Body
from pydantic import BaseModel, Field
from starlette.responses import Response

from modelyard.serving.answers import Answering
from modelyard.serving.body import JsonRoute
from modelyard.serving.context import Context, Here
from modelyard.serving.models import Models, Served
from modelyard.serving.refusals import GUARD, MODEL, refusals
from modelyard.serving.routes.wire import SafetyNotice, Stop, Wire


class GenerationParams(Wire):
    """How to answer, over the model's own defaults from the catalogue."""

    max_length: int | None = Field(
        None, ge=1, le=2**31, description="Most tokens of text and answer together."
    )
    max_new_tokens: int | None = Field(None, ge=1, le=2**31, description="Most tokens of the answer.")
    max_tokens: int | None = Field(None, ge=1, le=2**31, description="The same as max_new_tokens.")
    min_length: int | None = Field(None, ge=0, le=2**31)
    min_new_tokens: int | None = Field(None, ge=0, le=2**31)
    temperature: float | None = Field(None, ge=0, le=100, description="0 is greedy.")
    do_sample: bool | None = None
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0, le=100)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    seed: int | None = Field(None, ge=0, le=2**63 - 1)
    stop: Stop | list[Stop] | None = None
    return_full_text: bool | None = Field(None, description="Put the text in front of the answer.")
    num_return_sequences: int | None = Field(None, ge=1, le=1, description="One answer comes with a request.")
    num_beams: int | None = Field(None, ge=1, le=1, description="Beam search is not supported.")
    length_penalty: float | None = Field(None, ge=1, le=1, description="It belongs to beam search.")
    use_cache: bool | None = None


class GenerateBody(Wire):
    """What a model's own route takes."""

    text: str = Field(min_length=1, description="The text to answer, to continue or to translate.")
    generation_params: GenerationParams | None = None


class ModelInfo(BaseModel):
    """Which model answered."""

    model_name: str
    task: str


class Generated(BaseModel):
    """The answer and its model."""

    generated_text: str
    model_info: ModelInfo
    warnings: list[str] = []
    finish_reason: Literal["content_filter"] | None = None
    safety: list[SafetyNotice] = []


class GenerateReply(BaseModel):
    """What a model's own route replies."""

    response: Generated


class RegistryEntry(BaseModel):
    """A model as the catalogue has it."""

    name: str
    type: str
    description: str | None
    display_name: str
    endpoint: str | None
    model_name: str
    task: str
    generation_params: dict[str, Any]
    tags: list[str]
    licence: str | None
    loaded: bool


class Registry(BaseModel):
    """All models of the catalogue that are served."""

    models: list[RegistryEntry]


def registry_router(models: Models) -> APIRouter:
    """The routes of the models in the catalogue."""
    router = APIRouter(route_class=JsonRoute, tags=["Models' own routes"])
    for served in models:
        spec = served.spec
        if spec.endpoint is not None and spec.task in ("generation", "seq2seq", "vision"):
            router.add_api_route(
                f"/{spec.endpoint}",
                _endpoint(served),
                methods=["POST"],
                response_model=GenerateReply,
                responses=refusals(*MODEL),
                summary=spec.description or f"Ask {spec.title}",
                operation_id=f"generate_{served.name}",
            )

    @router.get(
        "/registry/models", response_model=Registry, responses=refusals(*GUARD), summary="List the catalogue"
    )
    async def registry(here: Here) -> dict[str, Any]:
        """What the catalogue says of each model that is served."""
        loaded = here.parts.models.status()
        return {"models": [_entry(one, one.loaded_name in loaded) for one in here.parts.models]}

    return router


def _endpoint(served: Served) -> Any:
    async def generate(here: Here, wanted: GenerateBody = Body()) -> Response:  # noqa: B008  (how FastAPI names a body)
        here.record.model = served.name
        return here.reply(_answer(served, wanted, here))

    generate.__doc__ = (
        f"Answers with '{served.name}'; what `generation_params` leaves out is the catalogue's."
    )
    return generate


async def _answer(served: Served, wanted: GenerateBody, here: Context) -> dict[str, Any]:
    given = wanted.generation_params
    how = {} if given is None else given.model_dump(exclude_none=True)
    answering = Answering(served, [wanted.text], {**how, "logprobs": False}, 1, here.record, None)
    answer = (await answering.whole())[0]
    generated: dict[str, Any] = {
        "generated_text": answer.text,
        "model_info": {"model_name": served.repository, "task": served.spec.task},
    }
    if answer.finish == "content_filter":
        generated["finish_reason"] = answer.finish
    noticed = answering.totals.noticed()
    if "warnings" in noticed:
        generated["warnings"] = [one["message"] for one in noticed["warnings"]]
    if "safety" in noticed:
        generated["safety"] = noticed["safety"]
    return {"response": generated}


def _entry(served: Served, loaded: bool) -> dict[str, Any]:
    spec = served.spec
    return {
        "name": spec.alias,
        "type": "huggingface",
        "description": spec.description,
        "display_name": spec.title,
        "endpoint": None if spec.endpoint is None else f"/{spec.endpoint}",
        "model_name": served.repository,
        "task": spec.task,
        "generation_params": dict(spec.defaults),
        "tags": list(spec.tags),
        "licence": spec.licence,
        "loaded": loaded,
    }
