"""Catalog: the models that have a name here, from the starter and from the user's own file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from modelyard.catalog.document import read_document
from modelyard.catalog.entries import read_specs
from modelyard.catalog.spec import HubSource, ModelSpec, PathSource
from modelyard.errors import CatalogError, ModelNotFoundError, nearest

DEFAULT_FILE = "models.yaml"

# What a repository is, whoever asks for it; how to run it (defaults, endpoint, engine) is the entry's own.
_FACTS = ("task", "adapter", "base", "family", "parameters", "licence", "gated")


@dataclass(frozen=True, slots=True)
class Catalog:
    """Models by alias.

    Attributes:
        specs: every model by its alias, the user's before the starter's.
        file: the user's own file, where there is one.
    """

    specs: Mapping[str, ModelSpec]
    file: Path | None = None

    def __iter__(self) -> Iterator[ModelSpec]:
        return iter(self.specs.values())

    def __len__(self) -> int:
        return len(self.specs)

    def __contains__(self, alias: object) -> bool:
        return alias in self.specs

    def get(self, alias: str) -> ModelSpec:
        """The model of that alias.

        Raises:
            ModelNotFoundError: there is none; the nearest names are offered.
        """
        if alias not in self.specs:
            raise ModelNotFoundError(f"no model is called '{alias}'.{nearest(alias, self.specs)}")
        return self.specs[alias]

    def own(self) -> tuple[ModelSpec, ...]:
        """The models of the user's own file."""
        return tuple(spec for spec in self if self.file is not None and spec.defined_in == str(self.file))

    def resolve(self, name: str) -> ModelSpec:
        """The model that a name means: an alias, else a Hub id, else a file or folder here.

        What the catalogue knows about a repository (its task, an adapter's base) holds for its Hub id too;
        defaults and endpoint belong to the alias alone. A name that starts with `.`, `/` or `~`, or ends in
        `.gguf`, is always a path.

        Raises:
            ModelNotFoundError: it is none of these.
        """
        if name in self.specs:
            return self.specs[name]
        path = Path(name).expanduser()
        if name.startswith((".", "/", "~")) or name.endswith(".gguf"):
            return self._local(name, path)
        if known := self._of_repository(name):
            facts = {fact: getattr(known, fact) for fact in _FACTS}
            return ModelSpec(alias=name, sources=(HubSource(repo=name),), **facts)
        if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name):
            return ModelSpec(alias=name, sources=(HubSource(repo=name),))
        if path.exists():
            return self._local(name, path)
        raise ModelNotFoundError(
            f"'{name}' is no alias, no Hub id (organization/name) and no path.{nearest(name, self.specs)}"
        )

    def _of_repository(self, repo: str) -> ModelSpec | None:
        return next(
            (spec for spec in self for source in spec.sources if getattr(source, "repo", None) == repo), None
        )

    def _local(self, name: str, path: Path) -> ModelSpec:
        if not path.exists():
            raise ModelNotFoundError(f"there is no file or folder '{name}'", hint="Check the path.")
        if path.is_file() and path.suffix != ".gguf":
            raise ModelNotFoundError(
                f"'{name}' is not a model file",
                hint="A local model is a .gguf file, or a folder with its files.",
            )
        return ModelSpec(
            alias=path.stem if path.is_file() else path.resolve().name, sources=(_absolute(path),)
        )


def load_catalog(extra: Path | None = None) -> Catalog:
    """The starter with the user's own models over it.

    The user's file is `extra`, else the one that `MODELYARD_CATALOG` names, else `models.yaml` here.

    Raises:
        CatalogError: a file has a mistake; names the file and the line.
    """
    file = _users_file(extra)
    starter = {spec.alias: spec for spec in _starter()}
    mine = {spec.alias: _found(spec, starter) for spec in load_file(file)} if file else {}
    taken = {spec.endpoint for spec in mine.values()}
    for spec in starter.values():
        # The user's endpoint wins over one of the starter's; two of the user's are an error in load_file.
        free = spec.model_copy(update={"endpoint": None}) if spec.endpoint in taken else spec
        mine.setdefault(spec.alias, free)
    return Catalog(mine, file)


def load_file(path: Path) -> list[ModelSpec]:
    """The models of one catalogue file, in its order.

    Raises:
        CatalogError: the file is missing or has a mistake; names the file and the line.
    """
    return read_specs(read_document(path))


def _starter() -> list[ModelSpec]:
    with as_file(files("modelyard.catalog") / "starter.yaml") as file:
        return load_file(file)


def _found(spec: ModelSpec, starter: Mapping[str, ModelSpec]) -> ModelSpec:
    """A spec whose source is the alias of a starter model has that model's sources.

    Names without an organization are few on the Hub, and none of the starter's aliases is one of them.
    """
    names = [source.repo for source in spec.sources if source.kind == "hub" and not source.file]
    known = starter.get(names[0]) if len(spec.sources) == len(names) == 1 else None
    return spec if known is None else spec.model_copy(update={"sources": known.sources})


def _users_file(extra: Path | None) -> Path | None:
    named = os.environ.get("MODELYARD_CATALOG")
    where, file = (
        ("", extra) if extra else ("MODELYARD_CATALOG names it; ", Path(named)) if named else ("", None)
    )
    if file is None:
        return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).is_file() else None
    file = file.expanduser()
    if not file.is_file():
        raise CatalogError(f"{where}there is no such file", file=str(file), hint="Check the path.")
    return file


def _absolute(path: Path) -> PathSource:
    return PathSource(path=str(path.resolve()))
