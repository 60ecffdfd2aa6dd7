"""Serve: the review page on this machine alone, with decisions kept as they are made.

It listens on the loopback address. The address that it prints has a token, without which nothing is answered;
a request under another host name (DNS rebinding) or from another site's page (CSRF) is refused. The standard
library's server is enough for the one person who reviews.
"""

from __future__ import annotations

import datetime
import hmac
import json
import secrets
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from modelyard.errors import InvalidArgumentError, ModelyardError
from modelyard.extraction.review.corrections import Correction
from modelyard.extraction.review.journal import Journal
from modelyard.extraction.review.page import Live, ReviewPage
from modelyard.extraction.review.sheet import FieldKey, Sheet
from modelyard.extraction.review.truth import Truth
from modelyard.extraction.schema import coerce

HOST = "127.0.0.1"
_LARGEST = 2**20  # bytes of a decision
_PATIENCE = 10  # seconds for a request to arrive
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


class _Refused(Exception):  # noqa: N818  (an answer, and no error)
    """Why a request goes no further: the status and a sentence."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


class ReviewServer(ThreadingHTTPServer):
    """The page of one result and its corrections file.

    Args:
        sheet: the result.
        journal: where decisions go.
        port: 0 takes a free one.
        reviewer: whose decisions they are.
        truth: labels, for the two curves.

    Raises:
        InvalidArgumentError: the port cannot be listened on.
    """

    daemon_threads = (
        True  # a browser's idle connection does not hold the end up; `Journal.close` waits for writes
    )

    def __init__(
        self,
        sheet: Sheet,
        journal: Journal,
        *,
        port: int = 0,
        reviewer: str | None = None,
        truth: Truth | None = None,
    ) -> None:
        self.decisions: dict[FieldKey, Correction] = {}
        """What holds in the end, once `run` is over."""
        self.token = secrets.token_urlsafe(24)
        self.journal = journal
        self.sheet = sheet
        self.reviewer = reviewer
        self.page = ReviewPage(sheet, truth=truth, live=Live(str(journal.path), reviewer))
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            said = f"port {port} cannot be listened on: {getattr(error, 'strerror', None) or error}"
            raise InvalidArgumentError(said, hint="Take another with --port (0 finds a free one).") from None

    @property
    def url(self) -> str:
        """The address to open, with its token."""
        return f"http://{HOST}:{self.server_port}/?token={self.token}"

    @property
    def names(self) -> tuple[str, ...]:
        """What a browser may call it."""
        return tuple(f"{name}:{self.server_port}" for name in (HOST, "localhost"))

    def run(self, on_start: Callable[[str], None]) -> None:
        """Serves until Ctrl-C; a decision that is being written then is written whole.

        Args:
            on_start: called with the address.
        """
        try:
            self.page.render(self.journal.decisions)  # packed once, before someone waits for it
            on_start(self.url)
            self.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            pass
        finally:
            self.server_close()
            self.decisions = self.journal.close()

    def decide(self, row: Any) -> None:
        """Keeps a decision that a page sent.

        Raises:
            InvalidArgumentError: the field is not in the result, or the value not of its type.
        """
        self.journal.append(_decision(row, self.sheet, self.reviewer))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that has left is no error; anything else is shown as usual."""
        import sys

        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def _decision(row: Any, sheet: Sheet, reviewer: str | None) -> Correction:
    given = row if isinstance(row, dict) else {}
    record, document, field = (given.get(key) for key in ("record", "document", "field"))
    named = all(isinstance(one, str | None) for one in (record, document, field))
    key = FieldKey(record, None if record is not None else document, str(field))
    item = sheet.items.get(key) if named else None
    if item is None:
        raise InvalidArgumentError("the result has no such field", hint="Reload the page.")
    action, value, previous = given.get("action"), given.get("value"), item.result["value"]
    if action == "accept":
        value = previous
    elif action == "correct":
        value = _typed(item.field, value)
    elif action in ("reject", "withdraw"):
        value = None
    else:
        raise InvalidArgumentError(f"'action' is {action!r:.60}", hint="Reload the page.")
    source = document if record is None or document in item.documents else item.document
    now = datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="milliseconds")
    return Correction(source, record, key.field, action, value, previous, reviewer, now)


def _typed(field: Any, value: Any) -> Any:
    if value is None:
        return None  # the document does not give it
    found, problem = coerce(field, value)
    if found is None:
        raise InvalidArgumentError(
            f"{field.name}: {problem or 'there is no value'}", hint="Write another value."
        )
    return found


class _Handler(BaseHTTPRequestHandler):
    """One request of the page."""

    server: ReviewServer
    timeout = _PATIENCE
    server_version = "modelyard"
    sys_version = ""

    def do_GET(self) -> None:
        """The page, with the decisions of the moment."""
        self._answer(self._page)

    def do_POST(self) -> None:
        """A decision."""
        self._answer(self._decide)

    def _answer(self, work: Callable[[], tuple[int, str, bytes]]) -> None:
        try:
            self._check()
            status, kind, body = work()
        except _Refused as refused:
            status, kind, body = refused.status, "text/plain", str(refused).encode()
        except ModelyardError as error:
            status, kind, body = 422, "text/plain", error.message.encode("utf-8", "replace")
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": f"{kind}; charset=utf-8"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _check(self) -> None:
        host = (self.headers.get("Host") or "").lower()
        if host not in self.server.names:
            raise _Refused(421, "this server is not known under that name")
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site", "none")
        # A link on another site may lead here, which does nothing without the token.
        if self.command != "GET" and (
            site not in ("same-origin", "none") or origin not in (None, f"http://{host}")
        ):
            raise _Refused(403, "the request comes from another site's page")
        given = parse_qs(urlsplit(self.path).query).get("token", [""])[0]
        if not hmac.compare_digest(given.encode(), self.server.token.encode()):
            raise _Refused(
                403, "open the address that `modelyard review` has printed; its token is missing here"
            )

    def _page(self) -> tuple[int, str, bytes]:
        if urlsplit(self.path).path != "/":
            raise _Refused(404, "there is nothing here")
        html = self.server.page.render(self.server.journal.decisions)
        return 200, "text/html", html.encode("utf-8", "xmlcharrefreplace")

    def _decide(self) -> tuple[int, str, bytes]:
        if urlsplit(self.path).path != "/decisions":
            raise _Refused(404, "there is nothing here")
        if self.headers.get_content_type() != "application/json":
            raise _Refused(415, "a decision is JSON")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise _Refused(411, "the length of the decision is missing")
        if int(length) > _LARGEST:
            raise _Refused(413, "the decision is too large")
        try:
            row = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise _Refused(400, "the decision is not JSON") from None
        self.server.decide(row)
        return 200, "application/json", b"{}"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class calls it so)
        """Nothing: what is decided is in the file."""
