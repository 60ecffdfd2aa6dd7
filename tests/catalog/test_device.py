"""Devices: what a machine has, within its container, and GPUs by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.catalog.memory.device import (
    GIB,
    has_bfloat16,
    host,
    named_gpu,
    of_memory,
    parse_size,
    parse_smi,
)
from modelyard.errors import InvalidArgumentError


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    folder = tmp_path / "proc"
    folder.mkdir()
    (folder / "meminfo").write_text(
        "MemTotal: 8000 kB\nMemFree: 100 kB\nMemAvailable: 6000 kB\nHugePages_Total: 0\n"
    )
    return folder


def test_a_machine_without_a_limit_has_what_it_has(proc: Path, tmp_path: Path) -> None:
    found = host(proc, tmp_path / "none")
    assert (found.kind, found.total, found.available) == ("cpu", 8000 * 1024, 6000 * 1024)


def test_a_containers_limit_counts(proc: Path, tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("4096000\n")
    (tmp_path / "memory.current").write_text("3000000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 1000000\n")
    found = host(proc, tmp_path)
    assert (found.total, found.available) == (4_096_000, 2_096_000) and "container" in found.name


def test_the_older_control_groups_are_read_too(proc: Path, tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("4096000")
    (tmp_path / "memory" / "memory.usage_in_bytes").write_text("96000")
    assert host(proc, tmp_path).available == 4_000_000


@pytest.mark.parametrize("limit", ["max", "9223372036854771712", "", "nonsense"])
def test_a_limit_that_is_none_does_not_count(proc: Path, tmp_path: Path, limit: str) -> None:
    (tmp_path / "memory.max").write_text(limit)
    (tmp_path / "memory.current").write_text("1")
    assert host(proc, tmp_path).total == 8000 * 1024


def test_this_machine_is_read() -> None:
    assert 0 < host().available <= host().total


def test_gpus_are_found_by_name_and_mistakes_are_named() -> None:
    assert named_gpu("A100-80GB").total > 74 * GIB and named_gpu("rtx_4090").kind == "gpu"
    with pytest.raises(InvalidArgumentError, match="Did you mean 'h100'"):
        named_gpu("h10")


@pytest.mark.parametrize(
    ("text", "size"),
    [("24GB", 24 * 10**9), ("16 GiB", 16 * 2**30), ("1.5g", 15 * 10**8), ("800", 800), ("2MiB", 2**21)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size and of_memory(text).available == size


@pytest.mark.parametrize("text", ["", "much", "-1GB", "0", "1e9", "GB", "3 bananas", "i", "5i"])
def test_sizes_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="--memory has value"):
        parse_size(text)


@pytest.mark.parametrize("said", ["", "No devices were found", "a, b, c", "NVIDIA L4, 23034"])
def test_nvidia_smi_may_say_anything(said: str) -> None:
    assert parse_smi(said) is None


def test_the_first_gpu_is_taken() -> None:
    found = parse_smi("NVIDIA H200, 143771, 140000\nNVIDIA H200, 143771, 1\n")
    assert found is not None and (found.name, found.available) == ("NVIDIA H200", 140000 << 20)


def test_bfloat16_is_read_off_the_cpu(proc: Path) -> None:
    assert not has_bfloat16(proc)
    (proc / "cpuinfo").write_text("flags : fpu avx512_bf16\n")
    assert has_bfloat16(proc)
