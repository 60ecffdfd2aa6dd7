"""What vLLM's models on a cluster need: an environment that has vLLM, Ray and modelyard."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def cluster_bin(vllm_environment: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with vLLM, Ray and modelyard, as a cluster's image has them: laid over vLLM's own."""
    folder = tmp_path_factory.mktemp("cluster") / "env"
    subprocess.run([vllm_environment.python, "-m", "venv", folder], check=True, timeout=120)
    python = folder / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    ours, under = (
        Path(subprocess.run([one, "-c", code], check=True, capture_output=True, text=True).stdout.strip())
        for one in (python, vllm_environment.python)
    )
    (ours / "under.pth").write_text(f"{under}\n")
    wanted = [f"{ROOT}[serve,ray]", "ray[serve,data]"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-e", *wanted], check=True, timeout=900)
    return folder / "bin"
