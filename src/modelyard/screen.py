"""What an LLM asks of whoever watches over its prompts and answers; `modelyard.safety.Policy` is one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from modelyard.types import Chunk, Request, Verdict, Warning


@dataclass(slots=True, frozen=True)
class Screened:
    """A request after its checks.

    Attributes:
        request: as it is to be answered: parts of it may be masked.
        verdicts: of the checks that object.
        warnings: for the answer.
        refused: whether it is not to be answered.
    """

    request: Request
    verdicts: tuple[Verdict, ...] = ()
    warnings: tuple[Warning, ...] = ()
    refused: bool = False


class Screen(Protocol):
    """Watches over prompts and answers."""

    def hold(self) -> AbstractAsyncContextManager[None]:
        """Keeps the models of the checks loaded; entered before the LLM's own model is taken."""

    async def read(self, request: Request) -> Screened:
        """Checks a request before it is answered."""

    def watch(
        self, request: Request, chunks: AsyncGenerator[Chunk, None], *, whole: bool
    ) -> AsyncGenerator[Chunk, None]:
        """The chunks that may be shown; with `whole` the answer is checked once, at its end."""
