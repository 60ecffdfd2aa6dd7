"""Server-sent events as the routes write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from modelyard.serving.answers import Answering

EVENTS: dict[str, Any] = {"content": {"text/event-stream": {}}}
"""That a route may answer with events, for its description."""
_DONE = b"data: [DONE]\n\n"


def event(data: Mapping[str, Any]) -> bytes:
    """One event.

    >>> event({"state": "loading"})
    b'data: {"state":"loading"}\\n\\n'
    """
    return b"data: " + orjson.dumps(data) + b"\n\n"


def opened(fields: Mapping[str, Any]) -> bytes:
    """The beginning that all events of a stream share, written once; `joined` completes it.

    >>> joined(opened({"id": "a"}), {"choices": []})
    b'data: {"id":"a","choices":[]}\\n\\n'
    """
    return b"data: " + orjson.dumps(fields)[:-1]


def joined(head: bytes, rest: Mapping[str, Any]) -> bytes:
    """An event of a stream."""
    return head + b"," + orjson.dumps(rest)[1:] + b"\n\n"


def closing(head: bytes, answering: Answering, *, usage: bool) -> Iterator[bytes]:
    """The last events of a stream: the counts where they were asked for, warnings and verdicts where there are any, the end."""
    last = {"system_fingerprint": answering.served.fingerprint, **answering.totals.noticed()}
    if usage:
        last["usage"] = answering.totals.usage()
    if usage or len(last) > 1:
        yield joined(head, {"choices": [], **last})
    yield _DONE
