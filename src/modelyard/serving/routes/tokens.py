"""POST /tokenize: how many tokens a prompt has, by the route and the form that vLLM's server has for it."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from modelyard.errors import DeadlineExceededError, InvalidArgumentError, UnsupportedError
from modelyard.llm import LLM
from modelyard.messages import Prompt
from modelyard.serving.body import JsonRoute
from modelyard.serving.context import Context, Here
from modelyard.serving.models import Served
from modelyard.serving.refusals import MODEL, refusals
from modelyard.serving.routes.chat import read_messages
from modelyard.serving.routes.wire import Tokenized, TokenizeRequest

router = APIRouter(route_class=JsonRoute, tags=["Models"])


@router.post(
    "/tokenize", response_model=Tokenized, responses=refusals(*MODEL), summary="Count a prompt's tokens"
)
async def tokenize(wanted: TokenizeRequest, here: Here) -> Response:
    """The tokens of a text, or of messages as the model's chat template writes them."""
    served = here.find(wanted.model)
    if (wanted.prompt is None) == (wanted.messages is None):
        raise InvalidArgumentError(
            "give either parameter 'prompt' or parameter 'messages'", hint="A text, or a conversation."
        )
    messages = None if wanted.messages is None else await read_messages(wanted.messages, here)
    return here.reply(_counted(served, wanted, messages, here))


def context_of(served: Served) -> int | None:
    """Tokens that a model reads and writes together; None until it was loaded once."""
    known = served.capabilities
    return known.context_length if known is not None and known.context_length else None


async def _counted(
    served: Served, wanted: TokenizeRequest, messages: Prompt | None, here: Context
) -> dict[str, Any]:
    deadline = served.deadline(None)
    async with served.place(here.record, deadline):
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + served.left(deadline)):
                ids = await _ids(served.llm, wanted, messages)
                count = await _count(served.llm, wanted, messages) if ids is None else len(ids)
        except TimeoutError:
            raise DeadlineExceededError("the deadline passed while the prompt was read") from None
    return {"count": count, "max_model_len": context_of(served), "tokens": ids}


async def _ids(llm: LLM, wanted: TokenizeRequest, messages: Prompt | None) -> list[int] | None:
    """The token ids; None where the engine tells none, or has images to read."""
    try:
        if messages is None:
            assert wanted.prompt is not None
            (found,) = await llm.encode_async([wanted.prompt], special=wanted.add_special_tokens)
            return list(found)
        written = await llm.render_async(messages, answer=wanted.add_generation_prompt)
        (found,) = await llm.encode_async([written], special=False)
        return list(found)
    except UnsupportedError:
        return None


async def _count(llm: LLM, wanted: TokenizeRequest, messages: Prompt | None) -> int:
    if messages is None:
        return await llm.count_tokens_async(wanted.prompt or "", raw=True)
    return await llm.count_tokens_async(messages)
