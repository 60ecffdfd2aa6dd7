"""The global options of one call of the command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelyard.catalog.load import Catalog
    from modelyard.llm import LLM


@dataclass
class Settings:
    """`--catalog` and `--offline`."""

    catalog: Path | None = None
    offline: bool = False

    def load_catalog(self) -> Catalog:
        """The catalogue that this call uses."""
        from modelyard.catalog.load import load_catalog

        return load_catalog(self.catalog)

    def llm(self, name: str, **how: Any) -> LLM:
        """A model by name, its downloads shown on this terminal."""
        from modelyard.cli.show import Bars
        from modelyard.create import create_llm
        from modelyard.pool import default_pool

        pool = default_pool()
        pool.offline, pool.progress = self.offline, Bars()
        return create_llm(name, catalog=self.catalog, pool=pool, **how)


SETTINGS = Settings()
