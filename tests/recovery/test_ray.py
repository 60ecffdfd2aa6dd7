"""Runs on a cluster that loses a worker, or move between one machine and a cluster: every row once, as in an unbroken run."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.bench.tasks import answer_task, choice_task
from tests.conftest import COMMAND, clean_environment
from tests.recovery.test_bench import rows
from tests.recovery.test_extract import SCHEMA, TEXT, answers, result

pytest.importorskip("ray", reason="Ray is not installed: pip install 'modelyard[ray]'")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
CATALOG = """
models:
  real:
    source: {{path: '{model}'}}
    engine: openvino
    options: {{precision: exact}}  # in fast numbers an answer depends on what else is in its batch
  slow: {{engine: fake, options: {{delay: 0.02}}}}
"""
TWO = ["--ray", "--ray-workers", "2"]


class Running:
    """A command, and what it says while it runs."""

    def __init__(self, folder: Path, *line: str) -> None:
        command = [str(COMMAND), "--catalog", str(folder / "models.yaml"), *line]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=clean_environment(), cwd=folder,
        )  # fmt: skip
        self.said = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self.said += line

    def wait(self, seconds: float = 900) -> int:
        code = self.process.wait(seconds)
        self._reader.join(10)
        return code

    def kill(self) -> None:
        """kill -9, and nothing of its cluster is left a little later."""
        children = _descendants(self.process.pid)
        self.process.kill()
        self.process.wait()
        until = time.monotonic() + 120  # Ray's own agents look up now and then whether their parent lives
        while any(_lives(one) for one in children):
            assert time.monotonic() < until, (
                f"still there: {[_about(one) for one in children if _lives(one)]}"
            )
            time.sleep(0.1)


def _descendants(pid: int) -> list[int]:
    import psutil

    return [one.pid for one in psutil.Process(pid).children(recursive=True)]


def _about(pid: int) -> list[str]:
    import psutil

    return [str(pid), *psutil.Process(pid).cmdline()]


def _lives(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill_a_worker(of: Running) -> int:
    """kill -9 of one of the processes that ask the model."""
    import psutil

    found = [
        one.pid for one in psutil.Process(of.process.pid).children(recursive=True)
        if "MapWorker" in " ".join(one.cmdline() or [one.name()])
    ]  # fmt: skip
    os.kill(found[0], signal.SIGKILL)
    return found[0]


def wait_until(done: Any, running: Running, seconds: float = 600) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert running.process.poll() is None, running.said
        assert time.monotonic() < until, running.said
        time.sleep(0.05)


def documents(folder: Path, count: int) -> None:
    (folder / "documents").mkdir()
    (folder / "schema.yaml").write_text(SCHEMA)
    for at in range(count):
        text = TEXT.format(name=f"Firm {at}", revenue=1000 + at, eps=f"{at / 100:.2f}")
        (folder / "documents" / f"filing{at:03}.txt").write_text(text)


def extraction(folder: Path, model: str, name: str, *more: str) -> Running:
    return Running(
        folder, "extract", str(folder / "documents"), "--model", model, "--schema", str(folder / "schema.yaml"),
        "--store", str(folder / f"{name}.sqlite"), "--out", str(folder / f"{name}.json"), "--voters", "evidence", *more,
    )  # fmt: skip


def kept_rows(store: Path) -> int:
    if not store.exists():
        return 0
    with sqlite3.connect(store) as base:
        try:
            (count,) = base.execute("SELECT count(*) FROM answers").fetchone()
        except sqlite3.OperationalError:  # its tables are not there yet
            count = 0
    base.close()
    return int(count)


def without_kept(path: Path) -> dict[str, Any]:
    found = result(path)
    for one in found["documents"]:
        for reply in one.get("replies", ()):
            reply.pop("kept", None)
            reply.pop("seconds", None)
    return found


def near(thing: Any) -> Any:
    """The same with floats to three digits: in a real model a batch's company moves a logprob in its fourth."""
    if isinstance(thing, dict):
        return {key: near(one) for key, one in thing.items()}
    if isinstance(thing, list):
        return [near(one) for one in thing]
    return pytest.approx(thing, abs=2e-3) if isinstance(thing, float) else thing


