"""OpenVINO GenAI in process: GGUF, OpenVINO and Hub models on a CPU, with no torch.

Requests share one continuous-batching pipeline, stepped by one thread (`StepLoop`). A GGUF file is
converted once, and a Hub model exported once; the result is kept in the cache. Scoring runs the same weights through a plain stateful
model, because the pipeline's prefix cache hides the logprobs of what it has cached.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import json
import secrets
import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from modelyard.catalog.model import Model
from modelyard.engines.base import Capabilities, Engine, Memory
from modelyard.engines.chat import NO_OFFER, NO_TEMPLATE, Offer, render_chat, rendered
from modelyard.engines.continuations import Pair, check_pairs, cut
from modelyard.engines.detokenize import TextStream
from modelyard.engines.limits import answer_room, check_continuations
from modelyard.engines.openvino.backend import PipelineBackend
from modelyard.engines.openvino.facts import FACTS, library_version
from modelyard.engines.openvino.files import load_error, prepared, to_export
from modelyard.engines.openvino.pieces import piece_table, special_tokens
from modelyard.engines.openvino.scorer import TOGETHER, Scorer
from modelyard.engines.openvino.settings import OPTIONS, Settings
from modelyard.engines.openvino.sight import Looked, Sight
from modelyard.engines.scoring import ScoringQueue
from modelyard.engines.steploop import Job, StepLoop
from modelyard.engines.threads import in_passing_thread
from modelyard.engines.tools import ToolUse, tool_form, tool_use
from modelyard.errors import EngineCrashedError, InvalidArgumentError, UnsupportedError
from modelyard.params import NAMES, SamplingParams
from modelyard.types import Adapter, Chunk, Constraint, Message, Request, Score, TokenizerInfo, Warning

_INLINE_CHARACTERS = 20_000  # tokenising more than this (about 5 ms) leaves the event loop


@dataclass(slots=True, frozen=True)
class _Prompt:
    """A prompt that has been read: its tokens (an image is one of them), its text, whether special tokens were
    added, the tokens that images take beyond one each, and what a model that sees is given."""

    ids: np.ndarray
    text: str
    special: bool
    warnings: tuple[Warning, ...] = ()
    more: int = 0
    looked: Looked | None = None

    @property
    def tokens(self) -> int:
        return len(self.ids) + self.more


class OpenVINOEngine(Engine):
    """The embedded default on a CPU."""

    name = "openvino"
    OPTIONS: ClassVar[Mapping[str, str]] = OPTIONS
    QUANTIZATIONS: ClassVar[frozenset[str]] = frozenset({"4bit", "8bit"})

    def __init__(self, model: Model, options: Mapping[str, Any]) -> None:
        super().__init__(model, options)
        settings = Settings.read(options)
        import openvino_genai as genai

        self.folder = prepared(model, exact=settings.precision == "exact")
        self._facts = json.loads((self.folder / FACTS).read_text("utf-8"))
        self._settings = settings
        self._sight = self._seeing(settings)
        sees, how = self._sight is not None, settings.properties()
        try:
            pipeline = in_passing_thread(
                lambda: genai.ContinuousBatchingPipeline(
                    str(self.folder), settings.scheduler(genai, sees=sees), settings.device, how, {}, how
                )
            )
        except RuntimeError as error:
            raise load_error(model, str(error)) from error
        self._tokenizer = pipeline.get_tokenizer()
        # Two threads inside `encode` wait for each other for ever, one with the interpreter's lock, one with
        # the tokenizer's only free request: they take turns here.
        self._tokenizer_lock = threading.Lock()
        self._special = special_tokens(self._tokenizer, self._facts["special"])
        self._pieces = piece_table(self._tokenizer, self._facts["pieces"], self._special.keys())
        self._eos = frozenset(self._facts["eos"])
        self._pipeline = pipeline
        self._scorers: dict[bool, Scorer] = {}  # by whether its numbers are exact
        self._scoring: ScoringQueue[bool] = ScoringQueue(
            self._scores, tokens=TOGETHER, name=f"scoring:{model.spec.alias}"
        )
        backend = PipelineBackend(pipeline, self._tokenizer_lock)
        self._loop = StepLoop(backend, name=f"openvino:{model.spec.alias}")

    def _seeing(self, settings: Settings) -> Sight | None:
        found = self._facts.get("sight")
        if found is not None:
            return Sight.read(found, settings.min_pixels, settings.max_pixels)
        if settings.min_pixels or settings.max_pixels:
            raise UnsupportedError(
                f"'{self.model.spec.alias}' reads text alone, and min_pixels or max_pixels is given",
                hint="Leave them out: they are for models that see.",
            )
        return None

    @classmethod
    def make_files(cls, model: Model, options: Mapping[str, Any]) -> None:
        Settings.read(options)  # a misspelt option is found before minutes are spent
        if to_export(model):
            prepared(model)

    @classmethod
    def missing(cls) -> str | None:
        if importlib.util.find_spec("openvino_genai") is None:
            return "openvino-genai is not installed: pip install modelyard"
        return None

    @classmethod
    def version(cls) -> str:
        return library_version()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            chat=self._template is not None,
            images=self._sight is not None,
            tools=self._sight is None and tool_form(self._template) is not None,
            context_length=self._facts["context_length"],
            parameters=frozenset(NAMES),
        )

    @property
    def precision(self) -> str:
        return f"{self._facts['weights']}, {self._settings.precision}"

    @property
    def steps(self) -> int | None:
        return self._loop.steps

    @property
    def active(self) -> int:
        return self._loop.active

    @property
    def memory(self) -> Memory:
        weights = _weights(self.folder)
        return Memory(
            weights, 0 if self._pipeline is None else int(self._pipeline.get_metrics().cache_size_in_bytes)
        )

    async def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        if self._sight is not None:
            self.refuse_tools(request, "it sees, and tools are for models that read text alone")
        use = tool_use(self, request, self._template)
        request = use.request
        large = _characters(request) > _INLINE_CHARACTERS or bool(request.constraint or use.offer.tools)
        event_loop = asyncio.get_running_loop()
        if large or _looks(request) or self._tokenizer_lock.locked():
            job = await asyncio.to_thread(self._job, use, event_loop)
        else:
            job = self._job(use, event_loop)
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
        self.refuse_adapter(adapter)
        texts = check_continuations(continuations)
        pairs = await asyncio.to_thread(self._pairs, prompt, texts)
        return await self._scoring.score(pairs, exact, alone=exact)

    @property
    def tokenizer_info(self) -> TokenizerInfo:
        tokenizer = self._tokenizer
        bos, eos = tokenizer.get_bos_token_id(), tokenizer.get_eos_token_id()
        return TokenizerInfo(
            bos=bos if bos >= 0 else None,
            eos=eos if eos >= 0 else None,
            bos_text=tokenizer.get_bos_token(),
            eos_text=tokenizer.get_eos_token(),
            chat_template=self._template,
            vocabulary=len(self._pieces),
            longest=self._facts["context_length"] + 1,
        )

    async def encode(self, texts: Sequence[str], *, special: bool = True) -> tuple[tuple[int, ...], ...]:
        return await asyncio.to_thread(
            lambda: tuple(tuple(self._ids(one, special=special).tolist()) for one in texts)
        )

    async def score_tokens(
        self, pairs: Sequence[Pair], adapter: Adapter | None = None, *, exact: bool = True
    ) -> tuple[Score, ...]:
        self.refuse_adapter(adapter)
        checked = check_pairs(pairs, self.tokenizer_info)
        return await self._scoring.score(checked, exact, alone=exact)

    async def render(self, messages: Sequence[Message], *, answer: bool = True) -> str:
        bos, eos = self._tokenizer.get_bos_token(), self._tokenizer.get_eos_token()
        sees = self._sight is not None
        return rendered(self._template, messages, bos=bos, eos=eos, images=sees, answer=answer)

    async def count_tokens(self, prompt: str | Sequence[Message]) -> int:
        return await asyncio.to_thread(lambda: self._encode(prompt).tokens)

    def close(self) -> None:
        self._scoring.close()
        self._loop.close()
        self._pipeline = None
        self._scorers.clear()

    # -- from a request to a job -----------------------------------------------------------------------

    @property
    def _template(self) -> str | None:
        return self.model.spec.chat_template or self._facts["chat_template"]

    def _encode(self, prompt: str | Sequence[Message], offer: Offer = NO_OFFER) -> _Prompt:
        warnings: tuple[Warning, ...] = ()
        sees = self._sight is not None
        if isinstance(prompt, str):
            text, templated = prompt, False
        else:
            bos, eos = self._tokenizer.get_bos_token(), self._tokenizer.get_eos_token()
            text, templated = render_chat(self._template, prompt, bos=bos, eos=eos, images=sees, offer=offer)
            warnings = () if templated else (NO_TEMPLATE,)
        looked, more = None, 0
        if self._sight is not None:
            images = () if isinstance(prompt, str) else [part for one in prompt for part in one.images]
            looked, more = self._sight.look(text, images)
        ids = self._ids(text, special=not templated)
        return _Prompt(ids, text, not templated, warnings, more, looked)

    def _ids(self, text: str, *, special: bool) -> np.ndarray:
        with self._tokenizer_lock:
            encoded: np.ndarray = self._tokenizer.encode(text, add_special_tokens=special).input_ids.data[0]
        return encoded.astype(np.int64, copy=True)

    def _job(self, use: ToolUse, event_loop: asyncio.AbstractEventLoop) -> Job:
        request = use.request
        self.refuse_adapter(request.adapter)
        prompt = request.prompt if request.prompt is not None else (request.messages or ())
        read = self._encode(prompt, use.offer)
        count = read.tokens
        budget, shortened = answer_room(request.params, count, self._facts["context_length"])
        config, relaxed = self._config(request.params, request.constraint, count, budget, request.logprobs)
        return Job(
            prompt_ids=read.ids[None, :] if read.looked is None else read.looked,
            prompt_tokens=count,
            config=config,
            text=TextStream(use.pieces(self._pieces.__getitem__, self._special), request.params.stop),
            deadline=request.deadline,
            warnings=(*read.warnings, *shortened, *relaxed),
            suspect=request.constraint is not None,
            eos=self._eos,
            event_loop=event_loop,
        )

    def _config(
        self,
        params: SamplingParams,
        constraint: Constraint | None,
        prompt_tokens: int,
        budget: int,
        logprobs: bool,
    ) -> tuple[Any, tuple[Warning, ...]]:
        import openvino_genai as genai

        config = genai.GenerationConfig()
        config.apply_chat_template = False
        config.stop_token_ids = set(self._eos)
        config.eos_token_id = self._facts["eos"][0]
        config.max_new_tokens = budget
        config.min_new_tokens = min(params.answer_minimum(prompt_tokens), budget)
        config.logprobs = int(logprobs)
        config.repetition_penalty = params.repetition_penalty
        config.presence_penalty = params.presence_penalty
        config.frequency_penalty = params.frequency_penalty
        config.do_sample = not params.greedy
        if not params.greedy:
            # As good as 0 and as good as 1: the pipeline refuses the limits themselves (as 32-bit floats).
            config.temperature = max(params.temperature, 1e-9)
            config.top_p = params.top_p
            config.min_p = min(params.min_p, 0.9999999)
            if params.top_k:
                config.top_k = params.top_k
            # The pipeline's default seed is a constant: without one of our own, every answer repeats itself.
            config.rng_seed = secrets.randbits(32) if params.seed is None else params.seed
        relaxed: tuple[Warning, ...] = ()
        if constraint is not None:
            from modelyard.engines.grammar import compile_constraint  # most answers need none

            grammar = compile_constraint(constraint)
            config.structured_output_config = genai.StructuredOutputConfig(grammar=grammar.text)
            relaxed = tuple(Warning("constraint_relaxed", sentence) for sentence in grammar.relaxed)
        try:
            config.validate()
        except RuntimeError as error:
            reason = next(
                (line for line in reversed(str(error).splitlines()) if line.strip()), "no reason given"
            )
            raise InvalidArgumentError(f"OpenVINO refuses the parameters: {reason}", hint="") from error
        return config, relaxed

    # -- scoring ---------------------------------------------------------------------------------------

    def _pairs(self, prompt: str | Sequence[Message], continuations: tuple[str, ...]) -> list[Pair]:
        read = self._encode(prompt)
        if read.looked is not None and read.looked.images:
            raise UnsupportedError(
                "engine openvino scores no text behind images", hint="Use engine: transformers for that."
            )
        return cut(
            read.text,
            continuations,
            lambda part: self._ids(part, special=read.special).tolist(),
            self._facts["context_length"],
        )

    def _scores(self, pairs: Sequence[Pair], exact: bool) -> tuple[Score, ...]:
        if self._pipeline is None:
            raise EngineCrashedError("the model was unloaded before the scoring began")
        if exact not in self._scorers:
            made = in_passing_thread(lambda: Scorer(self.folder, self._settings, exact=exact))
            self._scorers[exact] = made
        return self._scorers[exact].score(pairs, tokens=0 if exact else TOGETHER)


def _looks(request: Request) -> bool:
    return any(message.images for message in request.messages or ())


def _weights(folder: Path) -> int:
    """Bytes of the weights: of the language model, and of what goes before it where the model sees."""
    return sum(file.stat().st_size for file in folder.glob("openvino_*model.bin"))


def _characters(request: Request) -> int:
    if request.prompt is not None:
        return len(request.prompt)
    return sum(len(message.text) for message in request.messages or ())
