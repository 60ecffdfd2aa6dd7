"""Local models load and answer where every connection to another machine fails."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests import models

pytestmark = pytest.mark.model

GUARDED = """
import json, sys

def guard(event, args):
    if event == "socket.getaddrinfo" and args[0] not in (None, "localhost", "127.0.0.1", "::1"):
        raise SystemExit(f"looked up {args[0]}")
    if event == "socket.connect" and isinstance(args[1], tuple) and not str(args[1][0]).startswith(("127.", "::1")):
        raise SystemExit(f"connected to {args[1]}")

sys.addaudithook(guard)
from modelyard import create_llm

for name, how in json.loads(sys.argv[1]):
    what = how.pop("what", "generate")
    llm = create_llm(name, **how)
    if what == "embed":
        assert len(llm.embed("Hello")[0]) > 10
    else:
        assert llm.generate("Hello", max_tokens=3, temperature=0).usage.completion_tokens > 0
    llm.close()
    print(name.rpartition("/")[2], how.get("engine"), "answered")
"""


def work(smollm2: Path) -> list[tuple[str, dict[str, object]]]:
    return [
        ("smollm2-135m", {"engine": "openvino"}),
        ("smollm2-135m", {"engine": "llamacpp", "options": {"slots": 1, "context_length": 512}}),
        (str(smollm2), {"engine": "transformers"}),
        (str(smollm2), {"engine": "transformers", "quantization": "4bit"}),
        (str(models.tiny("qwen2.5-vl")), {"engine": "transformers"}),
        ("smollm2-135m", {"engine": "openvino", "options": {"worker": True}}),
    ]


def run(smollm2: Path, *before: str) -> None:
    import json

    given = json.dumps(work(smollm2))
    done = subprocess.run(
        [*before, sys.executable, "-c", GUARDED, given],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert done.stdout.count("answered") == len(work(smollm2))


@pytest.mark.slow
def test_local_models_answer_under_a_guard_that_fails_on_any_other_machine(smollm2: Path) -> None:
    run(smollm2)


@pytest.mark.slow
def test_local_models_answer_in_a_network_namespace_without_a_network(smollm2: Path) -> None:
    # Native code too: what a hook of Python does not see has nowhere to go here.
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rn", "true"], check=False).returncode:
        pytest.skip("needs unshare and the right to make a network namespace")
    run(smollm2, unshare, "-rn")
