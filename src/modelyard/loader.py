"""ModelLoader: loads and unloads models by name, for programs that manage memory themselves.

Models load on first use and make room for each other without it. It is a face over the process's own pool.

>>> loader = get_model_loader()
>>> llm = loader.load_model("fake")
>>> "fake" in loader.loaded_models()
True
>>> loader.unload_model("fake")
True
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.catalog.load import Catalog, load_catalog
from modelyard.catalog.spec import HubSource, ModelSpec
from modelyard.create import create_llm
from modelyard.llm import LLM
from modelyard.pool import Pool, default_pool


class ModelLoader:
    """Loads and unloads models; a name is an alias, a Hub id, a display name or a path.

    Args:
        pool: where models are loaded; the process's own by default.
        catalog: a YAML file laid over the starter catalogue.
    """

    def __init__(self, *, pool: Pool | None = None, catalog: str | Path | None = None) -> None:
        self._pool = pool or default_pool()
        self._file = catalog

    def load_model(self, name: str, **how: Any) -> LLM:
        """Loads a model now, and returns it to talk to; `how` is as `create_llm` takes it.

        Raises:
            ModelNotFoundError: no model has that name.
            ResourceExhaustedError: the model alone is larger than the memory budget.
        """
        spec = self._named(name)
        llm = create_llm(spec.alias if spec else name, pool=self._pool, catalog=self._file, **how)
        llm.load()
        return llm

    def unload_model(self, model: str | LLM) -> bool:
        """Gives a model's memory back, as soon as no request runs on it; False when it is not loaded.

        Raises:
            ModelNotFoundError: no model has that name, and none is loaded under it.
        """
        if isinstance(model, LLM):
            return self._pool.unload(model.spec.alias)
        unloaded = [self._pool.unload(alias) for alias in self._aliases(model)]
        return any(unloaded)

    def unload_all(self) -> tuple[str, ...]:
        """Unloads every model; returns their aliases."""
        aliases = tuple(dict.fromkeys(row.alias for row in self._pool.status()))
        return tuple(alias for alias in aliases if self._pool.unload(alias))

    def loaded_models(self) -> tuple[str, ...]:
        """The aliases of the models that are loaded."""
        return self._pool.loaded()

    def is_loaded(self, name: str) -> bool:
        """Whether a model is loaded.

        Raises:
            ModelNotFoundError: no model has that name, and none is loaded under it.
        """
        return not self._aliases(name).isdisjoint(self._pool.loaded())

    def memory_usage(self) -> Mapping[str, int]:
        """Bytes that each loaded model holds, by alias."""
        usage: dict[str, int] = {}
        for row in self._pool.status():
            usage[row.alias] = usage.get(row.alias, 0) + (row.measured or 0)
        return usage

    def _catalog(self) -> Catalog:
        return load_catalog(Path(self._file) if self._file else None)

    def _named(self, name: str) -> ModelSpec | None:
        """The model of the catalogue with that alias or display name."""
        catalog = self._catalog()
        if name in catalog:
            return catalog.get(name)
        return next((spec for spec in catalog if spec.display_name == name), None)

    def _aliases(self, name: str) -> set[str]:
        """All aliases under which the named model may be loaded."""
        found = {row.alias for row in self._pool.status() if row.alias == name}
        for spec in self._catalog():
            repositories = {source.repo for source in spec.sources if isinstance(source, HubSource)}
            if name in (spec.alias, spec.display_name) or name in repositories:
                found.add(spec.alias)
        return found or {self._catalog().resolve(name).alias}


@functools.cache
def get_model_loader() -> ModelLoader:
    """The loader of the process's own pool."""
    return ModelLoader()
