"""Panel: the voters of a run, put to one document after another; every answer kept as it comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.errors import ModelyardError
from modelyard.extraction.asking.keep import Answer, Known
from modelyard.extraction.asking.questions import Asked, Question
from modelyard.extraction.asking.voters import Voter
from modelyard.extraction.result import Candidate
from modelyard.extraction.schema import Field
from modelyard.llm import LLM
from modelyard.types import Fingerprint, Message

_DRAFT = "First say freely, in a few sentences, what the document gives for each field and on which line."
_NOW = "Now give it as JSON."


@dataclass(frozen=True, slots=True)
class Reply:
    """What one voter said about one document.

    Attributes:
        question: what it was asked; None where there was nothing to ask.
        answer: None where it failed, and then `error` says why.
        candidates: by field.
    """

    voter: Voter
    question: Question | None
    answer: Answer | None
    candidates: Mapping[str, Candidate]
    error: ModelyardError | None = None


class Panel:
    """Voters and the models behind them.

    Args:
        voters: in the order in which they are listed.
        models: for each name of another model, and under the empty name the run's own.
        answers: where answers are kept and looked up; None asks everything anew and keeps nothing.
        together: requests in flight at once.
    """

    def __init__(
        self, voters: Sequence[Voter], models: Mapping[str, LLM], answers: Known | None, together: int
    ) -> None:
        self.voters = tuple(voters)
        self._models = models
        self._answers = answers
        self._gate = asyncio.Semaphore(together)

    async def ask(self, asked: Asked, voters: Sequence[Voter]) -> list[Reply]:
        """What these voters say about one document; what goes wrong with one of them is in its reply."""
        return list(await asyncio.gather(*(self._one(asked, voter) for voter in voters)))

    async def _one(self, asked: Asked, voter: Voter) -> Reply:
        llm = self._models[voter.model]
        question: Question | None = None
        try:
            # Questions are made inside of the gate: a thousand documents at once would all lie in memory.
            async with self._gate:
                question = await asked.question(voter, llm)
                if question is None:
                    return Reply(voter, None, None, _silent(asked, voter))
                answer = await self._answer(question, llm)
        except ModelyardError as error:
            return Reply(voter, question, None, _failed(asked, voter, str(error)), error)
        candidates = await asyncio.to_thread(asked.candidates, question, answer.text, answer.tokens)
        return Reply(voter, question, answer, candidates)

    async def _answer(self, question: Question, llm: LLM) -> Answer:
        fingerprint = await llm.fingerprint_async()
        key = question.key(fingerprint)
        if self._answers is not None and (kept := self._answers.get(key)) is not None:
            return kept
        answer = await self._asked(question, llm, fingerprint)
        if self._answers is not None:
            self._answers.keep(key, answer)
        return answer

    async def _asked(self, question: Question, llm: LLM, fingerprint: Fingerprint) -> Answer:
        began = time.monotonic()
        how: dict[str, Any] = {"temperature": question.voter.temperature, "max_tokens": question.max_tokens}
        if question.voter.seed is not None:
            how["seed"] = question.voter.seed
        messages, drafted = question.messages, None
        if question.draft:
            freely = Message("user", f"{messages[-1].text}\n\n{_DRAFT}")
            drafted = await llm.generate_async((*messages[:-1], freely), **how)
            messages = (*messages[:-1], freely, Message("assistant", drafted.text), Message("user", _NOW))
        result = await llm.generate_async(messages, schema=question.schema, **how)
        read = drafted.usage if drafted else None
        return Answer(
            text=result.text,
            tokens=result.tokens,
            finish=result.finish_reason,
            prompt_tokens=result.usage.prompt_tokens + (read.prompt_tokens if read else 0),
            completion_tokens=result.usage.completion_tokens + (read.completion_tokens if read else 0),
            warnings=tuple(dict.fromkeys(one.message for one in result.warnings)),
            seconds=time.monotonic() - began,
        )


def _silent(asked: Asked, voter: Voter) -> dict[str, Candidate]:
    """Where no line speaks of a field there is nothing to pick from, and the document may not be able to hold it."""
    found = {}
    for field in asked.scalars:
        found[field.name] = Candidate(voter.name, asked.document.name, None, "not_found", abstains=True)
    return found


def _failed(asked: Asked, voter: Voter, why: str) -> dict[str, Candidate]:
    fields: tuple[Field, ...] = asked.scalars if voter.reads == "evidence" else asked.task.schema.fields
    said = (why.replace("\n", " "),)
    return {
        one.name: Candidate(voter.name, asked.document.name, None, "failed", problems=said) for one in fields
    }
