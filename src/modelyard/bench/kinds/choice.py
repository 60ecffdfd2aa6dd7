"""Choice: the likeliest of a few continuations, by loglikelihood. The prompt is read once for all of them."""

from __future__ import annotations

import time
from typing import Any

from modelyard.bench.kinds.prompted import PROMPTED, PromptedTask
from modelyard.bench.outcome import Judgement
from modelyard.bench.task import Asked, Sample, as_text
from modelyard.extraction.taskfile import DataRow, TaskFile
from modelyard.llm import LLM
from modelyard.types import Score

_KEYS = PROMPTED | {"choices", "normalize"}
_NORMALIZE = ("none", "length")
_ABOUT = (
    "Accuracy: the share of questions where the right choice has the highest loglikelihood after the prompt"
)


class ChoiceTask(PromptedTask):
    """One of a few choices; the model's answer is the one that it finds likeliest.

    `choices` are texts, or the name of the column that lists them; `answer` is the column with the right one,
    as text or as its place from 0. With `normalize: length` each total is divided by the characters of its
    choice, for choices of different lengths (as `acc_norm` of the field's harnesses does).
    """

    kind = "choice"
    work = "score"

    def __init__(self, file: TaskFile) -> None:
        file.only(_KEYS)
        self._column = file.values["choices"] if isinstance(file.values.get("choices"), str) else None
        self._choices = () if self._column else file.texts("choices")
        if not self._column and len(self._choices) < 2:
            raise file.error("'choices' are fewer than two", "choices", hint="List them, or name a column.")
        self._normalize = file.text("normalize") or "none"
        if self._normalize not in _NORMALIZE:
            raise file.error(
                f"key 'normalize' has value '{self._normalize}'", "normalize", hint="It is none or length."
            )
        by = " a character" if self._normalize == "length" else ""
        super().__init__(file, about=f"{_ABOUT}{by}.")

    def _given(self) -> frozenset[str]:
        return frozenset(("choices",))

    def _values(self, row: Any) -> dict[str, Any]:
        return {**row, "choices": list(self._of(row))}

    def _of(self, row: Any) -> tuple[str, ...]:
        if not self._column:
            return self._choices
        found = row.get(self._column)
        return tuple(found) if isinstance(found, list) else ()

    def expected(self, row: DataRow, value: Any) -> str:
        choices = self._of(row.values)
        if len(choices) < 2 or not all(isinstance(one, str) and one for one in choices):
            raise self.file.row_error(row, f"choices are {choices!r:.80}", hint="They are two texts or more.")
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(choices):
            return choices[value]
        if value in choices:
            return str(value)
        raise self.file.row_error(
            row, f"the answer is {value!r:.80}", hint=f"It is one of {', '.join(choices)}."
        )

    async def ask(self, llm: LLM, sample: Sample, *, seed: int | None = None, exact: bool = False) -> Asked:
        prompt, choices = self.prompt(sample), sample.values["choices"]
        began = time.perf_counter()
        # A space joins them where the prompt ends in a word, as it would in a text.
        gap = " " if self._raw and not prompt[-1:].isspace() else ""
        scores = await llm.score_async(prompt, [gap + one for one in choices], raw=self._raw, exact=exact)
        totals = [self._total(one, choice) for one, choice in zip(scores, choices, strict=True)]
        best = max(range(len(totals)), key=totals.__getitem__)
        return Asked(
            prompt=as_text(prompt),
            answer=choices[best],
            tokens=tuple(zip(choices, totals, strict=True)),
            seconds=time.perf_counter() - began,
            completion_tokens=sum(len(one.token_ids) for one in scores),
        )

    def _total(self, score: Score, choice: str) -> float:
        return score.total / len(choice) if self._normalize == "length" else score.total

    def judge(self, sample: Sample, asked: Asked) -> Judgement:
        right = asked.answer == sample.expected
        ranked = sorted((total or 0.0 for _, total in asked.tokens), reverse=True)
        reason = f"ahead of the next choice by {ranked[0] - ranked[1]:.3f} nats"
        return Judgement("right" if right else "wrong", float(right), asked.answer, reason)
