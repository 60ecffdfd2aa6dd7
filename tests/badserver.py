"""A server that speaks OpenAI's protocol over a real socket, and badly where a test tells it to.

It is written on sockets, because no server library would send half of an answer. What the next request to a
route gets is put into `script`; without one it gets a whole answer.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Act = Callable[["Call"], None]


@dataclass
class Seen:
    """A request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    connection: int


@dataclass
class Call:
    """One request and the socket to answer on."""

    seen: Seen
    socket: socket.socket
    server: BadServer
    closes: bool = False

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        """A whole answer."""
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
        kind = {"Content_Type": "application/json"}
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in {**kind, **headers}.items()]
        self.send("\r\n".join([*lines, "", ""]).encode() + body)

    def begin(self) -> None:
        """The head of a stream."""
        self.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")

    def event(self, data: Any) -> None:
        """A piece of a stream."""
        text = f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()
        self.send(f"{len(text):x}\r\n".encode() + text + b"\r\n")

    def end(self) -> None:
        """The end of a stream."""
        self.send(b"0\r\n\r\n")

    def gone(self) -> bool:
        """Whether the client has closed the connection."""
        self.socket.settimeout(0.02)
        try:
            return self.socket.recv(1, socket.MSG_PEEK) == b""
        except TimeoutError:
            return False
        except OSError:
            return True


@dataclass
class BadServer:
    """The server; `url` is what a catalogue would name.

    With `tunnel` it is a proxy too, and every host that it is asked for is this server.
    """

    context: ssl.SSLContext | None = None
    tunnel: ssl.SSLContext | None = None
    script: dict[str, list[Act]] = field(default_factory=lambda: defaultdict(list))
    seen: list[Seen] = field(default_factory=list)
    open: set[int] = field(default_factory=set)
    port: int = 0
    stopped: bool = False

    @property
    def url(self) -> str:
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}/v1"

    def asked(self, route: str) -> list[Seen]:
        """The requests to a route so far."""
        return [one for one in self.seen if one.path == route]

    def serve(self, listener: socket.socket) -> None:
        count = 0
        while not self.stopped:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            count += 1
            threading.Thread(target=self._talk, args=(peer, count), daemon=True).start()

    def _talk(self, peer: socket.socket, number: int) -> None:
        self.open.add(number)
        if self.context:
            peer = self.context.wrap_socket(peer, server_side=True, do_handshake_on_connect=False)
        with contextlib.suppress(OSError, ValueError), peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if isinstance(peer, ssl.SSLSocket):
                peer.do_handshake()
            self._answer(peer, number)
        self.open.discard(number)

    def _answer(self, peer: socket.socket, number: int) -> None:
        with peer.makefile("rb") as reader:
            while not self.stopped:
                seen = _read(reader, number)
                if seen is None:
                    break
                self.seen.append(seen)
                if seen.method == "CONNECT" and self.tunnel:
                    peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    with self.tunnel.wrap_socket(peer, server_side=True) as inside:
                        self._answer(inside, number)
                    return
                call = Call(seen, peer, self)
                waiting = self.script[seen.path]
                (waiting.pop(0) if waiting else _usual)(call)
                if call.closes:
                    break


def _read(reader: Any, number: int) -> Seen | None:
    first = reader.readline().decode().split()
    if len(first) < 3:
        return None
    headers: dict[str, str] = {}
    while line := reader.readline().decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = reader.read(int(headers.get("content-length", 0)))
    return Seen(first[0], first[1], headers, json.loads(body) if body else None, number)


def _usual(call: Call) -> None:
    if call.seen.path == "/v1/models":
        call.reply(200, json.dumps({"data": [{"id": "tiny", "max_model_len": 4096}]}).encode())
    elif call.seen.path.endswith("completions"):
        answer("Hello there")(call)
    else:
        call.reply(404, b'{"error": {"message": "no such route"}}')


def delta(text: str, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A piece of a chat answer."""
    listed = [{"token": text, "logprob": -0.5, "bytes": list(text.encode())}] if text else []
    choice = {
        "index": 0,
        "delta": {"content": text},
        "logprobs": {"content": listed},
        "finish_reason": finish,
    }
    return {"choices": [choice], **more}


USAGE = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}


def answer(text: str) -> Act:
    """A whole answer, a word a piece."""

    def act(call: Call) -> None:
        call.begin()
        for word in text.split(" "):
            call.event(delta(word + " "))
        call.event(delta("", "stop"))
        call.event(USAGE)
        call.event("[DONE]")
        call.end()

    return act


def status(code: int, message: str = "no", **headers: str) -> Act:
    """A refusal."""
    body = json.dumps({"error": {"message": message}}).encode()
    return lambda call: call.reply(code, body, **headers)


def cut(call: Call) -> None:
    """Half an answer, and the connection is closed."""
    call.begin()
    call.event(delta("Half"))
    call.closes = True


def ends_early(call: Call) -> None:
    """A stream that ends as it should, without a reason for the answer's end."""
    call.begin()
    call.event(delta("Half"))
    call.event("[DONE]")
    call.end()


def stall(call: Call) -> None:
    """Half an answer, and then nothing."""
    call.begin()
    call.event(delta("Half"))
    while not call.gone() and not call.server.stopped:
        time.sleep(0.02)
    call.closes = True


def silent(call: Call) -> None:
    """Nothing at all."""
    while not call.gone() and not call.server.stopped:
        time.sleep(0.02)
    call.closes = True


def slow(seconds: float) -> Act:
    """A whole answer after a while."""

    def act(call: Call) -> None:
        time.sleep(seconds)
        answer("late but whole")(call)

    return act


def malformed(call: Call) -> None:
    """A stream whose second piece is no JSON."""
    call.begin()
    call.event(delta("Half"))
    call.event('{"choices": [{"delta": ')
    call.end()


def web_page(call: Call) -> None:
    """What a proxy's login page looks like."""
    call.reply(200, b"<html><body>Please log in</body></html>", Content_Type="text/html")


def hang_up(call: Call) -> None:
    """The connection is closed without a word."""
    call.closes = True


@contextlib.contextmanager
def bad_server(
    context: ssl.SSLContext | None = None, *, port: int = 0, tunnel: ssl.SSLContext | None = None
) -> Iterator[BadServer]:
    """Runs one."""
    server = BadServer(context, tunnel)
    with socket.create_server(("127.0.0.1", port), backlog=200) as listener:
        server.port = listener.getsockname()[1]
        threading.Thread(target=server.serve, args=(listener,), daemon=True).start()
        try:
            yield server
        finally:
            server.stopped = True
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """A certificate that signs itself, for a name as in `DNS:host` or `IP:127.0.0.1`."""
    key, public = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test",
         "-addext", f"subjectAltName={name}", "-keyout", str(key), "-out", str(public)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, key)
    return context, public
