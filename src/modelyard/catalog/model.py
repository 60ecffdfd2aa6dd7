"""Model: a spec whose files lie on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelyard.catalog.auth import redact
from modelyard.catalog.spec import ModelSpec


@dataclass(slots=True, frozen=True)
class Model:
    """A model on this machine, ready for an engine: its spec and where its files lie.

    `revision` is what the files are: a commit of the Hub, or `sha256:…` of a single file. A model that runs
    elsewhere (an endpoint, a hosted model) has no files: its `path` is the current folder, its `revision`
    is `remote`, and `built-in` for a fake.
    """

    spec: ModelSpec
    path: Path
    revision: str
    source: str

    @classmethod
    def builtin(cls, spec: ModelSpec) -> Model:
        """A model that needs no files: it runs behind a URL, is hosted, or is a fake."""
        source = redact(spec.url) if spec.url else str(spec.sources[0]) if spec.sources else spec.engine
        revision = "built-in" if spec.engine == "fake" else "remote"
        return cls(spec=spec, path=Path(), revision=revision, source=source)
