"""HTTP to one server: connections that are kept, waits that end, and retries that repeat no work."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import httpx2

from modelyard import portal
from modelyard.catalog.sources.retry import backoff, parse_retry_after
from modelyard.engines.endpoint.faults import never_sent, refused, unreachable, unreadable
from modelyard.engines.endpoint.settings import Settings
from modelyard.errors import DeadlineExceededError, EngineCrashedError, ModelyardError

_BUSY = frozenset({429, 503})
"""Statuses of a server that has not begun on the request."""

FIRST_PAUSE = 0.5  # seconds before the second attempt; doubled each time
_KEPT = 4.0  # seconds that an idle connection is kept: uvicorn, the usual server, closes it after 5
_END = 0.5  # seconds that the end of an answer is waited for, once it has been said
_DONE = "[DONE]"
_LARGEST = 64 * 2**20  # bytes of one event
T = TypeVar("T")


class Patience:
    """Waits for a server, and no longer than agreed: not past a request's deadline, nor past `close`.

    Args:
        title: of the model and its server, for messages.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._waiting: set[asyncio.Timeout] = set()
        self.closed = ""

    async def wait(
        self, work: Awaitable[T], longest: float, what: str, deadline: float | None = None, made: int = 0
    ) -> T:
        """The work's result.

        Args:
            work: to be waited for.
            longest: seconds.
            what: the server did not do, for the message.
            deadline: on `time.monotonic()`'s clock.
            made: pieces of answer that have come.

        Raises:
            DeadlineExceededError: it took longer.
            EngineCrashedError: the engine was closed.
        """
        left = longest if deadline is None else min(longest, deadline - time.monotonic())
        timeout = asyncio.timeout(max(0.0, left))
        try:
            async with timeout:
                self._waiting.add(timeout)
                if self.closed:
                    timeout.reschedule(0)
                return await work
        except TimeoutError:
            if self.closed:
                raise EngineCrashedError(self.closed) from None
            if deadline is not None and time.monotonic() >= deadline:
                raise late(made) from None
            raise DeadlineExceededError(
                f"{self._title} {what} for {longest:g} s", hint="Raise option timeout or stall_timeout."
            ) from None
        finally:
            self._waiting.discard(timeout)

    def close(self, why: str) -> None:
        """Ends all waits, and those that come."""
        self.closed = self.closed or why
        portal.wait_until_closed(self._end())

    async def _end(self) -> None:
        for timeout in tuple(self._waiting):
            timeout.reschedule(0)


def late(made: int) -> DeadlineExceededError:
    """The error of a request whose deadline has passed."""
    return DeadlineExceededError(f"the deadline passed after {made} pieces of answer")


