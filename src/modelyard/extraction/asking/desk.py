"""Desk: where documents are read and their voters asked. Here by default; it may be on other machines."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from modelyard.errors import DocumentError, ModelyardError
from modelyard.extraction.asking.keep import Known
from modelyard.extraction.asking.panel import Panel, Reply
from modelyard.extraction.asking.questions import Asked
from modelyard.extraction.asking.voters import Mode, Voter
from modelyard.extraction.documents import Document, read_document
from modelyard.extraction.merging.merge import merge_async
from modelyard.extraction.merging.rules import MergeRules
from modelyard.extraction.result import Candidate, DocumentResult, FieldResult, VoterReply
from modelyard.extraction.schema import ExtractionSchema
from modelyard.extraction.task import Task
from modelyard.llm import LLM
from modelyard.types import Fingerprint

if TYPE_CHECKING:
    from modelyard.extraction.calibration import Calibration

Source = Document | Path | str
Progress = Callable[[DocumentResult], None]


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked for, and how answers come together."""

    task: Task
    mode: Mode
    rules: MergeRules
    judge: LLM | None
    calibration: Calibration | None
    most: int

    async def merged(self, candidates: Mapping[str, Sequence[Candidate]]) -> dict[str, FieldResult]:
        """The value of each field."""
        found: dict[str, FieldResult] = {}
        for one in self.task.schema.fields:
            votes = list(candidates.get(one.name, ()))
            if self.calibration is not None:
                votes = self.calibration.weigh(votes)
            found[one.name] = await merge_async(one, votes, self.rules, self.judge)
        if self.calibration is not None:
            return self.calibration.apply(found, self.task.schema.fields)
        return found


@dataclass(frozen=True, slots=True)
class Work:
    """What a desk is given, the documents apart: it can be pickled, and its models load where they arrive.

    Attributes:
        asking: what is asked for, and how answers come together.
        voters: who is asked.
        models: for each name of another model, and under the empty name the run's own.
        together: requests in flight at once.
    """

    asking: Asking
    voters: tuple[Voter, ...]
    models: Mapping[str, LLM]
    together: int


class Desk(Protocol):
    """Where documents are read and their voters asked."""

    async def documents(
        self,
        work: Work,
        named: Sequence[tuple[Source, str]],
        answers: Known | None,
        on_result: Progress | None,
    ) -> tuple[list[DocumentResult], Fingerprint]:
        """The result of each document, in order, and which model has answered.

        Args:
            work: what to do.
            named: documents with the name that each goes by; its own where that is empty.
            answers: where answers are kept and looked up.
            on_result: told of each result as it comes.

        Raises:
            ModelyardError: what is wrong with the model, once, and not as the failure of every document.
        """


class Here:
    """This process."""

    async def documents(
        self,
        work: Work,
        named: Sequence[tuple[Source, str]],
        answers: Known | None,
        on_result: Progress | None,
    ) -> tuple[list[DocumentResult], Fingerprint]:
        llm = work.models[""]
        await llm.load_async()
        panel = Panel(work.voters, work.models, answers, work.together)
        results = await _Run(work.asking, panel, work.together, on_result).documents(named)
        return results, await llm.fingerprint_async()


@dataclass(slots=True)
class _Open:
    """A document whose voters have not all been asked."""

    asked: Asked
    replies: list[Reply] = field(default_factory=list)
    seconds: float = 0.0


