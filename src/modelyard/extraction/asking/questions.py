"""Questions: what one voter is asked about one document, as messages and the form of the reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from modelyard.errors import DocumentError, InvalidArgumentError
from modelyard.extraction.asking.reading import Reader, read_object, value_logprob
from modelyard.extraction.asking.voters import Mode, Voter
from modelyard.extraction.documents import Document
from modelyard.extraction.evidence import Evidence, EvidenceIndex
from modelyard.extraction.ground import Span
from modelyard.extraction.passages import Passages, select_passages
from modelyard.extraction.prompt import build_evidence_messages, build_messages
from modelyard.extraction.result import Candidate, Status
from modelyard.extraction.schema import Field, answer_schema, closed_object, coerce
from modelyard.extraction.task import Task
from modelyard.extraction.taskfile import digest
from modelyard.llm import LLM
from modelyard.types import Fingerprint, Message, Token

EVIDENCE = 5
"""Rows and sentences that are shown for a field."""
_ANSWER_TOKENS = 160  # a field: its quote of up to 300 characters and its value
_FREE_TOKENS = 2  # times as much where the model may write what it likes
_PROBE = 4000  # characters on which the characters a token are measured
_SCALARS = ("number", "integer", "string", "boolean")


@dataclass(frozen=True, slots=True)
class Question:
    """What one voter is asked.

    Attributes:
        schema: that a grammar holds the reply to; None where it is free.
        ranges: of the text, that stand in the prompt.
        warnings: what was left out of it.
        lines: of evidence, in the order in which they are shown.
        draft: whether it is asked freely first.
    """

    voter: Voter
    messages: tuple[Message, ...]
    schema: dict[str, Any] | None
    max_tokens: int
    ranges: tuple[tuple[int, int], ...]
    warnings: tuple[str, ...] = ()
    lines: tuple[Evidence, ...] = ()
    draft: bool = False

    @property
    def prompt(self) -> str:
        """The messages as people read them."""
        return "\n\n".join(one.text for one in self.messages)

    def key(self, model: Fingerprint) -> str:
        """What its answer is kept by: everything that the answer depends on."""
        said = [(one.role, one.text) for one in self.messages]
        how = [self.max_tokens, self.voter.temperature, self.voter.seed, self.draft]
        return digest(asdict(model), said, self.schema, how)


class Asked:
    """One document, and what its voters are asked about it.

    Args:
        document: as it was read.
        task: with its parameters bound.
        mode: how the reply is held.
        most: tokens of it that are read at most.
    """

    def __init__(self, document: Document, task: Task, mode: Mode, most: int) -> None:
        if not document.text.strip():
            raise DocumentError(f"{document.name} has no text", hint="A scanned page needs OCR first.")
        self.document = document
        self.task = task
        self._mode = mode
        self._most = most
        self._reader = Reader(document, task.examples)
        self._index = EvidenceIndex(document.text)
        self._best: dict[str, list[Evidence]] = {}

    def prepare(self) -> None:
        """Finds the evidence of every field: a moment's work for a long document, which belongs into a thread."""
        for field in self.task.schema.fields:
            self.evidence(field)

    async def question(self, voter: Voter, llm: LLM) -> Question | None:
        """What a voter is asked; None where there is nothing to ask: no field of one value, or no evidence."""
        if voter.reads == "evidence":
            return self._evidence(voter)
        return await self._passages(voter, llm)

    def candidates(self, question: Question, text: str, tokens: Sequence[Token]) -> dict[str, Candidate]:
        """What the reply to a question comes to, one candidate a field that was asked for."""
        if question.lines:
            found = self._picked(question, text, tokens)
        else:
            found = self._reader.candidates(
                question.voter.name, self.task.schema.fields, text, tokens,
                free=self._mode == "free", extractive=self._mode == "extractive",
            )  # fmt: skip
        weight = question.voter.weight
        return {name: replace(self._abstaining(name, one), weight=weight) for name, one in found.items()}

    @property
    def scalars(self) -> tuple[Field, ...]:
        """The fields that have one value, which one line may hold."""
        return tuple(one for one in self.task.schema.fields if one.type in _SCALARS)

    def evidence(self, field: Field) -> list[Evidence]:
        """The rows and sentences that may hold a field, best first."""
        if field.name not in self._best:
            self._best[field.name] = self._index.best(field, avoid=self.task.avoid, limit=EVIDENCE)
        return self._best[field.name]

    # -- passages --------------------------------------------------------------------------------------

    async def _passages(self, voter: Voter, llm: LLM) -> Question:
        fields = self.task.schema.fields
        free = self._mode == "free"
        room = _ANSWER_TOKENS * len(fields) * (_FREE_TOKENS if free else 1) + 40
        passages, warnings = await self._fitting(llm, room)
        messages = build_messages(self.task, passages.text, show_form=free)
        schema = None if free else answer_schema(self.task.schema)
        draft = self._mode == "free-then-constrained"
        return Question(voter, messages, schema, room, passages.ranges, warnings, draft=draft)

    async def _fitting(self, llm: LLM, answer: int) -> tuple[Passages, tuple[str, ...]]:
        """The part of the document that is read, and a warning when that is not all of it."""
        text = self.document.text
        context = (await llm.load_async()).context_length
        asked = await llm.count_tokens_async(build_messages(self.task, "", show_form=True))
        budget = min(
            self._most, context - asked - answer * (2 if self._mode == "free-then-constrained" else 1) - 64
        )
        if budget < 64:
            raise InvalidArgumentError(
                f"the task alone takes {asked} tokens, and the context holds {context}",
                hint="Shorten its instructions or examples, or use a model with a longer context.",
            )
        probe = text[:_PROBE]
        characters = int(budget * len(probe) / max(1, await llm.count_tokens_async(probe, raw=True)))
        for _ in range(4):
            passages = select_passages(text, self.task.search_terms, characters)
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

    # -- evidence --------------------------------------------------------------------------------------

    def _evidence(self, voter: Voter) -> Question | None:
        fields = self.scalars
        lines = list(self._in_turn(fields).values())
        if voter.backwards:
            lines.reverse()
        if not fields or not lines:
            return None
        shown = [one.line for one in lines]
        messages = build_evidence_messages(self.task, fields, shown)
        properties = {one.name: self._pick(one, shown) for one in fields}
        ranges = tuple(sorted({(one.start, one.end) for one in lines}))
        longest = max(len(one) for one in shown)
        return Question(
            voter,
            messages,
            closed_object(properties),
            len(fields) * (longest + 60),
            ranges,
            lines=tuple(lines),
        )

    def _in_turn(self, fields: Sequence[Field]) -> dict[str, Evidence]:
        """The lines of all fields, the best of each first."""
        found: dict[str, Evidence] = {}
        each = [self.evidence(one) for one in fields]
        for rank in range(EVIDENCE):
            for lines in each:
                if rank < len(lines):
                    found.setdefault(lines[rank].line, lines[rank])
        return found

    def _pick(self, field: Field, shown: Sequence[str]) -> dict[str, Any]:
        value = answer_schema(self.task.schema)["properties"][field.name]["properties"]["value"]
        return closed_object({"quote": {"enum": [*shown, None]}, "value": value})

    def _picked(self, question: Question, text: str, tokens: Sequence[Token]) -> dict[str, Candidate]:
        data = read_object(text) or {}
        by_line = {one.line: one for one in question.lines}
        found: dict[str, Candidate] = {}
        for field in self.scalars:
            raw = data.get(field.name)
            logprob = value_logprob(text, tokens, field.name)
            found[field.name] = self._of_line(question.voter.name, field, raw, by_line, logprob)
        return found

    def _of_line(
        self, voter: str, field: Field, raw: Any, by_line: Mapping[str, Evidence], logprob: float | None
    ) -> Candidate:
        name = self.document.name
        if not isinstance(raw, Mapping):
            problem = ("the reply has no line and value for it",)
            return Candidate(voter, name, None, "unreadable", problems=problem)
        line = by_line.get(raw.get("quote") or "")
        if line is None:
            return Candidate(voter, name, None, "not_found", logprob=logprob)
        given = self.document.text[slice(*line.figure)] if line.figure else raw.get("value")
        value, problem_said = coerce(field, given)
        if value is None:
            status: Status = "unreadable" if problem_said else "not_found"
            said = (problem_said,) if problem_said else ()
            return Candidate(voter, name, None, status, logprob=logprob, problems=said)
        span = Span(line.start, line.end, "exact", 1.0)
        return self._reader.grounded(voter, field, value, span, logprob, extractive=True)

    def _abstaining(self, name: str, one: Candidate) -> Candidate:
        """A document with no line about a field cannot hold it: that it is not found there says nothing."""
        if one.status != "not_found" or one.abstains:
            return one
        field = next(field for field in self.task.schema.fields if field.name == name)
        if any(line.score > 0 for line in self.evidence(field)):
            return one
        return replace(one, abstains=True)
