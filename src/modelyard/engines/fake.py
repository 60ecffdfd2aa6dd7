"""A deterministic engine with no model, shipped so that users too can test without one.

It keeps the whole contract: it streams, stops, counts, cancels, honours schemas and seeds, and fails where
a real engine fails. The same request always gets the same answer.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from modelyard.catalog.model import Model
from modelyard.engines.base import MOST_TOP_LOGPROBS, Capabilities, Engine, Memory, check_option
from modelyard.engines.chat import NO_OFFER, Offer, render_chat, rendered
from modelyard.engines.continuations import Pair, check_pairs
from modelyard.engines.detokenize import TextStream, top_tokens
from modelyard.engines.grammar import check_answer, compile_constraint
from modelyard.engines.limits import answer_room, check_continuations
from modelyard.engines.sentence import shortest_sentence
from modelyard.engines.steploop import Delta, Job, StepLoop
from modelyard.engines.tools import ToolForm, ToolUse, tool_use
from modelyard.errors import InvalidArgumentError, PromptTooLongError
from modelyard.params import NAMES
from modelyard.types import (
    Adapter,
    Chunk,
    Constraint,
    FinishReason,
    Message,
    Request,
    Score,
    TokenizerInfo,
    TopLogprob,
    Warning,
)

_TEMPLATE = (
    "{% if tools %}[tools] {{ tools | tojson }}{{ '\n' }}{% endif %}"
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}"
    "{% for call in m.tool_calls or () %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}"
    "{{ '\n' }}{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"
)
_END = "<end>"
_WORDS = (
    "the",
    "a",
    "report",
    "model",
    "says",
    "that",
    "value",
    "is",
    "found",
    "here",
    "and",
    "seven",
    "blue",
)
_PIECE = re.compile(r"\s*\S+|\s+")
_STEP_PROMPT_TOKENS = 256
Likeliest = Callable[[int, float | None], tuple[TopLogprob, ...]]


class FakeEngine(Engine):
    """Answers made of a few fixed words, or the `reply` it is given."""

    name = "fake"
    OPTIONS: ClassVar[Mapping[str, str]] = {
        "reply": "the answer to everything that it fits, in place of the made-up words",
        "delay": "seconds that one step takes (0)",
        "context_length": "tokens of prompt and answer (4096)",
    }

    def __init__(self, model: Model, options: Mapping[str, Any]) -> None:
        super().__init__(model, options)
        for key in options:
            check_option(self.name, key, self.OPTIONS)
        self._context = _number(options, "context_length", 4096, least=1, kind=int)
        delay = _number(options, "delay", 0.0, least=0, kind=float)
        reply = options.get("reply")
        self._reply = reply if isinstance(reply, str | None) else json.dumps(reply)
        if self._reply == "":
            raise InvalidArgumentError("option 'reply' is empty", hint="Give it some text, or leave it out.")
        self._pieces = _Pieces()
        self._loop = StepLoop(_Backend(delay), name=f"fake:{model.spec.alias}")

    @classmethod
    def missing(cls) -> str | None:
        return None

    @classmethod
    def version(cls) -> str:
        return "1"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            top_logprobs=MOST_TOP_LOGPROBS,
            tools=True,
            context_length=self._context,
            parameters=frozenset(NAMES),
        )

    @property
    def precision(self) -> str:
        return "none"

    @property
    def steps(self) -> int | None:
        return self._loop.steps

    @property
    def active(self) -> int:
        return self._loop.active

    @property
    def memory(self) -> Memory:
        return Memory(0, 0)

    async def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        use = tool_use(self, request, _TEMPLATE)
        async with contextlib.aclosing(use.read(self._loop.stream(self._job(use)))) as chunks:
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
        ids = self._ids(_text(prompt))
        if not ids:
            raise InvalidArgumentError(
                "score needs a prompt of at least one token", hint="Give it some text."
            )
        tails = [self._ids(one) for one in texts]
        longest = len(ids) + max(map(len, tails))
        if longest > self._context:
            raise PromptTooLongError(
                f"prompt and continuation have {longest} tokens, the context holds {self._context}"
            )
        return tuple(_score(ids, tail) for tail in tails)

    @property
    def tokenizer_info(self) -> TokenizerInfo:
        return TokenizerInfo(
            eos=self._pieces.id_of(_END),
            eos_text=_END,
            chat_template=_TEMPLATE,
            vocabulary=2**32,
            longest=self._context + 1,
        )

    async def encode(self, texts: Sequence[str], *, special: bool = True) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(self._ids(one)) for one in texts)

    async def score_tokens(
        self, pairs: Sequence[Pair], adapter: Adapter | None = None, *, exact: bool = True
    ) -> tuple[Score, ...]:
        self.refuse_adapter(adapter)
        return tuple(_score(*pair) for pair in check_pairs(pairs, self.tokenizer_info))

    async def render(self, messages: Sequence[Message], *, answer: bool = True) -> str:
        return rendered(_TEMPLATE, messages, bos="", eos=_END, images=False, answer=answer)

    async def count_tokens(self, prompt: str | Sequence[Message]) -> int:
        return len(self._ids(_text(prompt)))

    def close(self) -> None:
        self._loop.close()

    def _ids(self, text: str) -> list[int]:
        return [self._pieces.id_of(piece) for piece in _PIECE.findall(text)]

    def _job(self, use: ToolUse) -> Job:
        request = use.request
        self.refuse_adapter(request.adapter)
        prompt = request.prompt if request.prompt is not None else (request.messages or ())
        ids = self._ids(_text(prompt, use.offer))
        budget, warnings = answer_room(request.params, len(ids), self._context)
        relaxed: tuple[Warning, ...] = ()
        if request.constraint is not None:
            grammar = compile_constraint(request.constraint)
            relaxed = tuple(Warning("constraint_relaxed", sentence) for sentence in grammar.relaxed)
            answer = self._ids(self._fitting(request.constraint, grammar.text, use.form))
        else:
            answer = self._answer(request, ids)
        least = request.params.answer_minimum(len(ids))
        while len(answer) < least:
            answer += self._answer(request, [*ids, *answer])
        return Job(
            prompt_ids=ids,
            prompt_tokens=len(ids),
            config=_Plan(ids, answer, budget, request.logprobs, self._likeliest(request.top_logprobs)),
            text=TextStream(self._pieces.bytes_of, request.params.stop),
            deadline=request.deadline,
            warnings=(*warnings, *relaxed),
        )

    def _likeliest(self, count: int) -> Likeliest:
        """What tells the likeliest tokens: the one that is chosen, and behind it made-up ones."""
        others = self._ids(" ".join((*_WORDS, *map(str.upper, _WORDS)))) if count else []

        def likeliest(token: int, logprob: float | None) -> tuple[TopLogprob, ...]:
            ranked = [token, *(one for one in others if one != token)][:count]
            return top_tokens(
                [(one, (logprob or 0) - at) for at, one in enumerate(ranked)], self._pieces.bytes_of
            )

        return likeliest

    def _fitting(self, constraint: Constraint, grammar: str, form: ToolForm | None) -> str:
        """The given reply where it has the form that is asked for, else the shortest text that has it."""
        reply = self._reply
        if reply is not None and form is not None:
            reply = reply.removeprefix(form.prefix).removesuffix(form.suffix)
        if reply is not None and check_answer(constraint, reply) is None:
            return reply
        return shortest_sentence(grammar)

    def _answer(self, request: Request, ids: Sequence[int]) -> list[int]:
        if self._reply is not None:
            return self._ids(self._reply)
        seed = 0 if request.params.greedy else request.params.seed
        source = random.Random(json.dumps([list(ids), seed]) if seed is not None else None)  # noqa: S311 (words, no secret)
        words = [source.choice(_WORDS) for _ in range(source.randint(5, 12))]
        return self._ids(" ".join(words).capitalize() + ".")


def _number(options: Mapping[str, Any], name: str, default: float, *, least: float, kind: type[Any]) -> Any:
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= 1e9:
        raise InvalidArgumentError(
            f"option '{name}' has value {value!r}", hint=f"It is a number, {least} or more."
        )
    return kind(value)


@dataclass(slots=True)
class _Plan:
    prompt: list[int]
    answer: list[int]
    budget: int
    logprobs: bool
    likeliest: Likeliest
    made: int = 0
    read: int = 0


class _Backend:
    """A batch that reads 256 prompt tokens or makes one token a step, for each job."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._jobs: list[Job] = []

    def add(self, job: Job) -> None:
        self._jobs.append(job)

    def drop(self, job: Job) -> None:
        if job in self._jobs:
            self._jobs.remove(job)

    def close(self) -> None:
        self._jobs.clear()

    def step(self) -> Iterable[Delta]:
        if self._delay:
            time.sleep(self._delay)
        deltas = [delta for job in self._jobs if (delta := _advance(job)) is not None]
        ended = {id(delta.job) for delta in deltas if delta.finish is not None}
        self._jobs = [job for job in self._jobs if id(job) not in ended]
        return deltas


