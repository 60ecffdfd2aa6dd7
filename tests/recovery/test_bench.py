"""A benchmark killed (kill -9) at any moment goes on where it stopped: every row once, as in an unbroken run."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.bench.tasks import answer_task, choice_task
from tests.conftest import clean_environment

SCRIPT = """
import sys
from modelyard.bench import create_benchmark_runner

class Said:
    def begin(self, model, task, total, done): print("begin", model, task, total, done, flush=True)
    def step(self): print("row", flush=True)
    def note(self, text): print(text, flush=True)

store, catalog, *tasks = sys.argv[1:]
runner = create_benchmark_runner(store=store, catalog=catalog, watch=Said())
runner.run(["slow", "slower"], tasks, run_name="killed", together=4, drift=2)
"""
CATALOG = """
models:
  slow: {engine: fake, options: {delay: 0.002}}
  slower: {engine: fake, options: {delay: 0.004, reply: "word3 or another"}}
"""


def begin(folder: Path, store: str, tasks: list[Path]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder / store), str(folder / "models.yaml"), *map(str, tasks)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment(),
    )  # fmt: skip


def rows(store: Path) -> list[tuple[Any, ...]]:
    """What is kept of each answer, but for times."""
    with sqlite3.connect(store) as base:
        found = base.execute(
            "SELECT model, task, asking, sample, content, repeat, outcome, score, "
            "json_extract(data, '$.answer'), json_extract(data, '$.prompt') FROM answers ORDER BY 1, 2, 3, 4, 5, 6"
        ).fetchall()
    base.close()
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_kills_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(CATALOG)
    tasks = [choice_task(tmp_path / "c", 120), answer_task(tmp_path / "a", 120)]
    unbroken = begin(tmp_path, "unbroken.sqlite", tasks)
    out, err = unbroken.communicate(timeout=300)
    assert unbroken.returncode == 0, err
    expected = rows(tmp_path / "unbroken.sqlite")
    assert len(expected) == 2 * 2 * 120 == len(set(expected))

    moments, kills, seen = random.Random(20), 0, []
    while kills < 20:
        process = begin(tmp_path, "killed.sqlite", tasks)
        assert process.stdout is not None
        # Anywhere: while it starts, while a model loads, between two rows, or in the middle of one.
        wait_for = moments.choice([0, 0, 1, 5, 15, 25])
        for line in process.stdout:
            if wait_for == 0 or line.startswith("row"):
                wait_for -= 1
            if wait_for <= 0:
                break
        time.sleep(moments.uniform(0, 0.05))
        if process.poll() is not None:
            break
        process.kill()
        process.communicate()
        kills += 1
        seen.append(len(rows(tmp_path / "killed.sqlite")) if (tmp_path / "killed.sqlite").exists() else 0)
    last = begin(tmp_path, "killed.sqlite", tasks)
    out, err = last.communicate(timeout=300)
    assert last.returncode == 0, err
    print(f"{kills} kills; rows after each: {seen}; asked by the last: {out.count('row')}")
    assert kills == 20 and seen == sorted(seen)
    assert rows(tmp_path / "killed.sqlite") == expected
    assert out.count("row\n") == len(expected) - seen[-1]
