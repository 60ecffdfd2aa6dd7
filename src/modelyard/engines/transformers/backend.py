"""The batch as the step loop drives it: requests wait for room, are read, and then answer together.

A step reads a piece of the newcomers' prompts and makes one token for everyone who answers. A long prompt is
read in pieces, so that the others go on meanwhile and its caller can leave.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from modelyard.engines.detokenize import Piece, top_tokens
from modelyard.engines.steploop import Delta, Job
from modelyard.engines.transformers.memory import is_out_of_memory, release, too_large
from modelyard.engines.transformers.sampling import Choice, Likeliest, choose
from modelyard.errors import EngineError, ModelyardError, ResourceExhaustedError
from modelyard.types import FinishReason

_PIECE_SECONDS = 0.3  # of one piece of a prompt: for so long the others wait, and a caller who leaves
FIRST_PIECE = 128
"""Tokens of the first piece of a prompt on a processor whose speed is not known yet."""
_LEAST_PIECE = 32  # tokens
_READINGS = 4  # steps in a row that end the reading of newcomers while those who answer wait


@dataclass(slots=True, eq=False)
class Row:
    """One request in a batch.

    Attributes:
        ids: of the prompt.
        budget: most tokens of the answer.
        inputs: what belongs to the first forward pass beside the ids: pixels, a grid, an attention mask.
        adapter: the name of its adapter, None for the base model.
        delta: by how much its positions differ from its count of tokens (rotary positions of images).
        made: tokens of the answer.
    """

    job: Job
    ids: Sequence[int]
    choice: Choice
    budget: int
    inputs: dict[str, Any]
    adapter: str | None = None
    delta: int = 0

    @property
    def made(self) -> int:
        return len(self.choice.made)

    @property
    def longest(self) -> int:
        """Tokens of prompt and answer together, at most."""
        return len(self.ids) + self.budget


class Batch(Protocol):
    """Rows that advance together."""

    rows: list[Row]

    @property
    def nbytes(self) -> int:
        """Bytes of its KV cache."""

    def step(self) -> torch.Tensor:
        """The scores of each row's next token, `[rows, vocabulary]`; the rows have a last token already."""

    def remove(self, row: Row) -> None:
        """Takes a row out."""


class Reading(Protocol):
    """Newcomers whose prompts are being read."""

    rows: list[Row]

    def advance(self, tokens: int) -> torch.Tensor | None:
        """Reads some more; the scores of each row's first token when the prompts are read."""


class Machine(Protocol):
    """What the backend needs of a model."""

    eos: frozenset[int]
    row_bytes: int
    """Bytes of cache that one token of one row takes."""

    def read(self, rows: list[Row]) -> Reading:
        """Begins to read the prompts of rows that can be read together."""

    def together(self, rows: Sequence[Row], row: Row) -> bool:
        """Whether a row can be read in one pass with these."""

    def join(self, batches: list[Batch], reading: Reading) -> None:
        """Puts rows that have been read into a batch."""


