"""Source forms: the ways in which a catalogue says where a model comes from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from modelyard.catalog.document import Document, Where
from modelyard.catalog.spec import AnySource, HubSource, PackagePart, PackageSource, PathSource
from modelyard.errors import CatalogError, nearest

_KEYS: dict[str, tuple[str, ...]] = {
    "hub": ("hub", "revision", "file", "sha256"),
    "path": ("path",),
    "package": ("package", "file", "name", "sha256", "size", "beside"),
    "packages": ("packages", "name", "sha256", "size"),
}
_TEMPLATE_KEYS = ("template", "file", "count", "start")
_MOST_PARTS = 1000
_Checked = TypeVar("_Checked", bound=BaseModel)


def read_sources(document: Document, raw: Any, where: Where) -> tuple[AnySource, ...]:
    """The sources under a `source` key: one of them, or a list."""
    if isinstance(raw, list):
        if not raw:
            raise document.error("'source' is an empty list", where, hint="Name at least one source.")
        return tuple(_source(document, item, (*where, index)) for index, item in enumerate(raw))
    return (_source(document, raw, where),)


def check(document: Document, model: type[_Checked], values: dict[str, Any], where: Where) -> _Checked:
    """The values as a checked model; a mistake names its own line."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _first_mistake(document, error, where) from None


def no_unknown(document: Document, raw: dict[str, Any], known: tuple[str, ...], where: Where) -> None:
    """Raises on the first key that is not known, and offers the nearest."""
    for key in raw:
        if key not in known:
            message = f"key '{key}' is not known.{nearest(key, known)}"
            raise document.error(message, (*where, key), hint=f"Known here: {', '.join(known)}.")


def _first_mistake(document: Document, error: ValidationError, where: Where) -> CatalogError:
    mistake = error.errors(include_url=False)[0]
    at = (*where, *mistake["loc"])
    named = next((part for part in reversed(mistake["loc"]) if isinstance(part, str)), None)
    words = mistake["msg"].removeprefix("Value error, ")
    if named is None:
        return document.error(words, at, hint="")
    if mistake["type"] == "missing":
        return document.error(f"key '{named}' is missing", where, hint=f"Add '{named}: …'.")
    hint = words[0].upper() + words[1:] + "."
    if mistake["type"] == "string_type" and isinstance(mistake["input"], int | float):
        hint += " Put it in quotes."
    return document.error(f"key '{named}' has value {mistake['input']!r}", at, hint=hint)


def _source(document: Document, raw: Any, where: Where) -> AnySource:
    if isinstance(raw, str) and (raw.startswith((".", "/", "~")) or raw.endswith(".gguf")):
        return _path(document, raw, where)
    if isinstance(raw, str):
        return check(document, HubSource, {"repo": raw}, where)
    if not isinstance(raw, dict):
        raise document.error(
            f"a source has value {raw!r}", where, hint="Write {hub: org/name}, or a path or package."
        )
    kinds = [kind for kind in _KEYS if kind in raw]
    if len(kinds) != 1:
        found = (
            f"has {' and '.join(kinds)}"
            if kinds
            else f"has none of its keys.{nearest(next(iter(raw), ''), _KEYS)}"
        )
        raise document.error(f"a source {found}", where, hint="It has one of: hub, path, package, packages.")
    kind = kinds[0]
    no_unknown(document, raw, _KEYS[kind], where)
    if kind == "hub":
        return check(document, HubSource, {"repo" if key == "hub" else key: raw[key] for key in raw}, where)
    if kind == "path":
        return _path(document, raw["path"], (*where, "path"))
    return _package(document, raw, kind, where)


def _path(document: Document, raw: Any, where: Where) -> PathSource:
    if not isinstance(raw, str) or not raw:
        raise document.error(f"key 'path' has value {raw!r}", where, hint="It has to be a file or a folder.")
    # Relative to the catalogue, so that it means the same from every folder.
    return PathSource(path=str((document.file.absolute().parent / Path(raw).expanduser()).resolve()))


def _package(document: Document, raw: dict[str, Any], kind: str, where: Where) -> PackageSource:
    parts = [_part(document, raw, where)] if kind == "package" else _parts(document, raw["packages"], where)
    values: dict[str, Any] = {key: raw[key] for key in ("name", "sha256", "size", "beside") if key in raw}
    if len(parts) == 1:
        values.setdefault("name", Path(parts[0].file).name)
    return check(document, PackageSource, {"parts": tuple(parts), **values}, where)


def _part(document: Document, raw: dict[str, Any], where: Where) -> PackagePart:
    return check(document, PackagePart, {key: raw[key] for key in ("package", "file") if key in raw}, where)


def _parts(document: Document, raw: Any, where: Where) -> list[PackagePart]:
    inner = (*where, "packages")
    if isinstance(raw, dict):
        return _numbered(document, raw, inner)
    if not isinstance(raw, list) or not raw:
        raise document.error(
            f"key 'packages' has value {raw!r}",
            inner,
            hint="It has to be a list of {package, file}, or a template.",
        )
    parts = []
    for index, item in enumerate(raw):
        at = (*inner, index)
        if not isinstance(item, dict):
            raise document.error(
                f"a package has value {item!r}", at, hint="Write {package: name==1.0, file: …}."
            )
        no_unknown(document, item, ("package", "file"), at)
        parts.append(_part(document, item, at))
    return parts


def _numbered(document: Document, raw: dict[str, Any], where: Where) -> list[PackagePart]:
    """The parts of a template: `{n}` is the part's number, `{n:02}` the same with zeros in front."""
    no_unknown(document, raw, _TEMPLATE_KEYS, where)
    for key in ("template", "file"):
        if not isinstance(raw.get(key), str) or not _NUMBER.search(raw[key]):
            raise document.error(
                f"key '{key}' has value {raw.get(key)!r}",
                (*where, key),
                hint="It has to be text with {n} in it.",
            )
    count, start = raw.get("count"), raw.get("start", 1)
    for key, value, least in (("count", count, 1), ("start", start, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _MOST_PARTS:
            hint = f"It has to be a whole number between {least} and {_MOST_PARTS}."
            raise document.error(f"key '{key}' has value {value!r}", (*where, key), hint=hint)
    numbers = range(int(start), int(start) + int(count or 0))
    return [
        check(
            document,
            PackagePart,
            {"package": _fill(raw["template"], n), "file": _fill(raw["file"], n)},
            where,
        )
        for n in numbers
    ]


_NUMBER = re.compile(r"\{n(?::0?(\d))?\}")


def _fill(template: str, number: int) -> str:
    return _NUMBER.sub(lambda match: str(number).zfill(int(match[1] or 0)), template)
