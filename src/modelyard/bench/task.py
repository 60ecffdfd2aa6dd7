"""A task to measure models on: its samples, how each is asked, and how an answer is judged."""

from __future__ import annotations

import inspect
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from modelyard.bench.outcome import Judgement
from modelyard.extraction.taskfile import digest
from modelyard.llm import LLM
from modelyard.types import FinishReason, Result

Work = Literal["score", "generate"]
"""What a task asks of the engine: logprobs of given texts, or answers."""


@dataclass(slots=True, frozen=True)
class Sample:
    """One thing to ask.

    Attributes:
        id: its name; each sample of a task has another.
        document: what it was drawn from; samples of one document are not independent of each other.
        expected: the label.
        values: what the prompt is made of.
    """

    id: str
    document: str
    expected: Any
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def content(self) -> str:
        """A hash of what is asked and of the label: a sample that has changed is another one."""
        return digest(self.expected, dict(self.values))


@dataclass(slots=True, frozen=True)
class Asked:
    """What came back for one sample.

    Attributes:
        prompt: what the model was given, as text.
        answer: what it wrote, or the choice that it found likeliest.
        tokens: of the answer, each with its logprob; of a choice each choice with its total.
        extra: what `judge` wants beside the text.
    """

    prompt: str
    answer: str
    finish: FinishReason = "stop"
    tokens: tuple[tuple[str, float | None], ...] = ()
    seconds: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    warnings: tuple[str, ...] = ()
    extra: Any = None


class BenchTask(ABC):
    """What models are measured on. Subclass it where a task file is not enough.

    A subclass of one's own is named on the command line by its file and class, `mine.py:MyTask`, or given as an
    object to `run_benchmark`. It has to give `name`, `samples`, `ask` and `judge`.

    Attributes:
        about: how its score is computed, in a sentence or two; shown with every figure.
        weight: its share of the final score, beside the other tasks'.
        tier: 1 to 3, for the legacy score.
        limit: how many of its samples are asked where nobody says; all where None.
        requests: how many requests one sample makes at once.
    """

    kind: ClassVar[str] = "python"
    work: ClassVar[Work] = "generate"
    name: str = ""
    title: str = ""
    about: str = ""
    source: str = ""
    licence: str = ""
    weight: float = 1.0
    tier: int = 2
    limit: int | None = None
    requests: int = 1

    @abstractmethod
    def samples(self) -> Sequence[Sample]:
        """All samples, in an order that does not change."""

    @abstractmethod
    async def ask(self, llm: LLM, sample: Sample, *, seed: int | None = None, exact: bool = False) -> Asked:
        """Asks a model.

        Args:
            llm: the model.
            sample: what to ask.
            seed: of the sampling, for tasks that sample.
            exact: in the engine's exact numbers, where it has faster ones too.

        Raises:
            ModelyardError: there is no answer; the sample counts as failed.
        """

    @abstractmethod
    def judge(self, sample: Sample, asked: Asked) -> Judgement:
        """Compares an answer with its label. It sees whole answers and cut ones."""

    @property
    def fingerprint(self) -> str:
        """A hash of how it asks and judges: answers kept under another one are not its own."""
        return digest(inspect.getsource(type(self)), self.name)


async def generated(llm: LLM, prompt: Any, *, extra: Any = None, **how: Any) -> Asked:
    """Generates an answer, greedily unless told otherwise, and keeps what the store wants of it."""
    began = time.perf_counter()
    how.setdefault("temperature", 0)
    if how["temperature"] == 0:
        how.pop("seed", None)  # it changes nothing there, and would be warned about
    result = await llm.generate_async(prompt, **how)
    return from_result(result, as_text(prompt), time.perf_counter() - began, extra=extra)


def from_result(result: Result, prompt: str, seconds: float, *, extra: Any = None) -> Asked:
    """What the store keeps of a result."""
    return Asked(
        prompt=prompt,
        answer=result.text,
        finish=result.finish_reason,
        tokens=tuple((token.text, token.logprob) for token in result.tokens),
        seconds=seconds,
        prompt_tokens=result.usage.prompt_tokens,
        completion_tokens=result.usage.completion_tokens,
        warnings=tuple(dict.fromkeys(one.message for one in result.warnings)),
        extra=extra,
    )


def as_text(prompt: Any) -> str:
    """A prompt as people read it."""
    if isinstance(prompt, str):
        return prompt
    return "\n\n".join(str(one["content"] if isinstance(one, Mapping) else one.text) for one in prompt)


def cut_short(asked: Asked) -> Judgement:
    """The judgement of an answer that ran into its limit before it could be read."""
    return Judgement("cut short", 0.0, reason=f"cut after {asked.completion_tokens} tokens")
