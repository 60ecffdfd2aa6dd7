"""`modelyard serve` as a process, for tests that talk to it as its users do."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import httpx2
from tests.conftest import COMMAND, clean_environment

FAKES = """
models:
  words: {{engine: fake}}
  slow: {{engine: fake, options: {{delay: 0.05, reply: "one two three four five six seven eight nine ten eleven twelve"}}}}
  stories: {{engine: fake, options: {{delay: 0.02, reply: "{}"}}}}
""".format(("word " * 3000).strip())


class Log:
    """What a server says on stderr, as it comes."""

    def __init__(self, pipe: IO[str]) -> None:
        self.lines: list[dict[str, Any]] = []
        self.raw: list[str] = []
        self._pipe = pipe
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._pipe:
            with self._news:
                self.raw.append(line)
                with contextlib.suppress(ValueError):
                    self.lines.append(json.loads(line))
                self._news.notify_all()

    def wait_for(self, event: str, seconds: float = 30, /, **fields: Any) -> dict[str, Any]:
        """The first line with that event and those fields, waited for."""
        end = time.monotonic() + seconds
        with self._news:
            while True:
                for line in self.lines:
                    if line["event"] == event and all(
                        line.get(key) == value for key, value in fields.items()
                    ):
                        return line
                left = end - time.monotonic()
                if left <= 0 or not self._reader.is_alive():
                    raise AssertionError(f"no {event} {fields} in the log:\n{''.join(self.raw[-30:])}")
                self._news.wait(min(left, 0.2))

    def close(self) -> None:
        """Reads to the end."""
        self._reader.join(10)
        self._pipe.close()


class Server:
    """A running server: its URL, what it has logged, and how to end it."""

    def __init__(self, process: subprocess.Popen[str], log: Log, seconds: float = 60) -> None:
        self.process = process
        self.log = log
        self.url: str = log.wait_for("started", seconds)["url"]

    def client(self, **how: Any) -> httpx2.Client:
        """A client of it."""
        return httpx2.Client(base_url=self.url, timeout=60, trust_env=False, **how)

    def async_client(self, **how: Any) -> httpx2.AsyncClient:
        """A client of it for many requests at a time."""
        limits = httpx2.Limits(max_connections=None)
        return httpx2.AsyncClient(base_url=self.url, timeout=120, trust_env=False, limits=limits, **how)

    def metric(self, name: str, /, **labels: str) -> float:
        """The value of a metric, summed over the labels that are not named; 0 where there is none yet."""
        with self.client() as client:
            text = client.get("/metrics").text
        found = re.findall(rf"^modelyard_{name}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE)
        rows = [(dict(re.findall(r'(\w+)="([^"]*)"', one)), float(value)) for one, value in found]
        return sum(value for row, value in rows if labels.items() <= row.items())

    def model(self, name: str) -> dict[str, Any]:
        """What GET /models says of one."""
        with self.client() as client:
            found: dict[str, Any] = client.get(f"/models/{name}").json()
        return found

    def pid_of(self, name: str) -> int:
        """The process that a loaded model is in."""
        with self.client() as client:
            found: int = client.get(f"/models/{name}").json()["pid"]
        return found

    def stop(self, sign: int = signal.SIGTERM, seconds: float = 60) -> int:
        """Ends it, and says how it ended."""
        self.process.send_signal(sign)
        return self.process.wait(seconds)


@contextlib.contextmanager
def served(
    folder: Path,
    catalog: str = FAKES,
    *args: str,
    env: Mapping[str, str] | None = None,
    seconds: float = 60,
    command: Path = COMMAND,
) -> Iterator[Server]:
    """Serves a catalogue on a free port, and waits so long for its start."""
    file = folder / "served.yaml"
    file.write_text(catalog)
    line = [str(command), "serve", str(file), "--port", "0", "--log", "json", *args]
    process = subprocess.Popen(
        line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder,
        env=clean_environment(env),
    )  # fmt: skip
    assert process.stderr is not None
    log = Log(process.stderr)
    try:
        yield Server(process, log, seconds)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5)
        process.kill()
        process.wait()
        log.close()


def events(response: httpx2.Response) -> list[dict[str, Any]]:
    """The server-sent events of a reply that has been read, `[DONE]` left out."""
    said = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    return [json.loads(one) for one in said if one != "[DONE]"]


def ask(model: str, text: str = "Tell me a story", **more: Any) -> dict[str, Any]:
    """The body of a chat."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


if sys.platform != "linux":  # the tests look at /proc and kill by signals
    import pytest

    pytest.skip("the server's tests are for Linux", allow_module_level=True)
