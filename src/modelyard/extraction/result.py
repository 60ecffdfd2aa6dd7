"""Results: what was read from documents, each value with its quote, its candidates and its confidence.

A `Candidate` is what one voter read for one field in one document; a `FieldResult` is what the candidates
came to; a `DocumentResult` holds those of one document, and a `Record` those of several documents about the
same thing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from modelyard.errors import ModelyardError
from modelyard.extraction.schema import ExtractionSchema
from modelyard.types import Fingerprint, Token

Status = Literal["found", "ungrounded", "not_found", "unreadable", "failed", "unresolved"]
"""`found`: the quote is in the text. `ungrounded`: a value whose quote is not. `not_found`: the model says
that the document does not give it. `unreadable`: no value of the field's type. `failed`: no answer.
`unresolved`: the candidates differ and nothing settled it; all of them are kept."""

ConfidenceKind = Literal["formula", "single_pass", "calibrated"]
"""`formula`: of several voters, not fitted to labels. `single_pass`: of one voter. `calibrated`: a probability
fitted on labelled documents."""


@dataclass(slots=True, frozen=True)
class Candidate:
    """What one voter read for one field in one document.

    Attributes:
        voter: who: a model, a prompt variant, a sample; voters of the same name are one.
        document: where it was read.
        value: in the field's type; None where the voter says that the document does not give it.
        quote: `text[start:end]` of the document where it was located, else what was claimed.
        logprob: mean natural logarithm of the probability of the value's own tokens, structure left out and
            before any grammar's mask; None where the engine gives none.
        weight: how much this voter counts; 1 unless measured.
        abstains: the field cannot occur in this document, so that its absence says nothing.
        problems: what was wrong with it.
    """

    voter: str
    document: str
    value: Any
    status: Status
    quote: str | None = None
    start: int | None = None
    end: int | None = None
    method: str | None = None
    where: str | None = None
    logprob: float | None = None
    weight: float = 1.0
    abstains: bool = False
    problems: tuple[str, ...] = ()

    @property
    def grounded(self) -> bool:
        """Whether its quote stands in the document."""
        return self.start is not None

    @property
    def votes(self) -> bool:
        """Whether it says anything: an answer that could not be read, or that failed, does not."""
        return self.status in ("found", "ungrounded", "not_found") and not self.abstains

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(slots=True, frozen=True)
class FieldResult:
    """One field of one document or record: the value that the candidates came to, and why.

    Attributes:
        quote: `text[start:end]` of the document when it was located, else what the model claimed, with
            `start` and `end` None.
        method: how it was located; `where`: where it stands in the source.
        document: the document that the quote is from.
        confidence: 0 to 1; `confidence_kind` says what it means. None where there is nothing to be sure of.
        strategy: what settled it (`equal`, `grounding`, `priority`, `margin`, `adjudication`, ...), and
            `reason` the same in a sentence.
        candidates: everything that was read, those that lost included.
        accepted: whether the confidence is above the threshold of a promised error rate; None without one.
    """

    value: Any
    quote: str | None
    start: int | None
    end: int | None
    status: Status
    method: str | None = None
    where: str | None = None
    document: str | None = None
    confidence: float | None = None
    confidence_kind: ConfidenceKind | None = None
    strategy: str | None = None
    reason: str | None = None
    candidates: tuple[Candidate, ...] = ()
    accepted: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        found = {
            "value": self.value, "quote": self.quote, "start": self.start, "end": self.end, "status": self.status,
            "method": self.method, "where": self.where,
        }  # fmt: skip
        if self.strategy is None:
            return found
        return found | {
            "document": self.document, "confidence": self.confidence, "confidence_kind": self.confidence_kind,
            "strategy": self.strategy, "reason": self.reason, "accepted": self.accepted,
            "candidates": [one.to_dict() for one in self.candidates],
        }  # fmt: skip


@dataclass(slots=True, frozen=True)
class VoterReply:
    """What one voter was asked about one document, and what it said.

    Attributes:
        finish: `stop`, or `length` where the reply was cut.
        kept: whether the answer was there before and nothing was asked.
    """

    voter: str
    prompt: str = field(repr=False)
    text: str = field(repr=False)
    tokens: tuple[Token, ...] = field(repr=False)
    finish: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    kept: bool = False


@dataclass(slots=True, frozen=True)
class DocumentResult:
    """What was read from one document.

    Attributes:
        text: what the spans point into.
        replies: what each voter said; where there are none, `failure` says why, and `error` the same in one
            line.
        read: the character ranges of the text that some voter read; empty where nothing was.
    """

    document: str
    text_sha256: str
    fields: dict[str, FieldResult]
    warnings: tuple[str, ...]
    seconds: float
    text: str = field(repr=False)
    error: str | None = None
    failure: ModelyardError | None = field(default=None, repr=False)
    read: tuple[tuple[int, int], ...] = ()
    replies: tuple[VoterReply, ...] = field(default=(), repr=False)

    @property
    def reply(self) -> str:
        """What the first voter said; empty where there is nothing."""
        return self.replies[0].text if self.replies else ""

    def to_dict(self, *, text: bool = False) -> dict[str, Any]:
        """Plain data; without the text unless asked for it."""
        fields = {name: one.to_dict() for name, one in self.fields.items()}
        found: dict[str, Any] = {"document": self.document, "text_sha256": self.text_sha256, "fields": fields}
        found |= {"warnings": list(self.warnings), "seconds": round(self.seconds, 3)}
        if text:
            found["text"] = self.text
        if self.read:
            found["read"] = [list(one) for one in self.read]
        return found | ({"error": self.error} if self.error else {})


@dataclass(slots=True, frozen=True)
class Record:
    """What several documents about the same thing came to together."""

    name: str
    documents: tuple[str, ...]
    fields: dict[str, FieldResult]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        fields = {name: one.to_dict() for name, one in self.fields.items()}
        return {"name": self.name, "documents": list(self.documents), "fields": fields}


@dataclass(slots=True, frozen=True)
class Extraction:
    """The documents in the order in which they were given, and what read them.

    Attributes:
        records: what documents of the same thing came to, where they were merged.
        voters: who was asked.
    """

    task: str
    documents: tuple[DocumentResult, ...]
    fingerprint: Fingerprint | None
    schema: ExtractionSchema | None = None
    records: tuple[Record, ...] = ()
    voters: tuple[str, ...] = ()

    def to_dict(self, *, text: bool = False) -> dict[str, Any]:
        """Plain data, ready for `json.dumps`; with the documents' texts where they are asked for."""
        found: dict[str, Any] = {
            "task": self.task,
            "model": asdict(self.fingerprint) if self.fingerprint else None,
            "documents": [one.to_dict(text=text) for one in self.documents],
        }
        if self.schema is not None:
            found["schema"] = _described(self.schema)
        if self.voters:
            found["voters"] = list(self.voters)
        if self.records:
            found["records"] = [one.to_dict() for one in self.records]
        return found


def _described(schema: ExtractionSchema) -> dict[str, Any]:
    return {"name": schema.name, "fields": [asdict(one) for one in schema.fields]}


def read_field(data: Mapping[str, Any]) -> FieldResult:
    """The field result that `FieldResult.to_dict` wrote.

    >>> one = FieldResult(1.2, "EPS 1.20", 0, 8, "found", strategy="equal",
    ...                   candidates=(Candidate("a", "d", 1.2, "found"),))
    >>> read_field(one.to_dict()) == one
    True
    """
    known = dict(data)
    candidates: Sequence[Mapping[str, Any]] = known.pop("candidates", ())
    return FieldResult(
        **known,
        candidates=tuple(
            Candidate(**{**one, "problems": tuple(one.get("problems", ()))}) for one in candidates
        ),
    )