class _Run:
    """All documents, as many at once as allowed; several models one after another, so that none is thrown out."""

    def __init__(self, how: Asking, panel: Panel, together: int, on_result: Progress | None) -> None:
        self._how = how
        self._panel = panel
        self._gate = asyncio.Semaphore(together)
        self._on_result = on_result

    async def documents(self, named: Sequence[tuple[Source, str]]) -> list[DocumentResult]:
        models = list(dict.fromkeys(one.model for one in self._panel.voters))
        opened: list[_Open | DocumentResult | None] = [None] * len(named)
        for at, model in enumerate(models):
            last = at == len(models) - 1
            steps = (self._step(opened, place, given, model, last) for place, given in enumerate(named))
            await asyncio.gather(*steps)
        return [one for one in opened if isinstance(one, DocumentResult)]

    async def _step(
        self,
        opened: list[_Open | DocumentResult | None],
        place: int,
        given: tuple[Source, str],
        model: str,
        last: bool,
    ) -> None:
        async with self._gate:
            began = time.monotonic()
            state = opened[place] or await self._open(*given)
            if isinstance(state, _Open):
                voters = [one for one in self._panel.voters if one.model == model]
                state.replies += await self._panel.ask(state.asked, voters)
                state.seconds += time.monotonic() - began
                if last:
                    state = await self._closed(state)
            opened[place] = state
        if last and isinstance(state, DocumentResult) and self._on_result:
            self._on_result(state)

    async def _open(self, source: Source, name: str) -> _Open | DocumentResult:
        began = time.monotonic()
        try:
            document = source if isinstance(source, Document) else await _read(source, name)
        except DocumentError as error:
            return failed(str(source), "", self._how.task.schema, error, time.monotonic() - began)
        try:
            asked = Asked(document, self._how.task, self._how.mode, self._how.most)
            await asyncio.to_thread(asked.prepare)
            return _Open(asked)
        except DocumentError as error:
            seconds = time.monotonic() - began
            return failed(document.name, document.text, self._how.task.schema, error, seconds)

    async def _closed(self, state: _Open) -> DocumentResult:
        document, schema = state.asked.document, self._how.task.schema
        errors = [one.error for one in state.replies if one.error is not None]
        if errors and not any(one.answer for one in state.replies):
            return failed(document.name, document.text, schema, errors[0], state.seconds)
        by_field: dict[str, list[Candidate]] = {}
        for reply in state.replies:
            for name, candidate in reply.candidates.items():
                by_field.setdefault(name, []).append(candidate)
        fields = await self._how.merged(by_field)
        ranges = _united([one for reply in state.replies if reply.question for one in reply.question.ranges])
        return DocumentResult(
            document.name, _sha256(document.text), fields, _warnings(document, state.replies, fields),
            state.seconds, document.text, read=ranges, replies=tuple(_said(state.replies)),
        )  # fmt: skip


async def _read(source: Path | str, name: str) -> Document:
    document = await asyncio.to_thread(read_document, Path(source))
    return replace(document, name=name) if name else document


def _said(replies: Iterable[Reply]) -> Iterable[VoterReply]:
    for one in replies:
        if one.answer is not None and one.question is not None:
            answer = one.answer
            yield VoterReply(
                one.voter.name, one.question.prompt, answer.text, answer.tokens, answer.finish,
                answer.prompt_tokens, answer.completion_tokens, answer.seconds, answer.kept,
            )  # fmt: skip


def _warnings(
    document: Document, replies: Sequence[Reply], fields: Mapping[str, FieldResult]
) -> tuple[str, ...]:
    """What went otherwise than asked: of the document, of each voter, of each value that came out."""
    several = len(replies) > 1
    found = list(document.warnings)
    for reply in replies:
        who = f"{reply.voter.name}: " if several else ""
        if reply.error is not None:
            found.append(f"{who}{str(reply.error).replace(chr(10), ' ')}")
        found += reply.question.warnings if reply.question else ()
        if reply.answer is not None:
            found += [f"{who}{one}" for one in reply.answer.warnings]
            if reply.answer.finish != "stop":
                found.append(f"{who}the reply was cut after {reply.answer.completion_tokens} tokens")
    whole = {problem for reply in replies for problem in _of_whole_reply(reply)}
    found += sorted(whole)
    for name, result in fields.items():
        for candidate in result.candidates:
            if result.value is None or candidate.value == result.value:
                found += [f"{name}: {one}" for one in candidate.problems if one not in whole]
    return tuple(dict.fromkeys(found))


def _of_whole_reply(reply: Reply) -> set[str]:
    """Problems that all of a reply's fields have, which are said once."""
    problems = [
        set(one.problems) for one in reply.candidates.values() if one.status in ("unreadable", "failed")
    ]
    if reply.error is not None:
        return set().union(*problems) if problems else set()
    return (
        {one for one in set().union(*problems) if one == "the reply is no JSON object"} if problems else set()
    )


def _united(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The same characters as ranges that do not touch."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return tuple(found)


def failed(
    name: str, text: str, schema: ExtractionSchema, error: ModelyardError, seconds: float
) -> DocumentResult:
    fields = {one.name: FieldResult(None, None, None, None, "failed") for one in schema.fields}
    said = str(error).replace("\n", " ")
    return DocumentResult(name, _sha256(text), fields, (), seconds, text, error=said, failure=error)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
