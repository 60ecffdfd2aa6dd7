"""POST /v1/chat/completions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.responses import Response

from modelyard.errors import InvalidArgumentError, UnsupportedError
from modelyard.serving.answers import Answer, Answering, fresh_id
from modelyard.serving.body import JsonRoute
from modelyard.serving.context import Context, Here
from modelyard.serving.images.intake import ImageIntake
from modelyard.serving.refusals import MODEL, refusals
from modelyard.serving.routes.events import EVENTS, closing, joined, opened
from modelyard.serving.routes.wire import (
    AsObject,
    AsSchema,
    Called,
    ChatCompletion,
    ChatMessage,
    ChatRequest,
    TextContent,
    ToolChoice,
)
from modelyard.types import Message, Part, TextPart, Token, ToolCall

router = APIRouter(route_class=JsonRoute, tags=["OpenAI"])


@router.post(
    "/v1/chat/completions",
    response_model=ChatCompletion,
    responses={200: EVENTS, **refusals(*MODEL)},
    summary="Answer a conversation",
)
async def chat(wanted: ChatRequest, here: Here) -> Response:
    """The model's next turn, whole or as a stream of events."""
    served = here.find(wanted.model)
    served.refuse_task("generation", "vision")
    how = arguments(wanted)
    prompt = await read_messages(wanted.messages, here)
    count = wanted.n or 1
    _bounded(count, here)
    answering = Answering(served, [prompt], how, count, here.record, wanted.timeout)
    if wanted.stream:
        options = wanted.stream_options
        return here.events(_events(answering, wanted, options is not None and options.include_usage))
    return here.reply(_whole(answering, wanted))


def arguments(wanted: ChatRequest) -> dict[str, Any]:
    """The arguments of an LLM that a body asks for."""
    how = wanted.sampling()
    if wanted.max_completion_tokens is not None:
        if wanted.max_tokens is not None:
            raise InvalidArgumentError(
                "parameters 'max_tokens' and 'max_completion_tokens' are both given", hint="Keep one of them."
            )
        how["max_new_tokens"] = wanted.max_completion_tokens
    if wanted.top_logprobs and not wanted.logprobs:
        raise InvalidArgumentError(
            "parameter 'top_logprobs' is given without 'logprobs: true'", hint="Add it."
        )
    how["logprobs"] = bool(wanted.logprobs)
    if wanted.top_logprobs:
        how["top_logprobs"] = wanted.top_logprobs
    match wanted.response_format:
        case AsSchema(json_schema=named):
            how["schema"] = named.schema_
        case AsObject():
            how["schema"] = {"type": "object"}
    if wanted.tools:
        if wanted.parallel_tool_calls is False:
            raise UnsupportedError(
                "parameter 'parallel_tool_calls' is false",
                hint="How many calls a model makes is its own choice.",
            )
        how["tools"] = [_tool(one) for one in wanted.tools]
        choice = wanted.tool_choice
        if choice is not None:
            how["tool_choice"] = choice.function.name if isinstance(choice, ToolChoice) else choice
    elif wanted.tool_choice not in (None, "none"):
        raise InvalidArgumentError("parameter 'tool_choice' is given without 'tools'", hint="Leave it out.")
    return how


def _tool(offer: Any) -> dict[str, Any]:
    function = offer.function
    return {
        "type": "function",
        "function": {
            "name": function.name,
            "description": function.description or "",
            "parameters": function.parameters or {},
        },
    }


def _bounded(count: int, here: Context) -> None:
    most = here.parts.settings.max_answers
    if count > most:
        raise InvalidArgumentError(
            f"parameter 'n' asks for {count} answers", hint=f"At most {most} come with one request."
        )


async def read_messages(given: Sequence[ChatMessage], here: Context) -> list[Message]:
    most = here.parts.settings.max_messages
    if len(given) > most:
        raise InvalidArgumentError(
            f"parameter 'messages' has {len(given):,} messages", hint=f"At most {most:,} are read."
        )
    return [await _message(one, here.parts.images) for one in given]


