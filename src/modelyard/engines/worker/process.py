"""One child process, and the calls that run in it, seen from the parent.

Three threads and no lock held across any of them: one starts the child, reads its replies and sees its end,
one writes to it, one keeps the last of what it prints. So neither a slow child nor a large prompt ever
holds up an event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from multiprocessing.connection import Pipe

from modelyard.catalog.auth import redact
from modelyard.engines.base import Memory
from modelyard.engines.grammar.limits import canonical
from modelyard.engines.worker.channel import Channel
from modelyard.engines.worker.messages import (
    Abort,
    Batch,
    Beat,
    Call,
    Close,
    Failure,
    Generate,
    Load,
    Order,
    Orders,
    Piece,
    Ready,
    Refused,
    Reply,
    Report,
)
from modelyard.errors import EngineCrashedError, EngineError, InvalidArgumentError, ModelyardError

_KEPT = 32 * 1024  # bytes of the child's output
_SHOWN = 8  # lines of it in an error's message
_BEFORE = (
    3  # lines of these that stand before a report of Python's fault handler: what a library said at last
)
_STEP_SHARE = 5  # so many times as long as an answer may a single step take, of a long prompt say
_PATIENCE = 3.0  # seconds that a child is given to close its engine


class Caller:
    """One who waits for a call's replies, in the event loop that he waits in."""

    __slots__ = ("event_loop", "generates", "id", "replies")

    def __init__(self, number: int, *, generates: bool) -> None:
        self.id = number
        self.generates = generates
        self.event_loop = asyncio.get_running_loop()
        self.replies: asyncio.Queue[Reply] = asyncio.Queue()


