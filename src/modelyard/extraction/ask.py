"""Extraction: voters asked about each document, their answers merged, every value with its quote located."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from modelyard import portal
from modelyard.create import create_llm
from modelyard.errors import InvalidArgumentError, nearest
from modelyard.extraction.asking.desk import Asking, Desk, Here, Progress, Source, Work
from modelyard.extraction.asking.keep import Answers
from modelyard.extraction.asking.voters import PASSAGES, Mode, Voter, check_mode, read_voters
from modelyard.extraction.documents import Document
from modelyard.extraction.locate import locate_documents as locate_documents
from modelyard.extraction.merging.rules import ALL_FIELDS, MergeRules
from modelyard.extraction.result import Candidate, DocumentResult, Extraction, Record
from modelyard.extraction.schema import ExtractionSchema, read_schema
from modelyard.extraction.task import Task, load_task, task_of
from modelyard.llm import LLM

if TYPE_CHECKING:
    from modelyard.extraction.calibration import Calibration

PASSAGE_TOKENS = 1500
"""Tokens of a document that a voter reads at most, unless told otherwise: a small model reads more for long and
not better."""
VOTERS = 3

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
    desk: Desk | None = None,
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
        desk: where the documents are read; in this process by default.

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
    how = Asking(
        wanted, check_mode(mode), rules or wanted.rules, _judge(judge, llm, find), fitted, max_tokens_read
    )
    named = list(zip(given, _names(given), strict=True))
    async with _answers(store) as answers:
        work = Work(how, who, models, together)
        results, fingerprint = await (desk or Here()).documents(work, named, answers, on_result)
    records = await _records(given, results, cases, how)
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
    how = Asking(task, "constrained", task.rules, llm, None, max_tokens_read)
    work = Work(how, tuple(voters), {"": llm}, together)
    (result,), _ = await Here().documents(work, [(source, "")], None, None)
    return result


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
    sources: Sequence[Source], results: Sequence[DocumentResult], cases: Cases, how: Asking
) -> tuple[Record, ...]:
    """The documents of each case, merged; none where each document is a case of its own."""
    if cases == "each":
        return ()
    of: dict[str, list[DocumentResult]] = {}
    for source, result in zip(sources, results, strict=True):
        folder = "" if isinstance(source, Document) else Path(source).parent.name
        of.setdefault(folder if cases == "folder" else "all", []).append(result)
    return tuple([await _record(name, members, how) for name, members in of.items()])


async def _record(name: str, members: Sequence[DocumentResult], how: Asking) -> Record:
    found: dict[str, list[Candidate]] = {}
    for one in members:
        for field_name, result in one.fields.items():
            found.setdefault(field_name, []).extend(result.candidates)
    return Record(name, tuple(one.document for one in members), await how.merged(found))
