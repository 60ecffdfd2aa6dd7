"""Guard: what every request passes before it reaches a route, and what is written down when it has ended.

The request's id, its client, the host it asks for, its key, where it comes from, whether the server still takes
work; at the end one line of the log and the metrics.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response

from modelyard.serving.context import RECORD, Parts
from modelyard.serving.logs import LOG, say
from modelyard.serving.record import Record, request_id
from modelyard.serving.refusals import refusal
from modelyard.serving.routes.health import LIVE
from modelyard.serving.work import Receive, Send

App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
_SAFE = ("GET", "HEAD", "OPTIONS")
_STILL = ("/livez", "/readyz", "/metrics")
"""Routes that a stopping server answers still."""
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)


class Guard:
    """Middleware in front of all routes.

    Args:
        app: what it guards.
        parts: of the server.
    """

    def __init__(self, app: App, parts: Parts) -> None:
        self._app = app
        self._parts = parts
        self._names = parts.settings.own_names

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        record = Record(request_id(headers.get("x-request-id")), scope["method"])
        scope[RECORD] = record
        marked = _Marked(send, record)
        refused = self._refused(scope, headers, record)
        try:
            if refused is not None:
                await refused(scope, receive, marked)
            else:
                await self._app(scope, receive, marked)
        except Exception as error:
            record.error = type(error).__name__
            LOG.error("failed", exc_info=error, extra={"fields": {"id": record.id, "route": record.route}})
            if marked.begun:
                raise
            broken = refusal(
                f"something broke here; the log has it under the id {record.id}", 500, code="internal"
            )
            await broken(scope, receive, marked)
        finally:
            self._end(scope, record)

    def _refused(self, scope: MutableMapping[str, Any], headers: Headers, record: Record) -> Response | None:
        """Why a request goes no further, None where it does."""
        client = scope.get("client")
        record.client = client[0] if client else "unknown"
        if scope["path"] == LIVE:
            return None
        return (
            self._under_another_name(headers)
            or self._without_key(headers, record)
            or _from_another_site(scope["method"], headers)
            or self._too_late(scope["path"])
        )

    def _under_another_name(self, headers: Headers) -> Response | None:
        given = headers.get("host", "").lower()
        name = given if given.endswith("]") else given.rpartition(":")[0] or given
        if self._names is None or name in self._names:
            return None
        said = f"the server is not known as '{name:.80}'; start it with --host-name to add a name"
        return refusal(said, 421, code="host")

    def _without_key(self, headers: Headers, record: Record) -> Response | None:
        keys, given = self._parts.settings.keys, headers.get("authorization")
        if not keys:
            return None
        owner = keys.owner(given)
        if owner is not None:
            record.client = owner
            return None
        # Basic is offered so that a browser asks its user for the key.
        challenge = {"WWW-Authenticate": 'Basic realm="modelyard", Bearer realm="modelyard"'}
        said = "an API key is needed" if given is None else "the API key is not known"
        said += "; send it as 'Authorization: Bearer …'"
        return refusal(said, 401, code="api_key", headers=challenge)

    def _too_late(self, path: str) -> Response | None:
        if not self._parts.draining or path.startswith(_STILL):
            return None
        again = {"Retry-After": "5", "Connection": "close"}
        said = "the server is stopping and takes no new work"
        return refusal(said, 503, code="stopping", headers=again)

    def _end(self, scope: MutableMapping[str, Any], record: Record) -> None:
        route = scope.get("route")
        record.route = getattr(route, "path", "") or "unknown"
        if record.status == 0:
            record.status = 499 if record.cancelled else 500
        self._parts.metrics.count(record)
        level = logging.WARNING if record.status >= 500 else logging.INFO
        if record.route != LIVE:
            say("request", level, **record.fields())


class _Marked:
    """`send` that adds the headers which every reply has, and notes the status."""

    def __init__(self, send: Send, record: Record) -> None:
        self._plain = send
        self._record = record
        self.begun = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            self._record.status = message["status"]
            mine = (b"x-request-id", self._record.id.encode())
            message["headers"] = [*message.get("headers", ()), mine, *_HEADERS]
        await self._plain(message)


def _from_another_site(method: str, headers: Headers) -> Response | None:
    """Refuses what a page of another site makes the browser send."""
    if method in _SAFE:
        return None
    own = headers.get("sec-fetch-site") not in ("cross-site", "same-site")
    if own and (origin := headers.get("origin")) is not None:
        try:
            own = urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
        except ValueError:
            own = False
    return None if own else refusal("the request comes from another site's page", 403, code="origin")
