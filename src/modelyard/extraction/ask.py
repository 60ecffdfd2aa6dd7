"""Extraction: voters asked about each document, their answers merged, every value with its quote located."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from modelyard import portal
from modelyard.create import create_llm
from modelyard.errors import DocumentError, InvalidArgumentError, ModelyardError, nearest
from modelyard.extraction.asking.keep import Answers
from modelyard.extraction.asking.panel import Panel, Reply
from modelyard.extraction.asking.questions import Asked
from modelyard.extraction.asking.voters import PASSAGES, Mode, Voter, check_mode, read_voters
from modelyard.extraction.documents import Document, read_document
from modelyard.extraction.locate import locate_documents as locate_documents
from modelyard.extraction.merging.merge import merge_async
from modelyard.extraction.merging.rules import ALL_FIELDS, MergeRules
from modelyard.extraction.result import Candidate, DocumentResult, Extraction, FieldResult, Record, VoterReply
from modelyard.extraction.schema import ExtractionSchema, read_schema
from modelyard.extraction.task import Task, load_task, task_of
from modelyard.llm import LLM

if TYPE_CHECKING:
    from modelyard.extraction.calibration import Calibration

PASSAGE_TOKENS = 1500
"""Tokens of a document that a voter reads at most, unless told otherwise: a small model reads more for long and
not better."""
VOTERS = 3

Source = Document | Path | str
Progress = Callable[[DocumentResult], None]
Cases = Literal["each", "all", "folder"]
"""Which documents are about the same thing, and are merged: each is a case of its own, all are one, or those of
one folder."""


async def extract_async(
    sources: Source | Iterable[Source],
    *,
    model: LLM | str,
    task: Task | str | Path | None = None,
    schema: Any = None,
    parameters: Mapping[str, str] | None = None,
    voters: int | str | Sequence[str | Voter] = VOTERS,
    mode: Mode = "constrained",
    rules: MergeRules | None = None,
    judge: LLM | str | bool = True,
    cases: Cases = "each",
    calibration: Calibration | Path | str | None = None,
    store: Path | str | None = None,
    max_tokens_read: int = PASSAGE_TOKENS,
    together: int = 8,
    on_result: Progress | None = None,
    find: Callable[[str], LLM] = create_llm,
) -> Extraction:
    """Extracts the fields of a task or schema from documents.

    Args:
        sources: paths of text, Markdown, HTML, PDF or DOCX files, or documents read before.
        model: an LLM, or its name.
        task: a task, a shipped task's name, or the path of a task file.
        schema: in place of a task: JSON Schema, the path of a schema file, or a pydantic class.
        parameters: what the task needs to be told, where it needs something.
        voters: how many, or which: see `read_voters`.
        mode: how the replies are held: see `Mode`.
        rules: how a conflict is settled; the task's own by default.
        judge: the model that settles what rules leave open, from the candidates' quotes alone; True is the
            first model, False none.
        cases: which documents are about the same thing.
        calibration: what `modelyard calibrate` has fitted, or the path of it: the voters' weights, the confidence,
            and from which on a value is accepted. The formula of `merging.confidence` without one.
        store: a file in which every answer is kept at once, and looked up before anything is asked.
        max_tokens_read: of a longer document, the passages that hold the fields' terms are read; the result
            says how much was left out.
        together: requests in flight at once.
        on_result: called with each document's result as it comes.
        find: makes an LLM of a name.

    Raises:
        InvalidArgumentError, SchemaError: the task, schema, voters or rules; a document that cannot be read is
            no error here but a result whose fields have the status `failed`.
    """
    wanted = resolve_task(task, schema).bind(parameters or {})
    for name, value, least in (("max_tokens_read", max_tokens_read, 64), ("together", together, 1)):
        if value < least:
            raise InvalidArgumentError(f"{name} is {value}", hint=f"It has to be {least} or more.")
    if cases not in get_args(Cases):
        raise InvalidArgumentError(
            f"cases is {cases!r:.40}.{nearest(str(cases), get_args(Cases))}",
            hint="It is each, all or folder.",
        )
    who = read_voters(voters)
    _check_rules(rules or wanted.rules, wanted.schema)
    llm = find(model) if isinstance(model, str) else model
    given = [sources] if isinstance(sources, str | Path | Document) else list(sources)
    if not given:
        raise InvalidArgumentError("there are no documents", hint="Give at least one path.")
    fitted = _calibration(calibration, who)
    models = {"": llm} | {one.model: find(one.model) for one in who if one.model}
    how = _How(
        wanted, check_mode(mode), rules or wanted.rules, _judge(judge, llm, find), fitted, max_tokens_read
    )
    # What is wrong with the model ends the run here, once, and not as the failure of every document.
    await llm.load_async()
    async with _answers(store) as answers:
        run = _Run(how, Panel(who, models, answers, together), together, on_result)
        results = await run.documents(given)
    records = await _records(given, results, cases, how)
    fingerprint = await llm.fingerprint_async()
    names = tuple(one.name for one in who)
    return Extraction(wanted.name, tuple(results), fingerprint, wanted.schema, records, names)


def extract(sources: Source | Iterable[Source], **how: Any) -> Extraction:
    """`extract_async`, waited for; the same arguments."""
    return portal.run(extract_async(sources, **how))


def resolve_task(task: Task | str | Path | None, schema: Any) -> Task:
    """The task that is meant: one of the two has to be given.

    Raises:
        InvalidArgumentError, SchemaError: neither or both, no such task, or a mistake in it.
    """
    if (task is None) == (schema is None):
        raise InvalidArgumentError("give either a task or a schema", hint="--task NAME, or --schema FILE.")
    if schema is not None:
        return task_of(read_schema(schema))
    return task if isinstance(task, Task) else load_task(task or "")


async def extract_one(
    source: Source,
    task: Task,
    llm: LLM,
    max_tokens_read: int = PASSAGE_TOKENS,
    *,
    voters: Sequence[Voter] = (PASSAGES,),
    together: int = VOTERS,
) -> DocumentResult:
    """One document by the voters of one model; what goes wrong with it is in the result, as its `error`."""
    how = _How(task, "constrained", task.rules, llm, None, max_tokens_read)
    (result,) = await _Run(how, Panel(voters, {"": llm}, None, together), 1, None).documents([source])
    return result


@dataclass(frozen=True, slots=True)
class _How:
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


@dataclass(slots=True)
class _Open:
    """A document whose voters have not all been asked."""

    asked: Asked
    replies: list[Reply] = field(default_factory=list)
    seconds: float = 0.0


class _Run:
    """All documents, as many at once as allowed; several models one after another, so that none is thrown out."""

    def __init__(self, how: _How, panel: Panel, together: int, on_result: Progress | None) -> None:
        self._how = how
        self._panel = panel
        self._gate = asyncio.Semaphore(together)
        self._on_result = on_result

    async def documents(self, sources: Sequence[Source]) -> list[DocumentResult]:
        models = list(dict.fromkeys(one.model for one in self._panel.voters))
        opened: list[_Open | DocumentResult | None] = [None] * len(sources)
        named = list(zip(sources, _names(sources), strict=True))
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
            return _failed(str(source), "", self._how.task.schema, error, time.monotonic() - began)
        try:
            asked = Asked(document, self._how.task, self._how.mode, self._how.most)
            await asyncio.to_thread(asked.prepare)
            return _Open(asked)
        except DocumentError as error:
            seconds = time.monotonic() - began
            return _failed(document.name, document.text, self._how.task.schema, error, seconds)

    async def _closed(self, state: _Open) -> DocumentResult:
        document, schema = state.asked.document, self._how.task.schema
        errors = [one.error for one in state.replies if one.error is not None]
        if errors and not any(one.answer for one in state.replies):
            return _failed(document.name, document.text, schema, errors[0], state.seconds)
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


def _calibration(given: Calibration | Path | str | None, voters: Sequence[Voter]) -> Calibration | None:
    """The calibration, refused where it does not know the voters, before any of them is asked."""
    if given is None:
        return None
    from modelyard.extraction.calibration import Calibration

    found = Calibration.load(Path(given)) if isinstance(given, str | Path) else given
    for one in voters:
        if one.name not in found.weights:
            raise InvalidArgumentError(
                f"the calibration was fitted for the voters {', '.join(found.weights)}, and not for '{one.name}'",
                hint="Ask the same voters (--voters), or run `modelyard calibrate` on a result of these.",
            )
    return found


def _check_rules(rules: MergeRules, schema: ExtractionSchema) -> None:
    """Refuses a priority list of a field that is not asked for: it would do nothing, in silence."""
    names = [one.name for one in schema.fields]
    for name in rules.priority:
        if name not in (ALL_FIELDS, *names):
            raise InvalidArgumentError(
                f"priority names the field '{name:.60}', which is none of '{schema.name}'.{nearest(name, names)}",
                hint=f"Fields: {', '.join(names)}; '*' is all of them.",
            )


async def _read(source: Path | str, name: str) -> Document:
    document = await asyncio.to_thread(read_document, Path(source))
    return replace(document, name=name) if name else document


def _names(sources: Sequence[Source]) -> list[str]:
    """For paths that share their last part with others the part that tells them apart; else nothing.

    >>> _names([Path("a/10q.htm"), Path("b/10q.htm"), Path("c.htm")])
    ['a/10q.htm', 'b/10q.htm', '']
    """
    paths = [None if isinstance(one, Document) else Path(one) for one in sources]
    count = Counter(path.name for path in paths if path is not None)
    again = [path for path in paths if path is not None and count[path.name] > 1]
    above = Path(os.path.commonpath([path.absolute().parent for path in again])) if again else Path()
    return [
        path.absolute().relative_to(above).as_posix() if path is not None and count[path.name] > 1 else ""
        for path in paths
    ]


def _judge(given: LLM | str | bool, first: LLM, find: Callable[[str], LLM]) -> LLM | None:
    if isinstance(given, bool):
        return first if given else None
    return find(given) if isinstance(given, str) else given


@asynccontextmanager
async def _answers(store: Path | str | None) -> AsyncIterator[Answers | None]:
    if store is None:
        yield None
        return
    with Answers(Path(store)) as answers:
        yield answers


async def _records(
    sources: Sequence[Source], results: Sequence[DocumentResult], cases: Cases, how: _How
) -> tuple[Record, ...]:
    """The documents of each case, merged; none where each document is a case of its own."""
    if cases == "each":
        return ()
    of: dict[str, list[DocumentResult]] = {}
    for source, result in zip(sources, results, strict=True):
        folder = "" if isinstance(source, Document) else Path(source).parent.name
        of.setdefault(folder if cases == "folder" else "all", []).append(result)
    return tuple([await _record(name, members, how) for name, members in of.items()])


async def _record(name: str, members: Sequence[DocumentResult], how: _How) -> Record:
    found: dict[str, list[Candidate]] = {}
    for one in members:
        for field_name, result in one.fields.items():
            found.setdefault(field_name, []).extend(result.candidates)
    return Record(name, tuple(one.document for one in members), await how.merged(found))


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


def _failed(
    name: str, text: str, schema: ExtractionSchema, error: ModelyardError, seconds: float
) -> DocumentResult:
    fields = {one.name: FieldResult(None, None, None, None, "failed") for one in schema.fields}
    said = str(error).replace("\n", " ")
    return DocumentResult(name, _sha256(text), fields, (), seconds, text, error=said, failure=error)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
