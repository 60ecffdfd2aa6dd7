"""A stand-in for the Hugging Face Hub: the few routes that its client uses for downloads."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Server:
    """An HTTP server in a thread; subclasses answer."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.requests.append(
                    (self.command, self.path, {k.lower(): v for k, v in self.headers.items()})
                )
                try:
                    outer.answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            do_HEAD = do_GET  # noqa: N815  http.server looks for this name

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        raise AssertionError("a subclass answers")

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    """A whole answer."""
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


@dataclass
class Repository:
    """One repository.

    Attributes:
        files: by their names.
        commits: what each revision means.
        served: bytes that are sent in place of the true ones.
        sizes: that are told in place of the true ones.
    """

    files: dict[str, bytes]
    commits: dict[str, str]
    served: dict[str, bytes] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)


class Hub(Server):
    """Repositories by their ids. `fail` is answered in place of everything: a status and headers."""

    def __init__(self) -> None:
        super().__init__()
        self.repositories: dict[str, Repository] = {}
        self.fail: tuple[int, dict[str, str]] | None = None

    def add(self, repo: str, files: dict[str, bytes], commit: str = COMMIT) -> Repository:
        """Puts a repository on the Hub, whose main branch is at the commit."""
        self.repositories[repo] = Repository(dict(files), {"main": commit, commit: commit})
        return self.repositories[repo]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.split("?")[0]
        if self.fail:
            return reply(handler, self.fail[0], b"", **self.fail[1])
        for repo, repository in self.repositories.items():
            if match := re.fullmatch(rf"/api/models/{re.escape(repo)}(?:/revision/([^/]+))?", path):
                return self._info(handler, repo, match[1] or "main")
            if re.fullmatch(rf"/api/models/{re.escape(repo)}/tree/([^/]+)", path):
                return _json(handler, [_entry(name, data) for name, data in repository.files.items()])
            if match := re.fullmatch(rf"/{re.escape(repo)}/resolve/([^/]+)/(.+)", path):
                return self._file(handler, repository, match[1], match[2])
        return reply(handler, 404, b"", X_Error_Code="RepoNotFound")

    def _info(self, handler: BaseHTTPRequestHandler, repo: str, revision: str) -> None:
        repository = self.repositories[repo]
        if revision not in repository.commits:
            return reply(handler, 404, b"", X_Error_Code="RevisionNotFound")
        siblings = [
            {
                "rfilename": name,
                "size": repository.sizes.get(name, len(data)),
                "lfs": {"sha256": _sha(data), "size": len(data), "pointerSize": 1},
            }
            for name, data in repository.files.items()
        ]
        return _json(handler, {"id": repo, "sha": repository.commits[revision], "siblings": siblings})

    def _file(
        self, handler: BaseHTTPRequestHandler, repository: Repository, revision: str, name: str
    ) -> None:
        if revision not in repository.commits:
            return reply(handler, 404, b"", X_Error_Code="RevisionNotFound")
        if name not in repository.files:
            return reply(handler, 404, b"", X_Error_Code="EntryNotFound")
        body = repository.served.get(name, repository.files[name])
        etag = f'"{_sha(repository.files[name])}"'
        return reply(handler, 200, body, ETag=etag, X_Repo_Commit=repository.commits[revision])


def _entry(name: str, data: bytes) -> dict[str, Any]:
    lfs = {"oid": _sha(data), "size": len(data), "pointerSize": 1}
    return {"type": "file", "path": name, "size": len(data), "oid": _sha(data)[:40], "lfs": lfs}


def _json(handler: BaseHTTPRequestHandler, value: Any) -> None:
    reply(handler, 200, json.dumps(value).encode(), Content_Type="application/json")


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
