"""Adjudicate: a model decides between values from their quotes alone, asked in both orders.

Models prefer an answer for its place (Zheng et al., Judging LLM-as-a-Judge, 2023, arXiv:2306.05685, section 3.3), so
the options are shown once forwards and once backwards, with the letters given anew, and only a value that comes
first both times is taken.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from typing import NamedTuple

from modelyard.errors import (
    DeadlineExceededError,
    EngineError,
    PromptTooLongError,
    ProviderAPIError,
    QueueFullError,
    UnavailableError,
    UnsupportedError,
)
from modelyard.extraction.merging.steps import Decision, Group
from modelyard.extraction.merging.wording import joined, listed, shown
from modelyard.extraction.schema import Field
from modelyard.llm import LLM

MOST_OPTIONS = 6
"""How many values a judge is shown; of more, the best supported."""

_LETTERS = "ABCDEF"
_MOST_QUOTES = 3
_NO_LOGPROB = -math.inf
_TOLD = (
    PromptTooLongError,
    UnsupportedError,
    QueueFullError,
    UnavailableError,
    ProviderAPIError,
    EngineError,
    DeadlineExceededError,
)


class Verdict(NamedTuple):
    """What a judge came to: a decision, or None; and what is to be said of it either way."""

    decision: Decision | None
    note: str


class _Answer(NamedTuple):
    """Of one order: the logprob of each option, in the order of the options; and whether it is a score."""

    logprobs: list[float]
    scored: bool


async def adjudicate(field: Field, groups: Sequence[Group], judge: LLM) -> Verdict:
    """The value that a model prefers in both orders, by the logprobs of the options.

    The logprobs are averaged over the two orders. Where the model's engine gives no scores, the model writes
    the letter of an option, held to the letters, in both orders. Where the model fails at this question the
    note says so, and other fields and documents go on; what would fail at every question is raised.

    Args:
        field: what the values are of.
        groups: the candidates of each value, the best supported first.
        judge: the model.

    >>> from modelyard import create_llm
    >>> from modelyard.extraction.result import Candidate
    >>> two = [(Candidate("a", "d", 1.2, "found", "EPS 1.20"),), (Candidate("b", "d", 3.4, "found", "EPS 3.40"),)]
    >>> asyncio.run(adjudicate(Field("eps", "number"), two, create_llm("fake"))).note
    "the judge 'fake' prefers 3.4 in one order and 1.2 in the other"
    """
    options = list(groups[:MOST_OPTIONS])
    hidden = len(groups) - len(options)
    left_out = f"of {len(groups)} values the judge saw the {MOST_OPTIONS} best supported" if hidden else ""
    name = judge.spec.alias
    try:
        forwards, backwards = await _both_orders(field, options, judge)
    except _TOLD as error:
        return Verdict(None, joined(f"the judge '{name}' could not be asked: {error.message}", left_out))
    first, second = _preferred(forwards.logprobs), _preferred(backwards.logprobs)
    if first is None or second is None:
        said = f"the judge '{name}' gives no one value first place"
        return Verdict(None, joined(said, left_out))
    if first != second:
        one, other = shown(options[first][0].value), shown(options[second][0].value)
        said = f"the judge '{name}' prefers {one} in one order and {other} in the other"
        return Verdict(None, joined(said, left_out))
    others = listed([shown(of[0].value) for at, of in enumerate(options) if at != first])
    said = f"the judge '{name}' prefers {shown(options[first][0].value)} to {others} in both orders"
    reason = joined(f"{said}, {_how(forwards, backwards, first)}", left_out)
    return Verdict(Decision("adjudication", options[first], reason), reason)


def question(field: Field, options: Sequence[Group]) -> str:
    """What the judge is asked: the field, and each value with its quotes; no other text of the documents.

    >>> from modelyard.extraction.result import Candidate
    >>> options = [(Candidate("a", "d", 1.2, "found", "EPS 1.20", 0, 8),), (Candidate("b", "d", None, "not_found"),)]
    >>> print(question(Field("eps", "number", "basic"), options))
    Several readers looked for the same thing and do not agree.
    Wanted: eps (basic)
    A: 1.2, read from "EPS 1.20"
    B: It is not given.
    Which answer is right? Reply with its letter alone.
    """
    about = ", ".join(part for part in (field.description, field.unit) if part)
    return "\n".join(
        (
            "Several readers looked for the same thing and do not agree.",
            f"Wanted: {field.name}{f' ({about})' if about else ''}",
            *(f"{letter}: {_option(of)}" for letter, of in zip(_LETTERS, options, strict=False)),
            "Which answer is right? Reply with its letter alone.",
        )
    )


def _option(of: Group) -> str:
    if of[0].value is None:
        return "It is not given."
    quotes = _quotes(of)
    return f"{shown(of[0].value)}, read from {listed(quotes)}" if quotes else shown(of[0].value)


def _quotes(of: Group) -> list[str]:
    """A value's quotes, each once: those that are in their document, or else those that were claimed."""
    located = [one for one in of if one.grounded]
    quotes = dict.fromkeys(" ".join(one.quote.split()) for one in located or of if one.quote)
    kept = [f'"{one}"' for one in quotes][:_MOST_QUOTES]
    return kept if located else [f"{one} (which is not in the text)" for one in kept]