async def _message(given: ChatMessage, images: ImageIntake) -> Message:
    role = "system" if given.role == "developer" else given.role
    calls = tuple(_call(one) for one in given.tool_calls or ())
    if given.content is None and not calls:
        raise InvalidArgumentError(
            "parameter 'messages' holds a message without content", hint="Give it a text."
        )
    if not isinstance(given.content, list):
        return Message(role, given.content or "", calls, given.tool_call_id)
    parts: list[Part] = []
    for one in given.content:
        parts.append(
            TextPart(one.text) if isinstance(one, TextContent) else await images.read(one.image_url.url)
        )
    only_text = all(isinstance(part, TextPart) for part in parts)
    content = (
        "".join(part.text for part in parts if isinstance(part, TextPart)) if only_text else tuple(parts)
    )
    return Message(role, content, calls, given.tool_call_id)


def _call(given: Called) -> ToolCall:
    return ToolCall(given.id, given.function.name, given.function.arguments)


# -- the whole answer --------------------------------------------------------------------------------------


async def _whole(answering: Answering, wanted: ChatRequest) -> dict[str, Any]:
    answers = await answering.whole()
    return {
        "id": fresh_id("chatcmpl"),
        "object": "chat.completion",
        "created": answering.created,
        "model": answering.served.name,
        "system_fingerprint": answering.served.fingerprint,
        "choices": [_choice(at, one, bool(wanted.logprobs)) for at, one in enumerate(answers)],
        "usage": answering.totals.usage(),
        **answering.totals.noticed(),
    }


def _choice(at: int, answer: Answer, logprobs: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.tool_calls:
        message |= {"content": answer.text or None, "tool_calls": [_called(one) for one in answer.tool_calls]}
    listed = {"content": [_token(one) for one in answer.tokens], "refusal": None} if logprobs else None
    return {
        "index": at,
        "message": message,
        "logprobs": listed,
        "finish_reason": "tool_calls" if answer.tool_calls else answer.finish,
    }


def _called(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _token(token: Token) -> dict[str, Any]:
    return {
        **_likely(token.text, token.logprob),
        "top_logprobs": [_likely(one.text, one.logprob) for one in token.top],
    }


def _likely(text: str, logprob: float | None) -> dict[str, Any]:
    # -9999 is OpenAI's own number for a token whose probability is not known.
    return {"token": text, "logprob": -9999.0 if logprob is None else logprob, "bytes": list(text.encode())}


# -- the stream --------------------------------------------------------------------------------------------


async def _events(answering: Answering, wanted: ChatRequest, usage: bool) -> AsyncGenerator[bytes, None]:
    """Events in OpenAI's form; what is the same in all of them is written once."""
    logprobs = bool(wanted.logprobs)
    head = opened(
        {
            "id": fresh_id("chatcmpl"),
            "object": "chat.completion.chunk",
            "created": answering.created,
            "model": answering.served.name,
        }
    )
    begun: set[int] = set()
    # Text is most of the traffic: its event is put together from pieces that are made only once.
    opening = head + b',"choices":[{"index":%d,"delta":{"content":'
    end = b'},"logprobs":null,"finish_reason":null}]}\n\n'
    openings: dict[int, bytes] = {}
    async for at, chunk in answering.chunks():
        if at not in begun:
            begun.add(at)
            openings[at] = opening % at
            yield _event(head, at, {"role": "assistant", "content": ""}, None, None)
        plain = chunk.finish_reason is None and not logprobs
        if plain and chunk.text:
            yield openings[at] + orjson.dumps(chunk.text) + end
            continue
        if chunk.text or (logprobs and chunk.tokens):
            listed = {"content": [_token(one) for one in chunk.tokens], "refusal": None} if logprobs else None
            yield _event(head, at, {"content": chunk.text}, listed, None)
        if chunk.finish_reason is not None:
            if chunk.tool_calls:
                calls = [{"index": number, **_called(one)} for number, one in enumerate(chunk.tool_calls)]
                yield _event(head, at, {"tool_calls": calls}, None, None)
            yield _event(head, at, {}, None, "tool_calls" if chunk.tool_calls else chunk.finish_reason)
    for event in closing(head, answering, usage=usage):
        yield event


def _event(head: bytes, at: int, delta: dict[str, Any], logprobs: Any, finish: str | None) -> bytes:
    choice = {"index": at, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
    return joined(head, {"choices": [choice]})
