"""Lock: which commit and which bytes each model of a catalogue is, written down once for everyone.

`models.lock` lies beside the user's catalogue. A Hub source is pinned to the commit that its revision had
when the lock was written, with the sha256 of its files; a package source is pinned by the catalogue itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelyard.catalog.document import read_document
from modelyard.catalog.load import Catalog
from modelyard.catalog.spec import HubSource, ModelSpec, PackageSource, Sha256
from modelyard.errors import CatalogError

LOCK_FILE = "models.lock"
_HEADER = "# Written by `modelyard models lock`; read by every pull. Keep it under version control.\n"


class Pin(BaseModel):
    """What a source was when the lock was written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hub: str | None = None
    revision: str | None = None
    commit: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    packages: tuple[str, ...] = ()
    files: dict[str, Sha256] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lock:
    """Pins by alias."""

    pins: Mapping[str, tuple[Pin, ...]] = field(default_factory=dict)
    file: Path | None = None

    def pin(self, spec: ModelSpec, source: HubSource) -> Pin | None:
        """The pin of a Hub source, None where the lock has none.

        Raises:
            CatalogError: the lock pins another revision than the catalogue names now.
        """
        for pin in self.pins.get(spec.alias, ()):
            if pin.hub != source.repo:
                continue
            if pin.revision != (source.revision or "main"):
                raise CatalogError(
                    f"'{spec.alias}' is locked at revision '{pin.revision}' of {source.repo}; "
                    f"the catalogue names '{source.revision or 'main'}'",
                    file=str(self.file) if self.file else None,
                    hint="Write the lock again: `modelyard models lock`.",
                )
            return pin
        return None


def lock_path(catalog: Catalog) -> Path:
    """`models.lock` beside the user's catalogue, else here."""
    return (catalog.file.parent if catalog.file else Path()) / LOCK_FILE


def read_lock(catalog: Catalog) -> Lock | None:
    """The catalogue's lock, None where there is none.

    Raises:
        CatalogError: the lock has a mistake; names the file and the line.
    """
    file = lock_path(catalog)
    if not file.is_file():
        return None
    document = read_document(file)
    raw = document.value
    if not isinstance(raw, dict) or not isinstance(raw.get("models"), dict):
        raise document.error("'models' is missing", hint="Write the lock again: `modelyard models lock`.")
    pins: dict[str, tuple[Pin, ...]] = {}
    for alias, items in raw["models"].items():
        try:
            pins[alias] = tuple(Pin.model_validate(item) for item in items)
        except (ValidationError, TypeError) as error:
            reason = (
                error.errors(include_url=False)[0]["msg"]
                if isinstance(error, ValidationError)
                else str(error)
            )
            hint = "Write the lock again: `modelyard models lock`."
            raise document.error(
                f"'{alias}' cannot be read: {reason}", ("models", alias), hint=hint
            ) from None
    return Lock(pins, file)


def write_lock(catalog: Catalog, aliases: Iterable[str] | None = None) -> Lock:
    """Asks the Hub what the models are now, and writes it down; pins of other aliases stay.

    Without aliases, those of the user's own catalogue are pinned, or all where there is none.

    Raises:
        ModelNotFoundError: no such alias, repository or revision.
        AuthenticationError, GatedModelError, RateLimitError, DownloadError: the Hub did not answer.
    """
    wanted = list(aliases) if aliases is not None else [spec.alias for spec in catalog if _own(catalog, spec)]
    before = read_lock(catalog)
    pins = {alias: pin for alias, pin in (before.pins if before else {}).items() if alias in catalog}
    for alias in wanted:
        pins[alias] = _pins(catalog.get(alias))
    lock = Lock(pins, lock_path(catalog))
    _write(lock)
    return lock


def _own(catalog: Catalog, spec: ModelSpec) -> bool:
    return catalog.file is None or spec.defined_in == str(catalog.file)


def _pins(spec: ModelSpec) -> tuple[Pin, ...]:
    from modelyard.catalog.sources.hub import describe

    pins: list[Pin] = []
    for source in spec.sources:
        if isinstance(source, HubSource):
            commit, files = describe(spec, source)
            pins.append(Pin(hub=source.repo, revision=source.revision or "main", commit=commit, files=files))
        elif isinstance(source, PackageSource):
            names = tuple(part.package for part in source.parts)
            pins.append(Pin(packages=names, files={source.name: source.sha256}))
    return tuple(pins)


def _write(lock: Lock) -> None:
    assert lock.file is not None, "write_lock gives it a file"
    models: dict[str, Any] = {
        alias: [pin.model_dump(mode="json", exclude_defaults=True) for pin in pins]
        for alias, pins in sorted(lock.pins.items())
        if pins
    }
    text = _HEADER + yaml.safe_dump({"models": models}, sort_keys=True, width=110)
    fresh = lock.file.with_name(f"{lock.file.name}.{os.getpid()}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(lock.file)
