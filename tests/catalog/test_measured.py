"""Measurements: kept beside predictions, whoever writes them and however the file looks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.catalog.memory.measured import correction, recall, remember


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELYARD_DATA", str(tmp_path))
    return tmp_path / "memory.json"


def test_a_model_is_corrected_by_its_own_measurement() -> None:
    remember("sha256:a", "openvino", 1000, 1100)
    factor, why = correction("sha256:a", "openvino")
    assert factor == pytest.approx(1.1) and "this model" in why
    assert correction("sha256:a", "llamacpp") == (1.0, "")
    assert correction("sha256:a", "openvino", device="gpu") == (1.0, "")


def test_the_last_measurement_of_a_model_counts() -> None:
    remember("sha256:a", "transformers", 1000, 900, quantization="4bit", dtype="bfloat16")
    remember("sha256:a", "transformers", 1000, 1200, quantization="4bit", dtype="bfloat16")
    assert len(recall()) == 1
    found, _ = correction("sha256:a", "transformers", quantization="4bit", dtype="bfloat16")
    assert found == pytest.approx(1.2)


def test_another_model_is_corrected_by_the_median_of_three() -> None:
    for number, measured in enumerate((900, 1300, 1100)):
        assert correction("sha256:new", "openvino") == (1.0, "")
        remember(f"sha256:{number}", "openvino", 1000, measured)
    factor, why = correction("sha256:new", "openvino")
    assert factor == pytest.approx(1.1) and "3 models" in why


@pytest.mark.parametrize("measured", [0, -5, 10, 100_000])
def test_what_cannot_be_a_peak_is_not_kept(measured: int) -> None:
    remember("sha256:a", "openvino", 1000, measured)
    assert recall() == []


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '{"measurements": 3}', '{"measurements": [3, null, {"engine": "x"}]}',
        '{"measurements": [{"revision": 1}]}', "\0\0", "NaN",
    ],
)  # fmt: skip
def test_a_torn_or_foreign_file_is_no_error_and_is_replaced(data: Path, text: str) -> None:
    data.write_text(text)
    assert recall() == [] and correction("a", "openvino") == (1.0, "")
    remember("a", "openvino", 1000, 1100)
    assert len(recall()) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("predicted", 0), ("predicted", "1"), ("measured", True), ("engine", 3), ("measured", 10**9)],
)
def test_a_row_with_an_impossible_value_is_passed_over(data: Path, name: str, value: object) -> None:
    remember("a", "openvino", 1000, 1100)
    remember("b", "openvino", 1000, 1200)
    rows = json.loads(data.read_text())["measurements"]
    rows[0][name] = value
    data.write_text(json.dumps({"measurements": rows}))
    assert [one.revision for one in recall()] == ["b"]


def test_a_folder_that_cannot_be_written_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MODELYARD_DATA", str(tmp_path / "file"))
    remember("a", "openvino", 1000, 1100)
    assert recall() == []


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    script = """
import sys
from modelyard.catalog.memory.measured import remember
for number in range(10):
    remember(f"{sys.argv[1]}-{number}", "openvino", 1000, 1100)
"""
    started = [subprocess.Popen([sys.executable, "-c", script, str(one)]) for one in range(3)]
    assert [one.wait(60) for one in started] == [0, 0, 0]
    assert len(recall()) == 30
