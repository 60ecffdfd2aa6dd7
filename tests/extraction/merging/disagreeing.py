"""Cases: a release's headline, statement and reconciliation that disagree, with what voters read in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from modelyard.extraction.ground import ground
from modelyard.extraction.result import Candidate
from modelyard.extraction.schema import Field

FOLDER = Path(__file__).with_name("cases")


@dataclass(frozen=True)
class Case:
    name: str
    field: Field
    truth: float
    documents: dict[str, str]
    priority: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    expected: dict[str, dict[str, Any]]


def read_case(path: Path) -> Case:
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    return Case(
        name=path.stem,
        field=Field(**data["field"]),
        truth=data["truth"],
        documents=data["documents"],
        priority=tuple(data["priority"]),
        candidates=tuple(_candidate(data["documents"], *vote) for vote in data["votes"]),
        expected=data["expected"],
    )


def _candidate(
    documents: dict[str, str], voter: str, document: str, value: Any, quote: str | None, logprob: float
) -> Candidate:
    if value is None or quote is None:
        return Candidate(voter, document, None, "not_found", logprob=logprob)
    text = documents[document]
    span = ground(text, quote, value=value)
    if span is None:
        return Candidate(voter, document, value, "ungrounded", quote, logprob=logprob)
    return Candidate(
        voter, document, value, "found", span.of(text), span.start, span.end, span.method, logprob=logprob
    )


CASES = [read_case(path) for path in sorted(FOLDER.glob("*.yaml"))]
