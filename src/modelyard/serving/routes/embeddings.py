"""POST /v1/embeddings and GET /v1/models."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.responses import Response

import modelyard
from modelyard.errors import DeadlineExceededError, InvalidArgumentError
from modelyard.serving.body import JsonRoute
from modelyard.serving.context import Context, Here
from modelyard.serving.models import Served
from modelyard.serving.refusals import GUARD, MODEL, refusals
from modelyard.serving.routes.tokens import context_of
from modelyard.serving.routes.wire import EmbeddingRequest, Embeddings, ModelCard, ModelCards

router = APIRouter(route_class=JsonRoute, tags=["OpenAI"])
_MOST = 2048  # texts, as OpenAI has it


@router.post(
    "/v1/embeddings", response_model=Embeddings, responses=refusals(*MODEL), summary="Turn texts into vectors"
)
async def embeddings(wanted: EmbeddingRequest, here: Here) -> Response:
    """One vector of length 1 for each text."""
    served = here.find(wanted.model)
    served.refuse_task("embedding")
    texts = [wanted.input] if isinstance(wanted.input, str) else wanted.input
    if not 0 < len(texts) <= _MOST or not all(texts):
        raise InvalidArgumentError(
            f"parameter 'input' has {len(texts)} texts" + ("" if all(texts) else ", one of them empty"),
            hint=f"At least 1 and at most {_MOST} come with one request, none of them empty.",
        )
    return here.reply(_vectors(served, texts, wanted.encoding_format == "base64", here))


@router.get("/v1/models", response_model=ModelCards, responses=refusals(*GUARD), summary="List the models")
async def models(here: Here) -> dict[str, Any]:
    """The models that are served."""
    return {"object": "list", "data": [_card(one) for one in here.parts.models]}


@router.get("/v1/models/{name}", response_model=ModelCard, responses=refusals(*GUARD), summary="Show a model")
async def model(name: str, here: Here) -> dict[str, Any]:
    """One of the models that are served."""
    return _card(here.find(name))


def _card(served: Served) -> dict[str, Any]:
    return {
        "id": served.name, "object": "model", "created": 0, "owned_by": served.repository,
        "served_by": f"modelyard {modelyard.__version__}", "max_model_len": context_of(served),
    }  # fmt: skip


async def _vectors(served: Served, texts: list[str], packed: bool, here: Context) -> dict[str, Any]:
    deadline = served.deadline(None)
    async with served.place(here.record, deadline):
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + served.left(deadline)):
                vectors = await served.llm.embed_async(texts)
                counts = await asyncio.gather(
                    *(served.llm.count_tokens_async(one, raw=True) for one in texts)
                )
        except TimeoutError:
            raise DeadlineExceededError("the deadline passed while the texts were read") from None
    read = here.record.prompt_tokens = sum(counts)
    rows = [
        {"object": "embedding", "index": at, "embedding": _packed(one) if packed else list(one)}
        for at, one in enumerate(vectors)
    ]
    usage = {"prompt_tokens": read, "total_tokens": read}
    return {"object": "list", "data": rows, "model": served.name, "usage": usage}


def _packed(vector: tuple[float, ...]) -> str:
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()
