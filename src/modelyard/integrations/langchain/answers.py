"""Our answers as LangChain's: messages, generations, and the pieces of streams."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, InvalidToolCall
from langchain_core.messages import ToolCall as LangChainCall
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk

from modelyard.types import Chunk, Result, Token, ToolCall, Usage, Warning

PROVIDER = "modelyard"
_UNKNOWN = -9999.0  # OpenAI's own number for a token whose logprob is not known


def chat_generation(result: Result, warnings: Sequence[Warning], *, logprobs: bool) -> ChatGeneration:
    """A whole answer as LangChain's.

    Args:
        result: ours.
        warnings: what there is to say beside the answer's own warnings.
        logprobs: whether its tokens are listed.
    """
    told = _told(result, result.fingerprint.model, warnings)
    told["fingerprint"] = asdict(result.fingerprint)
    if logprobs:
        told["logprobs"] = listed(result.tokens)
    calls, broken = _calls(result.tool_calls)
    message = AIMessage(
        content=result.text,
        tool_calls=calls,
        invalid_tool_calls=broken,
        usage_metadata=usage_metadata(result.usage),
        response_metadata=told,
    )
    return ChatGeneration(message=message, generation_info={"finish_reason": told["finish_reason"]})


def chat_chunk(
    chunk: Chunk, model: str, warnings: Sequence[Warning], *, logprobs: bool
) -> ChatGenerationChunk:
    """A piece of an answer as LangChain's; the last one carries usage, tool calls and what was noticed."""
    last = chunk.finish_reason is not None
    told = _told(chunk, model, warnings) if last else {}
    if logprobs and chunk.tokens:
        told["logprobs"] = listed(chunk.tokens)
    calls = [
        tool_call_chunk(name=one.name, args=one.arguments, id=one.id, index=at)
        for at, one in enumerate(chunk.tool_calls)
    ]
    message = AIMessageChunk(
        content=chunk.text,
        tool_call_chunks=calls,
        usage_metadata=usage_metadata(chunk.usage) if last and chunk.usage is not None else None,
        response_metadata=told,
        chunk_position="last" if last else None,
    )
    return ChatGenerationChunk(
        message=message, generation_info={"finish_reason": told["finish_reason"]} if last else None
    )


def generation(result: Result, *, logprobs: bool) -> Generation:
    """A whole answer as the generation of a text model."""
    told = _told(result, result.fingerprint.model, ())
    told["usage"] = usage_metadata(result.usage)
    if logprobs:
        told["logprobs"] = listed(result.tokens)
    return Generation(text=result.text, generation_info=told)


def generation_chunk(chunk: Chunk, model: str, *, logprobs: bool) -> GenerationChunk:
    """A piece of an answer of a text model."""
    last = chunk.finish_reason is not None
    told = _told(chunk, model, ()) if last else {}
    if last and chunk.usage is not None:
        told["usage"] = usage_metadata(chunk.usage)
    if logprobs and chunk.tokens:
        told["logprobs"] = listed(chunk.tokens)
    return GenerationChunk(text=chunk.text, generation_info=told or None)


def usage_metadata(usage: Usage) -> UsageMetadata:
    """Token counts as LangChain has them.

    >>> usage_metadata(Usage(3, 2, cached_tokens=1))["input_token_details"]
    {'cache_read': 1}
    """
    found = UsageMetadata(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
    )
    if usage.cached_tokens is not None:
        found["input_token_details"] = InputTokenDetails(cache_read=usage.cached_tokens)
    return found


def listed(tokens: Sequence[Token]) -> dict[str, Any]:
    """Logprobs in OpenAI's form."""
    return {
        "content": [
            {
                **_likely(one.text, one.logprob),
                "top_logprobs": [_likely(other.text, other.logprob) for other in one.top],
            }
            for one in tokens
        ]
    }


def _likely(text: str, logprob: float | None) -> dict[str, Any]:
    return {
        "token": text,
        "bytes": list(text.encode()),
        "logprob": _UNKNOWN if logprob is None else logprob,
    }


def _told(answer: Result | Chunk, model: str, warnings: Sequence[Warning]) -> dict[str, Any]:
    """What there is to say of an answer beside its text."""
    told: dict[str, Any] = {
        "model_name": model,
        "model_provider": PROVIDER,
        "finish_reason": "tool_calls" if answer.tool_calls else answer.finish_reason,
    }
    noticed = (*warnings, *answer.warnings)
    if noticed:
        told["warnings"] = [{"code": one.code, "message": one.message} for one in noticed]
    if answer.verdicts:
        told["verdicts"] = [asdict(one) for one in answer.verdicts]
    return told


def _calls(made: Sequence[ToolCall]) -> tuple[list[LangChainCall], list[InvalidToolCall]]:
    """The calls whose arguments are an object, and those that are broken."""
    whole: list[LangChainCall] = []
    broken: list[InvalidToolCall] = []
    for one in made:
        try:
            arguments = json.loads(one.arguments)
        except ValueError as error:
            arguments, problem = None, str(error)
        else:
            problem = "the arguments are no JSON object"
        if isinstance(arguments, dict):
            whole.append(LangChainCall(name=one.name, args=arguments, id=one.id, type="tool_call"))
        else:
            broken.append(
                InvalidToolCall(
                    name=one.name, args=one.arguments, id=one.id, error=problem, type="invalid_tool_call"
                )
            )
    return whole, broken
