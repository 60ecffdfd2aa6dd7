"""The process between us and a server: it starts the server, and leaves nothing of it behind.

    python -I -S keeper.py CONTROL STATUS PARENT GRACE ALONE COMMAND...

It is started by `Server`, never by people, and imports next to nothing: it is there in some 20 ms.

- CONTROL is the end of a pipe. A byte in it stops the server: SIGTERM, GRACE seconds, SIGKILL. So does a
  SIGTERM to the keeper. The pipe's end, or the end of PARENT (also where a forked child of it holds the
  pipe open), does the same with ALONE seconds.
- STATUS is the end of another, for lines: `pid N` once the server runs, else `failed ERRNO`; `ended N` when
  it has ended, with its exit status or the signal as a negative number. What is left of its descendants is
  killed then, and the keeper exits with the server's status, 128 + N after signal N.

On Linux all of the server's descendants are found, also those that have left its session and been given up
by their parents: these come to the keeper, which is their reaper. The server is killed by the system if the
keeper is. Elsewhere the keeper kills the server's process group, so a process that has left it may stay.
"""

# pathlib and typing take as long to import as all of this takes to start.
# ruff: noqa: PTH112, PTH123, PTH208
from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_CHILD_SUBREAPER, _PARENT_DEATH_SIGNAL = 36, 1  # of prctl
_LOOK = 0.5  # seconds between looks for the parent, where the system does not tell of its end
_LONGEST = 0.25  # seconds between two rounds of killing
_TIDYING = 0.5  # seconds that multiprocessing's resource tracker has once all others are gone


class Keeper:
    """Watches one server and what comes of it.

    Args:
        control: where the parent says to stop.
        status: where the parent is told of the server.
        parent: its process id.
        grace: seconds between SIGTERM and SIGKILL.
        alone: the same where the parent has gone.
    """

    def __init__(self, control: int, status: int, parent: int, grace: float, alone: float) -> None:
        self._control, self._status, self._parent = control, status, parent
        self._grace, self._alone = grace, alone
        self._server = 0
        self._code: int | None = None
        for descriptor in (control, status):
            os.set_inheritable(descriptor, False)
        self._signals = _signals()
        self._watched = _watch(parent)
        self._poll = select.poll()
        for one in (control, self._signals, self._watched):
            if one is not None:
                self._poll.register(one, select.POLLIN)

    def run(self, command: list[str]) -> int:
        """Runs the server to its end; gives the exit status."""
        if os.getppid() != self._parent:
            return 0  # it went before its end could be watched
        _become_reaper()
        self._server, problem = _start(command)
        if problem:
            os.waitpid(self._server, 0)
            self._tell(f"failed {problem}")
            return 127
        self._tell(f"pid {self._server}")
        self._keep()
        self._clear()
        code = self._code or 0
        return code if code >= 0 else 128 - code

    def _keep(self) -> None:
        """Until the server has ended, or had its time to."""
        end: float | None = None
        while self._reap() and self._code is None:
            now = time.monotonic()
            if end is not None and now >= end:
                return
            # Where the parent's end is not watched, it is looked for.
            waits = [end - now] if end is not None else []
            waits += [_LOOK] if self._watched is None else []
            seconds = self._asked(min(waits) if waits else None)
            if seconds is not None:
                if end is None:
                    _kill(self._server, signal.SIGTERM)
                new = time.monotonic() + seconds
                end = new if end is None else min(end, new)

    def _asked(self, timeout: float | None) -> float | None:
        """Waits for something to happen; gives the seconds that the server has if it is to stop."""
        events = {one for one, _ in self._poll.poll(None if timeout is None else timeout * 1000 + 1)}
        grace: list[float] = []
        if self._signals in events and not set(os.read(self._signals, 512)) <= {signal.SIGCHLD}:
            grace.append(self._grace)
        if self._control in events:
            if os.read(self._control, 512):
                grace.append(self._grace)
            else:
                self._poll.unregister(self._control)
                grace.append(self._alone)
        if self._watched in events:
            self._poll.unregister(self._watched)
            grace.append(self._alone)
        if self._watched is None and os.getppid() != self._parent:
            grace.append(self._alone)
        return min(grace, default=None)

    def _clear(self) -> None:
        """Kills what is left, again and again: the children of the killed come to us."""
        pause, tidied = 0.005, time.monotonic() + _TIDYING
        if not os.path.isdir("/proc/self"):
            with contextlib.suppress(OSError):
                os.killpg(self._server, signal.SIGKILL)
        while self._reap():
            found = descendants(os.getpid())
            others = [one for one in found if not _tidies(one)]
            if others:
                tidied = time.monotonic() + _TIDYING
            for one in others or (found if time.monotonic() > tidied else []):
                _kill(one, signal.SIGKILL)
            if select.select([self._signals], [], [], pause)[0]:
                os.read(self._signals, 512)
            pause = min(pause * 1.5, _LONGEST)

    def _reap(self) -> bool:
        """Takes note of those who have ended; says whether there are others."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self._server:
                    self._code = os.waitstatus_to_exitcode(status)
                    self._tell(f"ended {self._code}")
        except ChildProcessError:
            return False

    def _tell(self, line: str) -> None:
        with contextlib.suppress(OSError):  # the parent has gone
            os.write(self._status, f"{line}\n".encode())


def descendants(root: int) -> list[int]:
    """The processes that come from one, itself not included; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else []:
        if name.isdigit():
            fields = stat_fields(int(name))
            if len(fields) > 1:
                children.setdefault(int(fields[1]), []).append(int(name))
    found: dict[int, None] = {}
    ahead = [root]
    while ahead:
        for one in children.get(ahead.pop(), ()):
            if one not in found:
                found[one] = None
                ahead.append(one)
    return list(found)


