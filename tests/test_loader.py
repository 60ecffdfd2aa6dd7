"""The loader: models by alias, Hub id or display name, loaded and unloaded by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import modelyard
from modelyard.errors import ModelNotFoundError, ResourceExhaustedError
from modelyard.loader import ModelLoader
from modelyard.pool import Pool

CATALOG = """
models:
  small: {engine: fake, display_name: A small one, options: {memory: 10MB}}
  large: {engine: fake, options: {memory: 10GB}}
  named: {engine: fake, source: {hub: some-org/some-model}, options: {worker: true}}
"""


@pytest.fixture
def loader(tmp_path: Path) -> Iterator[ModelLoader]:
    file = tmp_path / "models.yaml"
    file.write_text(CATALOG)
    pool = Pool(memory_budget="1GB")
    yield ModelLoader(pool=pool, catalog=file)
    pool.close()


@pytest.mark.parametrize("name", ["small", "A small one"])
def test_a_model_is_loaded_and_unloaded_by_alias_and_by_display_name(loader: ModelLoader, name: str) -> None:
    assert loader.load_model(name, max_tokens=2).generate("Hello").usage.completion_tokens == 2
    assert loader.loaded_models() == ("small",) and loader.is_loaded(name)
    assert loader.unload_model(name) is True
    assert loader.loaded_models() == () and not loader.is_loaded(name)
    assert loader.unload_model(name) is False


def test_a_hub_id_means_every_alias_of_that_repository(loader: ModelLoader) -> None:
    loader.load_model("named")
    assert loader.is_loaded("some-org/some-model")
    assert loader.unload_model("some-org/some-model") is True
    assert loader.loaded_models() == ()


def test_the_llm_itself_may_be_given(loader: ModelLoader) -> None:
    llm = loader.load_model("small")
    assert loader.unload_model(llm) is True and loader.loaded_models() == ()


@pytest.mark.parametrize("call", ["load_model", "unload_model", "is_loaded"])
def test_a_name_that_nobody_has_is_an_error_that_offers_the_nearest(loader: ModelLoader, call: str) -> None:
    with pytest.raises(ModelNotFoundError, match=r"smal1.*'small'"):
        getattr(loader, call)("smal1")


def test_what_is_loaded_outside_the_catalogue_is_unloaded_by_its_alias(
    loader: ModelLoader, small_gguf: Path
) -> None:
    llm = loader.load_model(str(small_gguf))
    assert loader.memory_usage()[llm.spec.alias] > 90_000_000
    assert loader.unload_model(llm.spec.alias) is True and loader.memory_usage() == {}


def test_everything_can_be_unloaded_at_once(loader: ModelLoader) -> None:
    loader.load_model("small")
    loader.load_model("small", options={"reply": "x"})
    loader.load_model("named")
    assert loader.memory_usage()["small"] == 20_000_000
    assert set(loader.unload_all()) == {"small", "named"}
    assert loader.loaded_models() == () and loader.unload_all() == ()


def test_a_model_that_cannot_fit_is_refused(loader: ModelLoader) -> None:
    with pytest.raises(ResourceExhaustedError, match=r"'large' would take about 10\.0 GB"):
        loader.load_model("large")


def test_the_seeds_loop_runs() -> None:
    loader = modelyard.get_model_loader()
    assert loader is modelyard.get_model_loader()
    for model in ["fake"]:
        assert str(modelyard.create_llm(model).generate("Hello"))
        loader.unload_model(model)
    assert "fake" not in loader.loaded_models()
