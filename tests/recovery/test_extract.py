"""An extraction killed (kill -9) at any moment goes on where it stopped: asked once, and equal to an unbroken run."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import COMMAND, clean_environment

DOCUMENTS = 60
CATALOG = """
models:
  slow: {engine: fake, options: {delay: 0.004}}
"""
SCHEMA = """
fields:
  eps: {type: number, description: earnings per share of the most recent quarter}
  firm: {type: string, description: the firm's name}
"""
TEXT = """{name} reports its first quarter.
Three Months Ended March 31,
2024 2023
Revenue {revenue} 1,100
Earnings per share $ {eps} $ 0.34
"""


def documents(folder: Path) -> None:
    """Sixty, of which one is no document although its name says so."""
    folder.mkdir()
    for at in range(DOCUMENTS - 1):
        text = TEXT.format(name=f"Firm {at}", revenue=1000 + at, eps=f"{at / 100:.2f}")
        (folder / f"filing{at:02}.txt").write_text(text)
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 and nothing behind it")


def begin(folder: Path, name: str) -> subprocess.Popen[str]:
    command = [
        str(COMMAND), "--catalog", str(folder / "models.yaml"), "extract", str(folder / "documents"),
        "--model", "slow", "--schema", str(folder / "schema.yaml"), "--store", str(folder / f"{name}.sqlite"),
        "--out", str(folder / f"{name}.json"), "--together", "4",
    ]  # fmt: skip
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=clean_environment()
    )


def answers(store: Path) -> dict[str, str]:
    """What is kept: question to answer, but for times."""
    if not store.exists():
        return {}
    with sqlite3.connect(store) as base:
        found = base.execute("SELECT question, json_extract(data, '$.text') FROM answers").fetchall()
    base.close()
    return dict(found)


def result(path: Path) -> dict[str, Any]:
    """What a run came to, but for the seconds it took."""
    found: dict[str, Any] = json.loads(path.read_text())
    for one in found["documents"]:
        del one["seconds"]
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_kills_lose_nothing_and_ask_nothing_twice(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(CATALOG)
    (tmp_path / "schema.yaml").write_text(SCHEMA)
    documents(tmp_path / "documents")
    unbroken = begin(tmp_path, "unbroken")
    _, err = unbroken.communicate(timeout=300)
    assert unbroken.returncode == 9, err  # some documents failed
    assert "broken.pdf" in err
    expected = answers(tmp_path / "unbroken.sqlite")
    assert len(expected) == 3 * (DOCUMENTS - 1)

    moments, kills, seen = random.Random(60), 0, []
    while kills < 20:
        before = len(answers(tmp_path / "killed.sqlite"))
        if before > len(expected) - 12:
            break
        process = begin(tmp_path, "killed")
        # While it starts, while the model loads, or after some answers more.
        more = moments.choice([-1, 0, 2, 5, 9])
        until = time.monotonic() + (moments.uniform(0, 1.5) if more < 0 else 60)
        while time.monotonic() < until and process.poll() is None:
            if 0 <= more <= len(answers(tmp_path / "killed.sqlite")) - before:
                break
            time.sleep(0.01)
        process.kill()
        process.communicate()
        kills += 1
        seen.append(len(answers(tmp_path / "killed.sqlite")))
    assert not (tmp_path / "killed.json").exists()
    last = begin(tmp_path, "killed")
    _, err = last.communicate(timeout=300)
    assert last.returncode == 9, err
    print(f"{kills} kills; answers after each: {seen}; asked by the last: {len(expected) - seen[-1]}")
    assert kills == 20 and seen == sorted(seen)
    assert answers(tmp_path / "killed.sqlite") == expected
    assert result(tmp_path / "killed.json") == result(tmp_path / "unbroken.json")
    (broken,) = [one for one in result(tmp_path / "killed.json")["documents"] if one.get("error")]
    assert broken["document"].endswith("broken.pdf")
