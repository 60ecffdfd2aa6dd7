"""Bodies: read whole within limits of size, time and depth, as UTF-8 JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

_DEEPEST = 96
"""Levels: more than any schema that a grammar can be made of, and far less than Python's own stack."""


class BoundedRequest(Request):
    """A request whose body is refused where it is too large, too slow, no JSON, or nested too deeply."""

    async def body(self) -> bytes:
        """The whole body.

        Raises:
            HTTPException: 413, 408 or 415.
        """
        if not hasattr(self, "_body"):
            settings = self.app.state.settings
            kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                raise HTTPException(
                    415, f"the body's content type is '{kind:.80}'; send JSON as application/json"
                )
            try:
                async with asyncio.timeout(settings.body_timeout):
                    self._body = await self._bounded(settings.max_body)
            except TimeoutError:
                headers = {"Connection": "close"}
                raise HTTPException(408, "the body did not arrive in time", headers) from None
        return self._body

    async def json(self) -> Any:
        """The body's JSON.

        Raises:
            json.JSONDecodeError: it is none, or no UTF-8.
            HTTPException: 400 where it is nested too deeply.
        """
        if not hasattr(self, "_json"):
            found = orjson.loads(await self.body())
            if _deeper(found, _DEEPEST):
                raise HTTPException(400, f"the body is nested more than {_DEEPEST} levels deep")
            self._json = found
        return self._json

    async def _bounded(self, most: int) -> bytes:
        refused = HTTPException(413, f"the body is larger than {most:,} bytes", {"Connection": "close"})
        length = self.headers.get("content-length", "")
        if length.isdecimal() and int(length) > most:
            raise refused
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > most:
                raise refused
            if not message.get("more_body", False):
                self._stream_consumed = True
                return b"".join(pieces)


class JsonRoute(APIRoute):
    """A route whose body is read within the server's limits."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            return await handler(BoundedRequest(request.scope, request.receive))

        return bounded


def _deeper(value: Any, levels: int) -> bool:
    """Whether a value is nested deeper, found level by level: no recursion."""
    layer = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        if not layer:
            return False
        inside = (one.values() if isinstance(one, dict) else one for one in layer)
        layer = [inner for several in inside for inner in several if isinstance(inner, dict | list)]
    return True