class Process:
    """A child process with one model.

    Args:
        title: the model and its engine, for messages.
        load: what the child is to load.
        crash: the error of a child that ends while it loads.

    Attributes:
        ready: what the child says once the model is loaded, or why it is not.
        memory: as the child last reported it.
    """

    def __init__(self, title: str, load: Load, crash: type[EngineError]) -> None:
        self._title = title
        self._crash = crash
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._callers: dict[int, Caller] = {}
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._orders.put(load)
        self._process: subprocess.Popen[bytes] | None = None
        self._said = b""
        self._alive = self._stepped = time.monotonic()
        self._steps: int | None = None
        self._ended: str | None = None  # why no new call is taken
        self.memory = Memory(0, 0)
        self.ready: Future[Ready] = Future()
        self.ready.set_running_or_notify_cancel()  # who stops waiting does so for himself alone
        # The system ends the child with the thread that started it, so this one lives as long as the child.
        self._thread = threading.Thread(target=self._run, name=f"worker:{title}", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        """Whether the child has ended, or is told to."""
        return self._ended is not None

    @property
    def pid(self) -> int | None:
        """The child's process id, None before it is started."""
        return None if self._process is None else self._process.pid

    @property
    def active(self) -> int:
        """Answers asked for and not yet ended, those included that are left and not yet freed."""
        with self._lock:
            return sum(caller.generates for caller in self._callers.values())

    @property
    def silence(self) -> float:
        """Seconds for which a child with calls to answer has said nothing, or a fifth of those without a step."""
        with self._lock:
            if not self._callers or self._ended is not None:
                return 0.0
        now = time.monotonic()
        return max(now - self._alive, (now - self._stepped) / _STEP_SHARE)

    def kill(self) -> None:
        """Ends the child at once; who waits for it is told."""
        if self._process is not None:
            self._process.kill()

    def call(self, make: Callable[[int], Call]) -> Caller:
        """Sends a call.

        Raises:
            EngineCrashedError: the child has ended.
        """
        order = make(next(self._ids))
        caller = Caller(order.id, generates=isinstance(order, Generate))
        with self._lock:
            if self._ended is not None:
                raise EngineCrashedError(self._ended)
            if not self._callers:
                self._alive = self._stepped = time.monotonic()
            self._callers[order.id] = caller
        self._orders.put(order)
        return caller

    def leave(self, caller: Caller) -> None:
        """Aborts a call, unless it has ended."""
        with self._lock:
            ended = caller.id not in self._callers
        if not ended:
            self._orders.put(Abort(caller.id))

    def close(self) -> None:
        """Ends all calls and the child: by request, and where that is not heard, by force."""
        self._end(EngineCrashedError("the model was unloaded while the request ran"))
        self._orders.put(Close())
        self._thread.join(_PATIENCE)
        if self._process is not None:
            self._process.kill()
        self._thread.join()

    # -- the child's life, in a thread -----------------------------------------------------------------

    def _run(self) -> None:
        ours, theirs = Pipe()
        with ours, theirs:
            try:
                self._process = process = _start(theirs.fileno())
            except OSError as error:
                self._end(EngineError(f"the process of {self._title} cannot be started: {error}"))
                return
            theirs.close()  # or its end would never be seen here
            channel = Channel(ours)
            writer = threading.Thread(target=self._write, args=(channel,), daemon=True)
            listener = threading.Thread(target=self._listen, args=(process,), daemon=True)
            writer.start()
            listener.start()
            with contextlib.suppress(EOFError, OSError):
                while True:
                    self._take(channel.receive())
            self._bury(process, listener)
            self._orders.put(None)
            writer.join()

    def _bury(self, process: subprocess.Popen[bytes], listener: threading.Thread) -> None:
        """The pipe has ended, and with it the child: all who wait are told how."""
        try:
            code = process.wait(1)
        except subprocess.TimeoutExpired:  # it has closed the pipe and lives on
            process.kill()
            code = process.wait()
        listener.join(0.6)  # longer where a process that the child left behind holds its output open
        loading = not self.ready.done()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"
        reason = f"the process of {self._title} {how}" + (" while it loaded the model" if loading else "")
        if lines := self._last_lines():
            reason += "; its last words:\n" + "\n".join(lines)
        hint = "The system may have run out of memory." if loading and code == -signal.SIGKILL else None
        self._end(self._crash(reason, hint=hint) if loading else EngineCrashedError(reason))

    def _end(self, error: ModelyardError) -> None:
        """Takes no new call, and fails those that run; the first reason holds."""
        with self._lock:
            if self._ended is None:
                self._ended = error.message
            running = list(self._callers)
            if not self.ready.done():
                self.ready.set_exception(error)
        self._deliver(Failure(caller, EngineCrashedError(self._ended)) for caller in running)

    # -- from the child --------------------------------------------------------------------------------

    def _take(self, report: Report) -> None:
        self._alive = time.monotonic()
        match report:
            case Beat(steps):
                if steps is None or steps != self._steps:
                    self._stepped = self._alive
                self._steps = steps
            case Ready(memory=memory):
                self.memory = memory
                with self._lock:
                    if not self.ready.done():
                        self.ready.set_result(report)
            case Refused(error):
                self._end(error)
            case Batch(replies, memory):
                self.memory = memory or self.memory
                self._stepped = self._alive
                self._deliver(replies)

    def _deliver(self, replies: Iterable[Reply]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Caller, Reply]]] = defaultdict(list)
        with self._lock:
            for reply in replies:
                last = not isinstance(reply, Piece) or reply.chunk.finish_reason is not None
                caller = self._callers.pop(reply.id, None) if last else self._callers.get(reply.id)
                if caller is not None:
                    by_loop[caller.event_loop].append((caller, reply))
        for event_loop, items in by_loop.items():
            with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody waits there any more
                event_loop.call_soon_threadsafe(_put, items)

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as pipe:
            while data := pipe.read1(_KEPT):  # type: ignore[attr-defined]  # a BufferedReader
                self._said = (self._said + data)[-_KEPT:]

    def _last_lines(self) -> list[str]:
        lines = redact(self._said.decode("utf-8", "replace")).splitlines()
        said = [line.rstrip() for line in lines if line.strip()]
        fatal = (at for at, line in enumerate(said) if line.startswith("Fatal Python error"))
        begin = max(0, next(fatal, len(said) - _SHOWN + _BEFORE) - _BEFORE)
        return said[begin : begin + _SHOWN]

    # -- to the child ----------------------------------------------------------------------------------

    def _write(self, channel: Channel) -> None:
        while (order := self._orders.get()) is not None:
            orders = [order]
            with contextlib.suppress(queue.Empty):
                while (order := self._orders.get_nowait()) is not None:
                    orders.append(order)
            try:
                self._send(channel, orders)
            except OSError:
                return  # the child is gone, which the thread that reads will see too
            if order is None:
                return

    def _send(self, channel: Channel, orders: list[Order]) -> None:
        try:
            channel.send(Orders(tuple(orders)))
        except OSError:
            raise
        except Exception as error:
            if len(orders) == 1:
                self._refuse(orders[0], error)
            else:
                for one in orders:
                    self._send(channel, [one])

    def _refuse(self, order: Order, error: Exception) -> None:
        """A message that cannot be written: a schema nested too deeply, an option that is a function."""
        refusal: ModelyardError = InvalidArgumentError(
            f"the process of {self._title} cannot be sent this: {error}", hint="Use plain values."
        )
        if isinstance(order, Generate) and order.request.constraint is not None:
            try:
                canonical(order.request.constraint)
            except ModelyardError as better:
                refusal = better
        if isinstance(order, Load | Abort | Close):
            self._end(refusal)
            self._orders.put(Close())
        else:
            self._deliver([Failure(order.id, refusal)])


def _start(descriptor: int) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-P", "-m", "modelyard.engines.worker.child", str(descriptor), str(os.getpid())]
    return subprocess.Popen(  # noqa: S603 (this Python, and a module of ours)
        line,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[descriptor],
        process_group=0,  # Ctrl-C in the terminal is the parent's to handle
    )


def _put(items: list[tuple[Caller, Reply]]) -> None:
    for caller, reply in items:
        caller.replies.put_nowait(reply)
