"""A model that runs behind a URL, on any server that speaks OpenAI's protocol.

The server is asked at the start what it can do (`probe`); what it cannot is refused here, before anything
is sent. A caller that leaves closes its connection, which ends the server's work on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from modelyard import portal
from modelyard.catalog.model import Model
from modelyard.catalog.spec import HubSource
from modelyard.engines.base import Capabilities, Engine, Memory
from modelyard.engines.continuations import Pair
from modelyard.engines.endpoint.dialects import STANDARD, Dialect
from modelyard.engines.endpoint.http import Http, late
from modelyard.engines.endpoint.payload import body_of, relaxed
from modelyard.engines.endpoint.probe import Found, Wire, examine, look
from modelyard.engines.endpoint.replies import Reply
from modelyard.engines.endpoint.settings import OPTIONS, Settings, read_url
from modelyard.engines.endpoint.tokens import Tokens
from modelyard.engines.limits import answer_room, check_continuations, check_prompt
from modelyard.engines.tools import judged
from modelyard.errors import (
    EngineCrashedError,
    InvalidArgumentError,
    ModelyardError,
    PromptTooLongError,
    UnsupportedError,
)
from modelyard.types import Adapter, Chunk, Fingerprint, Message, Request, Score, TokenizerInfo, Warning

_TEMPLATE_TOKENS = 512  # room for what a chat template may add
_MESSAGE_TOKENS = 16  # and for what it adds to each message


class HttpWire:
    """OpenAI's routes."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def chat(
        self, body: Mapping[str, Any], deadline: float | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        return self._http.stream(f"{self._http.base}/chat/completions", body, deadline)

    def complete(
        self, body: Mapping[str, Any], deadline: float | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        return self._http.stream(f"{self._http.base}/completions", body, deadline)


class EndpointEngine(Engine):
    """A model behind `url`."""

    name = "endpoint"
    OPTIONS: ClassVar[Mapping[str, str]] = OPTIONS
    apart = True
    _active = 0
    _may_score = True

    def __init__(self, model: Model, options: Mapping[str, Any]) -> None:
        super().__init__(model, options)
        settings = Settings.read(options)
        if not model.spec.url:
            raise InvalidArgumentError(
                f"'{model.spec.alias}' has no url", hint="Add url: https://host/v1 to it in the catalogue."
            )
        self.options.pop("api_key", None)  # it stands in the settings, which show it to nobody
        self._open(read_url(model.spec.url), settings)

    def _open(self, base: str, settings: Settings) -> None:
        self._settings = settings
        self._title = f"'{self.model.spec.alias}' at {base.split('://')[1].rpartition('@')[2]}"
        self._http = Http(base, settings, self._title)
        try:
            self._wire = self._wired(self._http, settings)
            self._found = portal.run(self._probe())
            self._tokens = Tokens(self._http, self._wire, self._found, self._title)
        except BaseException:
            self._http.close()
            raise

    def _wired(self, http: Http, settings: Settings) -> Wire:
        return HttpWire(http)

    async def _probe(self) -> Found:
        found = await look(self._http, self._settings, self._wanted(), self._title)
        if self._embeds:
            return found
        return await examine(found, self._wire, score=self._may_score) if self._settings.probe else found

    def _wanted(self) -> str | None:
        """The model's name on the server, as far as the catalogue tells."""
        return self._repo

    @property
    def _embeds(self) -> bool:
        return self.model.spec.task == "embedding"

    @property
    def _repo(self) -> str | None:
        """The model's name on the Hub."""
        return next((one.repo for one in self.model.spec.sources if isinstance(one, HubSource)), None)

    @classmethod
    def missing(cls) -> str | None:
        return None

    @classmethod
    def version(cls) -> str:
        return f"httpx2 {importlib.metadata.version('httpx2')}"

    @property
    def dialect(self) -> Dialect:
        """How the server is talked to."""
        return self._found.dialect

    @property
    def capabilities(self) -> Capabilities:
        found, dialect = self._found, self._found.dialect
        if self._embeds:
            return Capabilities.of_embeddings(found.context)
        extra = {*dialect.parameters, *(("min_new_tokens",) if dialect.exact_minimum else ())}
        own = {
            "max_new_tokens",
            "max_length",
            "min_length",
            "do_sample",
            "num_return_sequences",
            "return_full_text",
        }
        return Capabilities(
            chat=found.chat,
            schema="schema" in found.forms,
            regex="regex" in found.forms,
            choices="choices" in found.forms,
            logprobs=found.logprobs,
            top_logprobs=dialect.top_logprobs if found.logprobs and found.top_logprobs else 0,
            score=found.score,
            images=found.images,
            adapters=bool(found.adapters),
            tools=found.tools and found.chat,
            context_length=found.context,
            parameters=frozenset({*STANDARD, *extra, *own}),
        )

    @property
    def precision(self) -> str:
        return f"as {self.server} serves it"

    @property
    def fingerprint(self) -> Fingerprint:
        return replace(super().fingerprint, revision=f"{self.model.revision}: {self._found.model}")

    @property
    def server(self) -> str:
        """The server's kind and version, as far as it tells them."""
        return f"{self._found.dialect.name} {self._found.version}".strip()

    @property
    def active(self) -> int:
        return self._active

    @property
    def memory(self) -> Memory:
        return Memory(0, 0)

    async def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        async with contextlib.aclosing(portal.bridge(self._generate(request))) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        if request.deadline is not None and time.monotonic() >= request.deadline:
            raise late(0)
        self._check(request)
        silent = self._silent(request)
        if silent:
            request = replace(request, logprobs=False)
        body, warnings = await self._body(request)
        send = self._wire.chat if request.messages is not None else self._wire.complete
        reply = Reply(
            self._title,
            request.logprobs,
            self.dialect.bound_logprobs if request.constraint else self.dialect.free_logprobs,
            (*warnings, *silent),
            top=request.top_logprobs,
        )
        self._active += 1
        try:
            async with (
                contextlib.aclosing(send(body, request.deadline)) as pieces,
                contextlib.aclosing(reply.chunks(pieces)) as chunks,
            ):
                async for chunk in chunks:
                    formed = request.constraint is not None or chunk.tool_calls
                    yield _judged(chunk, request, reply) if chunk.finish_reason and formed else chunk
        except PromptTooLongError as error:
            raise await self._counted(error, request) from error
        except ModelyardError as error:
            raise await self._lost(error) from error
        finally:
            self._active -= 1

    async def _lost(self, error: ModelyardError) -> ModelyardError:
        """The error that the caller gets; an engine whose server is its own knows more."""
        return error

    async def _served(self, adapter: Adapter) -> str:
        """The adapter's name on the server.

        Raises:
            UnsupportedError: it has no such adapter.
        """
        if adapter.name not in self._found.adapters:
            known = ", ".join(self._found.adapters) or "none"
            raise UnsupportedError(f"{self._title} has no adapter '{adapter.name}'", hint=f"It has: {known}.")
        return adapter.name

    def _check(self, request: Request) -> None:
        if self._http.patience.closed:
            raise EngineCrashedError(self._http.patience.closed)
        if self._embeds:
            raise UnsupportedError(
                f"{self._title} gives embeddings, no text", hint="Use embed, or task: generation."
            )
        if request.messages is not None and not self._found.chat:
            raise UnsupportedError(
                f"{self._title} takes no messages: {self._found.why.get('chat', '')}",
                hint="Give the prompt as it stands: raw=True.",
            )
        if request.tools and not self._found.tools:
            raise self.no_tools(self._found.why.get("tools", ""))
        if request.prompt == "":
            raise InvalidArgumentError("the prompt is empty", hint="Give it some text.")

    def _silent(self, request: Request) -> tuple[Warning, ...]:
        """The warning that no logprobs come, where some are asked for.

        Raises:
            UnsupportedError: the likeliest tokens are asked for too.
        """
        why = "" if self._found.logprobs else self._found.why.get("logprobs", "none are given")
        if request.tools and not self.dialect.logprobs_with_tools:
            why = why or "the server gives none where tools are offered"
        if not why or not request.logprobs:
            return ()
        if request.top_logprobs:
            raise UnsupportedError(f"no top_logprobs: {why}", hint="Leave them out.")
        return (Warning("logprobs_missing", f"no logprobs: {why}"),)

    # -- from a request to a body ----------------------------------------------------------------------

    async def _body(self, request: Request) -> tuple[dict[str, Any], tuple[Warning, ...]]:
        model = self._found.model if request.adapter is None else await self._served(request.adapter)
        budget, least, warnings = await self._room(request)
        if request.constraint is None:
            return body_of(request, self._found, model, budget, least), warnings
        # A grammar may take a while to compile.
        body = await asyncio.to_thread(body_of, request, self._found, model, budget, least)
        return body, (*warnings, *relaxed(request.constraint))

    async def _room(self, request: Request) -> tuple[int, int, tuple[Warning, ...]]:
        """Most and least tokens of the answer; the prompt is counted only where that may matter."""
        params, context = request.params, self._found.context
        whole = params.max_length is not None or params.min_length
        most = params.answer_budget(0)
        if not whole and (not context or _most_tokens(request) + most <= context):
            return most, params.answer_minimum(0), ()
        prompt = request.prompt if request.prompt is not None else request.messages or ()
        if not whole and not self.dialect.tokenizer:
            return most, params.answer_minimum(0), ()  # the server says so if it is too much
        count = await self._tokens.count(prompt)
        budget, warnings = answer_room(params, count, context or count + most + 1)
        return budget, params.answer_minimum(count), warnings

    async def _counted(self, error: PromptTooLongError, request: Request) -> PromptTooLongError:
        """The same error with both counts, where the server did not give them."""
        prompt = request.prompt if request.prompt is not None else request.messages or ()
        if not self._found.context or not self.dialect.tokenizer:
            return error
        try:
            check_prompt(await self._tokens.count(prompt), self._found.context, least=1)
        except PromptTooLongError as better:
            return better
        return error

    # -- counting, scoring, embedding ------------------------------------------------------------------

    async def count_tokens(self, prompt: str | Sequence[Message]) -> int:
        return await portal.call(self._tokens.count(prompt))

    async def score(
        self,
        prompt: str | Sequence[Message],
        continuations: Sequence[str],
        adapter: Adapter | None = None,
        *,
        exact: bool = True,
    ) -> tuple[Score, ...]:
        texts = check_continuations(continuations)

        async def scored() -> tuple[Score, ...]:
            model = self._found.model if adapter is None else await self._served(adapter)
            return await self._tokens.score(model, prompt, texts)

        return await portal.call(scored())

    @property
    def tokenizer_info(self) -> TokenizerInfo:
        return self._tokens.info

    async def encode(self, texts: Sequence[str], *, special: bool = True) -> tuple[tuple[int, ...], ...]:
        return await portal.call(self._tokens.encode(texts, special=special))

    async def score_tokens(
        self, pairs: Sequence[Pair], adapter: Adapter | None = None, *, exact: bool = True
    ) -> tuple[Score, ...]:
        async def scored() -> tuple[Score, ...]:
            model = self._found.model if adapter is None else await self._served(adapter)
            return await self._tokens.score_tokens(model, pairs)

        return await portal.call(scored())

    async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        if not self._embeds:
            return await super().embed(texts)
        body = {"model": self._found.model, "input": list(texts), "encoding_format": "float"}
        asked = self._http.ask("POST", f"{self._http.base}/embeddings", body)
        listed = (await portal.call(asked))["data"]
        listed.sort(key=lambda one: one["index"])
        return tuple(_of_length_1(one["embedding"]) for one in listed)

    def close(self) -> None:
        self._http.close()


def _most_tokens(request: Request) -> int:
    """At least as many tokens as the prompt has: none stands for less than a byte."""
    if request.prompt is not None:
        return len(request.prompt.encode()) + 8
    messages = request.messages or ()
    if any(message.images for message in messages):
        return 2**31  # how many tokens an image makes, the server knows
    written = sum(len(message.text.encode()) + _MESSAGE_TOKENS for message in messages)
    offered = sum(len(json.dumps(dict(one.parameters))) + len(one.description) + 64 for one in request.tools)
    return written + offered + _TEMPLATE_TOKENS


def _judged(chunk: Chunk, request: Request, reply: Reply) -> Chunk:
    """The last chunk, with a word where the server did not keep the form that it took on."""
    from modelyard.engines.grammar import check_answer

    warnings = [*chunk.warnings, *judged(chunk.tool_calls, request.tools)]
    if request.constraint is not None and chunk.finish_reason == "stop" and not chunk.tool_calls:
        problem = check_answer(request.constraint, "".join(reply.text))
        warnings += [Warning("constraint_not_met", problem)] if problem else []
    return replace(chunk, warnings=tuple(warnings))


def _of_length_1(values: Sequence[float]) -> tuple[float, ...]:
    length = sum(value * value for value in values) ** 0.5 or 1.0
    return tuple(value / length for value in values)
