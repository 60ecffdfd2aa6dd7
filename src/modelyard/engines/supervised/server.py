"""A server as a process of ours, seen from here. What holds it is the keeper, a small process in between.

Three threads: one hears of the server from the keeper, one reads what it prints, one asks whether it is ready
until it is. So a server that hangs holds up nobody, and its end is seen at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from modelyard.engines.supervised.keeper import descendants, stat_fields
from modelyard.engines.supervised.words import Words
from modelyard.engines.worker.resident import resident_bytes
from modelyard.errors import EngineError, EngineNotInstalledError, ModelyardError, ResourceExhaustedError

_ASK = 0.15  # seconds between questions whether it is ready
_OUTPUT = 0.2  # seconds that the end of the output is waited for once the server has ended
_OVERTIME = 1.5  # seconds after the grace until the keeper is not waited for any longer
_SWEEP = 0.5  # seconds of looking for what a dead keeper has left
_MARK = "MODELYARD_SERVER"  # a variable in the environment of the server and of all that it starts
_KEEPER = Path(__file__).with_name("keeper.py")

_MEMORY = re.compile(
    r"(?i)out of memory|OutOfMemory|\bMemoryError\b|bad_alloc|cannot allocate memory|no available memory"
    r"|less than desired GPU memory|larger than the available KV cache memory"
)
_MISSING = re.compile(r"ModuleNotFoundError|No module named")


class Server:
    """One server process with all that it starts. It is started once; `close` leaves nothing of it.

    It also ends with us, however we end: with `close`, without, or by kill -9. On Linux every descendant of
    the server goes with it, on other systems its process group.

    Args:
        title: what it is, for messages: "the vLLM server of 'qwen'".
        command: the program and its arguments. A key belongs into `env`: arguments are there for all to see.
        env: its whole environment; ours where None.
        cwd: the folder that it runs in; ours where None.
        ready: whether it answers. Asked in a thread while the server lives; an exception counts as no.
        ready_timeout: seconds that it may take to be ready.
        grace: seconds between SIGTERM and SIGKILL in `close`.
        grace_alone: the same when this process has ended.
        on_line: is given each line that the server prints, as it is: not yet redacted. Called in a thread;
            a slow one slows the server down.
    """

    def __init__(
        self,
        title: str,
        command: Sequence[str],
        *,
        ready: Callable[[], bool],
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        ready_timeout: float = 600.0,
        grace: float = 5.0,
        grace_alone: float = 2.0,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        self._title, self._command, self._cwd = title, list(command), cwd
        self._mark = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._env = {**(os.environ if env is None else env), _MARK: self._mark}
        self._is_ready, self._ready_timeout = ready, ready_timeout
        self._grace, self._grace_alone = grace, grace_alone
        self._on_line = on_line
        self._words = Words(self._env)
        self._owner = os.getpid()
        self._state = threading.Condition()
        # All below changes with the condition held.
        self._keeper: subprocess.Popen[bytes] | None = None
        self._control: int | None = None
        self._pid: int | None = None
        self._ready = self._closed = self._gone = False
        self._doubt = ""  # why it is not ready, when the question itself has failed
        self._ended: str | None = None
        self._error: ModelyardError | None = None  # how its end is reported by `start`
        self._callbacks: list[Callable[[str], None]] = []
        self._watcher: threading.Thread | None = None

    # -- for all threads -------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts it, and waits until it is ready. Where that fails, nothing of it is left.

        Raises:
            EngineNotInstalledError: there is no such command, or the server lacks a package.
            ResourceExhaustedError: it ended for want of memory.
            EngineError: it ended otherwise, was not ready in time, or was closed meanwhile.
        """
        with self._state:
            if self._keeper is not None or self._closed:
                raise EngineError(f"{self._title} has been {'closed' if self._closed else 'started'} already")
            self._launch()
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int | None:
        """The server's own process id, None before it runs."""
        return self._pid

    @property
    def alive(self) -> bool:
        """Whether it runs: ready or not."""
        return self._pid is not None and self._ended is None

    @property
    def ended(self) -> str | None:
        """How it ended, as the rest of a sentence with its last words ("exited with status 1; ..."), else None."""
        return self._ended

    def pids(self) -> list[int]:
        """The server and all that has come of it and still runs."""
        with self._state:
            keeper, pid = self._keeper, self._pid
            if keeper is None or pid is None or self._gone:
                return []
            here = [pid] if self._ended is None else []
        return sorted(descendants(keeper.pid)) or here  # without /proc only the server itself is known

    def memory(self) -> int:
        """Bytes of memory that all its processes hold, what they share counted once; 0 where nobody tells.

        It takes the system some milliseconds for each GB: not for an event loop.
        """
        return sum(_held(pid) for pid in self.pids())

    def on_end(self, callback: Callable[[str], None]) -> None:
        """Has `ended` given to a callback when the server ends, also by `close`; at once when it has ended.

        It is called once, from a thread of the server. `close` called in it returns before all is gone.
        """
        with self._state:
            if self._ended is None:
                self._callbacks.append(callback)
                return
        callback(self._ended)

    def close(self) -> None:
        """Stops it, and returns when all of it is gone; at the latest `grace` and 2 seconds later.

        Safe to call twice, in any thread, and while it starts. A forked child of ours that calls it harms
        nothing.
        """
        if os.getpid() != self._owner:
            return
        with self._state:
            self._closed = True
            self._state.notify_all()
            keeper = self._keeper
            if keeper is None:
                return
            if self._control is not None:
                with contextlib.suppress(OSError):  # the keeper has ended
                    os.write(self._control, b"s")
            if threading.current_thread() is self._watcher:
                return
            if self._state.wait_for(lambda: self._gone, self._grace + _OVERTIME):
                return
        keeper.kill()  # it hangs; the system ends the server with it, and the watcher sweeps up
        with self._state:
            self._state.wait_for(lambda: self._gone, 2 - _OVERTIME)

    # -- the start -------------------------------------------------------------------------------------

    def _launch(self) -> None:
        if self._cwd is not None and not Path(self._cwd).is_dir():
            raise EngineError(f"{self._title} cannot be started: there is no folder {self._cwd}")
        heard, self._control = os.pipe()
        status, told = os.pipe()
        try:
            self._keeper = self._start_keeper(heard, told)
        except (OSError, ValueError) as error:
            os.close(status)
            os.close(self._control)
            self._control = None
            raise self._no_start(error) from None
        finally:
            os.close(heard)
            os.close(told)
        listener = threading.Thread(target=self._listen, args=(self._keeper,), daemon=True)
        self._watcher = threading.Thread(
            target=self._watch,
            args=(self._keeper, status, listener),
            name=f"server:{self._title}",
            daemon=True,
        )
        listener.start()
        self._watcher.start()

    def _start_keeper(self, control: int, status: int) -> subprocess.Popen[bytes]:
        numbers = [control, status, os.getpid(), self._grace, self._grace_alone]
        return subprocess.Popen(  # noqa: S603 (this Python, and a module of ours)
            [sys.executable, "-I", "-S", str(_KEEPER), *map(str, numbers), *self._command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[control, status],
            env=self._env,
            cwd=self._cwd,
            start_new_session=True,
        )

    def _wait(self) -> None:
        with self._state:
            over = self._state.wait_for(
                lambda: self._ready or self._closed or self._ended is not None, self._ready_timeout
            )
            if self._error is not None:
                raise self._error
            if self._closed:
                raise EngineError(f"{self._title} was closed while it started")
            if not over:
                reason = f"{self._title} was not ready after {self._ready_timeout:g} seconds{self._doubt}"
                raise EngineError(_with(reason, self._words.last()), hint="Give it more time to start.")

    def _ask(self) -> None:
        """In a thread: asks until the server is ready or has ended."""
        while True:
            with self._state:
                if self._state.wait_for(lambda: self._closed or self._ended is not None, _ASK):
                    return
            try:
                answers, doubt = self._is_ready(), ""
            except Exception as error:
                answers, doubt = False, f" ({type(error).__name__}: {error})"
            with self._state:
                self._doubt = doubt
                if answers and self._ended is None:
                    self._ready = True
                    self._state.notify_all()
                    return

    def _no_start(self, error: OSError | ValueError) -> ModelyardError:
        reason = f"{self._title} cannot be started: "
        number = error.errno if isinstance(error, OSError) else None
        what = os.strerror(number) if number else str(error)
        if number == errno.ENOENT:
            return EngineNotInstalledError(
                f"{reason}there is no command '{self._command[0]}'",
                hint="Install it, or put its folder on PATH.",
            )
        if number in (errno.ENOMEM, errno.EAGAIN):
            return ResourceExhaustedError(f"{reason}{what}")
        return EngineError(f"{reason}'{self._command[0]}': {what}")

    # -- its life, in a thread -------------------------------------------------------------------------

    def _watch(self, keeper: subprocess.Popen[bytes], status: int, listener: threading.Thread) -> None:
        with open(status, "rb") as lines:
            for line in lines:
                word, number = line.split()
                match word:
                    case b"pid":
                        self._run(int(number))
                    case b"failed":
                        self._fail(OSError(int(number), os.strerror(int(number))))
                    case b"ended":
                        listener.join(_OUTPUT)
                        self._end(int(number))
        code = keeper.wait()
        if self._ended is None:
            self._sweep()
            listener.join(_OUTPUT)
            self._end(code, "ended with its keeper, which ")
        elif code < 0:
            self._sweep()
        listener.join(_OUTPUT)
        with self._state:
            if self._control is not None:
                os.close(self._control)
            self._control = None
            self._gone = True
            self._state.notify_all()

    def _run(self, pid: int) -> None:
        with self._state:
            self._pid = pid
        threading.Thread(target=self._ask, name=f"ready:{self._title}", daemon=True).start()

    def _fail(self, error: OSError) -> None:
        problem = self._no_start(error)
        self._report(problem.message.removeprefix(f"{self._title} "), problem)

    def _end(self, code: int, how: str = "") -> None:
        if self._closed:
            self._report("was stopped", EngineError(f"{self._title} was closed while it started"))
            return
        how += f"was killed by {_signal(-code)}" if code < 0 else f"exited with status {code}"
        words = self._words.last()
        said = "\n".join(words)
        kind, hint = _kind(said), None
        if kind is EngineError and code == -signal.SIGKILL:
            hint = "The system may have run out of memory."
        elif kind is EngineNotInstalledError:
            hint = "Install what is missing where the server is installed."
        starting = "" if self._ready else " while it started"
        error = kind(_with(f"{self._title} {how}{starting}", words), hint=hint)
        self._report(_with(how, words), error)

    def _report(self, ended: str, error: ModelyardError) -> None:
        with self._state:
            self._ended, self._error = ended, error
            callbacks, self._callbacks = self._callbacks, []
            self._state.notify_all()
        for callback in callbacks:
            _call(callback, ended)

    def _listen(self, keeper: subprocess.Popen[bytes]) -> None:
        assert keeper.stdout is not None
        tell = self._on_line
        with keeper.stdout as pipe:
            while data := pipe.read1(1 << 16):  # type: ignore[attr-defined]  # a BufferedReader
                for line in self._words.feed(data):
                    if tell is not None and not _call(tell, line):
                        tell = None  # it would fail again, and the server must go on being read

    def _sweep(self) -> None:
        """Kills what a dead keeper has left: all in the server's session, and all that has its mark."""
        until = time.monotonic() + _SWEEP
        while (left := _left(self._pid, self._mark)) and time.monotonic() < until:
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        if sys.platform != "linux" and self._pid is not None:
            with contextlib.suppress(OSError):
                os.killpg(self._pid, signal.SIGKILL)


def free_port(host: str = "127.0.0.1") -> int:
    """A port of the host that nobody listens on.

    Somebody else can take it before the server does. The server then exits, `start` raises, and the caller
    tries again with another; one that asks `ready` of such a port in the meantime asks the other server.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.bind((host, 0))
        return int(one.getsockname()[1])


def _left(session: int | None, mark: str) -> list[int]:
    if sys.platform != "linux":
        return []
    wanted = f"{_MARK}={mark}\0".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        fields = stat_fields(int(folder.name))
        if len(fields) < 4 or fields[0] == b"Z":
            continue
        try:
            marked = wanted in (folder / "environ").read_bytes()
        except OSError:
            marked = False
        if marked or int(fields[3]) == session:
            found.append(int(folder.name))
    return found


def _held(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resident_bytes(pid)


def _kind(said: str) -> type[EngineError] | type[ResourceExhaustedError]:
    if _MEMORY.search(said):
        return ResourceExhaustedError
    return EngineNotInstalledError if _MISSING.search(said) else EngineError


def _with(reason: str, words: Sequence[str]) -> str:
    return f"{reason}; its last words:\n" + "\n".join(words) if words else reason


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # a real-time one has no name


def _call(function: Callable[[str], None], text: str) -> bool:
    """Calls what is not ours in a thread that has to go on: its failure is reported as that of a thread."""
    try:
        function(text)
    except Exception as error:
        thread = threading.current_thread()
        threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, thread)))
        return False
    return True
