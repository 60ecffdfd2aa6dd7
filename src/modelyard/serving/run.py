"""serve: the application on a port, from the first request to a stop in good order.

SIGTERM and Ctrl-C ask for that: new work is refused, what runs has `drain` seconds to finish, what is left
then is ended with a retryable error, the models are closed, and the exit code is 0. A second one stops at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from types import FrameType
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from modelyard.catalog.load import Catalog
from modelyard.catalog.spec import ModelSpec
from modelyard.engines.workspace import clean_up
from modelyard.errors import InvalidArgumentError, ModelyardError, UnavailableError
from modelyard.serving.app import create_app
from modelyard.serving.context import Parts
from modelyard.serving.logs import Form, say, set_up
from modelyard.serving.replies import ABORT
from modelyard.serving.settings import ServerSettings

_LAST_WORDS = 2.0  # seconds that ended requests have to say so
_INTERRUPTED = 130


def serve(
    catalog: Catalog,
    settings: ServerSettings | None = None,
    *,
    specs: Iterable[ModelSpec] | None = None,
    load: Sequence[str] = (),
    offline: bool = False,
    log: Form = "json",
    on_start: Callable[[str], None] | None = None,
) -> None:
    """Serves a catalogue until SIGTERM or Ctrl-C. Blocks, and belongs in the main thread.

    Args:
        catalog: the models, and where adapters find their bases.
        specs: those of them that are served; all by default.
        settings: address, keys and limits.
        load: models to load before the first request, by alias.
        offline: use only what is on this machine.
        log: a JSON object a line, or short lines for people.
        on_start: called with the URL once it takes requests.

    Raises:
        InvalidArgumentError: the address cannot be listened on.
        ModelNotFoundError: a model to load is not served.
    """
    settings = settings or ServerSettings()
    app = create_app(catalog, settings, specs=specs, offline=offline)
    parts: Parts = app.state.parts
    wanted = [parts.models.find(name) for name in load]
    listener = _listen(settings)
    set_up(log)
    server = _Server(_config(app), parts)

    async def run() -> None:
        loads = [asyncio.create_task(_quietly(one.load())) for one in wanted]
        starting = asyncio.create_task(_announce(server, _url(listener), parts, on_start))
        try:
            await server.serve(sockets=[listener])
        finally:
            for task in (*loads, starting):
                task.cancel()

    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(run())
    parts.models.pool.close()
    say("stopped")


def _config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        http=_Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # what a client says of himself decides nothing here
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )


def _listen(settings: ServerSettings) -> socket.socket:
    host = settings.host.strip("[]")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise InvalidArgumentError(
            f"host is '{settings.host}': {error.strerror}", hint="Give an address."
        ) from None
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(2048)
    except OSError as error:
        found.close()
        raise InvalidArgumentError(
            f"port {settings.port} on {settings.host} cannot be listened on: {error.strerror}",
            hint="Stop what listens there, or take another with --port (0 finds a free one).",
        ) from None
    found.set_inheritable(False)
    return found


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _announce(server: _Server, url: str, parts: Parts, on_start: Callable[[str], None] | None) -> None:
    while not server.started:  # noqa: ASYNC110 (uvicorn tells no event of it)
        await asyncio.sleep(0.005)
    say("started", url=url, models=[one.name for one in parts.models], keys=len(parts.settings.keys.hashes))
    if on_start is not None:
        on_start(url)


async def _quietly(load: Coroutine[Any, Any, Any]) -> None:
    """A load ahead of time; that it failed is in the log, and in what the model says of itself."""
    with contextlib.suppress(ModelyardError):
        await load


class _Protocol(HttpToolsProtocol):
    """uvicorn's, with a way for a request to give its connection up."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cast(dict[str, Any], cycle.scope)[ABORT] = cycle.transport.abort
        super()._start_asgi_task(cycle, app)


class _Server(uvicorn.Server):
    """uvicorn's server, which on a signal first lets running work finish."""

    def __init__(self, config: uvicorn.Config, parts: Parts) -> None:
        super().__init__(config)
        self._parts = parts
        self._draining: asyncio.Task[None] | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._event_loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal: the first begins the drain, the second ends it, and every process of ours with it."""
        if self._parts.draining:
            clean_up()
            sys.stderr.flush()
            os._exit(_INTERRUPTED)
        self._parts.draining = True
        self._event_loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        self._draining = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        works, seconds = self._parts.works, self._parts.settings.drain
        say("stopping", running=works.count, drain=seconds)
        if not await works.ended_within(seconds):
            left = works.end(UnavailableError("the server has stopped before the answer was finished"))
            say("drain deadline", ended=left)
            await works.ended_within(_LAST_WORDS)
        self.should_exit = True
