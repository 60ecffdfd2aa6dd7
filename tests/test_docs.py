"""The documents: what they show works, what they name exists."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.served import served

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "modelyard"
README = (ROOT / "README.md").read_text("utf-8")
MODELS = re.compile(r"smollm2-135m|qwen2\.5-coder-1\.5b")
FAKE = "models:\n  fake: {engine: fake}\n"
NETWORK = ("modelyard doctor", "modelyard models pull", "modelyard models lock")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def named_files() -> dict[str, str]:
    """The blocks that the reader is told to save, by file name."""
    return dict(
        re.findall(r" as `([\w.-]+)`[^\n`]*:\n\n```\w+\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    )


COMMANDS = [
    line.partition("  #")[0]
    for block in blocks("bash")
    for line in block.splitlines()
    if line.startswith("modelyard ")
    and not line.startswith((*NETWORK, "modelyard serve"))
    and "--ray auto" not in line
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the README's files; the current one."""
    for name, text in named_files().items():
        (tmp_path / name).write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MODELYARD_CATALOG", raising=False)
    return tmp_path


def test_the_readme_says_which_files_to_save() -> None:
    assert set(named_files()) == {
        "invoice.yaml",
        "invoice.txt",
        "models.yaml",
        "capitals.yaml",
        "capitals.csv",
    }


def test_the_python_of_the_readme_runs_from_top_to_bottom(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, object] = {"__name__": "readme"}
    with served(folder, FAKE) as server:
        for at, block in enumerate(blocks("python"), 1):
            code = MODELS.sub("fake", block).replace("http://127.0.0.1:5000", server.url)
            exec(compile(code, f"README.md, python block {at}", "exec"), names)
        names["client"].close()  # type: ignore[attr-defined]
    assert capsys.readouterr().out
    assert (folder / "session.json").is_file()


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_readme_ends_well(folder: Path, line: str) -> None:
    for before in makers(line):
        run(folder, before)
    done = run(folder, line)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() or "wrote" in done.stderr


def makers(line: str) -> list[str]:
    """The commands that write what this one reads."""
    return [one for one in COMMANDS if (out := re.search(r"--out (\S+)", one)) and f"review {out[1]}" in line]


def run(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    words = shlex.split(line)[1:]
    if words[0] not in ("models", "plan"):
        words = [MODELS.sub("fake", word) for word in words]
    code = "from modelyard.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "--offline", *words],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(SOURCE.parent)}, input="Hello\n",
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_every_package_stands_in_the_structure() -> None:
    text = (ROOT / "docs" / "structure.md").read_text("utf-8")
    packages = {path.parent.relative_to(SOURCE.parent).as_posix() for path in SOURCE.rglob("*.py")}
    assert {one for one in packages if f"`{one}`" not in text} == set()


def test_every_module_that_the_structure_names_exists() -> None:
    text = (ROOT / "docs" / "structure.md").read_text("utf-8")
    named = {one for one in re.findall(r"`((?:\w+/)*\w+\.py)`", text) if "NAME" not in one}
    files = [path.relative_to(ROOT).as_posix() for path in SOURCE.rglob("*.py")]
    files += [
        path.relative_to(ROOT).as_posix() for of in ("tests", "docs") for path in (ROOT / of).rglob("*.py")
    ]
    assert {one for one in named if not any(f"/{file}".endswith(f"/{one}") for file in files)} == set()


DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8"))
    own = [one.partition("#")[0] for one in targets if not re.match(r"\w+://|mailto:|#", one)]
    assert [one for one in own if not (document.parent / one).exists()] == []
