"""Outcomes: the six ends that a sample can have, never thrown together, and the row that keeps one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Outcome = Literal["right", "wrong", "not answered", "unreadable", "cut short", "failed"]
"""`right` and `wrong`: an answer was read and compared. `not answered`: the model says that there is none, or
says nothing, where there is one. `unreadable`: an answer of which no value can be read. `cut short`: it ran
into its limit of tokens before it could be read. `failed`: no answer, but an error."""

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


@dataclass(slots=True, frozen=True)
class Judgement:
    """An answer compared with its label.

    Attributes:
        outcome: what became of the sample.
        score: 0 to 1; what the task's own figure is the mean of.
        found: the value that was read; None where there is none.
        reason: why, in words.
        parts: of an answer with several fields, each field's outcome.
    """

    outcome: Outcome
    score: float
    found: Any = None
    reason: str = ""
    parts: Mapping[str, Outcome] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class Row:
    """One sample as one model answered it: what the store keeps.

    Attributes:
        sample: its name in the task.
        repeat: which of several askings, from 0.
        document: what it was drawn from; samples of one document are not independent.
        prompt: what the model was given, as text.
        answer: what it wrote, or the choice that it found likeliest.
        expected: the label.
        tokens: of the answer, each with its logprob; for a choice each choice with its total.
        seconds: from asking to answer, with others in flight.
        warnings: what did not go as asked.
    """

    sample: str
    repeat: int
    document: str
    judgement: Judgement
    prompt: str
    answer: str
    expected: Any
    tokens: tuple[tuple[str, float | None], ...]
    seconds: float
    prompt_tokens: int
    completion_tokens: int
    warnings: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """What became of the sample."""
        return self.judgement.outcome

    @property
    def score(self) -> float:
        """0 to 1."""
        return self.judgement.score
