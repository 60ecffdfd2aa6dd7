"""transformers in process: every architecture of the Hub on torch.

Causal and vision-language models answer in one batch that rows join and leave; encoder-decoder models answer
in groups. Nothing here imports torch before a model is loaded.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from modelyard.catalog.model import Model
from modelyard.engines.base import MOST_TOP_LOGPROBS, Capabilities, Engine, Memory
from modelyard.engines.chat import rendered
from modelyard.engines.continuations import Pair, check_pairs
from modelyard.engines.limits import answer_room, check_continuations, check_prompt
from modelyard.engines.scoring import ScoringQueue
from modelyard.engines.steploop import Job, StepLoop
from modelyard.engines.threads import in_passing_thread
from modelyard.engines.tools import ToolUse, tool_form, tool_use
from modelyard.engines.transformers.settings import OPTIONS, Settings
from modelyard.errors import EngineCrashedError, UnsupportedError
from modelyard.params import NAMES
from modelyard.types import Adapter, Chunk, Message, Request, Score, TokenizerInfo, Warning

if TYPE_CHECKING:
    from modelyard.engines.transformers.instance import Instance

_Scored = tuple[Adapter | None, bool]
"""How something is scored: the adapter, and whether exactly."""
_SILENT = ("embedding", "classification")
"""Kinds of models that write nothing."""
_NEEDED = ("torch", "transformers", "llguidance")


class TransformersEngine(Engine):
    """Any model of the Hub."""

    name = "transformers"
    OPTIONS: ClassVar[Mapping[str, str]] = OPTIONS
    QUANTIZATIONS: ClassVar[frozenset[str]] = frozenset({"4bit", "8bit"})

    def __init__(self, model: Model, options: Mapping[str, Any]) -> None:
        super().__init__(model, options)
        settings = Settings.read(options, model.spec.quantization)
        from modelyard.engines.transformers.instance import Instance  # brings torch

        self._instance: Instance | None = in_passing_thread(lambda: Instance(model, settings))
        self._facts = self._instance.facts
        self._lock = threading.Lock()
        self._scoring: ScoringQueue[_Scored] = ScoringQueue(
            self._scores, tokens=self._instance.together, name=f"scoring:{model.spec.alias}"
        )
        self._loop: StepLoop | None = None
        if self._facts.kind not in _SILENT:
            self._loop = StepLoop(self._instance.backend(), name=f"transformers:{model.spec.alias}")

    @classmethod
    def missing(cls) -> str | None:
        lacking = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
        if lacking:
            return f"{', '.join(lacking)} not installed: pip install 'modelyard[transformers]'"
        return None

    @classmethod
    def version(cls) -> str:
        return importlib.metadata.version("transformers")

    @property
    def capabilities(self) -> Capabilities:
        facts = self._facts
        if facts.kind == "embedding":
            return Capabilities.of_embeddings(facts.context)
        if facts.kind == "classification":
            return Capabilities.of_classifier(facts.labels, facts.context)
        return Capabilities(
            chat=facts.template is not None,
            images=facts.kind == "vision",
            adapters=True,
            top_logprobs=MOST_TOP_LOGPROBS,
            tools=facts.kind == "causal" and tool_form(facts.template) is not None,
            context_length=facts.context,
            parameters=frozenset(NAMES),
        )

    @property
    def precision(self) -> str:
        return self._facts.precision

    @property
    def steps(self) -> int | None:
        return self._loop.steps if self._loop else None

    @property
    def active(self) -> int:
        return self._loop.active if self._loop else 0

    @property
    def memory(self) -> Memory:
        return self._instance.memory if self._instance else Memory(0, 0)

    async def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        if self._facts.kind != "causal":
            self.refuse_tools(request, "tools are for models that go on with a text, and read nothing else")
        use = tool_use(self, request, self._facts.template)
        event_loop = asyncio.get_running_loop()
        job = await asyncio.to_thread(self._job, use, event_loop)
        loop = self._loop
        assert loop is not None
        async with contextlib.aclosing(use.read(loop.stream(job))) as chunks:
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
        self._check_scores()
        pairs = await asyncio.to_thread(self._open().pairs, prompt, texts)
        return await self._scoring.score(pairs, (adapter, exact), alone=exact)

    @property
    def tokenizer_info(self) -> TokenizerInfo:
        return self._open().tokenizer_info

    async def encode(self, texts: Sequence[str], *, special: bool = True) -> tuple[tuple[int, ...], ...]:
        prompts = self._open().prompts
        return await asyncio.to_thread(
            lambda: tuple(tuple(prompts.ids(one, special=special)) for one in texts)
        )

    async def score_tokens(
        self, pairs: Sequence[Pair], adapter: Adapter | None = None, *, exact: bool = True
    ) -> tuple[Score, ...]:
        self._check_scores()
        instance = self._open()
        checked = check_pairs(pairs, instance.tokenizer_info)
        return await self._scoring.score(checked, (adapter, exact), alone=exact)

    async def render(self, messages: Sequence[Message], *, answer: bool = True) -> str:
        info, sees = self.tokenizer_info, self._facts.kind == "vision"
        bos, eos = info.bos_text, info.eos_text
        return rendered(self._facts.template, messages, bos=bos, eos=eos, images=sees, answer=answer)

    async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        if self._facts.kind != "embedding":
            return await super().embed(texts)
        return await asyncio.to_thread(lambda: self._open().embed(tuple(texts)))

    async def classify(self, texts: Sequence[str]) -> tuple[dict[str, float], ...]:
        if self._facts.kind != "classification":
            return await super().classify(texts)
        return await asyncio.to_thread(lambda: self._open().classify(tuple(texts)))

    async def count_tokens(self, prompt: str | Sequence[Message]) -> int:
        return await asyncio.to_thread(lambda: len(self._open().prompts.read(prompt).ids))

    def close(self) -> None:
        self._scoring.close()
        if self._loop is not None:
            self._loop.close()
        with self._lock:
            if self._instance is not None:
                self._instance.close()
            self._instance = None

    # -- from a request to a job -----------------------------------------------------------------------

    def _open(self) -> Instance:
        instance = self._instance
        if instance is None:
            raise EngineCrashedError("the model was unloaded before the request began")
        return instance

    def _job(self, use: ToolUse, event_loop: asyncio.AbstractEventLoop) -> Job:
        from modelyard.engines.detokenize import TextStream

        request, instance, facts = use.request, self._open(), self._facts
        if facts.kind in _SILENT:
            gives, how = ("embeddings", "embed") if facts.kind == "embedding" else ("labels", "classify")
            raise UnsupportedError(
                f"'{self.model.spec.alias}' gives {gives}, no text", hint=f"Use {how}, or task: generation."
            )
        prompt = request.prompt if request.prompt is not None else request.messages or ()
        read = instance.prompts.read(prompt, use.offer)
        budget, shortened = self._room(request, len(read.ids))
        row, relaxed = instance.row(request, read, budget)
        return Job(
            prompt_ids=row.ids,
            prompt_tokens=len(read.ids),
            config=row,
            text=TextStream(use.pieces(instance.pieces(), instance.special), request.params.stop),
            deadline=request.deadline,
            warnings=(*facts.warnings, *read.warnings, *shortened, *relaxed),
            eos=facts.eos,
            event_loop=event_loop,
        )

    def _room(self, request: Request, prompt_tokens: int) -> tuple[int, tuple[Warning, ...]]:
        context = self._facts.context
        if self._facts.kind != "seq2seq":
            return answer_room(request.params, prompt_tokens, context)
        # The prompt is the encoder's, the answer the decoder's: each has the context to itself.
        check_prompt(prompt_tokens, context)
        return answer_room(request.params, 1, context + 1)

    # -- scoring ---------------------------------------------------------------------------------------

    def _scores(self, pairs: Sequence[Pair], how: _Scored) -> tuple[Score, ...]:
        adapter, exact = how
        return self._open().score(pairs, adapter, together=not exact)

    def _check_scores(self) -> None:
        if self._facts.kind in _SILENT:
            raise UnsupportedError(f"'{self.model.spec.alias}' writes no text, and scores none", hint="")
