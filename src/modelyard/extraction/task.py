"""A task: what to extract, how to ask for it, and, for measuring, labelled documents.

One YAML file, read alike by `extract` and by whatever measures, so that what was measured is what runs.
Shipped tasks live in `modelyard/tasks/NAME/task.yaml`; a user's own is named by its path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from modelyard.errors import InvalidArgumentError, SchemaError
from modelyard.extraction.merging.rules import MergeRules, read_rules
from modelyard.extraction.schema import ExtractionSchema, read_schema
from modelyard.extraction.taskfile import DataRow, TaskFile, find_task, shipped_tasks
from modelyard.extraction.template import render

__all__ = ["Example", "LabelledDocument", "Task", "load_task", "read_task", "shipped_tasks", "task_of"]

COMMON = frozenset(
    ("name", "title", "description", "kind", "data", "weight", "tier", "limits", "score", "source", "licence")
)
"""The keys of every kind of task; those about measuring are read by `modelyard.bench`."""
_KEYS = COMMON | {
    "instructions",
    "fields",
    "schema",
    "terms",
    "avoid",
    "documents",
    "merge",
    "examples",
    "tolerance",
    "parameters",
}
_ROW = frozenset(("file", "labels", "source", "kind", "id", "document", "demo"))


@dataclass(slots=True, frozen=True)
class Example:
    """A document, shortened, and the answer that is wanted for it."""

    text: str
    answer: Mapping[str, Any]


@dataclass(slots=True, frozen=True)
class LabelledDocument:
    """A document of the task's data: its file, the right values, and where the document is from.

    `values` are those of the task's parameters for it; `kind` is what sort of document it is; `demo` marks the
    few that are enough to show something.
    """

    path: Path
    labels: Mapping[str, Any]
    source: str
    values: Mapping[str, str] = field(default_factory=dict)
    kind: str = ""
    id: str = ""
    demo: bool = False


@dataclass(slots=True, frozen=True)
class Task:
    """What to extract and how to ask.

    Attributes:
        terms: words that passages about the fields hold, for documents that do not fit whole.
        avoid: words of lines that look like the fields and are not meant.
        rules: how candidates that differ are settled.
        tolerance: largest difference at which two numbers count as the same.
        parameters: what has to be said each time (`bind`), and stands in the instructions as `{{ name }}`.
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
    parameters: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    rules: MergeRules = field(default_factory=MergeRules)

    @property
    def search_terms(self) -> tuple[str, ...]:
        """The terms, else the words of the fields' names and descriptions."""
        if self.terms:
            return self.terms
        words: list[str] = []
        for one in self.schema.fields:
            words += [one.name.replace("_", " "), *one.name.split("_"), *(one.description or "").split()]
        return tuple(dict.fromkeys(word for word in words if len(word) > 2))

    def bind(self, values: Mapping[str, str]) -> Task:
        """The task with its parameters said: they stand in the instructions, and are searched for.

        >>> from modelyard.extraction.schema import read_schema
        >>> task = Task("dose", read_schema({"fields": {"dose": "number"}}), instructions="Of {{ drug }}.",
        ...             parameters=("drug",))
        >>> task.bind({"drug": "Aspirin"}).instructions
        'Of Aspirin.'

        Raises:
            InvalidArgumentError: one is missing, or is none of the task's.
        """
        for name in values:
            if name not in self.parameters:
                known = ", ".join(self.parameters) or "none"
                raise InvalidArgumentError(
                    f"task '{self.name}' has no parameter '{name}'", hint=f"It has: {known}."
                )
        missing = [name for name in self.parameters if name not in values]
        if missing:
            raise InvalidArgumentError(
                f"task '{self.name}' needs {', '.join(missing)}",
                hint=f"Say it with --set {missing[0]}=…, or Task.bind.",
            )
        if not self.parameters:
            return self
        said = render(self.instructions, dict(values), where=f"task '{self.name}', instructions")
        terms = dict.fromkeys((*values.values(), *self.search_terms))
        return replace(self, instructions=said, terms=tuple(terms), parameters=())


