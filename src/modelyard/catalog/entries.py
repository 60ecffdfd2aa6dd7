"""Entries: the three ways to write a catalogue, each turned into specs.

- native: `models:` maps an alias to a spec;
- grouped: any other key maps aliases to `{name, display_name, parameters, provider, quantization}`, or is
  itself such an entry; `model_config:` holds what all entries of the file share;
- list: `{name, type: huggingface, description, endpoint, hf_model_name, hf_task, hf_generation_kwargs}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from modelyard.catalog.document import Document, Where
from modelyard.catalog.forms import check, no_unknown, read_sources
from modelyard.catalog.spec import ModelSpec
from modelyard.errors import CatalogError, ModelyardError, nearest
from modelyard.params import canonical

_FIELDS = tuple(name for name in ModelSpec.model_fields if name not in ("alias", "sources", "defined_in"))
_ENTRY_KEYS = ("source", "sources", "name", "provider", *_FIELDS)
_RENAMED = {"hf_model_name": "name", "hf_task": "task", "hf_generation_kwargs": "defaults"}
_LIST_KEYS = (
    "name", "type", "description", "endpoint", *_RENAMED,
    *(name for name in _FIELDS if name not in ("description", "endpoint", "task", "defaults")),
)  # fmt: skip
_SHARED_KEYS = ("quantization", "engine", "task", "defaults", "options", "tags", "safety")
_ALIAS = re.compile(r"\w[\w.:@+-]*")


def read_specs(document: Document) -> list[ModelSpec]:
    """The specs of a catalogue file, in its order."""
    specs = list(_Catalogue(document).specs())
    if not specs:
        raise document.error("there are no models in this file", hint="Add 'models:' with an alias under it.")
    _each_once(document, specs)
    return [spec for spec, _ in specs]


def _each_once(document: Document, specs: list[tuple[ModelSpec, Where]]) -> None:
    aliases: dict[str, Where] = {}
    endpoints: dict[str, str] = {}
    for spec, where in specs:
        if spec.alias in aliases:
            first = document.line(aliases[spec.alias])
            message = f"alias '{spec.alias}' is given twice, first on line {first}"
            raise document.error(message, where, hint="Rename one of them.")
        aliases[spec.alias] = where
        if spec.endpoint:
            if spec.endpoint in endpoints:
                message = f"endpoint '{spec.endpoint}' belongs to '{endpoints[spec.endpoint]}' already"
                raise document.error(message, (*where, "endpoint"), hint="Give each model its own path.")
            endpoints[spec.endpoint] = spec.alias


class _Catalogue:
    """One file on its way to specs: the document, and what its entries share."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.shared: Mapping[str, Any] = {"defaults": {}}

    def specs(self) -> Iterator[tuple[ModelSpec, Where]]:
        top = self.document.value
        if isinstance(top, list):
            return self._list(top, ())
        if not isinstance(top, dict):
            if top is None:
                return iter(())
            raise self.document.error(
                f"the file holds {top!r}", hint="It has to be a mapping with 'models:', or a list."
            )
        if "models" in top:
            return self._native(top)
        return self._grouped(top)

    def _native(self, top: dict[str, Any]) -> Iterator[tuple[ModelSpec, Where]]:
        no_unknown(self.document, top, ("models", "defaults", "model_config"), ())
        self._share(top)
        models = top["models"]
        if isinstance(models, list):
            yield from self._list(models, ("models",))
        elif isinstance(models, dict):
            for alias, raw in models.items():
                yield self._entry(alias, raw, ("models", alias))
        elif models is not None:
            raise self.document.error(
                f"key 'models' has value {models!r}", ("models",), hint="It maps aliases to models."
            )

    def _grouped(self, top: dict[str, Any]) -> Iterator[tuple[ModelSpec, Where]]:
        self._share(top)
        for key, value in top.items():
            if key in ("model_config", "defaults"):
                continue
            if not isinstance(value, dict):
                message = (
                    f"key '{key}' has value {value!r}.{nearest(key, ('models', 'defaults', 'model_config'))}"
                )
                raise self.document.error(
                    message, (key,), hint="At the top stand 'models:', or groups of models."
                )
            if isinstance(value.get("name", value.get("source")), str):
                yield self._entry(key, value, (key,))
            else:
                yield from self._group(key, value)

    def _group(self, group: str, entries: dict[str, Any]) -> Iterator[tuple[ModelSpec, Where]]:
        label = re.sub(r"(_tuned)?_?models?$", "", group) or group
        for alias, raw in entries.items():
            if not isinstance(raw, dict):
                message = f"key '{group}' holds '{alias}', which is not a model.{nearest(group, ('models',))}"
                raise self.document.error(
                    message, (group, alias), hint="A group maps aliases to {name: org/name, …}."
                )
            yield self._entry(alias, raw, (group, alias), {"family": label, "tags": [label]})

    def _list(self, items: list[Any], where: Where) -> Iterator[tuple[ModelSpec, Where]]:
        for index, item in enumerate(items):
            at = (*where, index)
            if not isinstance(item, dict):
                raise self.document.error(f"a model has value {item!r}", at, hint="Write '- name: …'.")
            no_unknown(self.document, item, _LIST_KEYS, at)
            self._provider(item, "type", at)
            for key in ("name", "hf_model_name"):
                if not isinstance(item.get(key), str):
                    hint = "Each model of a list has a name and an hf_model_name."
                    raise self.document.error(
                        f"key '{key}' has value {item.get(key)!r}", (*at, key), hint=hint
                    )
            raw = {
                _RENAMED.get(key, key): value for key, value in item.items() if key not in ("name", "type")
            }
            self._rename_lines(at)
            yield self._entry(item["name"], raw, at)

    def _rename_lines(self, at: Where) -> None:
        """Lets an error about `defaults` point at the line of `hf_generation_kwargs`, and so on."""
        lines, depth = self.document.lines, len(at)
        for where, line in list(lines.items()):
            if where[:depth] == at and len(where) > depth and where[depth] in _RENAMED:
                lines[(*at, _RENAMED[str(where[depth])], *where[depth + 1 :])] = line

    def _share(self, top: dict[str, Any]) -> None:
        shared = top.get("model_config")
        if shared is None:
            shared = {}
        if not isinstance(shared, dict):
            raise self.document.error(
                f"key 'model_config' has value {shared!r}", ("model_config",), hint="It is a mapping."
            )
        no_unknown(self.document, shared, _SHARED_KEYS, ("model_config",))
        everywhere = self._sampling(top.get("defaults"), ("defaults",))
        own = self._sampling(shared.get("defaults"), ("model_config", "defaults"))
        self.shared = {**shared, "defaults": _over(everywhere, own)}

    def _entry(
        self, alias: str, raw: Any, where: Where, under: Mapping[str, Any] | None = None
    ) -> tuple[ModelSpec, Where]:
        if not _ALIAS.fullmatch(alias):
            raise self.document.error(
                f"alias {alias!r} cannot be used",
                where,
                hint="Letters, digits and . _ - : @ + only, no space or slash.",
            )
        if not isinstance(raw, dict):
            raise self.document.error(
                f"model '{alias}' has value {raw!r}", where, hint="Write 'source: org/name' under it."
            )
        no_unknown(self.document, raw, _ENTRY_KEYS, where)
        self._provider(raw, "provider", where)
        values = {**self.shared, **(under or {}), **{key: raw[key] for key in raw if key in _FIELDS}}
        values["defaults"] = _over(
            self.shared["defaults"], self._sampling(raw.get("defaults"), (*where, "defaults"))
        )
        if isinstance(values.get("endpoint"), str):
            values["endpoint"] = self._endpoint(values["endpoint"], (*where, "endpoint"))
        values |= {
            "alias": alias,
            "sources": self._sources(raw, where),
            "defined_in": str(self.document.file),
        }
        return check(self.document, ModelSpec, values, where), where

    def _provider(self, raw: dict[str, Any], key: str, where: Where) -> None:
        if raw.get(key) not in (None, "huggingface"):
            message = f"key '{key}' has value {raw[key]!r}"
            hint = "Only 'huggingface' is supported; for a server elsewhere give the model a 'url'."
            raise self.document.error(message, (*where, key), hint=hint)

    def _sources(self, raw: dict[str, Any], where: Where) -> tuple[Any, ...]:
        given = [key for key in ("source", "sources", "name") if key in raw]
        if len(given) > 1:
            message = f"keys '{given[0]}' and '{given[1]}' are both given"
            raise self.document.error(
                message, (*where, given[1]), hint="Each says where the model comes from: keep one."
            )
        return read_sources(self.document, raw[given[0]], (*where, given[0])) if given else ()

    def _endpoint(self, raw: str, where: Where) -> str:
        path = raw.strip("/")
        if not re.fullmatch(r"[\w.~-]+(/[\w.~-]+)*", path) or ".." in path.split("/"):
            raise self.document.error(
                f"key 'endpoint' has value {raw!r}", where, hint="It is a path, as in models/gpt2/generate."
            )
        return path

    def _sampling(self, raw: Any, where: Where) -> dict[str, Any]:
        if raw is None:
            return {}
        if not isinstance(raw, dict):
            raise self.document.error(
                f"key 'defaults' has value {raw!r}", where, hint="It maps parameters to values."
            )
        for key, value in raw.items():
            self._canonical({key: value}, (*where, key))
        return self._canonical(raw, where)

    def _canonical(self, raw: dict[str, Any], where: Where) -> dict[str, Any]:
        try:
            return canonical(raw, where="default")
        except ModelyardError as error:
            raise self._placed(error, where) from None

    def _placed(self, error: ModelyardError, where: Where) -> CatalogError:
        return self.document.error(error.message, where, hint=error.hint)


def _over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults laid over defaults; a stronger limit of one kind takes the place of the other kind's."""
    clash = {"max_length": "max_new_tokens", "max_new_tokens": "max_length"}
    gone = {clash[key] for key in over if key in clash and over[key] is not None}
    return {**{key: value for key, value in under.items() if key not in gone}, **over}
