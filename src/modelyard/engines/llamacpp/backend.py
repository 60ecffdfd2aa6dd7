"""llama.cpp's server as the step loop drives it.

Each running request has a thread that waits inside the server and turns its messages into deltas; a step
takes what has come. The server itself batches the requests.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from modelyard.engines.llamacpp.files import ModelFile
from modelyard.engines.llamacpp.sampling import later_seed
from modelyard.engines.llamacpp.scorer import Entries, Scorer, logprob_of
from modelyard.engines.llamacpp.server import LlamaServer
from modelyard.engines.llamacpp.slots import Slots
from modelyard.engines.llamacpp.split import spelled
from modelyard.engines.steploop import Delta, Job
from modelyard.errors import EngineCrashedError, EngineError, ModelyardError
from modelyard.types import FinishReason, TopLogprob, Warning

_PATIENCE = 0.005  # seconds of a step in which nothing comes: new requests and deadlines wait no longer

_UNKNOWN_IDS = Warning(
    "token_ids_unknown",
    "llama.cpp does not report tokens that end inside a character; some could not be worked out (id -1)",
)
_UNSURE_IDS = Warning(
    "token_ids_unsure",
    "llama.cpp does not report tokens that end inside a character; some could be cut in more than one way",
)


@dataclass(slots=True)
class Plan:
    """What a request asks of llama.cpp.

    `probs` is how many of the likeliest tokens the server lists, `top` how many of them are told. `texts` are
    the bytes of the tokens as they go to the text stream, in order.
    """

    prompt: list[int]
    body: dict[str, Any]
    budget: int
    least: int
    probs: int
    top: int = 0
    texts: deque[bytes] = field(default_factory=deque)


class ServerBackend:
    """Requests on llama.cpp's slots, in the order in which they came."""

    def __init__(self, server: LlamaServer, file: ModelFile, scorer: Scorer, slots: int) -> None:
        self._server, self._file, self._scorer = server, file, scorer
        self._slots = Slots(slots)
        self._waiting: deque[Job] = deque()
        self._runs: dict[int, _Run] = {}
        self._lock = threading.Lock()  # a run's thread gives its slot back, whether or not a step follows
        self._deltas: queue.SimpleQueue[Delta] = queue.SimpleQueue()

    @property
    def active(self) -> int:
        """Requests that wait, run, or are being given up."""
        return len(self._waiting) + len(self._runs)

    def add(self, job: Job) -> None:
        with self._lock:
            self._waiting.append(job)

    def drop(self, job: Job) -> None:
        with self._lock:
            if job in self._waiting:
                self._waiting.remove(job)
            elif id(job) in self._runs:
                self._runs[id(job)].gone = True

    def close(self) -> None:
        with self._lock:
            self._waiting.clear()
            runs = list(self._runs.values())
        for run in runs:
            run.gone = True
        for run in runs:
            run.thread.join()
        self._scorer.close()
        self._server.close()

    def step(self) -> Iterable[Delta]:
        self._launch()
        deltas: list[Delta] = []
        with contextlib.suppress(queue.Empty):
            deltas.append(self._deltas.get(timeout=_PATIENCE))
            while True:
                deltas.append(self._deltas.get_nowait())
        return deltas

    def _launch(self) -> None:
        with self._lock:
            while self._waiting and len(self._slots):
                job = self._waiting.popleft()
                job.started = time.monotonic()
                run = _Run(job, self._slots.take(job.config.prompt), self._server, self._file, self._scorer)
                self._runs[id(job)] = run
                run.thread = threading.Thread(
                    target=self._work, args=(run,), name="llamacpp-run", daemon=True
                )
                run.thread.start()

    def _work(self, run: _Run) -> None:
        try:
            run.answer(self._deltas.put)
        except ModelyardError as error:
            self._deltas.put(Delta(run.job, (), (), error=error))
        except Exception as error:
            self._deltas.put(Delta(run.job, (), (), error=EngineError(f"the answer failed: {error!r}"[:300])))
        finally:
            with self._lock:
                del self._runs[id(run.job)]
                self._slots.give(run.slot, run.read)


@dataclass(slots=True)
class _Made:
    """Tokens that have come: ids, bytes, logprobs, and the likeliest at the place of each."""

    ids: list[int] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    logprobs: list[float | None] = field(default_factory=list)
    tops: list[tuple[TopLogprob, ...]] = field(default_factory=list)

    @classmethod
    def unknown(cls, count: int) -> _Made:
        """Tokens that could not be worked out."""
        return cls([-1] * count, [b""] * count, [None] * count, [()] * count)

    def add(self, token: int, piece: bytes, logprob: float | None, top: tuple[TopLogprob, ...]) -> None:
        """Takes one more."""
        self.ids.append(token)
        self.pieces.append(piece)
        self.logprobs.append(logprob)
        self.tops.append(top)


