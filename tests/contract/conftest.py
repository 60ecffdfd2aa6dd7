"""The engines that the contract suite runs on: each is a real one, loaded once for the session."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from modelyard.catalog.load import load_catalog
from modelyard.engines.base import Engine
from modelyard.pool import load_engine

ENGINES = {"fake": "fake", "openvino": "smollm2-135m"}


@pytest.fixture(scope="session", params=[pytest.param(name, id=name) for name in ENGINES])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """One loaded engine, shared by the tests: what one of them leaves behind, the next one meets."""
    spec = load_catalog().get(ENGINES[request.param])
    loaded = load_engine(spec, {})
    assert loaded.name == request.param
    yield loaded
    loaded.close()


@pytest.fixture
def fresh(engine: Engine) -> Callable[[], Engine]:
    """Loads another engine of the same kind, for a test to break."""
    return lambda: load_engine(engine.model.spec, {})
