"""The child process of a worker engine: hosts one in-process engine and answers over a pipe.

    python -m modelyard.engines.worker.child FD PARENT

It is started by `WorkerEngine`, never by people. It ends with its parent, whatever ends that.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from modelyard.engines.base import Engine
from modelyard.engines.registry import installed_engine
from modelyard.engines.worker.channel import Channel
from modelyard.engines.worker.messages import (
    Abort,
    Batch,
    Beat,
    Call,
    Classify,
    Close,
    Count,
    Embed,
    Encode,
    Failure,
    Freed,
    Generate,
    Load,
    Order,
    Piece,
    Ready,
    Refused,
    Render,
    Reply,
    Score,
    ScoreTokens,
    Value,
)
from modelyard.engines.workspace import clean_up
from modelyard.errors import EngineError, ModelyardError, UnsupportedError

_BEAT = 1.0  # seconds between two signs of life
_FREE_POLL = 0.002  # seconds between looks at whether an aborted call has left the batch
_MANY = 32
"""Answers at once from which the tokens of two steps go to the parent together. Each message wakes it, and every client
with it, on cores that the next step needs; with so many a step takes a tenth of a second anyway."""
_STEP = 0.5  # seconds that tokens wait for the next step at most


class Host:
    """The engine's event loop: calls in, replies out, one message a step; with many answers at once one for two."""

    def __init__(self, channel: Channel, engine: Engine) -> None:
        self._channel = channel
        self._engine = engine
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._generating: set[int] = set()
        self._freeing: set[asyncio.Task[None]] = set()
        self._outbox: list[Reply] = []
        self._held: list[Reply] = []
        self._late: asyncio.TimerHandle | None = None
        self._begun: set[int] = set()
        self._beating = False
        self.event_loop = asyncio.get_running_loop()

    def take(self, orders: Iterable[Order]) -> None:
        """Handles what the parent has sent."""
        for order in orders:
            self._take(order)

    def _take(self, order: Order) -> None:
        match order:
            case Generate() | Score() | ScoreTokens() | Encode() | Render() | Embed() | Classify() | Count():
                task = asyncio.create_task(self._answer(order))
                self._tasks[order.id] = task
                if not self._beating:
                    self._beating = True
                    self.event_loop.call_later(_BEAT, self._beat)
                if isinstance(order, Generate):
                    self._generating.add(order.id)
                task.add_done_callback(lambda done: self._ended(order.id, done))
            case Abort(id=call):
                if call in self._tasks:
                    self._tasks[call].cancel()
            case Close():
                # In a thread: a step that runs is waited for, and the parent has told all callers already.
                threading.Thread(target=self._close, daemon=True).start()

    def ready(self) -> Ready:
        """What the parent is told of the loaded model."""
        engine = self._engine
        tokenizer = None
        with contextlib.suppress(UnsupportedError):  # the parent says it to who asks
            tokenizer = engine.tokenizer_info
        return Ready(engine.capabilities, engine.fingerprint, engine.memory, tokenizer)

    async def _answer(self, call: Call) -> None:
        try:
            match call:
                case Generate(id, request, seconds):
                    if seconds is not None:
                        request = replace(request, deadline=time.monotonic() + seconds)
                    async with contextlib.aclosing(self._engine.generate(request)) as chunks:
                        async for chunk in chunks:
                            self._say(Piece(id, chunk))
                case Score(id, prompt, continuations, adapter, exact):
                    scores = await self._engine.score(prompt, continuations, adapter, exact=exact)
                    self._say(Value(id, scores))
                case ScoreTokens(id, pairs, adapter, exact):
                    self._say(Value(id, await self._engine.score_tokens(pairs, adapter, exact=exact)))
                case Encode(id, texts, special):
                    self._say(Value(id, await self._engine.encode(texts, special=special)))
                case Render(id, messages, answer):
                    self._say(Value(id, await self._engine.render(messages, answer=answer)))
                case Embed(id, texts):
                    self._say(Value(id, await self._engine.embed(texts)))
                case Classify(id, texts):
                    self._say(Value(id, await self._engine.classify(texts)))
                case Count(id, prompt):
                    self._say(Value(id, await self._engine.count_tokens(prompt)))
        except ModelyardError as error:
            self._say(Failure(call.id, error))
        except Exception as error:
            traceback.print_exc()
            reason = f"the engine failed: {type(error).__name__}: {error}"
            self._say(Failure(call.id, EngineError(reason)))

    def _ended(self, call: int, task: asyncio.Task[None]) -> None:
        del self._tasks[call]
        self._generating.discard(call)
        self._begun.discard(call)
        if task.cancelled():
            freeing = asyncio.create_task(self._free(call))
            self._freeing.add(freeing)
            freeing.add_done_callback(self._freeing.discard)

    async def _free(self, call: int) -> None:
        """Says that an aborted call is free once the engine's batch is no larger than the calls that are left."""
        while self._engine.active > len(self._generating):  # noqa: ASYNC110 (an engine tells no event of it)
            await asyncio.sleep(_FREE_POLL)
        self._say(Freed(call))

    def _say(self, reply: Reply) -> None:
        if not self._outbox:
            # The engine wakes all calls of a step together: by the loop's next round each has had its say.
            self.event_loop.call_soon(self._flush)
        self._outbox.append(reply)

    def _flush(self) -> None:
        said, self._outbox = self._outbox, []
        if not self._held and self._waits(said):
            self._held = said
            self._late = self.event_loop.call_later(_STEP, self._flush)
            return
        if self._late is not None:
            self._late.cancel()
            self._late = None
        replies = joined(self._held, said)
        self._held = []
        self._begun.update(one.id for one in replies if isinstance(one, Piece) and one.id in self._generating)
        ends = any(not isinstance(one, Piece) or one.chunk.finish_reason for one in replies)
        self._channel.send(Batch(replies, self._engine.memory if ends else None))

    def _waits(self, said: Sequence[Reply]) -> bool:
        """Whether these may wait for the next step: many tokens, none of them an answer's first or last."""
        return len(said) >= _MANY and all(
            isinstance(one, Piece) and one.chunk.finish_reason is None and one.id in self._begun
            for one in said
        )

    def _beat(self) -> None:
        self._beating = bool(self._tasks)
        if self._beating:
            self._channel.send(Beat(self._engine.steps if self._generating else None))
            self.event_loop.call_later(_BEAT, self._beat)

    def _close(self) -> None:
        self._engine.close()
        _leave(0)