@pytest.mark.model
def test_two_hundred_documents_with_a_worker_killed_are_those_of_one_machine(
    tmp_path: Path, small_gguf: Path
) -> None:
    (tmp_path / "models.yaml").write_text(CATALOG.format(model=small_gguf))
    documents(tmp_path, 200)
    alone = extraction(tmp_path, "real", "alone")
    assert alone.wait() == 0, alone.said
    there = extraction(tmp_path, "real", "there", *TWO)
    wait_until(lambda: len(answers(tmp_path / "there.sqlite")) >= 60, there)
    killed = kill_a_worker(there)
    assert there.wait() == 0, there.said
    assert re.search(rf"worker {killed} on \S+ was lost; worker \d+ on \S+ took its place", there.said), (
        there.said
    )
    assert answers(tmp_path / "there.sqlite") == answers(tmp_path / "alone.sqlite")
    assert len(answers(tmp_path / "there.sqlite")) == 200
    assert without_kept(tmp_path / "there.json") == near(without_kept(tmp_path / "alone.json"))


@pytest.mark.model
def test_four_hundred_samples_with_a_worker_killed_are_those_of_one_machine(
    tmp_path: Path, small_gguf: Path
) -> None:
    (tmp_path / "models.yaml").write_text(CATALOG.format(model=small_gguf))
    tasks = [str(choice_task(tmp_path / "c", 200)), str(answer_task(tmp_path / "a", 200))]

    def bench(name: str, *more: str) -> Running:
        return Running(
            tmp_path, "bench", "run", "--models", "real", "--tasks", *tasks, "--name", "r", "--drift", "0",
            "--store", str(tmp_path / f"{name}.sqlite"), *more,
        )  # fmt: skip

    alone = bench("alone")
    assert alone.wait() == 0, alone.said
    there = bench("there", *TWO)
    wait_until(lambda: kept_rows(tmp_path / "there.sqlite") >= 100, there)
    killed = kill_a_worker(there)
    assert there.wait() == 0, there.said
    assert f"worker {killed} on " in there.said and "was lost" in there.said
    found = rows(tmp_path / "there.sqlite")
    assert len(found) == 400
    assert found == rows(tmp_path / "alone.sqlite")


def test_a_run_moves_between_one_machine_and_a_cluster_in_mid_way(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(CATALOG.format(model="/none"))
    documents(tmp_path, 120)
    unbroken = extraction(tmp_path, "slow", "unbroken")
    assert unbroken.wait() == 0, unbroken.said
    expected = answers(tmp_path / "unbroken.sqlite")
    store = tmp_path / "moved.sqlite"
    seen = []
    for at_least, more in ((20, []), (60, TWO)):
        running = extraction(tmp_path, "slow", "moved", *more)
        wait_until(lambda least=at_least: len(answers(store)) >= least, running)
        running.kill()
        seen.append(len(answers(store)))
    assert 20 <= seen[0] < 60 <= seen[1] < len(expected)
    began = time.time()
    last = extraction(tmp_path, "slow", "moved")
    assert last.wait() == 0, last.said
    assert answers(store) == expected
    with sqlite3.connect(store) as base:
        (asked,) = base.execute("SELECT count(*) FROM answers WHERE made > ?", (began,)).fetchone()
    base.close()
    assert asked == len(expected) - seen[1]
    assert without_kept(tmp_path / "moved.json") == without_kept(tmp_path / "unbroken.json")


def test_samples_move_between_one_machine_and_a_cluster_in_mid_way(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(CATALOG.format(model="/none"))
    tasks = [str(choice_task(tmp_path / "c", 200)), str(answer_task(tmp_path / "a", 200))]

    def bench(name: str, *more: str) -> Running:
        return Running(
            tmp_path, "bench", "run", "--models", "slow", "--tasks", *tasks, "--name", "r", "--drift", "0",
            "--together", "4", "--store", str(tmp_path / f"{name}.sqlite"), *more,
        )  # fmt: skip

    unbroken = bench("unbroken")
    assert unbroken.wait() == 0, unbroken.said
    store = tmp_path / "moved.sqlite"
    for at_least, more in ((60, []), (200, TWO)):
        running = bench("moved", *more)
        wait_until(lambda least=at_least: kept_rows(store) >= least, running)
        running.kill()
    assert 200 <= kept_rows(store) < 400
    last = bench("moved")
    assert last.wait() == 0, last.said
    assert rows(store) == rows(tmp_path / "unbroken.sqlite")


def test_ctrl_c_stops_the_run_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(CATALOG.format(model="/none"))
    documents(tmp_path, 120)
    running = extraction(tmp_path, "slow", "stopped", *TWO)
    wait_until(lambda: len(answers(tmp_path / "stopped.sqlite")) >= 10, running)
    left = _descendants(running.process.pid)
    running.process.send_signal(signal.SIGINT)
    assert running.wait(60) == 130
    assert "Traceback" not in running.said and running.said.rstrip().endswith("stopped"), running.said
    until = time.monotonic() + 30
    while any(_lives(one) for one in left):
        assert time.monotonic() < until
        time.sleep(0.1)
