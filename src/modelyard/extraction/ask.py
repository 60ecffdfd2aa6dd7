"""Extraction: one call a document, compact JSON out, every value with its quote located in the text."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelyard import portal
from modelyard.create import create_llm
from modelyard.errors import DocumentError, InvalidArgumentError, ModelyardError
from modelyard.extraction.context import ground_by_label, is_bare
from modelyard.extraction.documents import Document, read_document
from modelyard.extraction.ground import GroundingIndex, Span, ground
from modelyard.extraction.passages import Passages, select_passages
from modelyard.extraction.prompt import build_messages
from modelyard.extraction.result import DocumentResult, Extraction, FieldResult, Status
from modelyard.extraction.schema import ExtractionSchema, Field, answer_schema, coerce, read_schema
from modelyard.extraction.task import Task, load_task, task_of
from modelyard.llm import LLM
from modelyard.types import Result

PASSAGE_TOKENS = 3000
"""Tokens of a document that are read at most, unless told otherwise: a small model reads more for long and
not better."""
_ANSWER_TOKENS = 160  # a field: its quote of up to 300 characters and its value
_PROBE = 4000  # characters on which the characters a token are measured
_READABLE = frozenset((".txt", ".md", ".html", ".htm", ".pdf"))


Source = Document | Path | str
Progress = Callable[[DocumentResult], None]


async def extract_async(
    sources: Source | Iterable[Source],
    *,
    model: LLM | str,
    task: Task | str | Path | None = None,
    schema: Any = None,
    parameters: Mapping[str, str] | None = None,
    max_tokens_read: int = PASSAGE_TOKENS,
    together: int = 8,
    on_result: Progress | None = None,
) -> Extraction:
    """Extracts the fields of a task or schema from documents.

    Args:
        sources: paths of text, HTML or PDF files, or documents read before.
        model: an LLM, or its name.
        task: a task, a shipped task's name, or the path of a task file.
        schema: in place of a task: JSON Schema, the path of a schema file, or a pydantic class.
        parameters: what the task needs to be told, where it needs something.
        max_tokens_read: of a longer document, the passages that hold the fields' terms are read; the result
            says how much was left out.
        together: documents in flight at once.
        on_result: called with each document's result as it comes.

    Raises:
        InvalidArgumentError, SchemaError: the task or schema; a document that cannot be read is no error
            here but a result with the status `failed`.
    """
    found = resolve_task(task, schema).bind(parameters or {})
    for name, value, least in (("max_tokens_read", max_tokens_read, 64), ("together", together, 1)):
        if value < least:
            raise InvalidArgumentError(f"{name} is {value}", hint=f"It has to be {least} or more.")
    llm = create_llm(model) if isinstance(model, str) else model
    given = [sources] if isinstance(sources, str | Path | Document) else list(sources)
    if not given:
        raise InvalidArgumentError("there are no documents", hint="Give at least one path.")
    # What is wrong with the model ends the run here, once, and not as the failure of every document.
    await llm.load_async()
    gate = asyncio.Semaphore(together)

    async def one(source: Source) -> DocumentResult:
        async with gate:
            result = await extract_one(source, found, llm, max_tokens_read)
        if on_result:
            on_result(result)
        return result

    results = await asyncio.gather(*(one(source) for source in given))
    return Extraction(found.name, tuple(results), await llm.fingerprint_async())


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
    source: Source, task: Task, llm: LLM, max_tokens_read: int = PASSAGE_TOKENS
) -> DocumentResult:
    """One document; what goes wrong with it is in the result, as its `error`."""
    began = time.monotonic()
    try:
        document = (
            source if isinstance(source, Document) else await asyncio.to_thread(read_document, Path(source))
        )
    except DocumentError as error:
        return _failed(str(source), "", task.schema, error, began)
    try:
        passages, counted = await _passages(document, task, llm, max_tokens_read)
        messages = build_messages(task, passages.text)
        result = await llm.generate_async(
            messages,
            schema=answer_schema(task.schema),
            temperature=0,
            max_tokens=_ANSWER_TOKENS * len(task.schema.fields) + 40,
        )
    except ModelyardError as error:
        return _failed(document.name, document.text, task.schema, error, began)
    fields, problems = await asyncio.to_thread(_fields, task.schema, document, result.text)
    warnings = (*document.warnings, *counted, *_said(result), *problems)
    seconds = time.monotonic() - began
    return DocumentResult(
        document.name, _sha256(document.text), fields, warnings, seconds, result.text, document.text,
        prompt="\n\n".join(one.text for one in messages), result=result,
    )  # fmt: skip


async def _passages(
    document: Document, task: Task, llm: LLM, max_tokens: int
) -> tuple[Passages, tuple[str, ...]]:
    """The part of the document that is read, and a warning when that is not all of it."""
    if not document.text.strip():
        raise DocumentError(f"{document.name} has no text", hint="A scanned page needs OCR first.")
    context = (await llm.load_async()).context_length
    asked = await llm.count_tokens_async(build_messages(task, ""))
    room = context - asked - _ANSWER_TOKENS * len(task.schema.fields) - 64
    budget = min(max_tokens, room)
    if budget < 64:
        raise InvalidArgumentError(
            f"the task alone takes {asked} tokens, and the context holds {context}",
            hint="Shorten its instructions or examples, or use a model with a longer context.",
        )
    probe = document.text[:_PROBE]
    characters_a_token = len(probe) / max(1, await llm.count_tokens_async(probe, raw=True))
    characters = int(budget * characters_a_token)
    for _ in range(4):
        passages = select_passages(document.text, task.search_terms, characters)
        tokens = await llm.count_tokens_async(passages.text, raw=True)
        if tokens <= budget:
            break
        characters = int(characters * budget / tokens * 0.97)
    if passages.whole:
        return passages, ()
    share = f"{passages.characters:,} of {passages.total:,} characters"
    return passages, (
        f"read {share} ({tokens} tokens), in {len(passages.ranges)} passages that hold the terms",
    )


def _said(result: Result) -> tuple[str, ...]:
    said = [warning.message for warning in result.warnings]
    if result.finish_reason != "stop":
        said.append(f"the reply was cut after {result.usage.completion_tokens} tokens")
    return tuple(said)


def _fields(
    schema: ExtractionSchema, document: Document, reply: str
) -> tuple[dict[str, FieldResult], tuple[str, ...]]:
    """Reads the reply and locates its quotes."""
    try:
        data = json.loads(reply)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        unreadable = FieldResult(None, None, None, None, "unreadable")
        return {one.name: unreadable for one in schema.fields}, ("the reply is no JSON object",)
    index = GroundingIndex(document.text)
    fields: dict[str, FieldResult] = {}
    problems: list[str] = []
    near: int | None = None
    for one in schema.fields:
        fields[one.name], said = _field(one, data.get(one.name), document, index, near)
        problems += [f"{one.name}: {sentence}" for sentence in said]
        near = fields[one.name].start if fields[one.name].start is not None else near
    return fields, tuple(problems)


def _field(
    field: Field, raw: Any, document: Document, index: GroundingIndex, near: int | None
) -> tuple[FieldResult, list[str]]:
    if not isinstance(raw, dict):
        return FieldResult(None, None, None, None, "unreadable"), ["the reply has no quote and value for it"]
    quote = raw.get("quote")
    quote = quote if isinstance(quote, str) and quote.strip() else None
    value, problem = coerce(field, raw.get("value"))
    if value is None:
        status: Status = "not_found" if raw.get("value") in (None, "") else "unreadable"
        return FieldResult(None, quote, None, None, status), [
            problem
        ] if problem and status == "unreadable" else []
    span = _located(field, quote, value, index, near) if quote else None
    if span is None:
        said = ["its quote is not in the document" if quote else "it comes without a quote"]
        return FieldResult(value, quote, None, None, "ungrounded"), said
    value, said = _signed(field, value, index, span)
    where = document.where(span.start)
    located = FieldResult(value, span.of(document.text), span.start, span.end, "found", span.method, where)
    return located, said


def _located(field: Field, quote: str, value: Any, index: GroundingIndex, near: int | None) -> Span | None:
    if is_bare(quote):
        return ground_by_label(index, quote, field, value, near)
    return ground(index, quote, value=value, near=near)


def _signed(field: Field, value: Any, index: GroundingIndex, span: Span) -> tuple[Any, list[str]]:
    """A number as its quote has it: brackets make it negative, and a number that is not there is said."""
    if field.type not in ("number", "integer") or isinstance(value, bool):
        return value, []
    inside = [float(number) for one in index.numbers_in(span.start, span.end) for number in one.readings]
    if any(abs(number - value) < 1e-9 for number in inside):
        return value, []
    if any(abs(number + value) < 1e-9 for number in inside):
        return -value, [f"the quote has {-value:g}, the model wrote {value:g}: the quote's sign is taken"]
    return value, [f"{value:g} is not in its quote"]


def locate_documents(paths: Sequence[Path]) -> list[Path]:
    """Files, with folders opened: every readable document in them, sorted.

    Raises:
        DocumentError: a path that is not there, or a folder with nothing readable.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(
                one for one in path.rglob("*") if one.suffix.lower() in _READABLE and one.is_file()
            )
            if not inside:
                raise DocumentError(
                    f"{path} holds no document", hint=f"Readable are {', '.join(sorted(_READABLE))}."
                )
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise DocumentError(f"there is no file {path}", hint="Check the path.")
    return found


def _failed(
    name: str, text: str, schema: ExtractionSchema, error: ModelyardError, began: float
) -> DocumentResult:
    fields = {one.name: FieldResult(None, None, None, None, "failed") for one in schema.fields}
    seconds = time.monotonic() - began
    said = str(error).replace("\n", " ")
    return DocumentResult(name, _sha256(text), fields, (), seconds, "", text, error=said, failure=error)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
