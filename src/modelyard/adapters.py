"""Adapters by name: their files, and the base that each belongs to."""

from __future__ import annotations

import asyncio
import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.catalog.spec import ModelSpec
from modelyard.errors import InvalidArgumentError, ModelNotFoundError
from modelyard.pool import Pool
from modelyard.types import Adapter

if TYPE_CHECKING:
    from modelyard.catalog.load import Catalog
    from modelyard.catalog.lock import Lock
    from modelyard.catalog.model import Model


class Adapters:
    """Finds adapters and bases for one LLM.

    Args:
        spec: of the LLM; it may be an adapter itself.
        catalog: where names are looked up; the starter by default.
    """

    def __init__(self, spec: ModelSpec, catalog: Catalog | None) -> None:
        self._spec = spec
        self._given = catalog
        self._base: ModelSpec | None = None if spec.adapter else spec
        self._found: dict[str, Adapter] = {}

    @functools.cached_property
    def _catalog(self) -> Catalog:
        from modelyard.catalog.load import load_catalog

        return self._given or load_catalog(None)

    @functools.cached_property
    def lock(self) -> Lock | None:
        """The catalogue's pins."""
        from modelyard.catalog.lock import read_lock

        return None if self._given is None else read_lock(self._given)

    async def base(self, pool: Pool) -> ModelSpec:
        """The model to load: the spec itself, or the base of the adapter that it is."""
        if self._base is None:
            own = await self._pulled(self._spec, pool)
            name = self._spec.base or _named_base(self._spec, own.path)
            changes: dict[str, Any] = {"engine": _engine(self._spec, own.path)}
            if self._spec.quantization is not None:
                changes["quantization"] = self._spec.quantization
            self._base = self._catalog.resolve(name).model_copy(update=changes)
        return self._base

    async def find(self, name: Any, pool: Pool) -> Adapter | None:
        """The adapter that a request names, or that the LLM is; None for the base model alone.

        Raises:
            InvalidArgumentError: the name is no text, or the LLM is an adapter itself.
            ModelNotFoundError: there is no such adapter.
        """
        if name is None:
            return (
                self._adapter(self._spec, await self._pulled(self._spec, pool))
                if self._spec.adapter
                else None
            )
        if not isinstance(name, str) or not name:
            raise InvalidArgumentError(f"adapter is {name!r:.80}", hint="Name it by alias, Hub id or path.")
        if self._spec.adapter:
            raise InvalidArgumentError(
                f"adapter is '{name}', and '{self._spec.alias}' is an adapter itself",
                hint="Name one of them; create_llm(base) lets every request choose its own.",
            )
        if self._spec.elsewhere:
            return Adapter(name, "")  # the server's own, by the name that it has there
        if name not in self._found:
            spec = self._catalog.resolve(name).model_copy(update={"adapter": True})
            self._found[name] = self._adapter(spec, await self._pulled(spec, pool))
        return self._found[name]

    async def _pulled(self, spec: ModelSpec, pool: Pool) -> Model:
        return await asyncio.to_thread(pool.pull, spec, self.lock)

    def _adapter(self, spec: ModelSpec, model: Model) -> Adapter:
        return Adapter(spec.alias, str(model.path), model.revision)


def _named_base(spec: ModelSpec, path: Path) -> str:
    """The base that a PEFT adapter names in its own configuration."""
    file = path / "adapter_config.json"
    try:
        found = json.loads(file.read_text("utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):
        found = None
    if not isinstance(found, str) or not found:
        raise ModelNotFoundError(
            f"adapter '{spec.alias}' does not say which model it belongs to ({file})",
            hint="Name it in the catalogue: base: <alias or Hub id>.",
        )
    return found


def _engine(spec: ModelSpec, path: Path) -> str:
    if spec.engine != "auto":
        return spec.engine
    gguf = path.suffix == ".gguf" or (path.is_dir() and any(path.glob("*.gguf")))
    return "llamacpp" if gguf else "transformers"
