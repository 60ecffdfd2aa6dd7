"""Document: a YAML file as plain values that remember their lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from modelyard.errors import CatalogError

Where = tuple[str | int, ...]
"""The way to a value: keys and positions from the top."""

_MOST_NODES = 200_000
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Document:
    """The values of one YAML file, and the line of each key and list item."""

    file: Path
    value: Any = None
    lines: dict[Where, int] = field(default_factory=dict)

    def line(self, where: Where) -> int:
        """The line of the value, or of the nearest thing around it."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, 1)

    def error(self, message: str, where: Where = (), *, hint: str | None = None) -> CatalogError:
        """An error that names the file and the line."""
        return CatalogError(message, file=str(self.file), line=self.line(where), hint=hint)


def read_document(file: Path) -> Document:
    """Reads a YAML file.

    Raises:
        CatalogError: the file cannot be read, is not YAML, or has a key twice.
    """
    document = Document(file)
    node = _compose(document)
    if node is not None:
        document.lines[()] = node.start_mark.line + 1
        document.value = _Reader(document).value(node, ())
    return document


def _compose(document: Document) -> yaml.Node | None:
    try:
        text = document.file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise document.error(f"byte {error.start} is not UTF-8", hint="Save the file as UTF-8.") from None
    except OSError as error:
        raise CatalogError(
            f"cannot be read: {error.strerror}",
            file=str(document.file),
            hint="Check the path and its permissions.",
        ) from None
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise _broken(document, error) from None
    except yaml.YAMLError as error:
        message = f"not YAML: {str(error).splitlines()[0]}"
        raise document.error(message, hint="Remove that character.") from None
    except RecursionError:
        raise document.error("nested too deeply", hint="A catalogue needs about five levels.") from None
    return node


def _broken(document: Document, error: yaml.MarkedYAMLError) -> CatalogError:
    mark = error.problem_mark or error.context_mark
    words = " ".join(part for part in (error.context, error.problem) if part)
    column = f" (column {mark.column + 1})" if mark else ""
    return CatalogError(
        f"not YAML: {words}{column}",
        file=str(document.file),
        line=mark.line + 1 if mark else None,
        hint="Check the indentation, the quotes and the colons on this line and the one above it.",
    )


class _Reader:
    """Turns YAML nodes into values; aliases are followed, so the number of nodes is bounded."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.constructor = SafeConstructor()
        self.nodes = 0
        self.open: set[int] = set()

    def value(self, node: yaml.Node, where: Where) -> Any:
        self.nodes += 1
        if self.nodes > _MOST_NODES or id(node) in self.open or len(where) > 50:
            raise self.document.error("anchors that refer to themselves, or far too many values", where)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, where)
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return dict(self._pairs(node, where))
            return list(self._items(node, where))
        finally:
            self.open.discard(id(node))

    def _scalar(self, node: yaml.ScalarNode, where: Where) -> Any:
        try:
            return self.constructor.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            words = getattr(error, "problem", None) or str(error)
            message = f"value {node.value!r} cannot be read: {words}"
            raise self.document.error(message, where, hint="Put it in quotes.") from None

    def _items(self, node: yaml.Node, where: Where) -> Iterator[Any]:
        for index, item in enumerate(node.value):
            inner = (*where, index)
            self.document.lines[inner] = item.start_mark.line + 1
            yield self.value(item, inner)

    def _pairs(self, node: yaml.MappingNode, where: Where) -> Iterator[tuple[str, Any]]:
        self._no_duplicates(node, where)
        try:
            self.constructor.flatten_mapping(node)  # the merge key, `<<: *anchor`
        except (yaml.YAMLError, RecursionError) as error:
            words = getattr(error, "problem", None) or "a merge key that merges itself"
            raise self.document.error(f"merge key: {words}", where) from None
        for key_node, value_node in node.value:
            inner = (*where, self._key(key_node, where))
            self.document.lines[inner] = key_node.start_mark.line + 1
            yield str(inner[-1]), self.value(value_node, inner)

    def _no_duplicates(self, node: yaml.MappingNode, where: Where) -> None:
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key, line = self._key(key_node, where), key_node.start_mark.line + 1
            if key in seen:
                self.document.lines[(*where, key)] = line
                raise self.document.error(
                    f"key '{key}' is given twice, first on line {seen[key]}",
                    (*where, key),
                    hint="Keep one of them.",
                )
            seen[key] = line

    def _key(self, node: yaml.Node, where: Where) -> str:
        if isinstance(node, yaml.ScalarNode):
            key = self._scalar(node, where)
            if isinstance(key, str):
                return key
            shown = repr(node.value)
        else:
            shown = "a list or mapping"
        self.document.lines[(*where, "?")] = node.start_mark.line + 1
        raise self.document.error(f"key {shown} is not text", (*where, "?"), hint="Put it in quotes.")
