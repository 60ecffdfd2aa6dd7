"""Task files: one YAML file a task, read alike by what extracts and by what measures.

A mistake in one is a `SchemaError` that says file, line, key, and what may stand there.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from modelyard.catalog.document import Document, Where, read_document
from modelyard.errors import CatalogError, InvalidArgumentError, SchemaError, nearest
from modelyard.extraction.reviewed import is_reviewed, reviewed_labels

KINDS = ("extraction", "choice", "short_answer", "number", "structured")
_SHIPPED = Path(str(files("modelyard"))) / "tasks"
_DATA = (".jsonl", ".json", ".csv")


@dataclass(slots=True, frozen=True)
class DataRow:
    """One row of a task's data, and where it stands."""

    values: Mapping[str, Any]
    line: int


class TaskFile:
    """The YAML of one task: its values checked one by one, with the line in every error."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.document: Document = read_document(path)
        except CatalogError as error:
            raise SchemaError(error.message, hint=error.hint) from None
        if not isinstance(self.document.value, dict):
            raise self.error("the file holds no mapping", hint="A task has a name, a kind and its data.")
        self.values: dict[str, Any] = self.document.value

    @property
    def folder(self) -> Path:
        """Where paths in the file start from."""
        return self.path.parent

    @property
    def name(self) -> str:
        """What the task is called: `name`, else the file's or its folder's."""
        default = self.folder.name if self.path.name == "task.yaml" else self.path.stem
        return self.text("name") or default

    @property
    def kind(self) -> str:
        """One of `KINDS`; `extraction` where nothing is said."""
        kind = self.text("kind") or "extraction"
        if kind not in KINDS:
            raise self.error(
                f"key 'kind' has value '{kind}'.{nearest(kind, KINDS)}",
                "kind",
                hint=f"It is one of {', '.join(KINDS)}.",
            )
        return kind

    def error(self, message: str, *where: str | int, hint: str) -> SchemaError:
        """An error that names file and line."""
        place: Where = tuple(where)
        return SchemaError(f"{self.path}:{self.document.line(place)}: {message}", hint=hint)

    def only(self, known: Iterable[str]) -> None:
        """Refuses keys that are not known.

        Raises:
            SchemaError: names the key and the nearest that there is.
        """
        known = sorted(known)
        for key in self.values:
            if key not in known:
                raise self.error(
                    f"key '{key}' is not known.{nearest(str(key), known)}",
                    key,
                    hint=f"A task of kind {self.kind} has {', '.join(known)}.",
                )

    def text(self, key: str) -> str:
        """A text without the white space around it; empty where the key is not there."""
        value = self.values.get(key, "")
        if not isinstance(value, str):
            raise self.error(f"key '{key}' has value {value!r:.80}", key, hint="It is a text.")
        return value.strip()

    def number(self, key: str, default: float, *, least: float = 0.0) -> float:
        """A number of at least `least`."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= least:
            raise self.error(
                f"key '{key}' has value {value!r:.80}", key, hint=f"It is a number of {least:g} or more."
            )
        return float(value)

    def whole(self, key: str, default: int | None, *, least: int = 1) -> int | None:
        """A whole number of at least `least`."""
        value = self.values.get(key, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.error(
                f"key '{key}' has value {value!r:.80}", key, hint=f"It is a whole number of {least} or more."
            )
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.error(f"key '{key}' has value {value!r:.80}", key, hint="It is true or false.")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts. An unquoted `yes` or `1` is none: YAML reads it as something else."""
        value = self.values.get(key) or []
        if not isinstance(value, list):
            raise self.error(f"key '{key}' has value {value!r:.80}", key, hint="It is a list of texts.")
        for at, one in enumerate(value):
            if not isinstance(one, str):
                raise self.error(
                    f"key '{key}': {one!r:.80} is no text to YAML",
                    key,
                    at,
                    hint="Put it in quotes, as in 'yes'.",
                )
        return tuple(value)

    @cached_property
    def rows(self) -> tuple[DataRow, ...]:
        """The rows of the file that `data` names, of a review's corrections a row a document; none without the key.

        Raises:
            SchemaError: it cannot be read, or has no rows.
        """
        if "data" not in self.values:
            return ()
        path = self.folder / self.text("data")
        if path.suffix.lower() not in _DATA:
            raise self.error(
                f"key 'data' names {path.name}", "data", hint=f"Data is in {', '.join(_DATA)} files."
            )
        try:
            rows = tuple(_rows(path))
        except OSError as error:
            raise self.error(
                f"data file {path} cannot be read: {error.strerror}", "data", hint="Check the path."
            ) from None
        if not rows:
            raise self.error(f"data file {path} has no rows", "data", hint="Give it at least one.")
        if is_reviewed([row.values for row in rows]):
            return tuple(DataRow(one, at) for at, one in enumerate(reviewed_labels(path), 1))
        return rows

    def row_error(self, row: DataRow, message: str, *, hint: str) -> SchemaError:
        """An error about a row of the data."""
        return SchemaError(f"{self.folder / self.text('data')}:{row.line}: {message}", hint=hint)


def shipped_tasks(kind: str | None = None) -> tuple[str, ...]:
    """The names of the tasks that come with modelyard, all of them or those of one kind.

    >>> "eps_extraction" in shipped_tasks("extraction")
    True
    """
    names = sorted(folder.name for folder in _SHIPPED.iterdir() if (folder / "task.yaml").is_file())
    return tuple(name for name in names if kind is None or find_task(name).kind == kind)


def find_task(name: str | Path) -> TaskFile:
    """A shipped task's file by name, or one of the user's by the path of it or of its folder.

    Raises:
        InvalidArgumentError: no such task; the nearest is named.
        SchemaError: the file is not YAML, or holds no mapping.
    """
    shipped = _SHIPPED / str(name)
    path = shipped if (shipped / "task.yaml").is_file() else Path(name).expanduser()
    if not path.exists():
        known = sorted(folder.name for folder in _SHIPPED.iterdir() if (folder / "task.yaml").is_file())
        raise InvalidArgumentError(
            f"no task is called '{name}'.{nearest(str(name), known)}",
            hint=f"Shipped: {', '.join(known)}; or give the path of a task file.",
        )
    if not path.is_dir():
        return TaskFile(path)
    if not (path / "task.yaml").is_file():
        raise InvalidArgumentError(f"folder {path} has no task.yaml", hint="Give the path of a task file.")
    return TaskFile(path / "task.yaml")


def digest(*parts: object) -> str:
    """A short hash of plain data and bytes, the same in every process.

    >>> digest({"a": 1}, b"x") == digest({"a": 1}, b"x") != digest({"a": 2}, b"x")
    True
    """
    found = hashlib.sha256()
    for part in parts:
        data = (
            part
            if isinstance(part, bytes)
            else json.dumps(part, sort_keys=True, ensure_ascii=False, default=str)
        )
        data = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
        found.update(len(data).to_bytes(8, "big") + data)
    return found.hexdigest()[:16]


def _rows(path: Path) -> Iterable[DataRow]:
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SchemaError(f"{path}: byte {error.start} is not UTF-8", hint="Save it as UTF-8.") from None
    suffix = path.suffix.lower()
    if suffix == ".csv":
        reader = csv.DictReader(io.StringIO(text))
        for values in reader:
            yield DataRow(values, reader.line_num)
    elif suffix == ".json":
        whole = _json(text, path, 1)
        if not isinstance(whole, list):
            raise SchemaError(f"{path}: holds no list", hint="It is a list of mappings.")
        for at, one in enumerate(whole, 1):
            yield _row(one, path, at)
    else:
        for at, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield _row(_json(line, path, at), path, at)


def _json(text: str, path: Path, line: int) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        at = line - 1 + getattr(error, "lineno", 1)
        raise SchemaError(f"{path}:{at}: not JSON: {error}", hint="Mend that line.") from None


def _row(value: Any, path: Path, line: int) -> DataRow:
    if not isinstance(value, dict):
        raise SchemaError(f"{path}:{line}: {value!r:.60} is no mapping", hint='A row is {"key": value, …}.')
    return DataRow(value, line)
