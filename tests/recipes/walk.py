"""Walks through a page: its files are written, its code runs, its servers run beside it until the end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from tests.recipes.page import FILES, ROOT, Block
from tests.servers import free_port

_SERVER = re.compile(r"^(modelyard|vllm) serve\b", re.MULTILINE)
_ALIVE = {"modelyard": "/livez", "vllm": "/health"}
_START = 400  # seconds: vLLM on two cores


@dataclass(slots=True)
class Ran:
    """A block that has run, and what it printed."""

    block: Block
    printed: str


@dataclass
class Walk:
    """One reader of one page.

    Args:
        folder: where he works, empty at the beginning.
        environment: of everything that runs.
        changes: what is written otherwise here than on the page: an address of an example, by the one that there is.
    """

    folder: Path
    environment: Mapping[str, str]
    changes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ran: list[Ran] = []
        # The ports of the pages may be taken on this machine.
        self._ports = {5000: free_port(), 8000: free_port()}
        self._servers: list[subprocess.Popen[bytes]] = []
        self._python: subprocess.Popen[str] | None = None
        self._exported: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for server in self._servers:
            os.killpg(server.pid, signal.SIGTERM)
        for server in self._servers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(30)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        if self._python is not None:
            self._python.stdin.close()  # type: ignore[union-attr]
            code = self._python.wait(60)
            self._python.stdout.close()  # type: ignore[union-attr]
            assert kind is not None or code == 0, f"the Python of the page ended with {code}"

    def follow(self, blocks: list[Block]) -> str:
        """Does what the blocks say, in order; all that they printed."""
        for block in blocks:
            text = self._changed(block.text)
            if block.language in FILES:
                self._write(block.title, text)
                continue
            run: Callable[[Block, str], str] = (
                self._in_python if block.language == "python" else self._in_shell
            )
            self.ran.append(Ran(block, run(block, text)))
        return "\n".join(one.printed for one in self.ran)

    def _changed(self, text: str) -> str:
        for old, new in self.changes.items():
            text = text.replace(old, new)
        for old, new in self._ports.items():
            text = re.sub(rf"\b(localhost|127\.0\.0\.1):{old}\b", rf"127.0.0.1:{new}", text)
            text = re.sub(rf"--port {old}\b", f"--port {new}", text)
        return text

    def _write(self, name: str, text: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")

    # -- Python ------------------------------------------------------------------------------------------------

    def _in_python(self, block: Block, text: str) -> str:
        python = self._python or self._start_python()
        assert python.stdin is not None and python.stdout is not None
        # Lines of tracebacks are those of the page.
        padded = "\n" * (block.line - 1) + text
        python.stdin.write(json.dumps({"name": block.page, "text": padded}) + "\n")
        python.stdin.flush()
        line = python.stdout.readline()
        assert line, f"{block}: Python ended\n{self._said('python')}"
        reply = json.loads(line)
        assert reply["error"] is None, f"{block}\n{reply['error']}\n{reply['printed']}"
        return str(reply["printed"])

    def _start_python(self) -> subprocess.Popen[str]:
        with self._log("python") as log:
            self._python = subprocess.Popen(
                [sys.executable, "-m", "tests.recipes.console"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                cwd=self.folder, env={**self._env(), "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        return self._python

    # -- the shell ---------------------------------------------------------------------------------------------

    def _in_shell(self, block: Block, text: str) -> str:
        if server := _SERVER.search(text):
            return self._serve(block, text, server[1])
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.folder, env=self._env(), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}: {done.returncode}\n{text}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, f"{block}\n{done.stderr}"
        # What a block exports holds for the blocks after it, as in one terminal.
        self._exported |= dict(re.findall(r"^export (\w+)=(\S+)$", text, re.MULTILINE))
        return done.stdout

    def _serve(self, block: Block, text: str, kind: str) -> str:
        port = self._ports[5000 if kind == "modelyard" else 8000]
        if kind == "modelyard":
            text = _SERVER.sub(rf"\g<0> --port {port}", text)
        with self._log(kind) as log:
            server = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", text],
                cwd=self.folder, env=self._env(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0,
            )  # fmt: skip
        self._servers.append(server)
        end = time.monotonic() + _START
        while not _answers(f"http://127.0.0.1:{port}{_ALIVE[kind]}"):
            assert server.poll() is None, f"{block}: the server ended\n{self._said(kind)}"
            assert time.monotonic() < end, f"{block}: the server does not answer\n{self._said(kind)}"
            time.sleep(0.2)
        return ""

    def _env(self) -> dict[str, str]:
        return {**self.environment, **self._exported}

    def _log(self, name: str) -> IO[bytes]:
        return (self.folder.parent / f"{self.folder.name}-{name}.log").open("ab")

    def _said(self, name: str) -> str:
        return (self.folder.parent / f"{self.folder.name}-{name}.log").read_text("utf-8", "replace")[-4000:]


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5):
            return True
    except HTTPError:
        return True
    except (URLError, OSError):
        return False
