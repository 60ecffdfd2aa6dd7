"""The public surface, and what it costs to import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import modelyard

HEAVY = (
    "torch", "transformers", "openvino", "openvino_genai", "fastapi", "pydantic", "yaml", "numpy", "httpx2",
    "huggingface_hub", "rich", "typer", "jinja2", "lxml", "asyncio",
)  # fmt: skip


def loaded_after(*line: str, names: tuple[str, ...]) -> list[str]:
    code = f"""
import atexit, sys
@atexit.register
def report():
    print("LOADED", *[name for name in {names!r} if name in sys.modules], file=sys.stderr)
sys.argv = {list(line)!r}
"""
    run = (
        "import modelyard"
        if not line
        else "from importlib.metadata import entry_points\n"
        "entry_points(group='console_scripts')['modelyard'].load()()"
    )
    found = subprocess.run([sys.executable, "-c", code + run], capture_output=True, text=True, timeout=60)
    return next(one for one in found.stderr.splitlines() if one.startswith("LOADED")).split()[1:]


def test_every_public_name_can_be_imported_and_no_other_is_promised() -> None:
    promised = set(modelyard.__all__)
    assert len(promised) == len(modelyard.__all__)
    assert {name for name in promised if getattr(modelyard, name).__name__ == name} == promised
    assert promised <= set(dir(modelyard))
    assert promised == set(modelyard._HOME)


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(modelyard, "no_such_name")


def test_a_type_checker_sees_the_same_names() -> None:
    source = Path(modelyard.__file__).read_text()
    typed = source.partition("if TYPE_CHECKING:")[2].partition("_WHERE")[0]
    missing = [name for name in modelyard.__all__ if name not in typed]
    assert missing == []


def test_importing_modelyard_loads_nothing_heavy() -> None:
    assert loaded_after(names=HEAVY) == []


def test_the_commands_help_loads_no_engine_and_no_hub() -> None:
    names = ("openvino", "openvino_genai", "numpy", "pydantic", "huggingface_hub", "torch", "lxml", "httpx2")
    assert loaded_after("modelyard", "--help", names=names) == []


def test_the_command_keeps_telemetry_out_of_its_process(small_gguf: Path) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['modelyard', '--offline', 'generate', {str(small_gguf)!r}, 'Hello', '--max-tokens', '2']\n"
        "import atexit\n"
        "atexit.register(lambda: print('telemetry', 'openvino_telemetry' in sys.modules, 'openvino' in sys.modules))\n"
        "from modelyard.cli import main\n"
        "main()\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "telemetry False True"