class TorchBackend:
    """Drives a model's batches.

    Args:
        machine: the model.
        text: the bytes of a token.
        max_batch: most rows that answer at once.
        piece: most tokens of one piece of a prompt.
        first_piece: tokens of the first one; the time that it takes sizes the next.
        cache_room: most bytes of KV cache.
    """

    def __init__(
        self,
        machine: Machine,
        text: Piece,
        *,
        max_batch: int,
        piece: int,
        first_piece: int,
        cache_room: int,
    ) -> None:
        self._machine = machine
        self._text = text
        self._max_batch = max_batch
        self._largest = piece
        self._piece = first_piece
        self._cache_room = cache_room
        self._waiting: deque[Row] = deque()
        self._reading: Reading | None = None
        self._batches: list[Batch] = []
        self._rows: dict[int, Row] = {}
        self._eos = sorted(machine.eos)
        self._readings = 0  # since the last step that answered

    @property
    def cache_bytes(self) -> int:
        """Bytes of KV cache held now."""
        return sum(batch.nbytes for batch in tuple(self._batches))

    def add(self, job: Job) -> None:
        row: Row = job.config
        row.job = job
        most = self._cache_room // max(self._machine.row_bytes, 1)
        if row.longest > most:
            raise ResourceExhaustedError(
                f"prompt and answer may have {row.longest} tokens, and the KV cache has room for {most}",
                hint="Ask for fewer tokens, or raise the option kv_cache_gb.",
            )
        self._rows[id(job)] = row
        self._waiting.append(row)

    def drop(self, job: Job) -> None:
        row = self._rows.get(id(job))
        if row is None:
            return
        if row in self._waiting:
            self._waiting.remove(row)
        self._leave(row)
        # A row that is being read leaves when its batch is formed; alone, at once.
        if self._reading is not None and not any(id(one.job) in self._rows for one in self._reading.rows):
            self._reading = None

    def close(self) -> None:
        self._waiting.clear()
        self._rows.clear()
        self._batches.clear()
        self._reading = None
        del self._machine

    def step(self) -> Iterable[Delta]:
        with torch.inference_mode():
            if self._reading is None:
                self._begin()
            deltas: list[Delta] = []
            if self._reading is not None:
                deltas = self._read()
                self._readings += 1
                # First tokens go out at once; but whoever comes, those who answer get on after a few steps.
                if deltas and self._readings <= _READINGS:
                    return deltas
            self._readings = 0
            return deltas + [delta for batch in tuple(self._batches) for delta in self._answer(batch)]

    # -- reading ---------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Takes as many newcomers as fit beside those who answer, and can be read together."""
        answering = [row for batch in self._batches for row in batch.rows]
        taken: list[Row] = []
        while self._waiting and len(answering) + len(taken) < self._max_batch:
            row = self._waiting[0]
            if taken and not self._machine.together(taken, row):
                break
            if (answering or taken) and not self._fits([*answering, *taken, row]):
                break
            taken.append(self._waiting.popleft())
        if taken:
            self._reading = self._machine.read(taken)

    def _fits(self, rows: Sequence[Row]) -> bool:
        # All rows end at the same column, so the cache is a rectangle.
        columns = max(row.longest for row in rows)
        return len(rows) * columns * self._machine.row_bytes <= self._cache_room

    def _read(self) -> list[Delta]:
        reading = self._reading
        assert reading is not None
        began = time.monotonic()
        try:
            scores = reading.advance(self._piece)
            if scores is None:
                self._adapt(time.monotonic() - began)
                return []
            self._reading = None
            self._machine.join(self._batches, reading)
        except Exception as error:
            self._reading = None
            return self._fail(reading.rows, error)
        rows = list(reading.rows)
        return self._choose(scores, rows)

    def _adapt(self, seconds: float) -> None:
        """Sizes the next piece by the time of the last one."""
        wanted = int(self._piece * _PIECE_SECONDS / max(seconds, 1e-3))
        self._piece = min(self._largest, max(_LEAST_PIECE, min(wanted, 2 * self._piece)))

    # -- answering -------------------------------------------------------------------------------------

    def _answer(self, batch: Batch) -> list[Delta]:
        rows = list(batch.rows)
        try:
            return self._choose(batch.step(), rows)
        except Exception as error:
            if is_out_of_memory(error) and len(rows) > 1:
                # The newest row goes, and the others have its room in the next step.
                return self._fail(rows[-1:], error)
            return self._fail(rows, error)

    def _choose(self, scores: torch.Tensor, rows: list[Row]) -> list[Delta]:
        gone = [row for row in rows if id(row.job) not in self._rows]
        chosen = choose(scores, [row.choice for row in rows], self._eos)
        deltas = [
            self._took(row, token, logprob, likeliest)
            for row, token, logprob, likeliest in zip(rows, *chosen, strict=True)
            if row not in gone
        ]
        for row in (*gone, *(delta.job.config for delta in deltas if delta.finish or delta.error)):
            self._leave(row)
        return deltas

    def _took(self, row: Row, token: int, logprob: float | None, likeliest: Likeliest) -> Delta:
        choice = row.choice
        guide = choice.guide
        if guide is not None and guide.error is not None:
            return Delta(row.job, (), (), error=guide.error)
        choice.made.append(token)
        finish: FinishReason | None = "length" if row.made >= row.budget else None
        if token in self._machine.eos:
            finish = "stop"
        elif guide is not None:
            guide.accept(token)
            finish = "stop" if guide.finished else finish
        tops = [top_tokens(likeliest, self._text)] if likeliest else ()
        return Delta(row.job, [token], [logprob], finish, tops=tops)

    def _leave(self, row: Row) -> None:
        self._rows.pop(id(row.job), None)
        with torch.inference_mode():
            for batch in self._batches:
                if row in batch.rows:
                    batch.remove(row)
        self._batches = [batch for batch in self._batches if batch.rows]

    def _fail(self, rows: Sequence[Row], error: Exception) -> list[Delta]:
        rows = [row for row in rows if id(row.job) in self._rows]
        for row in rows:
            self._leave(row)
        out = is_out_of_memory(error)
        if out:
            release()
        return [Delta(row.job, (), (), error=self._named(error, row, out)) for row in rows]

    def _named(self, error: Exception, row: Row, out: bool) -> ModelyardError:
        if isinstance(error, ModelyardError):
            return error
        if out:
            others = sum(len(batch.rows) for batch in self._batches)
            return too_large(row.longest, others, self._machine.row_bytes)
        return EngineError(f"the model failed in a step: {type(error).__name__}: {str(error)[:300]}")
