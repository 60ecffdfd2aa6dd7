"""Watching an answer as it is made: what has not been checked is not shown."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace

from modelyard.safety.masking import masked
from modelyard.types import Chunk, Span, Token, Usage, Verdict, Warning

LEAST = 80
"""Characters that are held back at least before they are checked; a check costs as much for one as for a hundred."""
MOST = 800
"""Characters without the end of a sentence that are held back at most."""
BEFORE = 400
"""Characters of what was shown that are read again with what comes after it."""
_END = re.compile(r"[.!?…。！？][\"'”’)\]]*\s|\n")
_SPACE = re.compile(r"\s")


@dataclass(slots=True, frozen=True)
class Ruled:
    """What the rules say of a text: the verdicts that object, whether it is refused, and what is to be masked."""

    verdicts: tuple[Verdict, ...] = ()
    warnings: tuple[Warning, ...] = ()
    refused: bool = False
    masks: tuple[Span, ...] = ()


class Watch:
    """One answer on its way.

    Args:
        rule: judges a text.
        source: the answer's chunks.
        whole: hold all of it back, and judge it once.
    """

    def __init__(
        self, rule: Callable[[str], Awaitable[Ruled]], source: AsyncGenerator[Chunk, None], *, whole: bool
    ) -> None:
        self._rule, self._source, self._whole = rule, source, whole
        self._held: list[Chunk] = []
        self._before = ""
        self._shift = 0  # by how much the tokens behind masked text stand elsewhere
        self._made = 0
        self._verdicts: list[Verdict] = []
        self._warnings: list[Warning] = []

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        """The chunks that may be shown; after a refusal one more, whose finish reason says so."""
        async with contextlib.aclosing(self._source) as source:
            async for chunk in source:
                self._made += len(chunk.tokens)
                self._held.append(chunk)
                last = chunk if chunk.finish_reason is not None else None
                ready = len(self._held) if last else 0 if self._whole else self._ready()
                if not ready:
                    continue
                shown = await self._judge(ready)
                if shown is None or (last is not None and await self._calls_refused(last)):
                    yield self._refusal(last)
                    return
                for one in shown:
                    yield self._closed(one) if one.finish_reason is not None else one
                if last is not None:
                    return

    def _ready(self) -> int:
        """How many of the chunks that are held can be judged: those up to the end of a sentence."""
        text = "".join(one.text for one in self._held)
        if len(text) < LEAST:
            return 0
        stop = max((found.end() for found in _END.finditer(text)), default=0)
        if not stop and len(text) >= MOST:
            stop = max((found.end() for found in _SPACE.finditer(text)), default=len(text))
        total, ready = 0, 0
        for at, one in enumerate(self._held, 1):
            total += len(one.text)
            if total > stop:
                break
            ready = at
        return ready if total and any(one.text for one in self._held[:ready]) else 0

    async def _judge(self, count: int) -> list[Chunk] | None:
        """The first chunks that are held, as they may be shown; None where they may not."""
        taken, self._held = self._held[:count], self._held[count:]
        text = "".join(one.text for one in taken)
        masks: list[Span] = []
        if text:
            ruled = await self._rule(self._before + text)
            self._note(ruled)
            if ruled.refused:
                return None
            skip = len(self._before)
            masks = [Span(max(one.start - skip, 0), one.end - skip) for one in ruled.masks if one.end > skip]
            self._before = (self._before + text)[-BEFORE:]
        return self._masked(taken, text, masks) if masks else [self._moved(one) for one in taken]

    def _masked(self, taken: list[Chunk], text: str, masks: list[Span]) -> list[Chunk]:
        """One chunk in their place. Its tokens are gone: they would tell what was masked."""
        made = masked(text, masks)
        self._shift += len(made) - len(text)
        ends = taken[-1].finish_reason is not None
        return [replace(taken[-1], text=made, tokens=())] if ends else [Chunk(made)]

    def _moved(self, chunk: Chunk) -> Chunk:
        if not self._shift or not chunk.tokens:
            return chunk
        return replace(chunk, tokens=tuple(self._at(one) for one in chunk.tokens))

    def _at(self, token: Token) -> Token:
        return replace(token, start=token.start + self._shift, end=token.end + self._shift)

    def _closed(self, chunk: Chunk) -> Chunk:
        return replace(
            chunk,
            verdicts=(*chunk.verdicts, *self._verdicts),
            warnings=(*chunk.warnings, *self._warnings),
        )

    async def _calls_refused(self, last: Chunk) -> bool:
        """Whether what the answer asks functions with is refused; a mask would break it, and refuses too."""
        for call in last.tool_calls:
            ruled = await self._rule(call.arguments)
            self._note(ruled)
            if ruled.refused or ruled.masks:
                return True
        return False

    def _note(self, ruled: Ruled) -> None:
        self._verdicts += [
            one for one in ruled.verdicts if not any(_same(one, known) for known in self._verdicts)
        ]
        self._warnings += [one for one in ruled.warnings if one not in self._warnings]

    def _refusal(self, last: Chunk | None) -> Chunk:
        usage = last.usage if last is not None else Usage(0, self._made)
        return Chunk(
            finish_reason="content_filter",
            usage=usage,
            timings=None if last is None else last.timings,
            warnings=tuple(self._warnings),
            verdicts=tuple(self._verdicts),
        )


def _same(one: Verdict, other: Verdict) -> bool:
    """Whether two windows of one answer say the same: what was shown before is read again with what follows."""
    return (one.check, one.flagged, one.action) == (other.check, other.flagged, other.action)
