"""POST /v1/extract: documents and a schema in, the extraction out."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from modelyard.errors import DeadlineExceededError, InvalidArgumentError, nearest
from modelyard.extraction import extract_async
from modelyard.extraction.ask import PASSAGE_TOKENS, VOTERS, resolve_task
from modelyard.extraction.asking.voters import Mode, Voter, read_voters
from modelyard.extraction.documents import Document, read_text
from modelyard.extraction.task import Task, shipped_tasks
from modelyard.serving.body import JsonRoute
from modelyard.serving.context import Context, Here
from modelyard.serving.models import Served
from modelyard.serving.refusals import MODEL, refusals
from modelyard.serving.routes.wire import Name, Wire

router = APIRouter(route_class=JsonRoute, tags=["Extraction"])
_TOGETHER = 4  # questions of one request in flight at once


class DocumentText(Wire):
    """A document."""

    text: str = Field(min_length=1, description="Its text, or its HTML.")
    name: str = Field(
        "text", min_length=1, max_length=256, description="One that ends in .html is read as HTML."
    )


class ExtractRequest(Wire):
    """POST /v1/extract."""

    model: Name
    documents: list[DocumentText] = Field(min_length=1)
    schema_: dict[str, Any] | None = Field(
        None, alias="schema", description='A JSON Schema, or fields: {"fields": {"eps": "number"}}.'
    )
    task: str | None = Field(None, max_length=256, description="A shipped task, in place of a schema.")
    parameters: dict[str, str] = Field({}, description="What the task needs to be told, where it needs it.")
    voters: int | str = Field(
        VOTERS,
        union_mode="left_to_right",
        description="How many voters are asked of each document, or which, joined by commas: passages, evidence, "
        "evidence-backwards; #1 behind one is a sample.",
    )
    mode: Mode = Field("constrained", description="How the replies are held to the schema.")
    max_tokens_read: int = Field(
        PASSAGE_TOKENS, ge=64, le=2**31, description="Tokens of a document that are read."
    )
    timeout: float | None = Field(None, ge=1, le=1e6, description="Seconds until the answer is given up.")


class FieldFound(BaseModel):
    """One field of one document; `quote` is `text[start:end]` where it was found."""

    value: Any
    quote: str | None
    start: int | None
    end: int | None
    status: str
    method: str | None
    where: str | None
    document: str | None = None
    confidence: float | None = Field(None, description="0 to 1; confidence_kind says what it means.")
    confidence_kind: str | None = None
    strategy: str | None = Field(None, description="What settled it, and reason the same in a sentence.")
    reason: str | None = None
    accepted: bool | None = None
    candidates: list[dict[str, Any]] = Field(
        [], description="What each voter read, those that lost included."
    )


class DocumentFound(BaseModel):
    """What was read from one document. `text` is what the spans point into."""

    document: str
    text_sha256: str
    text: str
    fields: dict[str, FieldFound]
    warnings: list[str]
    seconds: float
    read: list[list[int]] = Field([], description="The ranges of the text that some voter read.")
    error: str | None = None


class ExtractReply(BaseModel):
    """The documents in the order in which they came, and what read them."""

    task: str
    model: dict[str, Any] | None
    documents: list[DocumentFound]
    schema_: dict[str, Any] | None = Field(None, alias="schema", description="The fields.")
    voters: list[str] = Field([], description="Who was asked.")


@router.post(
    "/v1/extract",
    response_model=ExtractReply,
    responses=refusals(*MODEL),
    summary="Extract fields from documents",
)
async def extract(wanted: ExtractRequest, here: Here) -> Response:
    """Each value with its verbatim quote and the quote's place."""
    served = here.find(wanted.model)
    served.refuse_task("generation")
    most = here.parts.settings.max_documents
    if len(wanted.documents) > most:
        raise InvalidArgumentError(
            f"parameter 'documents' has {len(wanted.documents)} documents", hint=f"At most {most} are read."
        )
    return here.reply(_extracted(wanted, served, _task(wanted), _voters(wanted), here))


def _voters(wanted: ExtractRequest) -> tuple[Voter, ...]:
    voters = read_voters(wanted.voters)
    for one in voters:
        if one.model:
            raise InvalidArgumentError(
                f"parameter 'voters' names another model: '{one.name:.80}'",
                hint="A request is answered by its own model; ask each model in a request of its own.",
            )
    return voters


def _task(wanted: ExtractRequest) -> Task:
    known = shipped_tasks("extraction")
    if wanted.task is not None and wanted.task not in known:
        raise InvalidArgumentError(
            f"parameter 'task' is '{wanted.task:.80}', which is no shipped task.{nearest(wanted.task, known)}",
            hint=f"Shipped: {', '.join(known)}; or send a schema.",
        )
    return resolve_task(wanted.task, wanted.schema_).bind(wanted.parameters)


async def _extracted(
    wanted: ExtractRequest, served: Served, task: Task, voters: tuple[Voter, ...], here: Context
) -> dict[str, Any]:
    documents = await asyncio.to_thread(lambda: [_read(one) for one in wanted.documents])
    deadline = served.deadline(wanted.timeout)
    async with served.place(here.record, deadline):
        try:
            async with asyncio.timeout(served.left(deadline)):
                found = await extract_async(
                    documents,
                    model=served.llm,
                    task=task,
                    voters=voters,
                    mode=wanted.mode,
                    max_tokens_read=wanted.max_tokens_read,
                    together=_TOGETHER,
                )
        except TimeoutError:
            raise DeadlineExceededError("the deadline passed while the documents were read") from None
    return found.to_dict(text=True)


def _read(given: DocumentText) -> Document:
    return read_text(given.text, given.name)
