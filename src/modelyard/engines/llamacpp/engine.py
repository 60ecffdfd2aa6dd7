"""llama.cpp in process, through xllamacpp: GGUF models of every architecture.

Requests run on the slots of llama.cpp's own server, which batches them and keeps what each slot has read.
Each slot has a KV cache of its own, so that an answer does not depend on who else is in the batch. One slot
more is kept for scoring.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import math
import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, ClassVar

from modelyard.catalog.model import Model
from modelyard.engines.base import MOST_TOP_LOGPROBS, Capabilities, Engine, Memory
from modelyard.engines.chat import NO_OFFER, NO_TEMPLATE, Offer, render_chat, rendered
from modelyard.engines.continuations import Pair, check_pairs, cut
from modelyard.engines.detokenize import TextStream
from modelyard.engines.limits import answer_room, check_continuations, check_prompt
from modelyard.engines.llamacpp.backend import Plan, ServerBackend
from modelyard.engines.llamacpp.files import ModelFile
from modelyard.engines.llamacpp.sampling import sampling
from modelyard.engines.llamacpp.scorer import Scorer
from modelyard.engines.llamacpp.server import LlamaServer, cells
from modelyard.engines.llamacpp.settings import OPTIONS, Settings, adapter_file
from modelyard.engines.steploop import Job, StepLoop
from modelyard.engines.tools import ToolUse, tool_form, tool_use
from modelyard.errors import InvalidArgumentError, UnsupportedError
from modelyard.params import NAMES
from modelyard.types import Adapter, Chunk, Constraint, Message, Request, Score, TokenizerInfo, Warning


class LlamaCppEngine(Engine):
    """One interactive stream, or a few, on any GGUF."""

    name = "llamacpp"
    OPTIONS: ClassVar[Mapping[str, str]] = OPTIONS

    def __init__(self, model: Model, options: Mapping[str, Any]) -> None:
        super().__init__(model, options)
        self._settings = settings = Settings.read(options)
        self._file = ModelFile.read(model.path)
        self._embedding = model.spec.task == "embedding"
        self._context = settings.context(self._file.header.context_length, embedding=self._embedding)
        if self._embedding and settings.pooling is None and not self._file.pooled:
            raise InvalidArgumentError(
                f"{self._file.path.name} does not say how its tokens are joined to one vector",
                hint="Set the option pooling: mean, cls or last.",
            )
        slots = 1 if self._embedding else settings.slots + 1
        self._cells = cells(self._context) * slots
        self._server = LlamaServer(
            self._file, settings, context=self._context, slots=slots, embedding=self._embedding
        )
        scorer = Scorer(self._server, settings.slots, self._file.vocabulary)
        self._scorer = scorer
        self._backend = ServerBackend(self._server, self._file, scorer, settings.slots)
        self._loop = StepLoop(self._backend, name=f"llamacpp:{model.spec.alias}")

    @classmethod
    def missing(cls) -> str | None:
        if importlib.util.find_spec("xllamacpp") is None:
            return "xllamacpp is not installed: pip install 'modelyard[llamacpp]'"
        return None

    @classmethod
    def version(cls) -> str:
        return importlib.metadata.version("xllamacpp")

    @property
    def capabilities(self) -> Capabilities:
        if self._embedding:
            return Capabilities.of_embeddings(self._context)
        return Capabilities(
            chat=self._template is not None,
            adapters=bool(self._settings.adapters),
            top_logprobs=MOST_TOP_LOGPROBS,
            tools=tool_form(self._template) is not None,
            context_length=self._context,
            parameters=frozenset(NAMES),
        )

    @property
    def precision(self) -> str:
        return f"{self._file.header.file_type or 'mixed'}, KV cache {self._settings.kv_cache_type}"

    @property
    def active(self) -> int:
        return self._backend.active + self._scorer.active

    @property
    def memory(self) -> Memory:
        if self._server.closed:
            return Memory(0, 0)
        return Memory(self._file.weights, self._file.kv_cache(self._cells, self._settings.kv_cache_type))

    async def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        use = tool_use(self, request, self._template)
        job = await asyncio.to_thread(self._job, use, asyncio.get_running_loop())
        async with contextlib.aclosing(use.read(self._loop.stream(job))) as chunks:
            async for chunk in chunks:
                yield chunk

    async def score(
        self,
        prompt: str | Sequence[Message],
        continuations: Sequence[str],
        adapter: Adapter | None = None,
        *,
        exact: bool = True,
    ) -> tuple[Score, ...]:
        texts = check_continuations(continuations)
        return await self._scored(lambda: self._pairs(prompt, texts), adapter)

    @property
    def tokenizer_info(self) -> TokenizerInfo:
        file = self._file
        return TokenizerInfo(
            bos=file.token("bos"),
            eos=file.token("eos"),
            bos_text=file.bos,
            eos_text=file.eos,
            chat_template=self._template,
            vocabulary=file.vocabulary,
            longest=self._context,  # the last token is sampled, and so needs a place of its own
        )

    async def encode(self, texts: Sequence[str], *, special: bool = True) -> tuple[tuple[int, ...], ...]:
        return await asyncio.to_thread(
            lambda: tuple(tuple(self._server.tokenize(one, special=special)) for one in texts)
        )

    async def score_tokens(
        self, pairs: Sequence[Pair], adapter: Adapter | None = None, *, exact: bool = True
    ) -> tuple[Score, ...]:
        return await self._scored(lambda: check_pairs(pairs, self.tokenizer_info), adapter)

    async def render(self, messages: Sequence[Message], *, answer: bool = True) -> str:
        bos, eos = self._file.bos, self._file.eos
        return rendered(self._template, messages, bos=bos, eos=eos, images=False, answer=answer)

    async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        if not self._embedding:
            return await super().embed(texts)
        return await asyncio.to_thread(self._embed, texts)

    async def count_tokens(self, prompt: str | Sequence[Message]) -> int:
        return len((await asyncio.to_thread(self._encode, prompt))[0])

    def close(self) -> None:
        self._loop.close()

    # -- from a request to a job -----------------------------------------------------------------------

    @property
    def _template(self) -> str | None:
        return self.model.spec.chat_template or self._file.header.chat_template

    def _text(
        self, prompt: str | Sequence[Message], offer: Offer = NO_OFFER
    ) -> tuple[str, bool, tuple[Warning, ...]]:
        """The prompt's text, whether special tokens are added to it, and warnings."""
        if isinstance(prompt, str):
            return prompt, True, ()
        bos, eos = self._file.bos, self._file.eos
        text, templated = render_chat(self._template, prompt, bos=bos, eos=eos, offer=offer)
        return text, not templated, () if templated else (NO_TEMPLATE,)

    def _encode(
        self, prompt: str | Sequence[Message], offer: Offer = NO_OFFER
    ) -> tuple[list[int], tuple[Warning, ...]]:
        text, special, warnings = self._text(prompt, offer)
        return self._server.tokenize(text, special=special) if text else [], warnings

    def _job(self, use: ToolUse, event_loop: asyncio.AbstractEventLoop) -> Job:
        self._check_generates()
        request = use.request
        params = request.params
        lora = self._lora(request.adapter)
        ids, warnings = self._encode(
            request.prompt if request.prompt is not None else (request.messages or ()), use.offer
        )
        budget, shortened = answer_room(params, len(ids), self._context)
        body, counted = sampling(params, self._context)
        body["lora"] = lora
        body["preserved_tokens"] = use.marks  # shown in the text where they are special tokens
        least = params.answer_minimum(len(ids))
        relaxed: tuple[Warning, ...] = ()
        if request.constraint is not None:
            if least:
                raise UnsupportedError(
                    "engine llamacpp cannot keep a least length together with a schema, regex or choices",
                    hint="Leave min_new_tokens and min_length out: the constraint says when the answer ends.",
                )
            body["grammar"], relaxed = _grammar(request.constraint)
        # The likeliest token at least, else the server tells no logprob at all.
        probs = max(int(request.logprobs), request.top_logprobs)
        plan = Plan(ids, body, budget, least, probs, request.top_logprobs)
        return Job(
            prompt_ids=ids,
            prompt_tokens=len(ids),
            config=plan,
            text=TextStream(lambda _: plan.texts.popleft(), params.stop),
            deadline=request.deadline,
            warnings=(*warnings, *shortened, *counted, *relaxed),
            event_loop=event_loop,
        )

    def _lora(self, adapter: Adapter | None) -> list[dict[str, Any]]:
        """The scale of every adapter that was loaded: 1 for the one that is asked for."""
        chosen = None
        if adapter is not None:
            with contextlib.suppress(UnsupportedError):
                chosen = adapter_file(adapter.path)
            if chosen not in self._settings.adapters:
                raise UnsupportedError(
                    f"the adapter '{adapter.name}' was not loaded with '{self.model.spec.alias}'",
                    hint=f"llama.cpp loads adapters with the model: add '{adapter.path}' to its option 'adapters'.",
                )
        return [{"id": at, "scale": float(one == chosen)} for at, one in enumerate(self._settings.adapters)]

    def _check_generates(self) -> None:
        if self._embedding:
            raise UnsupportedError(
                f"'{self.model.spec.alias}' is an embedding model: it generates and scores nothing",
                hint="Use a model with task: generation.",
            )

    # -- scoring and embedding -------------------------------------------------------------------------

    async def _scored(
        self, pairs: Callable[[], Sequence[Pair]], adapter: Adapter | None
    ) -> tuple[Score, ...]:
        self._check_generates()
        left = threading.Event()
        try:
            return await asyncio.to_thread(
                lambda: self._scorer.score(pairs(), self._lora(adapter), left.is_set)
            )
        finally:
            left.set()

    def _pairs(self, prompt: str | Sequence[Message], continuations: Sequence[str]) -> list[Pair]:
        text, special, _ = self._text(prompt)
        return cut(
            text, continuations, lambda part: self._server.tokenize(part, special=special), self._context
        )

    def _embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        ids = [self._server.tokenize(text, special=True) if text else [] for text in texts]
        for one in ids:
            check_prompt(len(one), self._context)
        return tuple(_unit(vector) for vector in self._server.embed(ids)) if ids else ()


def _grammar(constraint: Constraint) -> tuple[str, tuple[Warning, ...]]:
    from modelyard.engines.grammar import compile_constraint  # most answers need none

    grammar = compile_constraint(constraint)
    return grammar.text, tuple(Warning("constraint_relaxed", sentence) for sentence in grammar.relaxed)


def _unit(vector: Sequence[float]) -> tuple[float, ...]:
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return tuple(value / length for value in vector)