def _advance(job: Job) -> Delta | None:
    plan: _Plan = job.config
    if plan.read < len(plan.prompt):
        plan.read += _STEP_PROMPT_TOKENS
        if plan.read < len(plan.prompt):
            return None
    token = plan.answer[plan.made]
    logprob = _logprob([*plan.prompt, *plan.answer[: plan.made]], token) if plan.logprobs else None
    plan.made += 1
    finish: FinishReason | None = "length" if plan.made == plan.budget else None
    if plan.made == len(plan.answer):
        finish = "stop"
    return Delta(job, [token], [logprob], finish, tops=[plan.likeliest(token, logprob)])


@dataclass(slots=True)
class _Pieces:
    """Words to ids and back; an id is a hash, so it is the same in every process."""

    _by_id: dict[int, bytes] = field(default_factory=dict)

    def id_of(self, piece: str) -> int:
        data = piece.encode("utf-8", "surrogatepass")
        token = int.from_bytes(hashlib.blake2b(data, digest_size=4).digest())
        self._by_id[token] = piece.encode("utf-8", "replace")
        return token

    def bytes_of(self, token: int) -> bytes:
        return self._by_id[token]


def _logprob(before: Sequence[int], token: int) -> float:
    """A made-up logprob between -2 and 0 that depends on the last tokens, as a model's does."""
    digest = hashlib.blake2b(json.dumps([*before[-8:], token]).encode(), digest_size=4).digest()
    return -2 * int.from_bytes(digest) / 2**32


def _score(ids: Sequence[int], tail: Sequence[int]) -> Score:
    logprobs = tuple(_logprob([*ids, *tail[:at]], token) for at, token in enumerate(tail))
    return Score(sum(logprobs), logprobs, tuple(tail), is_greedy=False)


def _text(prompt: str | Sequence[Message], offer: Offer = NO_OFFER) -> str:
    return prompt if isinstance(prompt, str) else render_chat(_TEMPLATE, prompt, offer=offer)[0]