class _Run:
    """One request on one slot, in a thread of its own."""

    thread: threading.Thread

    def __init__(self, job: Job, slot: int, server: LlamaServer, file: ModelFile, scorer: Scorer) -> None:
        self.job, self.slot = job, slot
        self.plan: Plan = job.config
        self.read = list(self.plan.prompt)  # what the slot holds
        self.gone = False
        self._server, self._file, self._scorer = server, file, scorer
        self._put: Callable[[Delta], None]
        self._made = 0
        self._seen = 0  # tokens of the server's current answer
        self._held: _Made | None = None
        self._unknown = False
        self._ended = False

    def answer(self, put: Callable[[Delta], None]) -> None:
        """Runs the request to its end, or until the caller has gone.

        The end of the text is banned until the least length is reached, in a request of its own to the
        server; a second one goes on from there, in the same slot.
        """
        self._put, plan = put, self.plan
        if plan.least:
            self._request({"ignore_eos": True})
        if plan.least < plan.budget and not self._ended and not self.gone:
            self._flush()
            if self._unknown:
                raise EngineError("the answer cannot be continued: llama.cpp did not report all its tokens")
            self._request({"seed": later_seed(plan.body["seed"])} if plan.least else {})
        if not self._ended and not self.gone:
            raise EngineCrashedError("llama.cpp ended the answer without saying why")

    def _request(self, change: dict[str, Any]) -> None:
        body = self.plan.body | {
            "prompt": self.read,
            "id_slot": self.slot,
            "n_predict": self.plan.budget - self._made,
            "n_probs": self.plan.probs,
            **change,
        }
        self._seen = 0
        first = self._made < self.plan.least
        self._server.complete(body, lambda message: self._take(message, first))

    def _take(self, message: dict[str, Any], first: bool) -> bool:
        """Reads a message; true ends this request to the server."""
        if self.gone:
            return True
        facts = message["__verbose"]
        if facts["stop"]:
            self._finish(facts)
        elif "prompt_progress" not in message:
            self._token(message["choices"][0], facts)
        return first and self.plan.least <= self._made < self.plan.budget

    def _token(self, choice: dict[str, Any], facts: dict[str, Any]) -> None:
        self._flush()
        last: int = facts["tokens"][0]
        entry = choice["logprobs"]["content"][0] if choice["logprobs"] else None
        text = bytes(entry["bytes"]) if entry else choice["text"].encode()
        missing = facts["tokens_predicted"] - self._seen - 1
        self._seen += missing + 1
        self._made += missing + 1
        made = self._missing(text, last, missing)
        made.add(
            last,
            text[sum(map(len, made.pieces)) :],
            entry["logprob"] if entry else None,
            self._top(entry["top_logprobs"] if entry else ()),
        )
        self._unknown = self._unknown or -1 in made.ids
        if not self._unknown:
            self.read += made.ids
        if text:
            self._send(made)
        else:
            self._held = made  # it may be the end of the text, which is no part of it

    def _top(self, likeliest: Entries) -> tuple[TopLogprob, ...]:
        return tuple(
            TopLogprob(bytes(one["bytes"]).decode("utf-8", "replace"), one["id"], logprob_of(one))
            for one in likeliest[: self.plan.top]
        )

    def _missing(self, text: bytes, last: int, count: int) -> _Made:
        """The tokens before `last` that the server has not reported."""
        if not count:
            return _Made()
        table = self._file.pieces
        ways = spelled(text, table[last], count, self._file.spellings) if table else []
        if not ways:
            self._warn(_UNKNOWN_IDS)
            return _Made.unknown(count)
        if len(ways) > 1:
            self._warn(_UNSURE_IDS)
        pieces, ids = ways[0]
        found = None
        if self.plan.probs and not self._unknown:
            found = self._scorer.logprobs(
                self.read, ids, self.plan.body["lora"], lambda: self.gone, self.plan.probs
            )
        made = _Made()
        for at, (token, piece) in enumerate(zip(ids, pieces, strict=True)):
            logprob, likeliest = found[at] if found else (None, ())
            made.add(token, piece, logprob, self._top(likeliest))
        return made

    def _finish(self, facts: dict[str, Any]) -> None:
        self._ended = True
        missing = facts["tokens_predicted"] - self._seen
        if facts["stop_type"] == "eos":
            held = self._held or _Made()
            self.job.eos = frozenset(held.ids[-1:])
            self._send(held, "stop")
            return
        self._flush()
        if missing:
            self._warn(_UNKNOWN_IDS)
        self._send(_Made.unknown(missing), "length")

    def _flush(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._send(held)

    def _send(self, made: _Made, finish: FinishReason | None = None) -> None:
        self.plan.texts.extend(made.pieces)
        self._put(Delta(self.job, made.ids, made.logprobs, finish, tops=made.tops))

    def _warn(self, warning: Warning) -> None:
        if warning not in self.job.warnings:
            self.job.warnings = (*self.job.warnings, warning)
