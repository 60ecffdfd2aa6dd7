"""The engines that the contract suite runs on: each is a real one, loaded once for the session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from modelyard.catalog.load import load_catalog
from modelyard.engines.base import Engine
from modelyard.pool import load_engine

# For each row: the model, the engine's options, and how far (in nats) numbers may move with the batch.
ENGINES: dict[str, tuple[str, dict[str, Any], float]] = {
    "fake": ("fake", {}, 1e-9),
    "openvino": ("smollm2-135m", {}, 1.0),
    "openvino-exact": ("smollm2-135m", {"precision": "exact"}, 0.02),
}


@pytest.fixture(scope="session", params=[pytest.param(name, id=name) for name in ENGINES])
def row(request: pytest.FixtureRequest) -> str:
    """The name of the row."""
    return str(request.param)


@pytest.fixture(scope="session")
def engine(row: str) -> Iterator[Engine]:
    """One loaded engine, shared by the tests: what one of them leaves behind, the next one meets."""
    alias, options, _ = ENGINES[row]
    loaded = load_engine(load_catalog().get(alias), options)
    assert row.startswith(loaded.name)
    yield loaded
    loaded.close()


@pytest.fixture(scope="session")
def noise(row: str) -> float:
    """Nats by which a logprob may move when the batch around it changes."""
    return ENGINES[row][2]


@pytest.fixture
def fresh(engine: Engine) -> Callable[[], Engine]:
    """Loads another engine of the same kind, for a test to break."""
    return lambda: load_engine(engine.model.spec, engine.options)