def joined(held: Sequence[Reply], said: Sequence[Reply]) -> tuple[Reply, ...]:
    """All replies, what waited first; where something waited, the pieces of one answer are one.

    >>> from modelyard.types import Chunk
    >>> one, other, freed = joined([Piece(1, Chunk("a")), Piece(2, Chunk("b"))], [Piece(1, Chunk("c")), Freed(2)])
    >>> one.chunk.text, other.chunk.text, freed
    ('ac', 'b', Freed(id=2))
    """
    if not held:
        return tuple(said)
    pieces: dict[int, Piece] = {}
    others: list[Reply] = []
    for one in (*held, *said):
        if not isinstance(one, Piece):
            others.append(one)
        elif (before := pieces.get(one.id)) is None:
            pieces[one.id] = one
        else:
            text = before.chunk.text + one.chunk.text
            tokens = (*before.chunk.tokens, *one.chunk.tokens)
            pieces[one.id] = Piece(one.id, replace(one.chunk, text=text, tokens=tokens))
    return (*pieces.values(), *others)


class _Inbox:
    """What the parent sends, read in a thread from the first moment: its end is seen also during a load."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._waiting: list[Order] = []
        self._host: Host | None = None
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def connect(self, host: Host) -> None:
        """Hands over to the event loop, from now on."""
        with self._lock:
            self._host = host
            host.take(self._waiting)

    def _read(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                orders = self._channel.receive().orders
                with self._lock:
                    if self._host is not None:
                        self._host.event_loop.call_soon_threadsafe(self._host.take, orders)
                    elif any(isinstance(order, Close) for order in orders):
                        break
                    else:
                        self._waiting += orders
        _leave(0)


def main() -> None:
    """Loads the model that the parent names, and serves it until the parent says so or is gone."""
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _end_with(parent)
    faulthandler.enable()  # a crash in C leaves its Python lines on stderr, for the parent's message
    os.set_inheritable(descriptor, False)
    # As in `modelyard.cli`: OpenVINO goes on without its model converter and that one's telemetry client.
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    channel = Channel(Connection(descriptor))
    wanted, *more = channel.receive().orders
    if more or not isinstance(wanted, Load):
        _leave(0)  # the parent could not say what to load, or has changed its mind
    inbox = _Inbox(channel)
    try:
        engine = installed_engine(wanted.engine)(wanted.model, wanted.options)
    except ModelyardError as error:
        channel.send(Refused(error))
        _leave(1)
    asyncio.run(_serve(channel, inbox, engine))


async def _serve(channel: Channel, inbox: _Inbox, engine: Engine) -> None:
    asyncio.get_running_loop().set_exception_handler(_crash)
    host = Host(channel, engine)
    channel.send(host.ready())
    inbox.connect(host)
    await asyncio.Event().wait()


def _crash(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A reply that cannot be delivered would leave its caller waiting for ever: better no child than that."""
    error = context.get("exception")
    sys.stderr.write(f"{context['message']}\n")
    if isinstance(error, BaseException):
        traceback.print_exception(error)
    _leave(70)


def _end_with(parent: int) -> None:
    """Has the system end this process with its parent's thread; elsewhere the pipe's end does it."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            _leave(0)  # the parent went before it could be asked for above


def _leave(code: int) -> NoReturn:
    """Ends the process without waiting for its threads, a conversion's files and child removed."""
    clean_up()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
