"""From the pieces that a server sends to chunks of ours."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, AsyncIterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from modelyard.engines.endpoint.spans import Sent, Spans
from modelyard.errors import ProviderAPIError
from modelyard.types import Chunk, FinishReason, LogprobOf, Timings, ToolCall, TopLogprob, Usage, Warning

_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "tool_calls": "stop",
    "function_call": "stop",
    "length": "length",
    "content_filter": "content_filter",
}


@dataclass(slots=True)
class Reply:
    """One answer, as it comes in.

    Attributes:
        title: of the model and its server, for messages.
        logprobs: whether they were asked for.
        logprob_of: of which distribution they are.
        warnings: for the last chunk.
        top: how many of the likeliest tokens are told at each place.
    """

    title: str
    logprobs: bool
    logprob_of: LogprobOf
    warnings: tuple[Warning, ...] = ()
    top: int = 0
    submitted: float = field(default_factory=time.monotonic)
    first: float | None = None
    finish: FinishReason | None = None
    usage: Usage | None = None
    text: list[str] = field(default_factory=list)
    _spans: Spans = field(init=False)
    _calls: dict[int, dict[str, str]] = field(default_factory=dict)
    _listed: int = 0

    def __post_init__(self) -> None:
        self._spans = Spans(self.logprob_of)

    async def chunks(self, pieces: AsyncIterable[Mapping[str, Any]]) -> AsyncGenerator[Chunk, None]:
        """The pieces as chunks; the last has finish reason, usage, timings and warnings."""
        async for one in pieces:
            chunk = self._take(one)
            if chunk is not None:
                yield chunk
        if self.finish is None:
            raise ProviderAPIError(
                f"{self.title} ended its answer without a reason",
                hint="What it had made so far may be cut; send the request again.",
            )
        yield self._last()

    def _take(self, one: Mapping[str, Any]) -> Chunk | None:
        if one.get("usage"):
            self.usage = _usage(one["usage"])
        choices = one.get("choices") or ()
        if not choices:
            return None
        choice = choices[0]
        said = choice.get("delta") or choice.get("message") or {}
        text = choice.get("text") or said.get("content") or ""
        if not isinstance(text, str):
            raise ProviderAPIError(f"{self.title} sent a text that is none: {text!r:.80}", hint="")
        for at, call in enumerate(said.get("tool_calls") or ()):
            self._add_call(at, call)
        sent = _sent(choice, self.top)
        self._listed += len(sent)
        if reason := choice.get("finish_reason"):
            self.finish = _REASONS.get(reason)
            if self.finish is None:
                self.finish = "error"
                self.warnings += (Warning("ended_early", f"the server ended the answer: {reason}"),)
        if not text and not sent:
            return None
        if self.first is None:
            self.first = time.monotonic()
        self.text.append(text)
        tokens = self._spans.push(text, sent)
        return Chunk(text, tuple(tokens))

    def _add_call(self, at: int, call: Mapping[str, Any]) -> None:
        """Tool calls come in parts, each with the index of its call."""
        index = call.get("index", at)
        known = self._calls.setdefault(index, {"id": "", "name": "", "arguments": ""})
        function = call.get("function") or {}
        known["id"] = call.get("id") or known["id"]
        known["name"] = function.get("name") or known["name"]
        arguments = function.get("arguments") or ""
        known["arguments"] += arguments if isinstance(arguments, str) else json.dumps(arguments)

    def _last(self) -> Chunk:
        now = time.monotonic()
        tokens = tuple(self._spans.finish())
        warnings = self.warnings
        if self.logprobs and not self._listed and self.text:
            said = "the server gave no logprobs, and so no tokens"
            warnings += (Warning("logprobs_missing", said),)
        usage = self.usage
        if usage is None:
            usage = Usage(0, self._listed)
            warnings += (Warning("usage_missing", "the server did not say how many tokens there were"),)
        begun = self.first or now
        timings = Timings(0.0, begun - self.submitted if self.first else None, now - self.submitted)
        calls = tuple(ToolCall(**self._calls[at]) for at in sorted(self._calls))
        return Chunk("", tokens, self.finish, usage, timings, warnings, calls)


def _usage(found: Mapping[str, Any]) -> Usage:
    details = found.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens")
    return Usage(int(found.get("prompt_tokens") or 0), int(found.get("completion_tokens") or 0), cached)


def _sent(choice: Mapping[str, Any], top: int) -> list[Sent]:
    """The tokens of a piece: chat and completion list them differently, and servers add to it."""
    logprobs = choice.get("logprobs") or {}
    ids: Sequence[int] = choice.get("token_ids") or ()
    if listed := logprobs.get("content"):
        found = [
            Sent(_bytes(one), one.get("id"), _logprob(one.get("logprob")), _top(one.get("top_logprobs"), top))
            for one in listed
        ]
    elif listed := logprobs.get("tokens"):
        values = logprobs.get("token_logprobs") or [None] * len(listed)
        tops = logprobs.get("top_logprobs") or [None] * len(listed)
        found = [
            Sent(str(text).encode(), None, _logprob(value), _top(_as_list(likeliest), top))
            for text, value, likeliest in zip(listed, values, tops, strict=False)
        ]
    elif len(ids) == 1:
        # One token whose text is the piece's, as far as it has come.
        text = choice.get("text") or (choice.get("delta") or {}).get("content") or ""
        return [Sent(text.encode(), ids[0], None)] if text else []
    else:
        return []
    if len(ids) == len(found):
        found = [replace(one, id=token) for one, token in zip(found, ids, strict=True)]
    return found


def _as_list(likeliest: Mapping[str, float] | None) -> list[dict[str, Any]]:
    """A completion's likeliest tokens, by their texts, as a chat lists them."""
    return [{"token": text, "logprob": logprob} for text, logprob in (likeliest or {}).items()]


def _top(likeliest: Sequence[Mapping[str, Any]] | None, count: int) -> tuple[TopLogprob, ...]:
    """The likeliest tokens; a server may list more than were asked for, and in any order."""
    if not count:
        return ()
    found = [
        TopLogprob(_bytes(one).decode("utf-8", "replace"), one.get("id"), min(0.0, float(one["logprob"])))
        for one in likeliest or ()
    ]
    return tuple(sorted(found, key=lambda one: one.logprob, reverse=True)[:count])


def _bytes(one: Mapping[str, Any]) -> bytes:
    data = one.get("bytes")
    return bytes(data) if data is not None else str(one.get("token", "")).encode()


def _logprob(value: Any) -> float | None:
    return None if value is None else min(0.0, float(value))
