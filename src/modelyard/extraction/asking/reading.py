"""Reading: a model's reply to one candidate a field, its quote located in the document."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from modelyard.extraction.context import ground_by_label, is_bare
from modelyard.extraction.documents import Document
from modelyard.extraction.ground import GroundingIndex, Span, ground
from modelyard.extraction.result import Candidate, Status
from modelyard.extraction.schema import Field, coerce
from modelyard.extraction.task import Example
from modelyard.types import Token

_FENCE = re.compile(r"```[a-zA-Z]*\n?(.*?)```", re.DOTALL)
_DECODER = json.JSONDecoder()
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[{}:,\[\]]|[^\s{}:,\[\]"]+')
_STARTS = 64  # places in a free reply at which an object may begin that are tried


def read_object(reply: str, *, free: bool = False) -> dict[str, Any] | None:
    """The object that a reply is, or with `free` the first one in it; None where there is none.

    >>> read_object('Here it is: {"eps": 1} as asked', free=True), read_object('[1]'), read_object("{")
    ({'eps': 1}, None, None)
    """
    try:
        found = json.loads(reply)
    except (ValueError, RecursionError):
        found = _first_object(reply) if free else None
    return found if isinstance(found, dict) else None


def _first_object(reply: str) -> Any:
    fenced = _FENCE.search(reply)
    for text in (*([fenced[1]] if fenced else []), reply):
        at = text.find("{")
        for _ in range(_STARTS):
            if at < 0:
                break
            try:
                return _DECODER.raw_decode(text, at)[0]
            except (ValueError, RecursionError):
                at = text.find("{", at + 1)
    return None


def value_logprob(reply: str, tokens: Sequence[Token], name: str, key: str | None = "value") -> float | None:
    """The mean logarithm of the probability of a field's value tokens, the structure around them left out.

    Args:
        reply: the JSON.
        tokens: of the reply; those without a logprob, or with one after the grammar's mask, count for nothing.
        name: the field.
        key: the key of the value inside the field's object; None where the field's value is it.

    Returns:
        None where there is none: it is never made up.

    >>> tokens = [Token('{"n":', 1, -3.0, 0, 5), Token("12", 2, -0.5, 5, 7), Token("}", 3, -2.0, 7, 8)]
    >>> value_logprob('{"n":12}', tokens, "n", None)
    -0.5
    """
    place = _place_of(reply, name, key)
    if place is None:
        return None
    start, end = place
    inside = [one for one in tokens if one.start < end and one.end > start]
    known = [
        one.logprob for one in inside if one.logprob is not None and one.logprob_of in ("model", "unknown")
    ]
    if not known or len(known) < len(inside) or not all(map(math.isfinite, known)):
        return None
    return math.fsum(known) / len(known)


def _place_of(reply: str, name: str, key: str | None) -> tuple[int, int] | None:
    """Where a value stands in flat JSON of one or two levels; None where it cannot be found."""
    path: list[str] = []
    wanted = [name] if key is None else [name, key]
    last: str | None = None
    pieces = list(_PIECE.finditer(reply))
    for at, piece in enumerate(pieces):
        said = piece[0]
        if said in "{[":
            if at and pieces[at - 1][0] == ":" and last is not None:
                path.append(last)
            elif at:
                path.append("")
        elif said in "}]":
            if path:
                path.pop()
        elif said == ":":
            key_piece = pieces[at - 1][0] if at else ""
            try:
                last = json.loads(key_piece)
            except ValueError:
                last = None
            if [*path, last] == wanted and at + 1 < len(pieces):
                value = pieces[at + 1]
                return value.start(), value.end()
    return None


class Reader:
    """Reads replies about one document."""

    def __init__(self, document: Document, examples: Sequence[Example] = ()) -> None:
        self.document = document
        self.index = GroundingIndex(document.text)
        self._examples = [GroundingIndex(one.text) for one in examples]

    def candidates(
        self,
        voter: str,
        fields: Sequence[Field],
        reply: str,
        tokens: Sequence[Token],
        *,
        free: bool = False,
        extractive: bool = False,
    ) -> dict[str, Candidate]:
        """One candidate a field, from a reply that has quote and value for each.

        Args:
            voter: its name.
            fields: what was asked for.
            reply: the model's text.
            tokens: the same as tokens, for the probabilities.
            free: no grammar held it, so that words may stand around the object.
            extractive: a value that is not in its quote is none.
        """
        data = read_object(reply, free=free)
        if data is None:
            problem = ("the reply is no JSON object",)
            return {
                one.name: Candidate(voter, self.document.name, None, "unreadable", problems=problem)
                for one in fields
            }
        found: dict[str, Candidate] = {}
        near: int | None = None
        for field in fields:
            logprob = value_logprob(reply, tokens, field.name)
            one = self._candidate(voter, field, data.get(field.name), near, logprob, extractive=extractive)
            near = one.start if one.start is not None else near
            found[field.name] = one
        return found

    def _candidate(
        self, voter: str, field: Field, raw: Any, near: int | None, logprob: float | None, *, extractive: bool
    ) -> Candidate:
        name = self.document.name
        if not isinstance(raw, Mapping):
            problem = ("the reply has no quote and value for it",)
            return Candidate(voter, name, None, "unreadable", problems=problem)
        quote = raw.get("quote")
        quote = quote if isinstance(quote, str) and quote.strip() else None
        value, problem_said = coerce(field, raw.get("value"))
        if value is None:
            status: Status = "not_found" if raw.get("value") in (None, "") else "unreadable"
            problems = (problem_said,) if problem_said and status == "unreadable" else ()
            return Candidate(voter, name, None, status, quote, logprob=logprob, problems=problems)
        span = self._located(field, quote, value, near) if quote else None
        if span is None:
            return self._ungrounded(voter, value, quote, logprob, extractive=extractive)
        return self.grounded(voter, field, value, span, logprob, extractive=extractive)

    def grounded(
        self,
        voter: str,
        field: Field,
        value: Any,
        span: Span,
        logprob: float | None,
        *,
        extractive: bool = False,
    ) -> Candidate:
        """The candidate of a value and the place of its quote."""
        value, problems, inside = self._signed(field, value, span)
        where = self.document.where(span.start)
        status: Status = "found"
        if extractive and not inside:
            value, status, problems = None, "unreadable", ("its value is not in its quote",)
        return Candidate(
            voter, self.document.name, value, status, span.of(self.document.text), span.start, span.end,
            span.method, where, logprob, problems=problems,
        )  # fmt: skip

    def _ungrounded(
        self, voter: str, value: Any, quote: str | None, logprob: float | None, *, extractive: bool
    ) -> Candidate:
        name = self.document.name
        if quote and any(ground(example, quote, value=value) for example in self._examples):
            # What was shown as an example is no answer about this document.
            problems: tuple[str, ...] = ("its quote is from an example of the prompt",)
            return Candidate(voter, name, None, "unreadable", quote, logprob=logprob, problems=problems)
        problems = ("its quote is not in the document" if quote else "it comes without a quote",)
        if extractive:
            return Candidate(voter, name, None, "unreadable", quote, logprob=logprob, problems=problems)
        return Candidate(voter, name, value, "ungrounded", quote, logprob=logprob, problems=problems)

    def _located(self, field: Field, quote: str, value: Any, near: int | None) -> Span | None:
        if is_bare(quote):
            return ground_by_label(self.index, quote, field, value, near)
        return ground(self.index, quote, value=value, near=near)

    def _signed(self, field: Field, value: Any, span: Span) -> tuple[Any, tuple[str, ...], bool]:
        """A number as its quote has it, what was wrong with it, and whether the value is in the quote.

        Brackets make a number negative, and one that is not there is said.
        """
        if field.type not in ("number", "integer") or isinstance(value, bool):
            said = " ".join(str(value).lower().split())
            return value, (), said in " ".join(span.of(self.document.text).lower().split())
        inside = [
            float(one) for number in self.index.numbers_in(span.start, span.end) for one in number.readings
        ]
        if any(abs(one - value) < 1e-9 for one in inside):
            return value, (), True
        if any(abs(one + value) < 1e-9 for one in inside):
            said = f"the quote has {-value:g}, the model wrote {value:g}: the quote's sign is taken"
            return -value, (said,), True
        return value, (f"{value:g} is not in its quote",), False
