"""The engines that the contract suite runs on: each is a real one, loaded once for the session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests import models
from tests.contract.matrix import Matrix
from tests.environments import shared, unshare

from modelyard.catalog.load import load_catalog
from modelyard.catalog.spec import ModelSpec
from modelyard.engines.base import Engine
from modelyard.pool import load_engine
from modelyard.types import Adapter


@dataclass(frozen=True)
class Row:
    """One row of the matrix.

    Attributes:
        engine: its name.
        model: an alias of the starter catalogue, or `safetensors` for the small model in the Hub's form.
        options: of the engine.
        environment: that the engine lives in.
        server: it runs on a server that was started for it; which one.
        noise: nats by which a logprob may move when the batch around it changes.
        score_noise: nats by which a token's score may move with what is scored beside it.
        vision: whether the engine sees, with a model that does.
        adapters: whether it lays adapters over the model.
    """

    engine: str
    model: str = "smollm2-135m"
    options: dict[str, Any] = field(default_factory=dict)
    environment: str = ""
    server: str = ""
    noise: float = 0.02
    score_noise: float = 0.01  # nats a token
    vision: bool = False
    adapters: bool = False


ENGINES: dict[str, Row] = {
    "fake": Row("fake", "fake", noise=1e-9),
    "openvino": Row("openvino", noise=1.0),
    "openvino-exact": Row("openvino", options={"precision": "exact"}),
    "openvino-export": Row(
        "openvino", "safetensors", {"precision": "exact"}, vision=True, environment="openvino-export"
    ),
    "worker-fake": Row("fake", "fake", options={"worker": True}, noise=1e-9),
    "worker-openvino": Row("openvino", options={"worker": True}, noise=1.0),
    "llamacpp": Row("llamacpp", adapters=True),
    "endpoint": Row("endpoint", server="llama"),
    "inference_api": Row("inference_api", server="llama"),
    "vllm-adapters": Row(
        "vllm",
        "safetensors",
        {"dtype": "float32", "context_length": 2048, "adapters": True},
        noise=0.05,
        adapters=True,
        environment="vllm",
    ),
    "vllm": Row(
        "vllm",
        "safetensors",
        {"dtype": "float32", "context_length": 2048},
        noise=0.05,
        score_noise=0.05,
        environment="vllm",
    ),
    "transformers": Row(
        "transformers", "safetensors", noise=0.5, score_noise=0.05, vision=True, adapters=True
    ),
    "transformers-float32": Row(
        "transformers", "safetensors", options={"dtype": "float32"}, vision=True, adapters=True
    ),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--matrix", action="store_true", help="print what each engine promises")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--matrix", default=False):
        config.pluginmanager.register(Matrix(list(ENGINES)), "matrix")


# vLLM and the export take an environment of their own; the others have a near twin or tests of their own that `make test` runs; `make contract` and `make slow` run all.
SLOW = (
    "transformers",
    "transformers-float32",
    "openvino-exact",
    "worker-openvino",
    "llamacpp",
    "endpoint",
    "inference_api",
    "openvino-export",
    "vllm",
    "vllm-adapters",
)
PARAMS = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in ENGINES]


@pytest.fixture(scope="session", params=PARAMS)
def row(request: pytest.FixtureRequest) -> Row:
    """The row."""
    return ENGINES[request.param]


@pytest.fixture(scope="session")
def engine(row: Row, adapter: Adapter | None, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """One loaded engine, shared by the tests: what one of them leaves behind, the next one meets."""
    if row.environment:
        shared(row.environment)
    if row.server:
        url = request.getfixturevalue(f"{row.server}_url")
        spec = ModelSpec.model_validate({"alias": "small", "url": url, "engine": row.engine})
    elif row.model == "safetensors":
        folder: Path = request.getfixturevalue("smollm2")
        spec = ModelSpec.model_validate(
            {"alias": "small", "sources": [{"kind": "path", "path": str(folder)}], "engine": row.engine}
        )
    else:
        spec = load_catalog().get(row.model).model_copy(update={"engine": row.engine})
    # llama.cpp takes adapters with the model alone.
    declared = {"adapters": [adapter.path]} if adapter and row.engine == "llamacpp" else {}
    loaded = load_engine(spec, {**row.options, **declared})
    assert loaded.name == row.engine
    yield loaded
    loaded.close()
    if row.environment:
        unshare(row.environment)  # with an exporter, other tests' Hub models would go to OpenVINO


@pytest.fixture(scope="session")
def noise(row: Row) -> float:
    """Nats by which a logprob may move when the batch around it changes."""
    return row.noise


@pytest.fixture(scope="session")
def score_noise(row: Row) -> float:
    """Nats by which a token's score may move with what is scored beside it."""
    return row.score_noise


@pytest.fixture(scope="session")
def adapter(row: Row, request: pytest.FixtureRequest) -> Adapter | None:
    """An adapter of the small model, None where the engine takes none."""
    if not row.adapters:
        return None
    if row.engine == "llamacpp":
        return Adapter(
            "random", str(models.gguf_lora(request.getfixturevalue("small_gguf")) / "adapter.gguf")
        )
    return Adapter("random", str(models.random_lora(request.getfixturevalue("smollm2"), 1)))


@pytest.fixture
def vision(row: Row) -> Callable[[], Engine]:
    """Loads a tiny model that sees, with random weights."""

    def load() -> Engine:
        source = {"kind": "path", "path": str(models.tiny("qwen2.5-vl"))}
        spec = ModelSpec.model_validate(
            {"alias": "sees", "sources": [source], "engine": row.engine, "task": "vision"}
        )
        return load_engine(spec, row.options)

    return load


# As most templates of the field have tools, in few words.
WITH_TOOLS = """
{%- for tool in tools or () %}{{ tool | tojson }}{{ '\\n' }}{% endfor %}
{%- for message in messages %}<|im_start|>{{ message.role }}{{ '\\n' }}{{ message.content }}
{%- for call in message.tool_calls or () %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}
{{- '<|im_end|>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""


@pytest.fixture
def tooled(engine: Engine, row: Row) -> Iterator[Engine]:
    """The engine; where it renders prompts itself, with a chat template that has tools."""
    if row.server or row.environment == "vllm" or engine.capabilities.tools:
        yield engine
        return
    spec = engine.model.spec.model_copy(update={"chat_template": WITH_TOOLS})
    loaded = load_engine(spec, row.options)
    yield loaded
    loaded.close()


@pytest.fixture
def fresh(engine: Engine, row: Row) -> Callable[[], Engine]:
    """Loads another engine of the same kind, for a test to break."""
    slowly = {"delay": 0.01} if row.engine == "fake" else {}
    return lambda: load_engine(engine.model.spec, {**row.options, **slowly})
