"""A process killed in the middle (kill -9) leaves a cache that the next one can use."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Start = Callable[..., subprocess.Popen[str]]
Run = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = [pytest.mark.model, pytest.mark.slow]
ASK = ("Name the capital of France.", "--temperature", "0", "--max-tokens", "20")


def folders(cache: Path) -> list[str]:
    return sorted(one.name for one in (cache / "openvino").iterdir() if one.is_dir())


def test_a_killed_conversion_is_done_again_and_its_rubbish_removed(
    start: Start, command: Run, tmp_path: Path, small_gguf: Path
) -> None:
    cache = tmp_path / "cache"
    env = {"MODELYARD_CACHE": str(cache)}
    process = start("generate", str(small_gguf), *ASK, env=env)
    until = time.monotonic() + 30
    while not list(cache.rglob(".making-*")) and time.monotonic() < until:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert [name for name in folders(cache) if name.startswith(".making-")]
    found = command("generate", str(small_gguf), *ASK, env=env)
    assert "Paris" in found.stdout, found.stderr
    assert len(folders(cache)) == 1 and not folders(cache)[0].startswith(".making-")


def test_a_process_killed_while_it_answers_harms_no_later_one(
    start: Start, command: Run, tmp_path: Path, small_gguf: Path
) -> None:
    process = start("generate", str(small_gguf), "Tell a long story.", "-p", "min_new_tokens=500")
    assert process.stdout is not None and process.stdout.read(4)
    process.kill()
    process.wait()
    found = command("generate", str(small_gguf), *ASK)
    assert "Paris" in found.stdout and found.returncode == 0


def test_one_who_waits_for_a_killed_conversion_takes_over(
    start: Start, tmp_path: Path, small_gguf: Path
) -> None:
    cache = tmp_path / "cache"
    env = {"MODELYARD_CACHE": str(cache)}
    first = start("generate", str(small_gguf), *ASK, env=env)
    until = time.monotonic() + 30
    while not list(cache.rglob(".making-*")) and time.monotonic() < until:
        time.sleep(0.02)
    second = start("generate", str(small_gguf), *ASK, env=env)
    time.sleep(0.3)
    first.kill()
    out, err = second.communicate(timeout=60)
    assert "Paris" in out, err
