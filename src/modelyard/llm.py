"""LLM: one model to talk to.

The asynchronous methods are the real ones; each has a synchronous twin of one line.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from modelyard import portal
from modelyard.adapters import Adapters
from modelyard.catalog.spec import ModelSpec
from modelyard.engines.base import MOST_TOP_LOGPROBS, Capabilities, Engine
from modelyard.engines.continuations import Pair
from modelyard.errors import InvalidArgumentError, UnsupportedError, nearest
from modelyard.messages import Prompt, as_message, check_characters, read_prompt, read_tools
from modelyard.params import NAMES, SamplingParams, canonical, merge
from modelyard.pool import Pool, default_pool
from modelyard.screen import Screen
from modelyard.types import (
    Chunk,
    Constraint,
    Fingerprint,
    FinishReason,
    Message,
    Request,
    Result,
    Score,
    Timings,
    Token,
    TokenizerInfo,
    Usage,
    Verdict,
    Warning,
)

if TYPE_CHECKING:
    from modelyard.catalog.load import Catalog


class ModelCapability(enum.StrEnum):
    """The keys of `LLM.get_capabilities`."""

    STREAMING = "streaming"
    ASYNC = "async"
    CHAT = "chat"
    SYSTEM_PROMPT = "system_prompt"
    MULTI_TURN = "multi_turn"
    JSON_MODE = "json_mode"
    SCHEMA = "schema"
    REGEX = "regex"
    CHOICES = "choices"
    LOGPROBS = "logprobs"
    TOP_LOGPROBS = "top_logprobs"
    SCORE = "score"
    SEED = "seed"
    VISION = "vision"
    ADAPTERS = "adapters"
    TOOLS = "tools"
    CONTEXT_LENGTH = "context_length"


class ConfigManager:
    """The settings that an LLM was made with, by name."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = dict(settings)

    def get_param(self, name: str, default: Any = None) -> Any:
        """The value of a setting, `default` where it was not given.

        >>> ConfigManager({"use_inference_api": False}).get_param("use_inference_api")
        False
        """
        return self._settings.get(name, default)


