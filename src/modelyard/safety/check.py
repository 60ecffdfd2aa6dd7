"""Check: one thing that is looked for in a text."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from modelyard.llm import LLM
from modelyard.safety.windows import Window, windows
from modelyard.types import Category, Span, Verdict


class Check(ABC):
    """Judges a text.

    Attributes:
        name: in verdicts and warnings.
        model: the alias of the model that judges; empty where none does.
    """

    name: str
    model: str = ""

    @abstractmethod
    async def verdict(self, text: str, *, context: str = "") -> Verdict:
        """Judges a text.

        Args:
            text: a prompt or an answer, of any length.
            context: of an answer the prompt that it is for; a check may read it, and never judges it.
        """

    @contextlib.asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """Keeps what it needs loaded."""
        yield

    @property
    def llm(self) -> LLM | None:
        """The model that judges, None where none does."""
        return None


@dataclass(slots=True, frozen=True)
class Judged:
    """What a model says of one window."""

    allowed: bool
    categories: tuple[Category, ...]

    @property
    def badness(self) -> tuple[bool, float]:
        """The worse the larger: flagged before not flagged, then by the surest flagged score."""
        flagged = [one.score or 0.0 for one in self.categories if one.flagged]
        every = [one.score or 0.0 for one in self.categories]
        return not self.allowed, max(flagged or every, default=0.0)


class ModelCheck(Check):
    """A check by a model, which reads long texts in windows.

    Args:
        llm: the model.
        name: in verdicts.
        tokens: most of a window's own text.
    """

    def __init__(self, llm: LLM, *, name: str, tokens: int) -> None:
        self.name, self.model = name, llm.spec.alias
        self._llm, self._tokens = llm, tokens

    @property
    def llm(self) -> LLM:
        return self._llm

    @contextlib.asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        async with self._llm.held():
            yield

    async def verdict(self, text: str, *, context: str = "") -> Verdict:
        if not text.strip():
            return Verdict(True, self.name, self.model)
        async with self._llm.held():
            parts = await self._parts(text, await self._room(context))
            judged = await self._judge([text[one.start : one.end] for one in parts], context)
        return self._together(parts, judged)

    @abstractmethod
    async def _judge(self, texts: Sequence[str], context: str) -> list[Judged]:
        """What the model says of each window."""

    async def _parts(self, text: str, most: int) -> list[Window]:
        """What is judged of a text, each part of at most so many tokens."""
        return await windows(text, most, self._count)

    async def _room(self, context: str) -> int:
        """Most tokens of a window, beside what is said around it."""
        return self._tokens

    async def _count(self, text: str) -> int:
        return await self._llm.count_tokens_async(text, raw=True)

    def _together(self, parts: Sequence[Window], judged: Sequence[Judged]) -> Verdict:
        worst = max(range(len(parts)), key=lambda at: (*judged[at].badness, -at))
        flagged = [part.own for part, one in zip(parts, judged, strict=True) if not one.allowed]
        # Of a window and a sentence in it, the sentence is what is meant.
        flagged = [one for one in flagged if not any(_within(other, one) for other in flagged)]
        return Verdict(
            allowed=all(one.allowed for one in judged),
            check=self.name,
            model=self.model,
            categories=judged[worst].categories,
            window=Span(parts[worst].start, parts[worst].end),
            spans=tuple(sorted(set(flagged), key=lambda one: one.start)),
        )


def _within(inner: Span, outer: Span) -> bool:
    return inner != outer and outer.start <= inner.start and inner.end <= outer.end


def ranked(categories: Sequence[Category]) -> tuple[Category, ...]:
    """Flagged ones first, then the surest first."""
    return tuple(sorted(categories, key=lambda one: (not one.flagged, -(one.score or 0.0), one.name)))
