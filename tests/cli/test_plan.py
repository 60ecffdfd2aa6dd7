"""`plan`: what it prints for people and for programs, and what goes wrong without a traceback."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.catalog.published import published
from tests.hub import Hub

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[str], str]:
    """Puts a published configuration into a folder of its own."""

    def put(name: str) -> str:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(published(name)))
        return f"./{name}"

    return put


def planned(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["plans"]
    return found


def test_it_says_everything_a_person_asks(command: Run, folder: Callable[[str], str]) -> None:
    text = command("plan", folder("llama-2-70b"), "--gpu", "h100", "--batch", "2").stdout
    for word in (
        "engine transformers",
        "68,976,648,192",
        "327,680 bytes",
        "2 x 4,096 tokens",
        "fits at 4-bit on h100",
    ):
        assert word in text
    for row in ("weights", "KV cache", "activations", "peak", "longest context", "largest batch"):
        assert f"\n  {row} " in text


def test_published_models_are_planned_from_their_configs(command: Run, folder: Callable[[str], str]) -> None:
    counts = {
        "llama-2-70b": 68_976_648_192, "gemma-3-4b": 4_300_079_472, "deepseek-v2": 235_741_434_880,
        "mixtral-8x7b": 46_702_792_704, "t5-large": 737_668_096, "qwen2.5-vl-7b": 8_292_166_656,
    }  # fmt: skip
    done = planned(command("plan", *[folder(name) for name in counts], "--memory", "96GB", "--json"))
    assert [one["parameters"] for one in done] == list(counts.values())
    assert [one["memory"]["verdict"] for one in done] == [
        "fits at 4-bit", "fits", "does not fit", "does not fit", "fits", "fits",
    ]  # fmt: skip
    assert all(one["memory"]["predicted"]["total"] > one["weights"] / 2.1 for one in done)


def test_the_same_command_stands_under_models(command: Run, folder: Callable[[str], str]) -> None:
    name = folder("t5-large")
    asked = (name, "--memory", "24GB", "--json")
    assert planned(command("models", "plan", *asked)) == planned(command("plan", *asked))


def test_quantisation_type_and_engine_can_be_asked_for(command: Run, folder: Callable[[str], str]) -> None:
    name = folder("qwen2.5-vl-7b")
    (one,) = planned(
        command("plan", name, "--memory", "64GB", "--quantization", "8bit", "--dtype", "float16", "--json")
    )
    assert (one["memory"]["quantization"], one["memory"]["dtype"]) == ("8bit", "float16")
    (one,) = planned(command("plan", name, "--memory", "64GB", "--engine", "openvino", "--json"))
    assert one["engine"] == "openvino"


def test_a_hub_model_is_planned_by_its_config_and_index(command: Run, hub: Hub) -> None:
    index = {"metadata": {"total_size": 93_405_585_408}, "weight_map": {}}
    hub.add(
        "org/tiny",
        {
            "config.json": json.dumps(published("mixtral-8x7b")).encode(),
            "model.safetensors.index.json": json.dumps(index).encode(),
            "model-00001-of-00001.safetensors": b"weights",
        },
    )
    (one,) = planned(command("plan", "org/tiny", "--gpu", "h200", "--json", env={"HF_ENDPOINT": hub.url}))
    assert (one["weights"], one["local"], one["memory"]["verdict"]) == (93_405_585_408, False, "fits")
    assert not [path for _, path, _ in hub.requests if path.endswith("00001.safetensors")]


def test_offline_it_says_that_it_does_not_know(command: Run, hub: Hub) -> None:
    done = command("--offline", "plan", "org/tiny", "--memory", "8GB", env={"HF_ENDPOINT": hub.url})
    assert done.returncode == 0 and "not known offline" in done.stdout and not hub.requests
    (one,) = planned(command("--offline", "plan", "org/tiny", "--json"))
    assert one["memory"]["verdict"] == "not known" and "not known offline" in one["unknown"][-1]


def test_a_model_with_another_source_is_planned_where_the_hub_is_not_there(
    command: Run, tmp_path: Path
) -> None:
    (tmp_path / "models.yaml").write_text(
        "models:\n  two:\n    source:\n      - hub: org/tiny\n      - path: ./nowhere.gguf\n"
    )
    done = command("plan", "two", "--memory", "8GB")
    assert done.returncode == 0 and "the Hub was asked" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--gpu", "rtx9"), "--gpu has value 'rtx9'"),
        (("--memory", "lots"), "--memory has value 'lots'"),
        (("--memory", "1GB", "--gpu", "l4"), "both given"),
        (("--engine", "llama"), "no engine 'llama'"),
        (("--context", "0"), "--context"),
        (("--batch", "-3"), "--batch"),
        (("--work", "both"), "--work"),
    ],
)
def test_mistakes_are_named_without_a_traceback(
    command: Run, folder: Callable[[str], str], args: tuple[str, ...], said: str
) -> None:
    done = command("plan", folder("t5-large"), *args)
    assert done.returncode != 0 and said in done.stderr and "Traceback" not in done.stderr


def test_a_hub_that_is_not_there_is_named(command: Run) -> None:
    done = command("plan", "org/tiny")
    assert done.returncode != 0 and "cannot be reached" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.model
def test_the_small_model_is_planned_by_its_header(command: Run, small_gguf: Path) -> None:
    (one,) = planned(command("plan", "smollm2-135m", "--context", "2048", "--batch", "8", "--json"))
    assert one["parameters"] == 134_515_008 and one["engine"] == "openvino"
    assert one["memory"]["verdict"] == "fits" and one["memory"]["predicted"]["kv_cache"] == 8 * 2048 * 13_680
