"""Results for the tests of the review: documents with texts, candidates that agree and differ, and a record."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from modelyard.extraction.result import Candidate, DocumentResult, Extraction, FieldResult, Record, Status
from modelyard.extraction.schema import read_schema

SCHEMA = read_schema(
    {
        "name": "eps",
        "fields": {
            "eps_basic": {"type": "number", "unit": "USD/share", "description": "Of the latest quarter."},
            "shares": "integer",
            "audited": {"enum": ["audited", "unaudited"]},
            "note": "string",
        },
    }
)
VOTERS = ("first", "second", "third")


def candidate(voter: str, document: str, text: str, value: Any, quote: str | None, **more: Any) -> Candidate:
    """What a voter read: grounded where the text holds the quote."""
    if value is None:
        return Candidate(voter, document, None, "not_found", **more)
    start = text.find(quote) if quote else -1
    if start < 0:
        return Candidate(voter, document, value, "ungrounded", quote, **more)
    end = start + len(quote or "")
    return Candidate(voter, document, value, "found", quote, start, end, "exact", "line 1", **more)


def field_of(candidates: Sequence[Candidate], confidence: float | None, **more: Any) -> FieldResult:
    """The first candidate's value as the result's."""
    one = candidates[0]
    known: dict[str, Any] = {"strategy": "equal", "reason": "all voters agree", "confidence_kind": "formula"}
    return FieldResult(
        one.value, one.quote, one.start, one.end, one.status, one.method, one.where, one.document, confidence,
        **{**known, "candidates": tuple(candidates), **more},
    )  # fmt: skip


def unresolved(candidates: Sequence[Candidate]) -> FieldResult:
    """Nothing settled it."""
    status: Status = "unresolved"
    return FieldResult(
        None, None, None, None, status, strategy="unresolved", reason="nothing settled it",
        candidates=tuple(candidates),
    )  # fmt: skip


def document_of(name: str, text: str, fields: dict[str, FieldResult], **more: Any) -> DocumentResult:
    """A document's result."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    known: dict[str, Any] = {"warnings": (), "seconds": 1.0, **more}
    return DocumentResult(document=name, text_sha256=digest, fields=fields, text=text, **known)


def text_of(at: int) -> str:
    """A short statement with a table."""
    return (
        f"Company {at}\nStatement of income\n | 2023 | 2022\nNet income | {100 + at} | 90\n"
        f"Basic | {at}.25 | 0.75\nDiluted | {at}.20 | 0.70\nShares | {1000 + at} | 990\n\nThe accompanying notes.\n"
    )


def make_document(at: int, *, name: str | None = None) -> DocumentResult:
    """A document of four fields; every third is in conflict, every fourth unresolved, every fifth ungrounded."""
    name, text = name or f"doc-{at:04}.txt", text_of(at)
    row, prior = f"Basic | {at}.25", f"Basic | {at}.25 | 0.75"
    logprob = -0.125
    read = [candidate(voter, name, text, at + 0.25, row, logprob=logprob) for voter in VOTERS]
    basic = field_of(read, 0.9, accepted=True)
    if at % 3 == 0:
        read = [*read[:2], candidate("third", name, text, 0.75, prior, logprob=-1.5)]
        reason = "2 of 3 voters read it"
        basic = field_of(read, 0.6, strategy="margin", reason=reason, accepted=False)
    if at % 4 == 0:
        basic = unresolved([read[0], candidate("third", name, text, 0.75, prior)])
    shares = field_of(
        [candidate(one, name, text, 1000 + at, f"Shares | {1000 + at}") for one in VOTERS], 0.95
    )
    if at % 5 == 0:
        lost = [candidate(one, name, text, 1000 + at, "a quote that is nowhere") for one in VOTERS]
        shares = field_of(lost, 0.3)
    audited = field_of([candidate(one, name, text, None, None) for one in VOTERS], 0.8)
    note = field_of([candidate(one, name, text, "notes", "accompanying notes") for one in VOTERS], 0.7)
    fields = {"eps_basic": basic, "shares": shares, "audited": audited, "note": note}
    return document_of(name, text, fields, read=((0, 60),))


def make_extraction(documents: int = 6, *, record: bool = False) -> Extraction:
    """Several documents, and a record of the first two where it is asked for."""
    found = tuple(make_document(at) for at in range(1, documents + 1))
    return Extraction(
        "eps", found, None, SCHEMA, (make_record(found[0], found[1]),) if record else (), VOTERS
    )


def make_record(one: DocumentResult, other: DocumentResult) -> Record:
    """Two documents as one thing: the first stands first."""
    read = (*one.fields["eps_basic"].candidates, *other.fields["eps_basic"].candidates)
    merged = field_of(read, 0.65, strategy="priority", reason=f"{one.document} stands first")
    return Record("both", (one.document, other.document), {"eps_basic": merged})


def make_result(documents: int = 6, *, record: bool = False) -> dict[str, Any]:
    """The same as plain data, with the texts."""
    return make_extraction(documents, record=record).to_dict(text=True)