def stat_fields(pid: int) -> list[bytes]:
    """What /proc says of a process after its name (state, parent, group, session, ...); empty when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def _tidies(pid: int) -> bool:
    """Whether it is a tracker that removes the shared memory of the others once they are gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"multiprocessing.resource_tracker" in file.read()
    except OSError:
        return False


def _signals() -> int:
    """Has signals come as bytes through a pipe; gives its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    heard, sound = os.pipe()
    os.set_blocking(sound, False)
    signal.set_wakeup_fd(sound, warn_on_full_buffer=False)
    for one in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(one, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return heard


def _watch(pid: int) -> int | None:
    """A descriptor that can be read from when a process has ended, where the system has such."""
    if sys.platform == "linux" and hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            return os.pidfd_open(pid)
    return None


def _become_reaper() -> None:
    if sys.platform == "linux":
        _prctl(_CHILD_SUBREAPER, 1)


def _start(command: list[str]) -> tuple[int, int]:
    """Starts the server; gives its process id, and the error's number when it could not be."""
    told, tell = os.pipe()
    keeper = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(command, keeper, tell)
    os.close(tell)
    problem = os.read(told, 16)  # ends when the command takes the child over
    os.close(told)
    return pid, int(problem or b"0")


def _become(command: list[str], keeper: int, tell: int) -> NoReturn:
    """The child: its own session, ordinary signals, its end tied to the keeper's; then the command."""
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGCHLD", "SIGPIPE", "SIGXFSZ"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        if sys.platform == "linux":
            _prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
            if os.getppid() != keeper:
                os._exit(0)  # the keeper went before this could be asked for
        os.execvp(command[0], command)  # noqa: S606 (what `Server` was asked to run)
    except OSError as error:
        os.write(tell, str(error.errno or 1).encode())
    finally:
        os._exit(127)


def _prctl(option: int, value: int) -> None:
    import ctypes

    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


if __name__ == "__main__":
    _numbers = [int(one) for one in sys.argv[1:4]]
    _seconds = [float(one) for one in sys.argv[4:6]]
    sys.exit(Keeper(_numbers[0], _numbers[1], _numbers[2], _seconds[0], _seconds[1]).run(sys.argv[6:]))
