"""`generate` and `chat` as a user runs them: a real process, its two streams and its exit code."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
SAYS = ("-o", "reply=Yes, I think so.")


@pytest.mark.slow
@pytest.mark.model
def test_the_json_of_an_answer_is_whole(command: Run) -> None:
    found = command(
        "generate",
        "smollm2-135m",
        "Name the capital of France.",
        "--temperature",
        "0",
        "--max-tokens",
        "20",
        "--json",
    )
    data = json.loads(found.stdout)
    assert found.returncode == 0 and found.stderr == ""
    assert "Paris" in data["text"] and data["finish_reason"] == "stop"
    assert "".join(token["text"] for token in data["tokens"]) == data["text"]
    assert all(data["text"][token["start"] : token["end"]] == token["text"] for token in data["tokens"])
    assert (
        data["usage"]["total_tokens"] == data["usage"]["prompt_tokens"] + data["usage"]["completion_tokens"]
    )
    assert 0 <= data["timings"]["queued"] <= data["timings"]["first_token"] <= data["timings"]["total"]
    assert data["warnings"] == [] and data["alternatives"] == []
    assert data["fingerprint"]["engine"] == "openvino" and data["fingerprint"]["model"] == "smollm2-135m"


def test_an_answer_is_all_that_stands_on_stdout(command: Run) -> None:
    found = command("generate", "fake", "Hello", *SAYS)
    assert (found.returncode, found.stdout, found.stderr) == (0, "Yes, I think so.\n", "")


def test_warnings_stand_on_stderr(command: Run) -> None:
    found = command("generate", "fake", "Hello", *SAYS, "--temperature", "0", "-p", "top_p=0.5")
    assert found.stdout == "Yes, I think so.\n"
    assert found.stderr == "warning: greedy decoding does not use top_p\n"


def test_an_answer_that_was_cut_is_said(command: Run) -> None:
    found = command("generate", "fake", "Hello", *SAYS, "--max-tokens", "2")
    assert found.stdout == "Yes, I\n" and "cut" in found.stderr


def test_the_prompt_is_read_from_standard_input(command: Run) -> None:
    given = command("generate", "fake", "one two", "--temperature", "0")
    piped = command("generate", "fake", "-", "--temperature", "0", input="one two")
    assert piped.stdout == given.stdout


@pytest.mark.parametrize("reading", ["utf-8:strict", "utf-8:surrogateescape"])
@pytest.mark.parametrize("args", [("generate", "fake", "-"), ("chat", "fake")], ids="_".join)
def test_standard_input_that_is_no_text_is_one_message(
    command: Run, args: tuple[str, ...], reading: str
) -> None:
    found = command(*args, input=b"\xff\xfe\x00x\n", text=False, env={"PYTHONIOENCODING": reading})
    assert found.stdout == b"" and found.stderr.count(b"error: ") == 1
    assert b"no utf-8 text" in found.stderr or b"surrogate" in found.stderr
    assert b"Traceback" not in found.stderr


def test_several_answers_are_set_apart(command: Run) -> None:
    found = command("generate", "fake", "Hello", "-p", "n=3", "--seed", "1")
    assert len(found.stdout.split("\n---\n")) == 3


@pytest.mark.parametrize(
    ("option", "check"),
    [
        (("--regex", "[a-c]{3}"), lambda text: len(text) == 3),
        (("--choice", "left", "--choice", "right"), lambda text: text in ("left", "right")),
        (("--stop", "think"), lambda text: text == "Yes, I"),
    ],
    ids=["regex", "choice", "stop"],
)
def test_options_shape_the_answer(command: Run, option: tuple[str, ...], check: Any) -> None:
    assert check(command("generate", "fake", "Hello", *SAYS, *option).stdout.strip())


def test_a_schema_file_shapes_the_answer(command: Run, tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text(
        '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'
    )
    assert isinstance(
        json.loads(command("generate", "fake", "Hello", "--schema", "schema.json").stdout)["n"], int
    )


def test_a_reader_who_leaves_is_no_error(tmp_path: Path, command: Run) -> None:
    from modelyard.cli import __file__ as _  # the command is installed

    del _
    found = subprocess.run(
        ["bash", "-c", '"$0" generate fake Hello -o reply="$1" -o delay=0.02 | head -c 1', *_line()],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        check=False,
    )
    assert found.stdout == "w" and found.stderr == ""


def _line() -> list[str]:
    import sys

    return [str(Path(sys.executable).with_name("modelyard")), "word " * 20]


def test_a_table_piped_into_head_closes_quietly(tmp_path: Path) -> None:
    for args in ("models list", "models list --json", "doctor --json"):
        found = subprocess.run(
            ["bash", "-c", f'"$0" --offline {args} | head -1', _line()[0]],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            check=False,
        )
        assert found.stderr == "", args


def test_chat_answers_line_by_line_from_a_pipe_and_ends_with_it(command: Run, tmp_path: Path) -> None:
    found = command("chat", "fake", *SAYS, "--save", "talk.json", input="One?\nTwo?\n")
    assert (found.returncode, found.stdout) == (0, "Yes, I think so.\n" * 2)
    assert len(json.loads((tmp_path / "talk.json").read_text())["history"]) == 4


def test_chat_goes_on_with_a_saved_conversation(command: Run, tmp_path: Path) -> None:
    command("chat", "fake", *SAYS, "--save", "talk.json", input="One?\n")
    command("chat", "fake", *SAYS, "--load", "talk.json", "--save", "talk.json", input="Two?\n")
    history = json.loads((tmp_path / "talk.json").read_text())["history"]
    assert [turn["content"] for turn in history if turn["role"] == "user"] == ["One?", "Two?"]


def test_chat_ends_at_an_empty_line(command: Run) -> None:
    assert command("chat", "fake", *SAYS, input="One?\n\nTwo?\n").stdout == "Yes, I think so.\n"


def test_chat_forgets_the_oldest_turn_when_the_context_is_full_and_says_so(command: Run) -> None:
    found = command("chat", "fake", *SAYS, "-o", "context_length=30", input="One two three four?\n" * 4)
    assert "The oldest turn is forgotten" in found.stderr and found.returncode == 0


def test_chat_goes_on_after_an_answer_that_failed(command: Run) -> None:
    found = command("chat", "fake", *SAYS, "-o", "context_length=20", input="long " * 50 + "\nshort?\n")
    assert "error: the prompt has" in found.stderr and "forgotten" not in found.stderr
    assert found.stdout == "Yes, I think so.\n"
