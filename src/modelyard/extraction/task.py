"""A task: what to extract, how to ask for it, and, for measuring, labelled documents.

One YAML file, read alike by `extract` and by whatever measures, so that what was measured is what runs.
Shipped tasks live in `modelyard/tasks/NAME/task.yaml`; a user's own is named by its path.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from modelyard.errors import InvalidArgumentError, SchemaError, nearest
from modelyard.extraction.schema import ExtractionSchema, read_schema

_KEYS = {
    "name",
    "title",
    "description",
    "instructions",
    "fields",
    "schema",
    "terms",
    "examples",
    "data",
    "tolerance",
}
_SHIPPED = Path(str(files("modelyard"))) / "tasks"


@dataclass(slots=True, frozen=True)
class Example:
    """A document, shortened, and the answer that is wanted for it."""

    text: str
    answer: Mapping[str, Any]


@dataclass(slots=True, frozen=True)
class LabelledDocument:
    """A document of the task's data: its file, the right values, and where the document is from."""

    path: Path
    labels: Mapping[str, Any]
    source: str


@dataclass(slots=True, frozen=True)
class Task:
    """What to extract and how to ask.

    Attributes:
        terms: words that passages about the fields hold, for documents that do not fit whole.
        tolerance: largest difference at which two numbers count as the same.
    """

    name: str
    schema: ExtractionSchema
    title: str = ""
    description: str = ""
    instructions: str = ""
    terms: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    documents: tuple[LabelledDocument, ...] = field(default=(), repr=False)
    tolerance: float = 0.0

    @property
    def search_terms(self) -> tuple[str, ...]:
        """The terms, else the words of the fields' names and descriptions."""
        if self.terms:
            return self.terms
        words: list[str] = []
        for one in self.schema.fields:
            words += [one.name.replace("_", " "), *one.name.split("_"), *(one.description or "").split()]
        return tuple(dict.fromkeys(word for word in words if len(word) > 2))


def shipped_tasks() -> tuple[str, ...]:
    """The names of the tasks that come with modelyard."""
    return tuple(sorted(folder.name for folder in _SHIPPED.iterdir() if (folder / "task.yaml").is_file()))


def load_task(name: str | Path) -> Task:
    """A shipped task by name, or one of the user's by the path of its file or folder.

    >>> load_task("eps_extraction").schema.fields[0].name
    'eps_basic'

    Raises:
        InvalidArgumentError: no such task; the nearest is named.
        SchemaError: a mistake in the file; says file and key.
    """
    path = Path(name).expanduser()
    if str(name) in shipped_tasks():
        path = _SHIPPED / str(name)
    elif not path.exists():
        known = shipped_tasks()
        raise InvalidArgumentError(
            f"no task is called '{name}'.{nearest(str(name), known)}",
            hint=f"Shipped: {', '.join(known)}; or give the path of a task file.",
        )
    return _read(path / "task.yaml" if path.is_dir() else path)


def task_of(schema: ExtractionSchema) -> Task:
    """The plain task of a schema alone."""
    return Task(schema.name, schema)


def _read(file: Path) -> Task:
    import yaml

    try:
        data = yaml.safe_load(file.read_text("utf-8"))
    except OSError as error:
        raise SchemaError(f"{file} cannot be read: {error.strerror}", hint="Check the path.") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise SchemaError(f"{file} is not YAML: {error}", hint="Mend the file.") from error
    if not isinstance(data, dict):
        raise SchemaError(
            f"{file} holds no mapping", hint="A task has the keys name, fields and instructions."
        )
    for key in data:
        if key not in _KEYS:
            raise SchemaError(
                f"{file}: key '{key}' is not known.{nearest(str(key), _KEYS)}",
                hint=f"Known: {sorted(_KEYS)}.",
            )
    if ("fields" in data) == ("schema" in data):
        raise SchemaError(f"{file}: a task has either 'fields' or 'schema'", hint="Keep one of them.")
    name = str(data.get("name") or file.stem)
    source = {"name": name, "fields": data["fields"]} if "fields" in data else data["schema"]
    try:
        schema = read_schema(source)
    except SchemaError as error:
        raise SchemaError(f"{file}: {error.message}", hint=error.hint) from error
    return Task(
        name=name,
        schema=schema,
        title=_text(data, "title", file),
        description=_text(data, "description", file),
        instructions=_text(data, "instructions", file),
        terms=tuple(str(term) for term in data.get("terms") or ()),
        examples=tuple(_example(one, file) for one in data.get("examples") or ()),
        documents=_documents(data.get("data"), file),
        tolerance=float(data.get("tolerance", 0)),
    )


def _text(data: Mapping[str, Any], key: str, file: Path) -> str:
    value = data.get(key, "")
    if not isinstance(value, str):
        raise SchemaError(f"{file}: '{key}' has value {value!r}", hint="It is a text.")
    return value.strip()


def _example(one: Any, file: Path) -> Example:
    if not isinstance(one, dict) or set(one) != {"text", "answer"} or not isinstance(one["answer"], dict):
        raise SchemaError(f"{file}: an example is {one!r:.80}", hint="It has 'text' and 'answer', a mapping.")
    return Example(str(one["text"]).strip(), one["answer"])


def _documents(data: Any, file: Path) -> tuple[LabelledDocument, ...]:
    if data is None:
        return ()
    labels = file.parent / str(data)
    try:
        rows = [json.loads(line) for line in labels.read_text("utf-8").splitlines() if line.strip()]
        return tuple(
            LabelledDocument(labels.parent / row["file"], row["labels"], row.get("source", ""))
            for row in rows
        )
    except OSError as error:
        raise SchemaError(
            f"{file}: data file {labels} cannot be read: {error.strerror}", hint="Check 'data'."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise SchemaError(
            f"{labels}: a row is not as it should be: {error}", hint='A row is {"file": …, "labels": {…}}.'
        ) from error