class LLM:
    """One model of the catalogue; it loads on first use and is shared through the pool.

    Args:
        spec: the model.
        pool: where it is loaded; the process's own by default.
        options: options of the engine, over the spec's.
        params: sampling parameters, over the spec's defaults and under a request's.
        settings: what `config_manager.get_param` answers.
        catalog: where adapters and their bases are found by name, and the pins; the starter by default.
        warnings: what every answer has to say.
        safety: watches over prompts and answers, as a `modelyard.safety.Policy` does.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        pool: Pool | None = None,
        options: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        catalog: Catalog | None = None,
        warnings: Sequence[Warning] = (),
        safety: Screen | None = None,
    ) -> None:
        self.spec = spec
        self._catalog = catalog
        self._adapters = Adapters(spec, catalog)
        self._lock = self._adapters.lock
        self._warnings = tuple(warnings)
        self.safety = safety
        self.config_manager = ConfigManager(settings or {})
        self._pool = pool or default_pool()
        self._options = dict(options or {})
        self._params = canonical(params or {}, where="parameter")

    def __repr__(self) -> str:
        return f"LLM({self.spec.alias!r})"

    def __getstate__(self) -> dict[str, Any]:
        """What travels to another process: everything but the loaded model. There it loads in that process's pool."""
        return {**self.__dict__, "_pool": None, "_adapters": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._pool = default_pool()
        self._adapters = Adapters(self.spec, self._catalog)

    @property
    def options(self) -> dict[str, Any]:
        """Options of the engine, as they were given beside the catalogue's."""
        return dict(self._options)

    @property
    def params(self) -> dict[str, Any]:
        """Sampling parameters, as they were given beside the catalogue's."""
        return dict(self._params)

    def remade(
        self,
        *,
        spec: ModelSpec | None = None,
        options: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> LLM:
        """The same LLM with other options or parameters; all else, its safety checks too, stays.

        >>> from modelyard import create_llm
        >>> create_llm("fake", temperature=0).remade(params={"seed": 1}).params
        {'seed': 1}
        """
        return LLM(
            spec or self.spec,
            pool=self._pool,
            options=self._options if options is None else options,
            params=self._params if params is None else params,
            settings=self.config_manager._settings,
            catalog=self._catalog,
            warnings=self._warnings,
            safety=self.safety,
        )

    @property
    def warnings(self) -> tuple[Warning, ...]:
        """What every answer has to say: arguments that have no effect here."""
        return self._warnings

    # -- answers ---------------------------------------------------------------------------------------

    async def generate_async(self, prompt: Prompt, **how: Any) -> Result:
        """Answers a prompt.

        Args:
            prompt: a text, or the messages of a conversation.
            how: `system_prompt`, `schema` (a JSON Schema or a pydantic class), `regex`, `choices`, `raw`
                (give the text to the model as it stands, without its chat template), `timeout` in seconds,
                `logprobs`, `top_logprobs` (how many of the likeliest tokens to list at each place, 0 to 20),
                `adapter` (an alias, Hub id or path of a LoRA on this model), `images` (bytes, paths or Pillow
                images, before a text prompt), `tools` and `tool_choice` (functions that the model may ask for,
                in OpenAI's form), and any sampling parameter (`modelyard.params.SamplingParams`).

        Raises:
            InvalidArgumentError: an argument that is not known, or a bad value; it says which.
            PromptTooLongError, SchemaError, UnsupportedError, DeadlineExceededError, EngineError: as named.
        """
        asked = await self._asked(prompt, how)
        async with self._watched(asked) as (engine, watch):
            requests = _sequences(asked.request)
            results = await _all(_collect(engine, one, asked, watch) for one in requests)
        return replace(results[0], alternatives=tuple(results[1:]))

    async def stream_async(self, prompt: Prompt, **how: Any) -> AsyncGenerator[Chunk, None]:
        """Answers a prompt piece by piece; arguments as `generate_async`. Leaving the iterator cancels."""
        asked = await self._asked(prompt, how)
        if asked.request.params.num_return_sequences > 1:
            raise UnsupportedError("a stream carries one answer", hint="Set num_return_sequences to 1.")
        async with self._watched(asked) as (engine, watch):
            text: list[str] = []
            async with contextlib.aclosing(watch(asked, _chunks(engine, asked), whole=False)) as chunks:
                async for chunk in chunks:
                    text.append(chunk.text)
                    yield _closing(chunk, asked, "".join(text)) if chunk.finish_reason else chunk

    async def score_async(
        self,
        prompt: Prompt,
        continuations: Sequence[str],
        *,
        raw: bool = False,
        adapter: str | None = None,
        exact: bool = True,
    ) -> tuple[Score, ...]:
        """Logprobs of each continuation after the prompt; the prompt is read once for all of them.

        Args:
            prompt: a text or messages.
            continuations: the texts to score, none of them empty.
            raw: give a text prompt as it stands, without the chat template.
            adapter: as `generate_async` takes it.
            exact: in the most exact numbers that the engine has; without it in faster ones, where it has them
                (openvino: activations in 8 bits, 0.1 nats a token off on average; docs/log.md).
        """
        continuations = _texts(continuations, "continuations")
        messages, text = read_prompt(prompt, None, raw)
        laid = await self._adapters.find(adapter, self._pool)
        async with self._lease() as engine:
            asked = text if text is not None else messages or ()
            return await engine.score(asked, continuations, laid, exact=exact)

    async def score_tokens_async(
        self,
        pairs: Iterable[tuple[Sequence[int], Sequence[int]]],
        *,
        adapter: str | None = None,
        exact: bool = True,
    ) -> tuple[Score, ...]:
        """As `score_async`, for texts that are tokens already: pairs of a prompt's ids and a continuation's.

        Raises:
            InvalidArgumentError: a pair has an empty part, or an id that the model does not have.
            PromptTooLongError: a pair is longer than `tokenizer_info_async().longest`.
            UnsupportedError: the engine gives no scores of token ids.
        """
        cut = _pairs(pairs)
        laid = await self._adapters.find(adapter, self._pool)
        async with self._lease() as engine:
            return await engine.score_tokens(cut, laid, exact=exact)

    async def encode_async(
        self, texts: Sequence[str], *, special: bool = True
    ) -> tuple[tuple[int, ...], ...]:
        """The token ids of each text; `special` adds those that the model wants around a raw text (BOS).

        Raises:
            UnsupportedError: the engine tells nothing of tokens.
        """
        if isinstance(texts, str) or not all(isinstance(one, str) for one in texts):
            raise InvalidArgumentError(f"texts is {texts!r:.80}", hint="Pass a list of strings.")
        for one in texts:
            check_characters(one)
        async with self._lease() as engine:
            return await engine.encode(texts, special=special)

    async def tokenizer_info_async(self) -> TokenizerInfo:
        """The special tokens, the chat template, and how many tokens can be scored; loads the model.

        Raises:
            UnsupportedError: the engine tells nothing of tokens.
        """
        async with self._lease() as engine:
            return engine.tokenizer_info

    async def render_async(self, messages: Prompt, *, answer: bool = True) -> str:
        """The text that the chat template makes of messages; with `answer` it ends where the answer begins.

        Raises:
            UnsupportedError: the model has no chat template, or the engine does not render it itself.
        """
        given = [Message("user", messages)] if isinstance(messages, str) else messages
        read = [as_message(one) for one in given]
        for one in read:
            check_characters(one.text)
        async with self._lease() as engine:
            return await engine.render(read, answer=answer)

    async def embed_async(self, texts: str | Sequence[str]) -> tuple[tuple[float, ...], ...]:
        """One vector of length 1 for each text (task: embedding).

        Raises:
            UnsupportedError: the model gives no embeddings.
            PromptTooLongError: a text is longer than the model reads.
        """
        texts = _texts((texts,) if isinstance(texts, str) else texts, "texts")
        async with self._lease() as engine:
            return await engine.embed(texts)

    async def classify_async(self, texts: str | Sequence[str]) -> tuple[dict[str, float], ...]:
        """For each text the probability of each label (task: classification).

        Raises:
            UnsupportedError: the model gives no labels.
            PromptTooLongError: a text is longer than the model reads.
        """
        texts = _texts((texts,) if isinstance(texts, str) else texts, "texts")
        async with self._lease() as engine:
            return await engine.classify(texts)

    async def count_tokens_async(self, prompt: Prompt, *, raw: bool = False) -> int:
        """How many tokens the prompt has, chat template included."""
        messages, text = read_prompt(prompt, None, raw)
        async with self._lease() as engine:
            return await engine.count_tokens(text if text is not None else messages or ())

    async def load_async(self) -> Capabilities:
        """Loads the model now, and returns what it can do."""
        async with self._lease() as engine:
            return engine.capabilities

    async def fingerprint_async(self) -> Fingerprint:
        """Which model this is, to the byte; loads it."""
        async with self._lease() as engine:
            return engine.fingerprint

    def generate(self, prompt: Prompt, **how: Any) -> Result:
        """`generate_async`, waited for.

        >>> from modelyard import create_llm
        >>> create_llm("fake").generate("Hello", temperature=0).finish_reason
        'stop'
        """
        return portal.run(self.generate_async(prompt, **how))

    def stream(self, prompt: Prompt, **how: Any) -> Iterator[Chunk]:
        """`stream_async`, for synchronous code."""
        return portal.iterate(self.stream_async(prompt, **how))

    def score(
        self,
        prompt: Prompt,
        continuations: Sequence[str],
        *,
        raw: bool = False,
        adapter: str | None = None,
        exact: bool = True,
    ) -> tuple[Score, ...]:
        """`score_async`, waited for."""
        return portal.run(self.score_async(prompt, continuations, raw=raw, adapter=adapter, exact=exact))

    def score_tokens(
        self,
        pairs: Iterable[tuple[Sequence[int], Sequence[int]]],
        *,
        adapter: str | None = None,
        exact: bool = True,
    ) -> tuple[Score, ...]:
        """`score_tokens_async`, waited for.

        >>> from modelyard import create_llm
        >>> llm = create_llm("fake")
        >>> prompt, whole = llm.encode(["The capital", "The capital of France"])
        >>> by_ids = llm.score_tokens([(prompt, whole[len(prompt) :])])
        >>> by_ids == llm.score("The capital", [" of France"], raw=True)
        True
        """
        return portal.run(self.score_tokens_async(pairs, adapter=adapter, exact=exact))

    def encode(self, texts: Sequence[str], *, special: bool = True) -> tuple[tuple[int, ...], ...]:
        """`encode_async`, waited for."""
        return portal.run(self.encode_async(texts, special=special))

    def tokenizer_info(self) -> TokenizerInfo:
        """`tokenizer_info_async`, waited for."""
        return portal.run(self.tokenizer_info_async())

    def render(self, messages: Prompt, *, answer: bool = True) -> str:
        """`render_async`, waited for.

        >>> from modelyard import create_llm
        >>> create_llm("fake").render("Hello")
        '[user] Hello\\n[assistant] '
        """
        return portal.run(self.render_async(messages, answer=answer))

    def embed(self, texts: str | Sequence[str]) -> tuple[tuple[float, ...], ...]:
        """`embed_async`, waited for."""
        return portal.run(self.embed_async(texts))

    def classify(self, texts: str | Sequence[str]) -> tuple[dict[str, float], ...]:
        """`classify_async`, waited for."""
        return portal.run(self.classify_async(texts))

    def count_tokens(self, prompt: Prompt, *, raw: bool = False) -> int:
        """`count_tokens_async`, waited for."""
        return portal.run(self.count_tokens_async(prompt, raw=raw))

    def load(self) -> Capabilities:
        """`load_async`, waited for."""
        return portal.run(self.load_async())

    def fingerprint(self) -> Fingerprint:
        """`fingerprint_async`, waited for."""
        return portal.run(self.fingerprint_async())

    def get_capabilities(self) -> dict[ModelCapability, Any]:
        """What the model can do here, by `ModelCapability`; loads it."""
        found = self.load()
        return {
            ModelCapability.STREAMING: found.streaming,
            ModelCapability.ASYNC: True,
            ModelCapability.CHAT: found.chat,
            ModelCapability.SYSTEM_PROMPT: found.chat,
            ModelCapability.MULTI_TURN: found.chat,
            ModelCapability.JSON_MODE: found.schema,
            ModelCapability.SCHEMA: found.schema,
            ModelCapability.REGEX: found.regex,
            ModelCapability.CHOICES: found.choices,
            ModelCapability.LOGPROBS: found.logprobs,
            ModelCapability.TOP_LOGPROBS: found.top_logprobs,
            ModelCapability.SCORE: found.score,
            ModelCapability.SEED: found.seed,
            ModelCapability.VISION: found.images,
            ModelCapability.ADAPTERS: found.adapters,
            ModelCapability.TOOLS: found.tools,
            ModelCapability.CONTEXT_LENGTH: found.context_length,
        }

    @contextlib.asynccontextmanager
    async def _lease(self, request: Request | None = None) -> AsyncIterator[Engine]:
        """The engine of the model, for an adapter its base's; it can do what the request asks for."""
        spec = await self._adapters.base(self._pool)
        async with self._pool.lease(spec, self._options, lock=self._lock) as engine:
            if request is not None:
                engine.check_top_logprobs(request)
            yield engine

    @contextlib.asynccontextmanager
    async def _watched(self, asked: _Asked) -> AsyncIterator[tuple[Engine, _Watch]]:
        """The engine, and what lets an answer through; the request has been checked."""
        if self.safety is None:
            async with self._lease(asked.request) as engine:
                yield engine, _unwatched
            return
        # The models of the checks first: whoever holds this one waits for none of them.
        async with self.safety.hold(), self._lease(asked.request) as engine:
            seen = await self.safety.read(asked.request)
            asked.request = seen.request
            asked.warnings = (*asked.warnings, *seen.warnings)
            asked.verdicts = seen.verdicts
            yield engine, _refused if seen.refused else functools.partial(_watched, self.safety)

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[Capabilities]:
        """Keeps the model loaded; gives what it can do."""
        async with self._lease() as engine:
            yield engine.capabilities

    @property
    def pool(self) -> Pool:
        """Where the model is loaded."""
        return self._pool

    def pull(self) -> None:
        """Fetches the model's files, where they are not here yet. Blocks."""
        self._pool.pull(self.spec, self._lock)

    def close(self) -> None:
        """Unloads the model, once no request runs on it."""
        self._pool.unload(self.spec.alias)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- from arguments to a request -------------------------------------------------------------------

    async def _asked(self, prompt: Prompt, how: Mapping[str, Any]) -> _Asked:
        """The request, its adapter's files here."""
        asked = self._request(prompt, how)
        adapter = await self._adapters.find(how.get("adapter"), self._pool)
        if adapter is not None:
            asked.request = replace(asked.request, adapter=adapter)
        return asked

    def _request(self, prompt: Prompt, how: Mapping[str, Any]) -> _Asked:
        how = dict(how)
        own = {name: how.pop(name) for name in tuple(how) if name in _OWN}
        task = ("task", _TASK_DEFAULTS.get(self.spec.task, {}))
        defaults = ("catalogue", self.spec.defaults)
        params, warnings = merge(task, defaults, ("create_llm", self._params), ("request", _known(how)))
        messages, text = read_prompt(
            prompt, own.get("system_prompt"), own.get("raw", False), own.get("images") or ()
        )
        timeout = _timeout(own.get("timeout"))
        tools, choice = read_tools(own.get("tools"), own.get("tool_choice"))
        for name in ("raw", "logprobs"):
            if not isinstance(own.get(name, True), bool):
                raise InvalidArgumentError(f"{name} is {own[name]!r:.80}", hint="It has to be true or false.")
        request = Request(
            messages=messages,
            prompt=text,
            params=params,
            constraint=_constraint(own),
            logprobs=own.get("logprobs", True),
            top_logprobs=_top_logprobs(own),
            deadline=None if timeout is None else time.monotonic() + timeout,
            tools=tools,
            tool_choice=choice,
        )
        own_warnings = (Warning(code, message) for code, message in warnings)
        return _Asked(request, (*self._warnings, *own_warnings), _echo(prompt, params))


class _Asked:
    """A request with what has to be added to its answer."""

    __slots__ = ("echo", "request", "verdicts", "warnings")

    def __init__(self, request: Request, warnings: tuple[Warning, ...], echo: str) -> None:
        self.request, self.warnings, self.echo = request, warnings, echo
        self.verdicts: tuple[Verdict, ...] = ()


# A translation or a summary is wanted as it is most likely; a sampled one has to be asked for.
_TASK_DEFAULTS: dict[str, dict[str, Any]] = {"seq2seq": {"temperature": 0}}
_OWN = (
    "system_prompt", "schema", "regex", "choices", "raw", "timeout", "logprobs", "top_logprobs", "adapter",
    "images", "tools", "tool_choice",
)  # fmt: skip


def _known(how: Mapping[str, Any]) -> Mapping[str, Any]:
    names = (*NAMES, *_OWN, "max_tokens")
    for given in how:
        if given in names:
            continue
        close = nearest(given, names)
        if any(repr(own) in close for own in _OWN):
            raise InvalidArgumentError(
                f"argument '{given}' is not known.{close}", hint=f"Known: {', '.join(names)}."
            )
    return how


def _timeout(given: Any) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < 1e9:
        raise InvalidArgumentError(f"timeout is {given!r:.80}", hint="It is in seconds, above 0.")
    return float(given)


def _top_logprobs(own: Mapping[str, Any]) -> int:
    given = own.get("top_logprobs")
    if given is None:
        return 0
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= MOST_TOP_LOGPROBS:
        raise InvalidArgumentError(
            f"top_logprobs is {given!r:.80}", hint=f"It is a whole number from 0 to {MOST_TOP_LOGPROBS}."
        )
    if given and not own.get("logprobs", True):
        raise InvalidArgumentError(
            f"top_logprobs is {given}, and logprobs is False", hint="Leave logprobs out, or set it to True."
        )
    return given


def _texts(given: Any, name: str) -> tuple[str, ...]:
    texts = () if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
    if not texts or not all(isinstance(one, str) and one for one in texts):
        raise InvalidArgumentError(
            f"{name} is {given!r:.80}", hint="Pass a list of at least one string, none of them empty."
        )
    for one in texts:
        check_characters(one)
    return texts


def _pairs(given: Iterable[tuple[Sequence[int], Sequence[int]]]) -> list[Pair]:
    try:
        pairs = [(tuple(prompt), tuple(tail)) for prompt, tail in given]
    except (TypeError, ValueError):
        pairs = []
    ids = itertools.chain.from_iterable(part for pair in pairs for part in pair)
    if not pairs or not all(isinstance(one, int) and not isinstance(one, bool) for one in ids):
        raise InvalidArgumentError(
            f"pairs is {given!r:.80}", hint="Pass pairs of token ids: [(prompt, continuation), …]."
        )
    return pairs


def _constraint(own: Mapping[str, Any]) -> Constraint | None:
    given = {name: own[name] for name in ("schema", "regex", "choices") if own.get(name) is not None}
    if len(given) > 1:
        raise InvalidArgumentError(
            f"{' and '.join(given)} are given together", hint="An answer has one form: keep one."
        )
    if "schema" in given:
        schema = given["schema"]
        if hasattr(schema, "model_json_schema"):
            schema = schema.model_json_schema()
        if not isinstance(schema, Mapping):
            raise InvalidArgumentError(
                f"schema is {schema!r:.80}", hint="Pass a JSON Schema (a dict) or a pydantic class."
            )
        return Constraint(schema=schema)
    if "regex" in given:
        if not isinstance(given["regex"], str):
            raise InvalidArgumentError(
                f"regex is {given['regex']!r:.80}", hint="Pass a regular expression as text."
            )
        return Constraint(regex=given["regex"])
    if "choices" in given:
        choices = given["choices"]
        if isinstance(choices, str) or not isinstance(choices, Iterable):
            raise InvalidArgumentError(f"choices is {choices!r:.80}", hint="Pass a list of strings.")
        given["choices"] = tuple(choices)
        if not all(isinstance(one, str) for one in given["choices"]):
            raise InvalidArgumentError(f"choices is {choices!r:.80}", hint="Pass a list of strings.")
        return Constraint(choices=given["choices"])
    return None


def _echo(prompt: Prompt, params: SamplingParams) -> str:
    """What `return_full_text` puts in front of the answer: the prompt as it was given."""
    if not params.return_full_text:
        return ""
    return prompt if isinstance(prompt, str) else "\n\n".join(as_message(one).text for one in prompt)


def _sequences(request: Request) -> list[Request]:
    """One request an answer: sampled apart, each with a seed of its own, sharing the prompt's reading."""
    params = request.params
    if params.num_return_sequences == 1:
        return [request]
    single = replace(params, num_return_sequences=1)
    count = params.num_return_sequences
    seeds = [None if params.seed is None else (params.seed + at) % 2**64 for at in range(count)]
    return [replace(request, params=replace(single, seed=seed)) for seed in seeds]


async def _all(coroutines: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Runs them together; when one fails the others are cancelled and its own error is raised."""
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# -- from chunks to a result -------------------------------------------------------------------------------


async def _chunks(engine: Engine, asked: _Asked) -> AsyncGenerator[Chunk, None]:
    """The engine's chunks, the prompt in front of them where it was asked for."""
    shift = len(asked.echo)
    async with contextlib.aclosing(engine.generate(asked.request)) as chunks:
        if shift:
            yield Chunk(asked.echo)
        async for chunk in chunks:
            yield _shifted(chunk, shift) if shift else chunk


def _shifted(chunk: Chunk, by: int) -> Chunk:
    tokens = tuple(replace(token, start=token.start + by, end=token.end + by) for token in chunk.tokens)
    return replace(chunk, tokens=tokens)


class _Watch(Protocol):
    """Lets the chunks of an answer through that may be shown."""

    def __call__(
        self, asked: _Asked, chunks: AsyncGenerator[Chunk, None], *, whole: bool
    ) -> AsyncGenerator[Chunk, None]: ...


def _unwatched(
    asked: _Asked, chunks: AsyncGenerator[Chunk, None], *, whole: bool
) -> AsyncGenerator[Chunk, None]:
    return chunks


def _watched(
    safety: Screen, asked: _Asked, chunks: AsyncGenerator[Chunk, None], *, whole: bool
) -> AsyncGenerator[Chunk, None]:
    return safety.watch(asked.request, chunks, whole=whole)


async def _refused(
    asked: _Asked, chunks: AsyncGenerator[Chunk, None], *, whole: bool
) -> AsyncGenerator[Chunk, None]:
    """The answer to a prompt that a check refuses; the model is not asked."""
    await chunks.aclose()
    yield Chunk(finish_reason="content_filter", usage=Usage(0, 0), timings=Timings(0.0, None, 0.0))


def _closing(chunk: Chunk, asked: _Asked, text: str) -> Chunk:
    """The last chunk, with the warnings and verdicts of the whole answer."""
    if chunk.finish_reason == "content_filter":
        return replace(
            chunk,
            warnings=(*asked.warnings, *chunk.warnings),
            verdicts=(*asked.verdicts, *chunk.verdicts),
        )
    constraint = None if chunk.tool_calls else asked.request.constraint
    unmet = _unmet(constraint, text[len(asked.echo) :], chunk.finish_reason or "error")
    return replace(
        chunk,
        warnings=(*asked.warnings, *chunk.warnings, *unmet),
        verdicts=(*asked.verdicts, *chunk.verdicts),
    )


def _unmet(constraint: Constraint | None, text: str, finish: FinishReason) -> tuple[Warning, ...]:
    """A warning when the answer does not have the form that was asked for.

    What the grammar enforces whole needs no second look; an answer that was cut has not got its form.
    """
    if constraint is None:
        return ()
    from modelyard.engines.grammar import check_answer, compile_constraint

    if finish != "stop":
        return (
            Warning("constraint_not_met", "the answer was cut before it had the form that was asked for"),
        )
    problem = check_answer(constraint, text) if compile_constraint(constraint).relaxed else None
    return () if problem is None else (Warning("constraint_not_met", problem),)


async def _collect(engine: Engine, request: Request, asked: _Asked, watch: _Watch) -> Result:
    one = _Asked(request, asked.warnings, asked.echo)
    one.verdicts = asked.verdicts
    text: list[str] = []
    tokens: list[Token] = []
    last = Chunk()
    async for chunk in watch(one, _chunks(engine, one), whole=True):
        text.append(chunk.text)
        tokens.extend(chunk.tokens)
        last = chunk
    answer = "".join(text)
    last = _closing(last, one, answer)
    finish: FinishReason = last.finish_reason or "error"
    usage = last.usage or Usage(0, len(tokens))
    timings = last.timings or Timings(0.0, None, 0.0)
    fingerprint = engine.fingerprint
    if request.adapter is not None:
        fingerprint = replace(fingerprint, adapter=f"{request.adapter.name}@{request.adapter.revision}")
    return Result(
        answer,
        tuple(tokens),
        finish,
        usage,
        timings,
        last.warnings,
        fingerprint,
        tool_calls=last.tool_calls,
        verdicts=last.verdicts,
    )
