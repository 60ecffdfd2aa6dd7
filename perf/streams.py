"""Prompts, and our side of a round, for the scripts that compare streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from modelyard.engines.base import Engine
from modelyard.params import SamplingParams
from modelyard.types import Request


def prompts(count: int, round_: int) -> list[str]:
    """Prompts that no earlier round has left in a cache."""
    return [
        f"Round {round_}, story {at}: one morning the old ship left the harbour and" for at in range(count)
    ]


async def our_round(
    engine: Engine, texts: Sequence[str], tokens: int, gap: float = 0.0
) -> tuple[float, float]:
    """Tokens a second and seconds to the first token, through `generate`: async streams with texts and logprobs.

    Args:
        engine: that answers.
        texts: the prompts.
        tokens: of each answer.
        gap: seconds between two arrivals.
    """
    began = time.perf_counter()
    firsts: list[float] = []
    made = 0

    async def one(at: int, text: str) -> None:
        nonlocal made
        if gap:
            await asyncio.sleep(at * gap)
        params = SamplingParams(max_new_tokens=tokens, min_new_tokens=tokens, temperature=0)
        begun = False
        async for chunk in engine.generate(Request(prompt=text, params=params)):
            if not begun:
                begun = True
                firsts.append(time.perf_counter() - began)
            if chunk.usage:
                made += chunk.usage.completion_tokens

    await asyncio.gather(*(one(at, text) for at, text in enumerate(texts)))
    assert made == tokens * len(texts), made
    return made / (time.perf_counter() - began), min(firsts)
