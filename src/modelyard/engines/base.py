"""The contract that every engine keeps.

An engine runs one loaded model. It is asked with a `Request`, answers in `Chunk`s, and differs in
nothing in silence: what it cannot honour is an `UnsupportedError`, or a warning on the last chunk where
going on is harmless.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from modelyard.catalog.model import Model
from modelyard.engines.continuations import Pair
from modelyard.errors import InvalidArgumentError, UnsupportedError, nearest
from modelyard.types import Adapter, Chunk, Fingerprint, Message, Request, Score, TokenizerInfo

MOST_TOP_LOGPROBS = 20
"""Of the likeliest tokens at a place, so many can be asked for, as in OpenAI's API."""


@dataclass(slots=True, frozen=True)
class Capabilities:
    """What a loaded model can do here.

    `top_logprobs` is the most that a request may ask for. `parallel` is how many requests run at a time, 0 where
    nothing but memory bounds it. `labels` are those that a classifier gives, in the order of its outputs.
    """

    streaming: bool = True
    chat: bool = True
    schema: bool = True
    regex: bool = True
    choices: bool = True
    logprobs: bool = True
    top_logprobs: int = 0
    score: bool = True
    seed: bool = True
    stop: bool = True
    images: bool = False
    adapters: bool = False
    embeddings: bool = False
    labels: tuple[str, ...] = ()
    tools: bool = False
    concurrent: bool = True
    parallel: int = 0
    context_length: int = 0
    parameters: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of_embeddings(cls, context_length: int) -> Self:
        """Those of a model that gives vectors and no text."""
        return cls(
            streaming=False,
            chat=False,
            schema=False,
            regex=False,
            choices=False,
            logprobs=False,
            score=False,
            seed=False,
            stop=False,
            embeddings=True,
            context_length=context_length,
        )

    @classmethod
    def of_classifier(cls, labels: Sequence[str], context_length: int) -> Self:
        """Those of a model that gives texts labels and writes nothing."""
        return replace(cls.of_embeddings(context_length), embeddings=False, labels=tuple(labels))


@dataclass(slots=True, frozen=True)
class Memory:
    """Bytes held by a loaded model: `weights` and `kv_cache`, as the engine reports them.

    `resident` is what the engine's process holds in memory, where it has a process of its own, else 0.
    """

    weights: int
    kv_cache: int
    resident: int = 0


def has_calls(request: Request) -> bool:
    """Whether functions were called earlier in the conversation."""
    return any(one.tool_calls or one.tool_call_id is not None for one in request.messages or ())


def check_option(engine: str, key: str, known: Iterable[str], more: str = "") -> None:
    """Refuses an option that an engine does not have; `more` goes into the hint.

    Raises:
        InvalidArgumentError: names the option, the nearest that there is, and all of them.
    """
    known = tuple(known)
    if key not in known:
        raise InvalidArgumentError(
            f"option '{key}' is not known to engine {engine}.{nearest(key, known)}",
            hint=f"Known: {', '.join(known)}.{more}",
        )


