"""Answers: one or several to a request, merged into one stream of pieces or collected whole."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelyard.errors import ModelyardError
from modelyard.messages import Prompt
from modelyard.serving.models import Served
from modelyard.serving.record import Record
from modelyard.types import Chunk, FinishReason, Token, ToolCall, Usage, Verdict, Warning


@dataclass(slots=True, frozen=True)
class Wanted:
    """One answer that is wanted: the prompt, and how it is to be answered."""

    prompt: Prompt
    how: Mapping[str, Any]


@dataclass(slots=True)
class Answer:
    """A whole answer."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    finish: FinishReason = "stop"
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(slots=True)
class Totals:
    """What is said once of all answers: the counts of tokens, and each warning."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    warnings: list[Warning] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    def add(self, chunk: Chunk, *, shared: bool) -> None:
        """Adds the last chunk of an answer; `shared` says that its prompt is counted already."""
        usage = chunk.usage or Usage(0, 0)
        self.prompt_tokens += 0 if shared else usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens
        self.warnings += [one for one in chunk.warnings if one not in self.warnings]
        self.verdicts += [one for one in chunk.verdicts if one not in self.verdicts]

    def usage(self) -> dict[str, int]:
        """The counts in OpenAI's form."""
        total = self.prompt_tokens + self.completion_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": total,
        }

    def noticed(self) -> dict[str, Any]:
        """The warnings, and what safety checks object to, as fields of a reply; none where there are none."""
        said = [{"code": one.code, "message": one.message} for one in self.warnings]
        judged = [_judged(one) for one in self.verdicts]
        return {**({"warnings": said} if said else {}), **({"safety": judged} if judged else {})}


def _judged(verdict: Verdict) -> dict[str, Any]:
    """A verdict as a reply has it: what was found and by whom, and never the text."""
    return {
        "check": verdict.check,
        "model": verdict.model or None,
        "side": verdict.side,
        "action": verdict.action,
        "categories": [{"name": one.name, "score": one.score} for one in verdict.categories if one.flagged],
    }


class Answering:
    """The answers to one request.

    Args:
        served: the model.
        prompts: each is answered `count` times.
        how: arguments of the LLM for all of them.
        count: answers to each prompt; each is sampled with a seed of its own.
        record: of the request.
        timeout: seconds.
    """

    def __init__(
        self,
        served: Served,
        prompts: Sequence[Prompt],
        how: Mapping[str, Any],
        count: int,
        record: Record,
        timeout: float | None,
    ) -> None:
        self.served = served
        self.totals = Totals()
        self.created = int(time.time())
        self._count = count
        self._record = record
        self._deadline = served.deadline(timeout)
        self._wanted = [Wanted(prompt, _seeded(how, at)) for prompt in prompts for at in range(count)]

    @property
    def count(self) -> int:
        """How many answers there will be."""
        return len(self._wanted)

    async def whole(self) -> list[Answer]:
        """All answers, in order. When one fails, so does the request."""
        answers = [Answer() for _ in self._wanted]
        pieces: list[list[str]] = [[] for _ in self._wanted]
        async with contextlib.aclosing(self.chunks()) as chunks:
            async for at, chunk in chunks:
                answer = answers[at]
                pieces[at].append(chunk.text)
                answer.tokens += chunk.tokens
                if chunk.finish_reason is not None:
                    answer.finish, answer.tool_calls = chunk.finish_reason, chunk.tool_calls
        for answer, text in zip(answers, pieces, strict=True):
            answer.text = "".join(text)
            if answer.finish == "content_filter":  # what was let through before is a part of what is refused
                answer.text, answer.tokens = "", []
        return answers

    async def chunks(self) -> AsyncGenerator[tuple[int, Chunk], None]:
        """The pieces of all answers as they come, each with its answer's number."""
        source = self._one() if len(self._wanted) == 1 else self._several()
        async with contextlib.aclosing(source) as chunks:
            async for at, chunk in chunks:
                if chunk.finish_reason is not None:
                    self.totals.add(chunk, shared=at % self._count > 0)
                yield at, chunk

    async def _one(self) -> AsyncGenerator[tuple[int, Chunk], None]:
        async with contextlib.aclosing(self._stream(0)) as chunks:
            async for chunk in chunks:
                yield 0, chunk

    async def _several(self) -> AsyncGenerator[tuple[int, Chunk], None]:
        arrived: asyncio.Queue[tuple[int, Chunk] | ModelyardError] = asyncio.Queue()

        async def read(at: int) -> None:
            try:
                async with contextlib.aclosing(self._stream(at)) as chunks:
                    async for chunk in chunks:
                        arrived.put_nowait((at, chunk))
            except ModelyardError as error:
                arrived.put_nowait(error)

        tasks = [asyncio.create_task(read(at)) for at in range(len(self._wanted))]
        left = len(tasks)
        try:
            while left:
                item = await arrived.get()
                if isinstance(item, ModelyardError):
                    raise item
                left -= item[1].finish_reason is not None
                yield item
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _stream(self, at: int) -> AsyncGenerator[Chunk, None]:
        wanted = self._wanted[at]
        return self.served.stream(wanted.prompt, wanted.how, self._record, self._deadline)


def _seeded(how: Mapping[str, Any], at: int) -> Mapping[str, Any]:
    seed = how.get("seed")
    return how if seed is None or at == 0 else {**how, "seed": (seed + at) % 2**64}


def fresh_id(kind: str) -> str:
    """An id for a reply."""
    return f"{kind}-{secrets.token_hex(12)}"