async def _both_orders(field: Field, options: Sequence[Group], judge: LLM) -> tuple[_Answer, _Answer]:
    able = await judge.load_async()
    if able.score:
        ask = _scored
    elif able.choices or able.schema:
        ask = _chosen if able.choices else _filled_in
    else:
        raise UnsupportedError("its engine neither scores texts nor keeps to choices")
    forwards, backwards = await asyncio.gather(
        ask(judge, question(field, options), list(_LETTERS[: len(options)])),
        ask(judge, question(field, options[::-1]), list(_LETTERS[: len(options)])),
    )
    return forwards, _Answer(backwards.logprobs[::-1], backwards.scored)


async def _scored(judge: LLM, prompt: str, letters: list[str]) -> _Answer:
    """Each letter's logprob among the letters."""
    scores = await judge.score_async(prompt, letters)
    highest = max(one.total for one in scores)
    whole = highest + math.log(math.fsum(math.exp(one.total - highest) for one in scores))
    return _Answer([one.total - whole for one in scores], scored=True)


async def _chosen(judge: LLM, prompt: str, letters: list[str]) -> _Answer:
    """The letter that is written, as the only one that is likely at all."""
    result = await judge.generate_async(prompt, choices=letters, temperature=0, max_new_tokens=8)
    return _written(result.text, letters)


async def _filled_in(judge: LLM, prompt: str, letters: list[str]) -> _Answer:
    """The same for a server that keeps to schemas alone."""
    form = {
        "type": "object",
        "properties": {"letter": {"type": "string", "enum": letters}},
        "required": ["letter"],
        "additionalProperties": False,
    }
    result = await judge.generate_async(prompt, schema=form, temperature=0, max_new_tokens=32)
    try:
        written = json.loads(result.text)["letter"]
    except (ValueError, TypeError, KeyError):  # cut short: no letter, and so no preference
        written = ""
    return _written(str(written), letters)


def _written(text: str, letters: Sequence[str]) -> _Answer:
    return _Answer([0.0 if one == text.strip() else _NO_LOGPROB for one in letters], scored=False)


def _preferred(logprobs: Sequence[float]) -> int | None:
    """The option with the highest logprob; None where two share it, or none has any."""
    best = max(logprobs)
    if best == _NO_LOGPROB or logprobs.count(best) > 1:
        return None
    return logprobs.index(best)


def _how(forwards: _Answer, backwards: _Answer, chosen: int) -> str:
    if not forwards.scored:
        return "by the letter that it wrote, as its engine gives no scores"
    mean = (forwards.logprobs[chosen] + backwards.logprobs[chosen]) / 2
    return f"with a mean logprob of {mean:.3f} among them"
