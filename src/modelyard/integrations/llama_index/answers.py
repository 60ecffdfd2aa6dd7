"""Our answers as LlamaIndex's responses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    ContentBlock,
    LogProb,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)

from modelyard.types import Chunk, Result, Token, ToolCall, Warning


class Answer:
    """What is known of one answer so far, as a response of either kind.

    A response of a stream holds the whole text and all logprobs up to it, and in `delta` what is new. Usage,
    finish reason and warnings come with the last.

    Args:
        model: the model's name.
        notes: warnings that every answer of this LLM carries.
    """

    def __init__(self, model: str, notes: Sequence[Warning] = ()) -> None:
        self._model = model
        self._notes = tuple(notes)
        self._text: list[str] = []
        self._rows: list[dict[str, Any]] = []
        self._likely: list[list[LogProb]] = []
        self._unknown = False
        self._last = Chunk()
        self._more: dict[str, Any] = {}

    @classmethod
    def of(cls, result: Result, notes: Sequence[Warning] = ()) -> Answer:
        """A whole answer."""
        answer = cls(result.fingerprint.model, notes)
        answer.add(
            Chunk(
                result.text,
                result.tokens,
                result.finish_reason,
                result.usage,
                result.timings,
                result.warnings,
                result.tool_calls,
            )
        )
        answer._more = {"fingerprint": asdict(result.fingerprint)}
        if result.alternatives:
            answer._more["alternatives"] = [one.text for one in result.alternatives]
        return answer

    def add(self, chunk: Chunk) -> None:
        """The next piece."""
        self._text.append(chunk.text)
        for token in chunk.tokens:
            self._rows.append(_row(token))
            self._likely.append(_likely(token))
            self._unknown = self._unknown or token.logprob is None
        self._last = chunk

    def completion(self, delta: str | None = None) -> CompletionResponse:
        """As LlamaIndex's response to a prompt."""
        return CompletionResponse(
            text="".join(self._text),
            delta=delta,
            raw=self._raw(),
            logprobs=self._logprobs(),
            additional_kwargs=self._details(),
        )

    def chat(self, delta: str | None = None) -> ChatResponse:
        """As LlamaIndex's response to messages; calls of functions are blocks of the message."""
        text, calls = "".join(self._text), self._last.tool_calls
        blocks: list[ContentBlock] = [TextBlock(text=text)] if text or not calls else []
        blocks += [_block(one) for one in calls]
        own = {"tool_calls": [_openai(one) for one in calls]} if calls else {}
        return ChatResponse(
            message=ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs=own),
            delta=delta,
            raw=self._raw(),
            logprobs=self._logprobs(),
            additional_kwargs=self._details(),
        )

    def _logprobs(self) -> list[list[LogProb]] | None:
        return None if self._unknown or not self._likely else self._likely

    def _details(self) -> dict[str, Any]:
        """Logprobs, and of a finished answer usage, finish reason and warnings."""
        found: dict[str, Any] = {"logprobs": list(self._rows)} if self._rows else {}
        if self._last.finish_reason is None:
            return found
        found["finish_reason"] = self._last.finish_reason
        found |= self._usage()
        if warnings := [asdict(one) for one in (*self._notes, *self._last.warnings)]:
            found["warnings"] = warnings
        if "alternatives" in self._more:
            found["alternatives"] = self._more["alternatives"]
        return found

    def _usage(self) -> dict[str, Any]:
        usage = self._last.usage
        return {} if usage is None else {**asdict(usage), "total_tokens": usage.total_tokens}

    def _raw(self) -> dict[str, Any]:
        """The answer as plain data, without its tokens; counters of tokens look here for `usage`."""
        last = self._last
        if last.finish_reason is None:
            return {"model": self._model}
        return {
            "model": self._model,
            "finish_reason": last.finish_reason,
            "usage": self._usage(),
            "timings": None if last.timings is None else asdict(last.timings),
            "warnings": [asdict(one) for one in (*self._notes, *last.warnings)],
            **self._more,
        }


def _row(token: Token) -> dict[str, Any]:
    row: dict[str, Any] = {
        "token": token.text,
        "logprob": token.logprob,
        "start": token.start,
        "end": token.end,
    }
    if token.top:
        row["top"] = [{"token": one.text, "logprob": one.logprob} for one in token.top]
    return row


def _likely(token: Token) -> list[LogProb]:
    """The token itself, then the others of the likeliest at its place."""
    others = [one for one in token.top if one.id != token.id]
    pairs = [(token.text, token.logprob or 0.0), *((one.text, one.logprob) for one in others)]
    return [LogProb(token=text, logprob=value, bytes=list(text.encode())) for text, value in pairs]


def _block(call: ToolCall) -> ToolCallBlock:
    read = arguments(call.arguments)
    return ToolCallBlock(
        tool_call_id=call.id, tool_name=call.name, tool_kwargs=call.arguments if read is None else read
    )


def _openai(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def arguments(written: str) -> dict[str, Any] | None:
    """The arguments that a model wrote for a function; None where they are no JSON object.

    >>> arguments('{"a": 1}'), arguments("[1]")
    ({'a': 1}, None)
    """
    try:
        read = json.loads(written)
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None
