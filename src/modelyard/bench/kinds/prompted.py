"""What tasks with a prompt template and rows share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from modelyard.bench.task import BenchTask, Sample
from modelyard.extraction.task import COMMON
from modelyard.extraction.taskfile import DataRow, TaskFile, digest
from modelyard.extraction.template import names, render

PROMPTED = COMMON | {"prompt", "system", "raw", "answer"}
"""The keys of a task that fills a template from the columns of its rows."""


def described(task: BenchTask, file: TaskFile, about: str) -> None:
    """Reads the keys that every kind of task has; `about` says how this kind computes its score."""
    task.name = file.name
    task.title = file.text("title") or file.name
    task.about = file.text("score") or about
    task.source, task.licence = file.text("source"), file.text("licence")
    task.weight = file.number("weight", 1.0)
    if task.weight == 0:
        raise file.error("key 'weight' has value 0", "weight", hint="It is a number above 0.")
    tier = file.whole("tier", 2)
    if tier not in (1, 2, 3):
        raise file.error(f"key 'tier' has value {tier}", "tier", hint="It is 1, 2 or 3.")
    task.tier = tier
    task.limit = limits(file).get("samples")
    if not file.rows:
        raise file.error("there is no 'data'", hint="Name a .jsonl, .json or .csv file with labelled rows.")


def limits(file: TaskFile) -> dict[str, int]:
    """`limits`: `samples` that are asked where nobody says, `max_tokens` of an answer."""
    given = file.values.get("limits") or {}
    if not isinstance(given, dict):
        raise file.error(f"key 'limits' has value {given!r:.80}", "limits", hint="It is a mapping.")
    for key, value in given.items():
        if key not in ("samples", "max_tokens"):
            raise file.error(
                f"key 'limits' has '{key}'", "limits", key, hint="Limits are samples and max_tokens."
            )
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise file.error(
                f"limit '{key}' has value {value!r:.80}", "limits", key, hint="It is a whole number above 0."
            )
    return dict(given)


class PromptedTask(BenchTask):
    """A prompt made of a template and a row, and the column that holds the right answer."""

    def __init__(self, file: TaskFile, *, about: str, max_tokens: int = 64) -> None:
        self.file = file
        described(self, file, about)
        self._prompt, self._system = file.text("prompt"), file.text("system")
        if not self._prompt:
            raise file.error("there is no 'prompt'", hint="It is a template with the row's columns in it.")
        self._raw = file.flag("raw", False)
        if self._raw and self._system:
            raise file.error("'raw' and 'system' are both given", "raw", hint="A raw prompt has no roles.")
        self._answer = file.text("answer") or "answer"
        self.max_tokens = limits(file).get("max_tokens", max_tokens)
        self._check_columns()

    def _check_columns(self) -> None:
        wanted = {self._answer}
        for key in ("prompt", "system"):
            wanted |= names(self.file.text(key), where=f"{self.file.path}, {key}") - self._given()
        for row in self.file.rows:
            missing = sorted(wanted - set(row.values))
            if missing:
                raise self.file.row_error(
                    row,
                    f"there is no '{missing[0]}', which the task needs",
                    hint=f"Its columns are {', '.join(row.values)}.",
                )

    def _given(self) -> frozenset[str]:
        """What the template may use beside the row's columns."""
        return frozenset()

    def _values(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return dict(row)

    @cached_property
    def _samples(self) -> tuple[Sample, ...]:
        made = tuple(self._sample(at, row) for at, row in enumerate(self.file.rows, 1))
        seen: set[str] = set()
        for sample, row in zip(made, self.file.rows, strict=True):
            if sample.id in seen:
                raise self.file.row_error(row, f"id '{sample.id}' is given twice", hint="Ids are unique.")
            seen.add(sample.id)
        return made

    def _sample(self, at: int, row: DataRow) -> Sample:
        values = row.values
        name = str(values.get("id", at))
        return Sample(
            name,
            str(values.get("document", name)),
            self.expected(row, values[self._answer]),
            self._values(values),
        )

    def samples(self) -> Sequence[Sample]:
        return self._samples

    def expected(self, row: DataRow, value: Any) -> Any:
        """The label of a row, checked."""
        return value

    def prompt(self, sample: Sample) -> Any:
        """What the model is given: a text, or messages."""
        where = f"task '{self.name}', prompt"
        text = render(self._prompt, sample.values, where=where).strip("\n")
        if self._raw:
            return text
        turns = [{"role": "user", "content": text}]
        if self._system:
            system = render(self._system, sample.values, where=f"task '{self.name}', system")
            turns.insert(0, {"role": "system", "content": system})
        return turns

    def how(self) -> dict[str, Any]:
        """Arguments of a generation."""
        return {"raw": True} if self._raw else {}

    @property
    def fingerprint(self) -> str:
        ours = {key: value for key, value in self.file.values.items() if key not in _SAID_ONLY}
        return digest(ours, self.kind)


_SAID_ONLY = frozenset(
    ("title", "description", "score", "source", "licence", "weight", "tier", "data")
)  # changing these changes no row
