"""POST /v1/completions: a raw text, continued."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.responses import Response

from modelyard.errors import InvalidArgumentError, UnsupportedError
from modelyard.serving.answers import Answer, Answering, fresh_id
from modelyard.serving.body import JsonRoute
from modelyard.serving.context import Here
from modelyard.serving.refusals import MODEL, refusals
from modelyard.serving.routes.events import EVENTS, closing, joined, opened
from modelyard.serving.routes.wire import Completion, CompletionRequest
from modelyard.types import Token

router = APIRouter(route_class=JsonRoute, tags=["OpenAI"])


@router.post(
    "/v1/completions",
    response_model=Completion,
    responses={200: EVENTS, **refusals(*MODEL)},
    summary="Continue a text",
)
async def completions(wanted: CompletionRequest, here: Here) -> Response:
    """The text, continued; whole or as a stream of events."""
    served = here.find(wanted.model)
    served.refuse_task("generation", "seq2seq", "vision")
    prompts = [wanted.prompt] if isinstance(wanted.prompt, str) else wanted.prompt
    count = wanted.n or 1
    most = here.parts.settings.max_answers
    if not prompts or len(prompts) * count > most:
        raise InvalidArgumentError(
            f"parameter 'prompt' asks for {len(prompts) * count} answers",
            hint=f"At least 1 and at most {most} come with one request.",
        )
    if wanted.best_of not in (None, count):
        raise UnsupportedError(
            f"parameter 'best_of' is {wanted.best_of}", hint="Only as many as 'n' are made."
        )
    answering = Answering(
        served, prompts, _arguments(wanted, served.spec.task), count, here.record, wanted.timeout
    )
    if wanted.stream:
        options = wanted.stream_options
        return here.events(_events(answering, wanted, options is not None and options.include_usage))
    return here.reply(_whole(answering, wanted))


def _arguments(wanted: CompletionRequest, task: str) -> dict[str, Any]:
    if wanted.echo and wanted.logprobs is not None:
        raise UnsupportedError(
            "parameter 'echo' is true beside 'logprobs'", hint="The prompt's own logprobs are not given."
        )
    how = {**wanted.sampling(), "logprobs": wanted.logprobs is not None, "raw": task != "seq2seq"}
    if wanted.logprobs:
        how["top_logprobs"] = wanted.logprobs
    if wanted.echo:
        how["return_full_text"] = True
    return how


async def _whole(answering: Answering, wanted: CompletionRequest) -> dict[str, Any]:
    answers = await answering.whole()
    return {
        "id": fresh_id("cmpl"),
        "object": "text_completion",
        "created": answering.created,
        "model": answering.served.name,
        "system_fingerprint": answering.served.fingerprint,
        "choices": [_choice(at, one, wanted.logprobs) for at, one in enumerate(answers)],
        "usage": answering.totals.usage(),
        **answering.totals.noticed(),
    }


def _choice(at: int, answer: Answer, logprobs: int | None) -> dict[str, Any]:
    listed = None if logprobs is None else _tokens(answer.tokens)
    return {"index": at, "text": answer.text, "logprobs": listed, "finish_reason": answer.finish}


def _tokens(tokens: list[Token] | tuple[Token, ...]) -> dict[str, Any]:
    top = [{one.text: one.logprob for one in token.top} for token in tokens]
    return {
        "tokens": [one.text for one in tokens],
        "token_logprobs": [one.logprob for one in tokens],
        "top_logprobs": top if any(top) else None,
        "text_offset": [one.start for one in tokens],
    }


async def _events(
    answering: Answering, wanted: CompletionRequest, usage: bool
) -> AsyncGenerator[bytes, None]:
    head = opened(
        {
            "id": fresh_id("cmpl"),
            "object": "text_completion",
            "created": answering.created,
            "model": answering.served.name,
        }
    )
    end = b',"logprobs":null,"finish_reason":null}]}\n\n'
    openings = [head + b',"choices":[{"index":%d,"text":' % at for at in range(answering.count)]
    async for at, chunk in answering.chunks():
        if chunk.finish_reason is None and wanted.logprobs is None:
            if chunk.text:
                yield openings[at] + orjson.dumps(chunk.text) + end
            continue
        listed = None if wanted.logprobs is None else _tokens(chunk.tokens)
        choice = {"index": at, "text": chunk.text, "logprobs": listed, "finish_reason": chunk.finish_reason}
        yield joined(head, {"choices": [choice]})
    for event in closing(head, answering, usage=usage):
        yield event
