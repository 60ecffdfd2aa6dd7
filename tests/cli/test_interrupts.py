"""Ctrl-C while a command works: over within two seconds, exit code 130, no traceback, nothing left behind."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

Start = Callable[..., subprocess.Popen[str]]
SLOW = ("-o", "delay=0.2", "-o", "reply=" + "word " * 200)


def interrupt(process: subprocess.Popen[str]) -> tuple[str, str]:
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - began < 2
    assert process.returncode == 130, err
    assert "Traceback" not in err and "stopped" in err
    return out, err


def test_generate_stops(start: Start) -> None:
    process = start("generate", "fake", "Hello", *SLOW)
    assert process.stdout is not None
    seen = process.stdout.read(4)
    out, _ = interrupt(process)
    assert (seen + out).startswith("word")


def test_generate_stops_while_it_waits_for_the_whole_answer(start: Start) -> None:
    process = start("generate", "fake", "Hello", *SLOW, "--json")
    wait_for_threads(process)
    out, _ = interrupt(process)
    assert out == ""


def wait_for_threads(process: subprocess.Popen[str]) -> None:
    """Until the engine's own thread runs."""
    tasks = Path(f"/proc/{process.pid}/task")
    if not tasks.is_dir():
        pytest.skip("needs /proc")
    until = time.monotonic() + 20
    while len(list(tasks.iterdir())) < 3 and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.2)


def test_chat_from_a_pipe_stops(start: Start) -> None:
    process = start("chat", "fake", *SLOW)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("One?\nTwo?\n")
    process.stdin.flush()
    assert process.stdout.read(4) == "word"
    interrupt(process)


@pytest.fixture
def slow_catalogue(tmp_path: Path) -> Path:
    file = tmp_path / "slow.yaml"
    file.write_text("models:\n  slow:\n    engine: fake\n    options: {delay: 0.3}\n")
    return file


def test_extract_stops(start: Start, slow_catalogue: Path, tmp_path: Path) -> None:
    for name in ("one.txt", "two.txt"):
        (tmp_path / name).write_text("Basic earnings per share were $1.23.")
    process = start(
        "--catalog",
        str(slow_catalogue),
        "extract",
        "one.txt",
        "two.txt",
        "-m",
        "slow",
        "-t",
        "eps_extraction",
    )
    wait_for_threads(process)
    out, _ = interrupt(process)
    assert out == ""


def test_demo_stops_and_writes_no_page(start: Start, slow_catalogue: Path, tmp_path: Path) -> None:
    process = start("--catalog", str(slow_catalogue), "demo", "-m", "slow", "--out", "page.html")
    wait_for_threads(process)
    interrupt(process)
    assert not (tmp_path / "page.html").exists()


def test_a_benchmark_stops_keeps_its_answers_and_goes_on(
    start: Start, slow_catalogue: Path, tmp_path: Path
) -> None:
    from tests.bench.tasks import answer_task

    slow_catalogue.write_text("models:\n  slow:\n    engine: fake\n    options: {delay: 0.02}\n")
    answer_task(tmp_path / "answers", 60)
    args = ("--catalog", str(slow_catalogue), "bench", "run", "-m", "slow", "-t", "answers", "--name", "x")
    process = start(*args, "--store", "s.sqlite", "--together", "2")
    until = time.monotonic() + 60
    while _answers(tmp_path / "s.sqlite") < 3 and time.monotonic() < until:
        time.sleep(0.02)
    interrupt(process)
    kept = _answers(tmp_path / "s.sqlite")
    assert 3 <= kept < 60 and not (tmp_path / "modelyard-bench.html").exists()


def _answers(store: Path) -> int:
    if not store.exists():
        return 0
    base = sqlite3.connect(store)
    try:
        found: int = base.execute("SELECT count(*) FROM answers").fetchone()[0]
        return found
    except sqlite3.OperationalError:  # the tables are not made yet
        return 0
    finally:
        base.close()


@pytest.fixture
def stalled_index() -> Iterator[tuple[str, threading.Event]]:
    """A package index that takes a request and never answers it."""
    asked, over = threading.Event(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.set()
            over.wait(60)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/simple", asked
    over.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    "args", [("models", "pull", "smollm2-135m"), ("generate", "smollm2-135m", "Hi")], ids="_".join
)
def test_a_download_stops(
    start: Start, tmp_path: Path, stalled_index: tuple[str, threading.Event], args: tuple[str, ...]
) -> None:
    url, asked = stalled_index
    env = {"MODELYARD_CACHE": str(tmp_path / "cache"), "PIP_INDEX_URL": url, "PIP_FIND_LINKS": ""}
    env |= {"PIP_CONFIG_FILE": os.devnull, "NO_PROXY": "127.0.0.1"}
    process = start(*args, env=env)
    assert asked.wait(30)
    interrupt(process)


@pytest.mark.model
def test_a_conversion_stops_and_leaves_no_folder(start: Start, tmp_path: Path, small_gguf: Path) -> None:
    cache = tmp_path / "cache"
    process = start("generate", str(small_gguf), "Hello", env={"MODELYARD_CACHE": str(cache)})
    until = time.monotonic() + 30
    while not list(cache.rglob(".making-*")) and time.monotonic() < until:
        time.sleep(0.02)
    interrupt(process)
    assert list(cache.rglob(".making-*")) == []
