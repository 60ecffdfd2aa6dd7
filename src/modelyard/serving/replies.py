"""Replies: an answer that is still being worked on, whole as JSON or piece by piece as server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

import orjson
from starlette.responses import Response

from modelyard.errors import ModelyardError
from modelyard.serving.record import Record
from modelyard.serving.refusals import event, of_error
from modelyard.serving.work import Left, Receive, Send, SlowReader, Work, Works

ABORT = "modelyard.abort"
"""Where the connection's way to be given up is in a request's scope."""
_PATIENCE = 15.0
"""Seconds without an event after which a comment is sent, so that no proxy takes the connection for dead."""
_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]


class JsonReply(Response):
    """An answer as JSON.

    Args:
        answer: makes it.
        record: of the request.
        works: where the work is counted.
    """

    def __init__(self, answer: Coroutine[Any, Any, Any], record: Record, works: Works) -> None:
        super().__init__()
        self._answer = answer
        self._record = record
        self._works = works

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        try:
            async with Work(receive, self._works) as work:
                found = await self._answer
                work.finish()
        except Left:
            self._record.cancelled = True
        except ModelyardError as error:
            self._record.error = type(error).__name__
            await of_error(error)(scope, receive, send)
        else:
            await Response(orjson.dumps(found), media_type="application/json")(scope, receive, send)


class EventReply(Response):
    """An answer as server-sent events.

    What goes wrong before the first event has a status of its own; later it is an event with the error, and
    the stream ends without `[DONE]`.

    Args:
        events: each whole, with its `data: ` and its blank line.
        record: of the request.
        works: where the work is counted.
        patience: seconds that a reader may take nothing.
    """

    def __init__(
        self, events: AsyncGenerator[bytes, None], record: Record, works: Works, patience: float
    ) -> None:
        super().__init__()
        self._events = events
        self._record = record
        self._works = works
        self._patience = patience
        self._begun = False

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        try:
            async with Work(receive, self._works, self._patience) as work, contextlib.aclosing(self._events):
                await self._write(work, send)
        except Left:
            self._record.cancelled = True
        except SlowReader:
            self._record.cancelled, self._record.error = True, "SlowReader"
            scope.get(ABORT, _nothing)()
        except ModelyardError as error:
            self._record.error = type(error).__name__
            if self._begun:
                await send({"type": "http.response.body", "body": event(error), "more_body": False})
            else:
                await of_error(error)(scope, receive, send)

    async def _write(self, work: Work, send: Send) -> None:
        async for said in self._patient():
            if not self._begun:
                self._begun = True
                await work.send(
                    send, {"type": "http.response.start", "status": 200, "headers": list(_HEADERS)}
                )
            await work.send(send, {"type": "http.response.body", "body": said, "more_body": True})
        work.finish()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _patient(self) -> AsyncGenerator[bytes, None]:
        """The events; comments as long as the first is not there."""
        first = asyncio.ensure_future(anext(self._events))
        try:
            while not (await asyncio.wait({first}, timeout=_PATIENCE))[0]:
                yield b": waiting\n\n"
        finally:
            if not first.done():
                first.cancel()
                await asyncio.gather(first, return_exceptions=True)
        yield first.result()
        async for said in self._events:
            yield said


def _nothing() -> None:
    """For a server that has no way to give a connection up."""
