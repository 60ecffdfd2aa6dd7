"""What tests of every floor share: the small model's file, and the command as a real process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tests.hub import Hub

COMMAND = Path(sys.executable).with_name("modelyard")
_SETTINGS = re.compile(r"MODELYARD_CATALOG|HF_|HUGGING")

# The examples of a property are the same in each run, so that a change is judged by itself; `make slow` looks for new
# ones. How long a busy machine takes over them says nothing.
settings.register_profile(
    "repeat", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))


def clean_environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without the settings that would change what a test sees."""
    kept = {name: value for name, value in os.environ.items() if not _SETTINGS.match(name)}
    return {**kept, "HF_TOKEN_PATH": os.devnull, "HF_ENDPOINT": "http://127.0.0.1:9", **(changes or {})}


@pytest.fixture(scope="session", autouse=True)
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A data folder of the tests' own: what is measured here corrects nobody's predictions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELYARD_DATA", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="session")
def small_gguf() -> Path:
    """The small model's GGUF file, from the user's own cache."""
    from modelyard.catalog.load import load_catalog
    from modelyard.catalog.pull import pull

    return pull(load_catalog().get("smollm2-135m")).path


@pytest.fixture(scope="session")
def llama_url(small_gguf: Path) -> Iterator[str]:
    """llama.cpp's own server with the small model: a real server of OpenAI's protocol."""
    from tests.servers import llama_server

    with llama_server(small_gguf) as url:
        yield url


@pytest.fixture(scope="session")
def vllm_environment() -> Any:
    """vLLM, installed in an environment of its own."""
    from tests.environments import shared

    return shared("vllm")


@pytest.fixture(scope="module")
def export_environment() -> Iterator[Any]:
    """OpenVINO's exporter, in an environment of its own; for the tests of one file, since plans change with it."""
    from tests.environments import shared, unshare

    yield shared("openvino-export")
    unshare("openvino-export")


@pytest.fixture(scope="session")
def smollm2(small_gguf: Path) -> Path:
    """The small model as transformers reads it: safetensors in float32, with its tokenizer."""
    from tests import models

    return models.smollm2_safetensors(small_gguf)


@pytest.fixture(scope="session")
def smollm2_tokenizer(small_gguf: Path) -> Any:
    """The small model's tokenizer."""
    from tests import models
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(models.smollm2_tokenizer(small_gguf))


@pytest.fixture(scope="session")
def adapters(smollm2: Path) -> dict[str, Path]:
    """Two LoRA adapters of the small model by the text that each answers everything with."""
    from tests import models

    return {text: models.lora(smollm2, seed, text) for seed, text in enumerate(models.PERSONAS)}


@pytest.fixture(scope="session")
def opus_mt() -> Path:
    """A real translator from English to French."""
    from tests import models

    return models.opus_mt_en_fr()


@pytest.fixture(scope="session")
def minilm() -> Path:
    """A real embedding model."""
    from tests import models

    return models.minilm()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty Hub that this process's client is told about, and an empty cache for it."""
    server = Hub()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield server
    server.close()


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `modelyard` in an empty folder, to its end."""

    def run(
        *args: str, env: Mapping[str, str] | None = None, cwd: Path | None = None, **how: Any
    ) -> subprocess.CompletedProcess[str]:
        how = {"stdin": subprocess.DEVNULL, **how} if "input" not in how else how
        return subprocess.run(
            [str(COMMAND), *args],
            capture_output=True,
            text=how.pop("text", True),
            timeout=120,
            cwd=cwd or tmp_path,
            env=clean_environment(env),
            check=False,
            **how,
        )

    return run


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `modelyard` (or a script in Python) in an empty folder; killed when the test ends."""
    started: list[subprocess.Popen[str]] = []

    def run(
        *args: str, script: str | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        line = [str(COMMAND)] if script is None else [sys.executable, "-c", script]
        process = subprocess.Popen(
            [*line, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=clean_environment(env),
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()
