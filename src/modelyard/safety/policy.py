"""Policy: which checks apply to prompts and answers, and what happens where one objects."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from modelyard.errors import DeadlineExceededError, InvalidArgumentError
from modelyard.safety.check import Check
from modelyard.safety.masking import MASK, masked, merged
from modelyard.safety.stream import Ruled, Watch
from modelyard.screen import Screened
from modelyard.types import Action, Chunk, Message, Request, Side, Span, TextPart, Verdict, Warning

Sides = Literal["input", "output", "both"]
_READ = (
    "user",
    "tool",
)  # whose turns are checked: the system prompt is the developer's, the answers have been


@dataclass(slots=True, frozen=True)
class Rule:
    """A check with what it applies to and what happens where it objects.

    Attributes:
        check: what judges.
        side: `input` (prompts), `output` (answers), or both.
        action: `block` refuses, `mask` replaces the part that it objects to, `warn` goes on and says so.
    """

    check: Check
    side: Sides = "both"
    action: Action = "block"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("side", self.side, get_args(Sides)),
            ("action", self.action, get_args(Action)),
        ):
            if value not in known:
                raise InvalidArgumentError(
                    f"{name} of check '{self.check.name}' is {value!r:.80}",
                    hint=f"It is one of: {', '.join(known)}.",
                )


class Policy:
    """Checks bound to prompts and answers. `create_llm(…, safety=policy)` applies it to every request.

    Args:
        rules: in their order; a check alone blocks on both sides.

    >>> from modelyard import create_llm
    >>> from modelyard.safety import PatternCheck, Policy
    >>> policy = Policy([PatternCheck({"project": "Falcon"})])
    >>> create_llm("fake", safety=policy).generate("What is Falcon?").finish_reason
    'content_filter'
    """

    def __init__(self, rules: Iterable[Rule | Check]) -> None:
        self.rules = tuple(one if isinstance(one, Rule) else Rule(one) for one in rules)

    @contextlib.asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """Keeps the models of the checks loaded."""
        async with contextlib.AsyncExitStack() as stack:
            for check in dict.fromkeys(rule.check for rule in self.rules):
                await stack.enter_async_context(check.hold())
            yield

    async def read(self, request: Request) -> Screened:
        """Checks what users and tools say in a request, every turn of it."""
        seen = _Seen(self._on("input"), "input")
        if not seen.rules:
            return Screened(request)
        async with _until(request.deadline):
            if request.prompt is not None:
                changed = replace(request, prompt=await seen.text(request.prompt))
            else:
                turns = [
                    await seen.message(one) if one.role in _READ else one for one in request.messages or ()
                ]
                changed = replace(request, messages=tuple(turns))
        return Screened(changed, tuple(seen.verdicts), tuple(seen.warnings), seen.refused)

    def watch(
        self, request: Request, chunks: AsyncGenerator[Chunk, None], *, whole: bool
    ) -> AsyncGenerator[Chunk, None]:
        """The chunks of an answer that may be shown.

        An answer is held back until a few sentences of it have been checked, together with the end of what was shown
        before; with `whole` all of it is, and is checked once. Where a check blocks, the answer ends there, and
        nothing of the window that it objects to is shown.
        """
        rules = self._on("output")
        if not rules:
            return chunks
        return Watch(lambda text: self._ruled(rules, request, text), chunks, whole=whole).chunks()

    async def _ruled(self, rules: Sequence[Rule], request: Request, text: str) -> Ruled:
        seen = _Seen(rules, "output", _asked(request))
        async with _until(request.deadline):
            masks = await seen.masks(text)
        return Ruled(tuple(seen.verdicts), tuple(seen.warnings), seen.refused, tuple(masks))

    def _on(self, side: Side) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if rule.side in (side, "both"))


class _Seen:
    """What the rules of one side say of the texts of one request."""

    def __init__(self, rules: Sequence[Rule], side: Side, context: str = "") -> None:
        self.rules, self._side, self._context = rules, side, context
        self.verdicts: list[Verdict] = []
        self.warnings: list[Warning] = []
        self.refused = False

    async def message(self, message: Message) -> Message:
        if isinstance(message.content, str):
            return replace(message, content=await self.text(message.content))
        parts = [
            TextPart(await self.text(one.text)) if isinstance(one, TextPart) else one
            for one in message.content
        ]
        return replace(message, content=tuple(parts))

    async def text(self, text: str) -> str:
        """Judges a text; returns it with what is to be masked replaced."""
        return masked(text, await self.masks(text))

    async def masks(self, text: str) -> list[Span]:
        """Judges a text; returns what is to be masked of it."""
        if not text.strip():
            return []
        judged = await asyncio.gather(
            *(rule.check.verdict(text, context=self._context) for rule in self.rules)
        )
        masks: list[Span] = []
        for rule, verdict in zip(self.rules, judged, strict=True):
            if verdict.allowed:
                continue
            self.verdicts.append(replace(verdict, side=self._side, action=rule.action))
            self.refused = self.refused or rule.action == "block"
            if rule.action == "mask":
                masks += verdict.spans or (Span(0, len(text)),)
            self.warnings.append(_said(verdict, self._side, rule.action))
        return merged(masks)


def _said(verdict: Verdict, side: Side, action: Action) -> Warning:
    what = "the prompt" if side == "input" else "the answer"
    found = ", ".join(verdict.flagged) or "what it looks for"
    refused = "; it is not answered" if side == "input" else "; it is not shown"
    done = {"block": refused, "mask": f"; it was replaced by {MASK}", "warn": ""}[action]
    return Warning(f"safety_{action}", f"check '{verdict.check}' finds {found} in {what}{done}")


def _asked(request: Request) -> str:
    """What an answer is an answer to: the last turn of the user."""
    if request.prompt is not None:
        return request.prompt
    return next((one.text for one in reversed(request.messages or ()) if one.role == "user"), "")


@contextlib.asynccontextmanager
async def _until(deadline: float | None) -> AsyncIterator[None]:
    left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
    try:
        async with asyncio.timeout(left):
            yield
    except TimeoutError:
        raise DeadlineExceededError("the deadline passed while the safety checks ran") from None
