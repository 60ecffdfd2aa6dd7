"""Every mistake of a user: one message on stderr, nothing on stdout, no traceback, the right exit code."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
MISTAKES: dict[str, tuple[list[str], int, str]] = {
    "unknown alias": (["generate", "smolm2-135m", "Hi"], 3, "Did you mean 'smollm2-135m'"),
    "missing path": (["generate", "./no.gguf", "Hi"], 3, "no.gguf"),
    "unknown parameter": (["generate", "fake", "Hi", "-p", "temprature=1"], 2, "Did you mean 'temperature'"),
    "parameter without =": (["generate", "fake", "Hi", "-p", "top_k"], 2, "name=value"),
    "parameter that is an argument": (
        ["generate", "fake", "Hi", "-p", "prompt=x"],
        2,
        "'prompt' is not known",
    ),
    "parameter named self": (["generate", "fake", "Hi", "-p", "self=1"], 2, "'self' is not known"),
    "parameter named raw": (["chat", "fake", "-p", "raw=true"], 2, "'raw' is not known"),
    "parameter out of range": (["generate", "fake", "Hi", "-p", "top_p=7"], 2, "'top_p' has value 7"),
    "temperature out of range": (
        ["generate", "fake", "Hi", "--temperature", "-1"],
        2,
        "'temperature' has value -1",
    ),
    "no number": (["generate", "fake", "Hi", "--temperature", "hot"], 2, "'--temperature'"),
    "bad timeout": (["generate", "fake", "Hi", "--timeout", "0"], 2, "timeout is 0"),
    "timeout": (["generate", "fake", "Hi", "-o", "delay=0.2", "--timeout", "0.1"], 8, "deadline"),
    "empty prompt": (["generate", "fake", ""], 2, "empty"),
    "missing schema": (["generate", "fake", "Hi", "--schema", "no.json"], 2, "no.json cannot be read"),
    "broken schema": (["generate", "fake", "Hi", "--schema", "broken.json"], 2, "broken.json is not JSON"),
    "binary schema": (["generate", "fake", "Hi", "--schema", "binary.json"], 2, "binary.json is not JSON"),
    "bad schema": (["generate", "fake", "Hi", "--schema", "bad.json"], 2, "type"),
    "bad regex": (["generate", "fake", "Hi", "--regex", "(["], 2, "regex"),
    "two forms": (["generate", "fake", "Hi", "--regex", "a", "--choice", "b"], 2, "given together"),
    "unknown engine": (["generate", "fake", "Hi", "--engine", "vlm"], 2, "vlm"),
    "missing engine": (["generate", "smollm2-135m", "Hi", "--engine", "vllm"], 7, "engines install vllm"),
    "unknown engine option": (["generate", "fake", "Hi", "-o", "dellay=1"], 2, "Did you mean 'delay'"),
    "bad engine option": (["generate", "fake", "Hi", "-o", "delay=long"], 2, "'delay' has value 'long'"),
    "empty reply": (["generate", "fake", "Hi", "-o", "reply="], 2, "'reply'"),
    "unknown option": (["generate", "fake", "Hi", "--temprature", "1"], 2, "--temprature"),
    "unknown command": (["genrate", "fake"], 2, "genrate"),
    "missing argument": (["generate", "fake"], 2, "prompt"),
    "missing session": (["chat", "fake", "--load", "no.json"], 2, "no.json"),
    "broken session": (["chat", "fake", "--load", "broken.json"], 2, "broken.json"),
    "missing document": (["extract", "no.txt", "-m", "fake", "-t", "eps_extraction"], 2, "no.txt"),
    "empty folder": (["extract", "folder", "-m", "fake", "-t", "eps_extraction"], 2, "folder"),
    "unknown task": (["extract", "doc.txt", "-m", "fake", "-t", "eps_extracton"], 2, "eps_extracton"),
    "no task": (["extract", "doc.txt", "-m", "fake"], 2, "--task"),
    "unknown model of extract": (["extract", "doc.txt", "-m", "fakke", "-t", "eps_extraction"], 3, "'fake'"),
    "missing catalogue": (["--catalog", "no.yaml", "models", "list"], 2, "no.yaml"),
    "broken catalogue": (["--catalog", "broken.yaml", "models", "list"], 2, "broken.yaml:3"),
    "catalogue with a wrong key": (["--catalog", "wrong.yaml", "models", "list"], 2, "wrong.yaml:3"),
    "unknown model of show": (["models", "show", "smolm2-135m"], 3, "Did you mean 'smollm2-135m'"),
    "unknown model of pull": (["models", "pull", "smolm2-135m"], 3, "Did you mean 'smollm2-135m'"),
    "unknown model of plan": (["models", "plan", "smolm2-135m"], 3, "Did you mean 'smollm2-135m'"),
    "demo with both": (["demo", "--quick", "-m", "fake"], 2, "--quick and --model"),
    "demo to nowhere": (["demo", "-m", "fake", "--out", "no/where.html"], 2, "where.html"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "broken.json").write_text('{"type": ')
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "bad.json").write_text('{"type": 12}')
    (tmp_path / "doc.txt").write_text("Basic earnings per share were $1.23.")
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken.yaml").write_text("models:\n  a:\n    engine: fake: x\n")
    (tmp_path / "wrong.yaml").write_text("models:\n  mine:\n    sorce: org/name\n")
    return tmp_path


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_message_and_the_right_exit_code(command: Run, folder: Path, name: str) -> None:
    args, code, words = MISTAKES[name]
    found = command(*args)
    assert found.returncode == code, found.stderr
    assert found.stdout == ""
    assert "Traceback" not in found.stderr
    assert words in " ".join(found.stderr.split()), found.stderr
    assert found.stderr.lower().count("error") >= 1 and found.stderr.count("error: ") <= 1


def test_offline_with_an_empty_cache_is_said_and_nobody_is_asked(command: Run, tmp_path: Path) -> None:
    env = {"MODELYARD_CACHE": str(tmp_path / "cache"), "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}
    for args in (["generate", "smollm2-135m", "Hi"], ["models", "pull", "smollm2-135m"]):
        found = command("--offline", *args, env=env)
        assert (found.returncode, found.stdout) == (5, "")
        assert "offline" in found.stderr and "127.0.0.1" not in found.stderr


def test_a_catalogue_of_the_environment_is_named_in_its_mistake(command: Run, folder: Path) -> None:
    found = command("models", "list", env={"MODELYARD_CATALOG": "wrong.yaml"})
    assert found.returncode == 2 and "wrong.yaml:3" in found.stderr and "'source'" in found.stderr


SECRET = "hf_secretsecretsecret"
SPOKEN = {
    "doctor": ["doctor"],
    "doctor as JSON": ["doctor", "--json"],
    "list": ["models", "list", "--json"],
    "plan": ["models", "plan", "google/flan-t5-base"],
    "pull that fails": ["models", "pull", "google/flan-t5-base"],
    "generate as JSON": ["generate", "fake", "Hi", "--json"],
    "a failing answer": ["generate", "google/flan-t5-base", "Hi"],
    "a mistake with the token in it": ["generate", SECRET, "Hi"],
    "a parameter with the token in it": [
        "generate",
        "fake",
        "Hi",
        "-p",
        f"stop={SECRET}",
        "-p",
        f"{SECRET}=1",
    ],
}


@pytest.mark.parametrize("name", SPOKEN)
def test_the_token_is_never_spoken(command: Run, name: str) -> None:
    found = command(*SPOKEN[name], env={"HF_TOKEN": SECRET})
    assert SECRET not in found.stdout and SECRET not in found.stderr


def test_doctor_says_where_the_token_was_found(command: Run) -> None:
    assert "found in HF_TOKEN" in command("--offline", "doctor", env={"HF_TOKEN": SECRET}).stdout