def load_task(name: str | Path) -> Task:
    """A shipped task by name, or one of the user's by the path of its file or folder.

    >>> load_task("eps_extraction").schema.fields[0].name
    'eps_basic'

    Raises:
        InvalidArgumentError: no such task; the nearest is named.
        SchemaError: a mistake in the file; says file, line and key.
    """
    return read_task(find_task(name))


def read_task(file: TaskFile) -> Task:
    """The task of a file that has been found.

    Raises:
        SchemaError: a mistake in it; says file, line and key.
        InvalidArgumentError: it is a task of another kind, which extracts nothing.
    """
    if file.kind != "extraction":
        raise InvalidArgumentError(
            f"task '{file.name}' is of kind {file.kind} and extracts no fields",
            hint=f"`modelyard bench run --tasks {file.name}` measures it.",
        )
    file.only(_KEYS)
    if ("fields" in file.values) == ("schema" in file.values):
        raise file.error("a task has either 'fields' or 'schema'", hint="Keep one of them.")
    parameters = file.texts("parameters")
    return Task(
        name=file.name,
        schema=_schema(file),
        title=file.text("title"),
        description=file.text("description"),
        instructions=file.text("instructions"),
        terms=file.texts("terms"),
        examples=tuple(_examples(file)),
        documents=tuple(_document(file, row, parameters) for row in file.rows),
        tolerance=file.number("tolerance", 0.0),
        parameters=parameters,
        avoid=file.texts("avoid"),
        rules=_rules(file),
    )


def task_of(schema: ExtractionSchema) -> Task:
    """The plain task of a schema alone."""
    return Task(schema.name, schema)


def _rules(file: TaskFile) -> MergeRules:
    """The key `merge`; two numbers are the same within the task's tolerance unless it says another."""
    tolerance = file.number("tolerance", 0.0)
    given = file.values.get("merge") or {}
    if isinstance(given, dict) and "tolerance" not in given:
        given = {**given, "tolerance": tolerance}
    return read_rules(given, file.error)


def _schema(file: TaskFile) -> ExtractionSchema:
    key = "fields" if "fields" in file.values else "schema"
    given = file.values[key]
    try:
        return read_schema({"name": file.name, "fields": given} if key == "fields" else given)
    except SchemaError as error:
        raise file.error(error.message, key, hint=error.hint) from None


def _examples(file: TaskFile) -> Iterable[Example]:
    given = file.values.get("examples") or []
    if not isinstance(given, list):
        raise file.error(f"key 'examples' has value {given!r:.80}", "examples", hint="It is a list.")
    for at, one in enumerate(given):
        if not isinstance(one, dict) or set(one) != {"text", "answer"} or not isinstance(one["answer"], dict):
            raise file.error(
                f"an example is {one!r:.80}", "examples", at, hint="It has 'text' and 'answer', a mapping."
            )
        yield Example(str(one["text"]).strip(), one["answer"])


def _document(file: TaskFile, row: DataRow, parameters: tuple[str, ...]) -> LabelledDocument:
    values = row.values
    name, labels = values.get("file"), values.get("labels")
    if not isinstance(name, str) or not isinstance(labels, dict):
        raise file.row_error(row, "'file' and 'labels' are not both there", hint='{"file": …, "labels": {…}}')
    for key in values:
        if key not in _ROW and key not in parameters:
            raise file.row_error(
                row, f"key '{key}' is not known", hint=f"Known: {', '.join((*sorted(_ROW), *parameters))}."
            )
    missing = [one for one in parameters if not isinstance(values.get(one), str)]
    if missing:
        raise file.row_error(row, f"parameter '{missing[0]}' is not there, or no text", hint="Add it.")
    path = file.folder / file.text("documents") / name
    return LabelledDocument(
        path,
        labels,
        str(values.get("source", "")),
        {one: values[one] for one in parameters},
        str(values.get("kind", "")),
        str(values.get("id", path.name)),
        bool(values.get("demo", False)),
    )
