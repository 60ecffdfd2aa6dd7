"""What a server prints: whole lines, and of the last of them those that say what went wrong."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Mapping

from modelyard.catalog.auth import redact

_KEPT = 32 * 1024  # characters
_LONGEST = 4 * 1024  # characters of one line
_SHOWN = 8  # lines in a message
_WIDTH = 600  # characters of each

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_SECRET = re.compile(r"(?i)(?:^|_)(?:key|token|secret|password)$")
# What stands before the text in a line of vLLM's log.
_PREFIX = re.compile(r"(?:\([\w .-]+ pid=\d+\) )?(?:[A-Z]+ \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\] ?)?")
_FRAME = re.compile(r'\s+File ".*", line \d+')
_NOISE = re.compile(
    r"\s*$|[\s^~]+$|Traceback \(most recent|During handling of the|The above exception was"
    r"|(?:Current t|T)hread 0x|Extension modules:"
)


class Words:
    """The last of what a server says. Fed by one thread, read by any.

    Args:
        env: the server's environment; what it has as keys and tokens is not shown.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._secrets = [value for name, value in env.items() if _SECRET.search(name) and len(value) >= 6]
        self._lock = threading.Lock()
        self._rest = b""
        self._lines: deque[str] = deque()
        self._size = 0

    def feed(self, data: bytes) -> list[str]:
        """Takes in output, gives the lines that it ends. A carriage return ends one: progress bars use it."""
        *whole, rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        self._rest = rest[:_KEPT]
        lines = [_text(line) for line in whole if line]
        with self._lock:
            for line in lines:
                self._lines.append(line)
                self._size += len(line)
            while self._size > _KEPT:
                self._size -= len(self._lines.popleft())
        return lines

    def last(self) -> list[str]:
        """The last lines that say something: no frames of tracebacks, nothing twice, no secrets."""
        with self._lock:
            lines = [*self._lines, _text(self._rest)]
        shown = redact("\n".join(telling(lines)))
        for secret in self._secrets:
            shown = shown.replace(secret, "***")
        return [line[:_WIDTH] for line in shown.splitlines()]


def telling(lines: list[str]) -> list[str]:
    """Of a server's lines the last few that are no noise.

    >>> telling(["INFO", "Traceback (most recent call last):", '  File "a", line 1, in f', "    x()", "KeyError: 1"])
    ['INFO', 'KeyError: 1']
    """
    said: dict[str, str] = {}
    frame = False
    for line in lines:
        match = _PREFIX.match(line)
        body = line[match.end() :] if match else line
        if frame and body.startswith("    "):
            continue  # the frame's line of code
        frame = _FRAME.match(body) is not None
        if not frame and not _NOISE.match(body):
            said.pop(body, None)  # a child's error is often said again by its parent: the last counts
            said[body] = line.rstrip()
    return list(said.values())[-_SHOWN:]


def _text(line: bytes) -> str:
    return _ESCAPE.sub("", line.decode("utf-8", "replace"))[:_LONGEST]