class Http:
    """One server.

    Args:
        base: the address under which the protocol's routes lie.
        settings: timeouts, retries, key.
        title: of the model and its server, for messages.
    """

    def __init__(self, base: str, settings: Settings, title: str) -> None:
        self.base = base
        self.root = base.removesuffix("/v1")
        self.patience = Patience(title)
        self._settings = settings
        self._title = title
        self._opened: httpx2.AsyncClient | None = None
        self._keeps = True

    def client(self) -> httpx2.AsyncClient:
        """The client; it belongs to the portal's event loop, as its connections do.

        Raises:
            EngineCrashedError: the model was unloaded.
        """
        if self.patience.closed:
            raise EngineCrashedError(self.patience.closed)
        if self._opened is None:
            self._opened = self._make()
        return self._opened

    def _make(self) -> httpx2.AsyncClient:
        settings = self._settings
        headers = {"User-Agent": "modelyard", **settings.headers}
        if settings.key is not None:
            headers["Authorization"] = f"Bearer {settings.key}"
        # A pool without an end of its own: who waits for a place in it waits as `timeout` says.
        return httpx2.AsyncClient(
            headers=headers,
            verify=_context(settings.verify),
            follow_redirects=False,
            timeout=httpx2.Timeout(settings.timeout, connect=settings.connect_timeout),
            limits=httpx2.Limits(
                max_connections=settings.max_connections,
                max_keepalive_connections=settings.max_connections if self._keeps else 0,
                keepalive_expiry=_KEPT,
            ),
        )

    async def ask(
        self, method: str, url: str, body: Mapping[str, Any] | None = None, deadline: float | None = None
    ) -> Any:
        """One answer in JSON.

        Raises:
            ModelyardError: the server refused, or did not answer.
        """
        async with self.opened(method, url, body, deadline) as response:
            data = await self._read(response, deadline)
        try:
            return json.loads(data)
        except ValueError:
            raise unreadable(self._title, data.decode("utf-8", "replace")) from None

    async def stream(
        self, url: str, body: Mapping[str, Any], deadline: float | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The pieces of an answer as they come; leaving the iterator closes the connection.

        Raises:
            ModelyardError: the server refused, stopped, or sent something else.
        """
        async with self.opened("POST", url, body, deadline) as response:
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                data = await self._read(response, deadline)  # a server that does not stream
                yield piece(self._title, data.decode("utf-8", "replace"))
                return
            async with contextlib.aclosing(self._events(response, deadline)) as events:
                async for event in events:
                    yield event

    @contextlib.asynccontextmanager
    async def opened(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any] | None,
        deadline: float | None,
        headers: Mapping[str, str] = {},
    ) -> AsyncIterator[httpx2.Response]:
        """A response whose status is good and whose body is still to come."""
        content = None if body is None else json.dumps(body, ensure_ascii=False).encode()

        async def send() -> httpx2.Response:
            client = self.client()
            kind = {"Content-Type": "application/json"} if content is not None else {}
            try:
                request = client.build_request(method, url, content=content, headers={**headers, **kind})
                return await self.patience.wait(
                    client.send(request, stream=True), self._settings.timeout, "has not answered", deadline
                )
            except httpx2.InvalidURL as error:
                raise unreachable(self._title, error) from error

        response = await self.insist(send, deadline)
        try:
            yield response
        finally:
            await response.aclose()

    async def insist(
        self, send: Callable[[], Awaitable[httpx2.Response]], deadline: float | None
    ) -> httpx2.Response:
        """Sends until the server takes the request on; only what it has not begun on is sent again."""
        for left in range(self._settings.retries, -1, -1):
            attempt = self._settings.retries - left
            try:
                response = await send()
            except httpx2.TransportError as error:
                if not left or not never_sent(error):
                    raise self._failed(error, deadline) from error
                await self._pause(attempt, None, deadline)
                continue
            if response.status_code < 300:
                return response
            try:
                body = await self._read(response, deadline)
            finally:
                await response.aclose()
            refusal = refused(self._title, response.status_code, body, response.headers)
            wait = parse_retry_after(response.headers.get("retry-after"))
            patient = wait is None or wait <= self._settings.longest_wait
            if response.status_code not in _BUSY or not left or not patient:
                raise refusal
            await self._pause(attempt, wait, deadline, refusal)
        raise AssertionError("the last attempt returns or raises")

    async def _pause(
        self, attempt: int, asked: float | None, deadline: float | None, error: ModelyardError | None = None
    ) -> None:
        """Waits before the next attempt: as the server says, else longer each time, with a little chance in it."""
        seconds = backoff(attempt + 1, FIRST_PAUSE) if asked is None else asked
        if error is not None and deadline is not None and time.monotonic() + seconds >= deadline:
            raise error
        await self.patience.wait(asyncio.sleep(seconds), seconds + 5, "was waited for", deadline)

    async def _events(
        self, response: httpx2.Response, deadline: float | None
    ) -> AsyncGenerator[dict[str, Any], None]:
        async with contextlib.aclosing(self._waited(_data(response), deadline)) as events:
            async for data in events:
                if data == _DONE:
                    await self._drained(events)
                    return
                yield piece(self._title, data)

    async def lines(self, response: httpx2.Response, deadline: float | None) -> AsyncGenerator[str, None]:
        """The lines of a response, for a client that reads events out of them itself."""
        source = aiter(response.aiter_lines())
        async with contextlib.aclosing(self._waited(source, deadline)) as lines:
            async for line in lines:
                if line.strip() == f"data: {_DONE}":
                    await self._drained(lines)
                yield line

    async def _waited(self, source: AsyncIterator[str], deadline: float | None) -> AsyncGenerator[str, None]:
        """What comes, each piece waited for as long as is agreed."""
        made = 0
        longest = self._settings.timeout
        while True:
            try:
                data = await self.patience.wait(anext(source), longest, "has sent nothing", deadline, made)
            except StopAsyncIteration:
                return  # whether the answer is whole is seen by what it says
            except httpx2.TransportError as error:
                raise self._failed(error, deadline) from error
            yield data
            made += 1
            longest = self._settings.stall_timeout

    async def _drained(self, lines: AsyncGenerator[str, None]) -> None:
        """Reads to the end, without which the connection could not be used again; not for long."""
        with contextlib.suppress(ModelyardError):
            while await self.patience.wait(anext(lines, None), _END, "has not ended its answer") is not None:
                pass

    async def _read(self, response: httpx2.Response, deadline: float | None) -> bytes:
        longest = self._settings.timeout
        try:
            return await self.patience.wait(response.aread(), longest, "has not ended its answer", deadline)
        except httpx2.TransportError as error:
            raise self._failed(error, deadline) from error

    def _failed(self, error: Exception, deadline: float | None) -> ModelyardError:
        if isinstance(error, httpx2.ReadTimeout | httpx2.WriteTimeout):
            if deadline is not None and time.monotonic() >= deadline:
                return late(0)
            return DeadlineExceededError(
                f"{self._title} has not answered for {self._settings.timeout:g} s",
                hint="Raise option timeout.",
            )
        return unreachable(self._title, error)

    def close(self, why: str = "the model was unloaded while the request ran") -> None:
        """Ends all requests and connections."""
        self.patience.close(why)
        portal.wait_until_closed(self._close())

    async def forget_connections(self) -> None:
        """From now on each request has a connection of its own."""
        self._keeps = False
        await self._close()

    async def _close(self) -> None:
        client, self._opened = self._opened, None
        if client is not None:
            await client.aclose()


def piece(title: str, data: str) -> dict[str, Any]:
    """One event of a stream, or a whole answer.

    Raises:
        ModelyardError: it is an error, or something else.
    """
    try:
        found = json.loads(data)
    except ValueError:
        raise unreadable(title, data) from None
    if not isinstance(found, dict):
        raise unreadable(title, data)
    error = found.get("error")
    if error:
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
        raise refused(title, status, data.encode())
    return found


async def _data(response: httpx2.Response) -> AsyncGenerator[str, None]:
    """The data of server-sent events; comments and names of events say nothing here."""
    async for event in httpx2.EventSource(response, max_event_size=_LARGEST):
        if event.data:
            yield event.data


def _context(verify: bool | str) -> Any:
    if isinstance(verify, str):
        import ssl

        return ssl.create_default_context(cafile=verify)
    return verify