class Engine(ABC):
    """One loaded model.

    Subclasses load in `__init__` (called in a worker thread: it may block) and give back everything in
    `close`. All other methods are called from the event loop and never block it.
    """

    name: ClassVar[str]
    """The engine's name in catalogues."""

    OPTIONS: ClassVar[Mapping[str, str]] = {}
    """The engine's options (`spec.options`), each with one line of help."""

    QUANTIZATIONS: ClassVar[frozenset[str]] = frozenset()
    """The values of `quantization` that the engine can load with."""

    apart: ClassVar[bool] = False
    """Whether the model is in another process anyway, so that option `worker` changes nothing."""

    heals: ClassVar[bool] = False
    """Whether the next request after an `EngineCrashedError` is answered by this same object."""

    def __init__(self, model: Model, options: Mapping[str, Any]) -> None:
        wanted = model.spec.quantization
        if wanted is not None and wanted not in self.QUANTIZATIONS:
            raise UnsupportedError(
                f"engine {self.name} cannot load '{model.spec.alias}' with quantization '{wanted}'",
                hint="Leave 'quantization' out: the weights are used as they are stored.",
            )
        self.model = model
        self.options = dict(options)

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """None when the engine can run here, else what is missing and how to get it."""

    @classmethod
    def missing_with(cls, options: Mapping[str, Any]) -> str | None:
        """The same for a model with these options, which may bring what is missing."""
        return cls.missing()

    @classmethod
    def make_files(cls, model: Model, options: Mapping[str, Any]) -> None:
        """Makes, once, what it needs of a model's files and has to be told about: a long conversion. Blocks.

        It runs before the model is loaded, in the process that has asked for it; `load_progress` says where it
        reports.

        Raises:
            UnsupportedError: the files cannot be brought into the engine's form. Where the engine was picked
                automatically, the next one is tried.
        """
        return

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """The version of the library behind the engine."""

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this model can do on this engine."""

    @property
    @abstractmethod
    def precision(self) -> str:
        """The numbers that are computed with, in words."""

    @property
    def fingerprint(self) -> Fingerprint:
        """What answers: model, revision, engine, its version, precision."""
        model = self.model
        return Fingerprint(
            model.spec.alias, model.source, model.revision, self.name, self.version(), self.precision
        )

    @abstractmethod
    def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Answers a request, piece by piece; the last chunk has a finish reason and the usage.

        Leaving the iterator (`aclose`, or cancelling the task) cancels the request at once.

        Raises:
            PromptTooLongError: the prompt alone fills the context; says both counts.
            SchemaError: the constraint is malformed, too large, or cannot be enforced.
            UnsupportedError: a part of the request that this engine cannot honour.
            DeadlineExceededError: the deadline passed; what was made until then has been yielded.
        """

    @abstractmethod
    async def score(
        self,
        prompt: str | Sequence[Message],
        continuations: Sequence[str],
        adapter: Adapter | None = None,
        *,
        exact: bool = True,
    ) -> tuple[Score, ...]:
        """Logprobs of each continuation after the prompt, which is read once for all of them.

        `exact` asks for the most exact numbers that the engine has; without it it may use faster ones.

        Raises:
            UnsupportedError: the engine gives no scores of this model, or cannot use the adapter.
        """

    @property
    def tokenizer_info(self) -> TokenizerInfo:
        """The model's special tokens, its chat template, and how much of it can be scored.

        Raises:
            UnsupportedError: the engine tells nothing of tokens.
        """
        raise self.no_tokens()

    async def encode(self, texts: Sequence[str], *, special: bool = True) -> tuple[tuple[int, ...], ...]:
        """The token ids of each text; `special` adds those that the model wants around a raw text (BOS).

        Raises:
            UnsupportedError: the engine tells nothing of tokens.
        """
        raise self.no_tokens()

    async def score_tokens(
        self, pairs: Sequence[Pair], adapter: Adapter | None = None, *, exact: bool = True
    ) -> tuple[Score, ...]:
        """As `score`, for a caller who has tokenised and cut the texts himself; a shared prompt is read once.

        Raises:
            PromptTooLongError: a pair is longer than `tokenizer_info.longest`.
            UnsupportedError: the engine gives no scores of token ids.
        """
        raise self.no_tokens()

    async def render(self, messages: Sequence[Message], *, answer: bool = True) -> str:
        """The text that the model's chat template makes of messages; with `answer` it ends where the answer begins.

        Raises:
            InvalidArgumentError: the template refuses the messages.
            UnsupportedError: there is no template, or the engine does not render it itself.
        """
        raise UnsupportedError(
            f"engine {self.name} does not show what a chat template makes of messages",
            hint="Send the messages themselves, or use an engine in process: openvino, transformers or llamacpp.",
        )

    def no_tokens(self) -> UnsupportedError:
        """The error of an engine that lets nobody see token ids."""
        return UnsupportedError(
            f"engine {self.name} takes and gives no token ids of '{self.model.spec.alias}'",
            hint="Use an engine in process (openvino, transformers, llamacpp), or a vLLM server.",
        )

    def check_top_logprobs(self, request: Request) -> None:
        """Asked for each request before the engine is, so that none gives fewer in silence.

        Raises:
            UnsupportedError: more of the likeliest tokens are asked for than the engine gives.
        """
        asked = request.top_logprobs
        if not asked or asked <= (most := self.capabilities.top_logprobs):
            return
        given = f"at most {most}" if most else "none"
        raise UnsupportedError(
            f"top_logprobs is {asked}, and engine {self.name} gives {given} of '{self.model.spec.alias}'",
            hint=f"Ask for {most}." if most else "Leave it out, or use llamacpp, transformers or vllm.",
        )

    def refuse_adapter(self, adapter: Adapter | None) -> None:
        """For an engine that takes none.

        Raises:
            UnsupportedError: an adapter is asked for.
        """
        if adapter is not None:
            raise UnsupportedError(
                f"engine {self.name} cannot use the adapter '{adapter.name}'",
                hint="Use engine: transformers.",
            )

    def refuse_tools(self, request: Request, why: str) -> None:
        """For an engine that offers the model no functions.

        Raises:
            UnsupportedError: some are given, or the conversation has calls of them.
        """
        if request.tools or has_calls(request):
            raise self.no_tools(why)

    def no_tools(self, why: str) -> UnsupportedError:
        """The error that says why the model is offered no functions."""
        return UnsupportedError(
            f"engine {self.name} offers '{self.model.spec.alias}' no tools: {why}",
            hint="Leave tools out, or use a model whose chat template has them.",
        )

    async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        """One vector of length 1 for each text.

        Raises:
            UnsupportedError: the model or the engine gives no embeddings.
        """
        raise UnsupportedError(
            f"engine {self.name} gives no embeddings of '{self.model.spec.alias}'",
            hint="Use a model with task: embedding, on engine transformers or llamacpp.",
        )

    async def classify(self, texts: Sequence[str]) -> tuple[dict[str, float], ...]:
        """For each text the probability of each label, in the order of `capabilities.labels`.

        Raises:
            PromptTooLongError: a text is longer than the model reads.
            UnsupportedError: the model or the engine gives no labels.
        """
        raise UnsupportedError(
            f"engine {self.name} gives texts no labels with '{self.model.spec.alias}'",
            hint="Use a model with task: classification, on engine transformers or onnx.",
        )

    @abstractmethod
    async def count_tokens(self, prompt: str | Sequence[Message]) -> int:
        """How many tokens the prompt has, chat template included."""

    @property
    @abstractmethod
    def active(self) -> int:
        """Requests that hold a place in the batch now."""

    @property
    @abstractmethod
    def memory(self) -> Memory:
        """Bytes held now."""

    @property
    def steps(self) -> int | None:
        """Steps that its batch has made; None where the engine does not say. A batch that hangs makes none."""
        return None

    @property
    def silence(self) -> float:
        """Seconds without a sign of life from a process with work to do; 0 where there is none."""
        return 0.0

    def kill(self) -> None:
        """Ends a process that gives no sign of life, and with it all that runs there."""
        return

    @property
    def pid(self) -> int | None:
        """The process that the model is in, where that is not this one."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Ends all requests and gives back the model's memory. Safe to call twice."""
