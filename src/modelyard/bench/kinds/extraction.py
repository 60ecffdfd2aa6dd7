"""Extraction: fields out of documents, read exactly as `extract` reads them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from modelyard.bench.compare import same, score_fields
from modelyard.bench.kinds.prompted import described, limits
from modelyard.bench.outcome import Judgement, Outcome
from modelyard.bench.task import Asked, BenchTask, Sample
from modelyard.extraction.ask import PASSAGE_TOKENS, VOTERS, extract_one
from modelyard.extraction.asking.voters import read_voters
from modelyard.extraction.result import DocumentResult, FieldResult
from modelyard.extraction.schema import Field
from modelyard.extraction.task import LabelledDocument, Task, read_task
from modelyard.extraction.taskfile import TaskFile, digest
from modelyard.llm import LLM

_ABOUT = (
    "Mean over the documents of the share of labelled fields that are right; numbers within {tolerance:g}."
)
_VOTERS = read_voters(VOTERS)
_SCALARS = ("number", "integer", "string", "boolean")


class ExtractionTask(BenchTask):
    """The fields of a task, out of its labelled documents, each field judged apart.

    A document is right when all its labelled fields are; its score is the share of them that are, and for
    fields that hold lists or objects the F1 of what is in them. To say that a document does not give a field
    whose label is null is right.
    """

    kind = "extraction"
    requests = len(_VOTERS)

    def __init__(self, file: TaskFile) -> None:
        self.task: Task = read_task(file)
        described(self, file, _ABOUT.format(tolerance=self.task.tolerance))
        if "max_tokens" in limits(file):
            raise file.error(
                "'limits' has 'max_tokens'", "limits", "max_tokens", hint="extract sets it by the fields."
            )
        self._fields: Mapping[str, Field] = {one.name: one for one in self.task.schema.fields}
        self._documents: dict[str, LabelledDocument] = {}
        for document, row in zip(self.task.documents, file.rows, strict=True):
            if document.id in self._documents:
                raise file.row_error(
                    row, f"id '{document.id}' is given twice", hint="Give each row an 'id' of its own."
                )
            self._documents[document.id] = document
            for name in document.labels:
                if name not in self._fields:
                    raise file.row_error(
                        row, f"label '{name}' is no field", hint=f"Fields: {', '.join(self._fields)}."
                    )
            if not document.path.is_file():
                raise file.row_error(row, f"there is no file {document.path}", hint="Check 'file'.")

    def samples(self) -> Sequence[Sample]:
        return self._samples

    @cached_property
    def _samples(self) -> tuple[Sample, ...]:
        return tuple(
            Sample(
                name,
                one.path.name,
                dict(one.labels),
                {
                    "bytes": digest(one.path.read_bytes()),
                    "parameters": dict(one.values),
                    "name": one.path.name,
                },
            )
            for name, one in self._documents.items()
        )

    async def ask(self, llm: LLM, sample: Sample, *, seed: int | None = None, exact: bool = False) -> Asked:
        document = self._documents[sample.id]
        began = time.perf_counter()
        task = self.task.bind(document.values)
        read = await extract_one(
            document.path, task, llm, voters=_VOTERS, together=1 if exact else len(_VOTERS)
        )
        if read.failure is not None:
            raise read.failure
        return _asked(read, time.perf_counter() - began)

    def judge(self, sample: Sample, asked: Asked) -> Judgement:
        read: DocumentResult = asked.extra
        cut = asked.finish == "length"
        judged = {
            name: self._judge(self._fields[name], read.fields[name], label, cut=cut)
            for name, label in sample.expected.items()
        }
        parts = {name: outcome for name, (outcome, _) in judged.items()}
        score = sum(one for _, one in judged.values()) / len(judged) if judged else 1.0
        found = {name: read.fields[name].value for name in judged}
        return Judgement(_whole(list(parts.values())), score, found, self._reason(sample, read, parts), parts)

    def _judge(self, field: Field, found: FieldResult, label: Any, *, cut: bool) -> tuple[Outcome, float]:
        if found.status in ("unreadable", "failed"):
            return ("cut short" if cut else "unreadable"), 0.0
        if found.value is None:
            return ("right", 1.0) if label is None else ("not answered", 0.0)
        if field.type in _SCALARS:
            right = same(found.value, label, tolerance=self.task.tolerance)
            return ("right", 1.0) if right else ("wrong", 0.0)
        score = score_fields(found.value, label, tolerance=self.task.tolerance)
        return ("right" if score.f1 == 1 else "wrong"), score.f1

    def _reason(self, sample: Sample, read: DocumentResult, parts: Mapping[str, Outcome]) -> str:
        said = []
        for name, outcome in parts.items():
            if outcome == "wrong":
                said.append(f"{name} is {read.fields[name].value!r}, not {sample.expected[name]!r}")
            elif outcome != "right":
                said.append(f"{name}: {outcome}")
            if read.fields[name].status == "ungrounded":
                said.append(f"{name}'s quote is not in the text")
        return "; ".join(said)

    @property
    def fingerprint(self) -> str:
        task = self.task
        return digest(
            task.schema.json_schema, task.instructions, list(task.search_terms), task.tolerance,
            [[one.text, dict(one.answer)] for one in task.examples], list(task.parameters), PASSAGE_TOKENS, task.name,
            [one.name for one in _VOTERS], list(task.avoid),
        )  # fmt: skip


_ORDER: tuple[Outcome, ...] = ("failed", "cut short", "unreadable", "wrong", "not answered", "right")


def _asked(read: DocumentResult, seconds: float) -> Asked:
    """What the store keeps: of several voters the prompts and answers one after another."""
    several = len(read.replies) > 1
    cut = any(one.finish == "length" for one in read.replies)
    return Asked(
        prompt="\n\n".join(f"[{one.voter}]\n{one.prompt}" if several else one.prompt for one in read.replies),
        answer="\n\n".join(f"[{one.voter}] {one.text}" if several else one.text for one in read.replies),
        finish="length" if cut else "stop",
        tokens=tuple((token.text, token.logprob) for one in read.replies for token in one.tokens),
        seconds=seconds,
        prompt_tokens=sum(one.prompt_tokens for one in read.replies),
        completion_tokens=sum(one.completion_tokens for one in read.replies),
        warnings=read.warnings,
        extra=read,
    )


def _whole(parts: Sequence[Outcome]) -> Outcome:
    """The outcome of a document: the gravest of its fields'."""
    return next((one for one in _ORDER if one in parts), "right")
