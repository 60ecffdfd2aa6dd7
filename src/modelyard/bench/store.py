"""Store: what models have answered, in one SQLite file. A row a sample, committed as it comes.

A row belongs to a model, a task and a way of asking, not to a run: what one run has asked, no other asks again. A
run is a name with the models and tasks that it compares.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from modelyard.bench.outcome import Judgement, Row
from modelyard.database import Database
from modelyard.errors import InvalidArgumentError, nearest
from modelyard.extraction.taskfile import digest
from modelyard.paths import data_dir
from modelyard.types import Fingerprint

FORMAT = 1
_TABLES = """
CREATE TABLE models (fingerprint TEXT PRIMARY KEY, data TEXT NOT NULL) STRICT;
CREATE TABLE answers (
  model TEXT NOT NULL REFERENCES models, task TEXT NOT NULL, asking TEXT NOT NULL,
  sample TEXT NOT NULL, content TEXT NOT NULL, repeat INTEGER NOT NULL,
  outcome TEXT NOT NULL, score REAL NOT NULL, data TEXT NOT NULL, made REAL NOT NULL,
  PRIMARY KEY (model, task, asking, sample, content, repeat)
) STRICT, WITHOUT ROWID;
CREATE TABLE drifts (
  model TEXT NOT NULL, task TEXT NOT NULL, asking TEXT NOT NULL, data TEXT NOT NULL,
  PRIMARY KEY (model, task, asking)
) STRICT, WITHOUT ROWID;
CREATE TABLE runs (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created REAL NOT NULL, changed REAL NOT NULL, data TEXT NOT NULL
) STRICT;
CREATE TABLE run_models (
  run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE, position INTEGER NOT NULL, alias TEXT NOT NULL,
  model TEXT, data TEXT NOT NULL, PRIMARY KEY (run, alias)
) STRICT;
CREATE TABLE run_tasks (
  run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE, position INTEGER NOT NULL, name TEXT NOT NULL,
  task TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (run, name)
) STRICT;
"""


def default_store() -> Path:
    """The store in the user's data folder."""
    return data_dir() / "bench.sqlite"


@dataclass(slots=True, frozen=True)
class Key:
    """Whose answers: a model's, to a task, asked in one way (seed of the sampling, one at a time or together)."""

    model: str
    task: str
    asking: str


@dataclass(slots=True)
class RunRecord:
    """A run as the store keeps it.

    Attributes:
        data: description, seed, repeats and so on, as the run was started.
        models: alias to the model's fingerprint hash (None where it never loaded) and what is known of its load.
        tasks: name to the task's fingerprint and what is needed to show it, its samples among it.
    """

    name: str
    created: float
    changed: float
    data: dict[str, Any]
    models: dict[str, tuple[str | None, dict[str, Any]]] = field(default_factory=dict)
    tasks: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)


class Store:
    """One SQLite file, in WAL mode: readers and a writer do not wait for each other.

    Args:
        path: of the file; it is made where it is not there.

    Raises:
        InvalidArgumentError: it is no store, cannot be written, or was made by a newer modelyard.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = Database(path, _TABLES, FORMAT)
        self._base = self._file.base

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- answers ---------------------------------------------------------------------------------------

    def keep_model(self, fingerprint: Fingerprint) -> str:
        """Keeps which model answers; returns the hash that its rows go by."""
        data = asdict(fingerprint)
        key = digest(data)
        with self._file.said():
            self._base.execute(
                "INSERT OR IGNORE INTO models VALUES (?, ?)", (key, json.dumps(data, ensure_ascii=False))
            )
        return key

    def model(self, key: str) -> dict[str, Any]:
        """The fingerprint behind a hash."""
        row = self._base.execute("SELECT data FROM models WHERE fingerprint=?", (key,)).fetchone()
        found: dict[str, Any] = json.loads(row[0])
        return found

    def keep(self, key: Key, content: str, row: Row) -> None:
        """Keeps an answer, at once. One that is there stays, but for a failure, which is replaced."""
        judgement = row.judgement
        data = asdict(row)
        with self._file.said():
            self._base.execute(
                "INSERT INTO answers VALUES (?,?,?,?,?,?,?,?,?,?) "
                "ON CONFLICT DO UPDATE SET outcome=excluded.outcome, score=excluded.score, data=excluded.data, "
                "made=excluded.made WHERE answers.outcome='failed'",
                (
                    key.model, key.task, key.asking, row.sample, content, row.repeat, judgement.outcome,
                    judgement.score, _dumps(data), time.time(),
                ),
            )  # fmt: skip

    def answered(self, key: Key, *, failed: bool = True) -> set[tuple[str, str, int]]:
        """Which samples have an answer: (sample, content, repeat). Without `failed`, failures count as none."""
        query = "SELECT sample, content, repeat FROM answers WHERE model=? AND task=? AND asking=?"
        if not failed:
            query += " AND outcome<>'failed'"
        return set(self._base.execute(query, (key.model, key.task, key.asking)))

    def rows(self, key: Key, samples: Iterable[tuple[str, str]], repeats: int) -> list[Row]:
        """The answers to these samples (name and content), in their order."""
        query = "SELECT sample, content, repeat, data FROM answers WHERE model=? AND task=? AND asking=?"
        found = {
            (sample, content, repeat): data
            for sample, content, repeat, data in self._base.execute(query, (key.model, key.task, key.asking))
        }
        wanted = ((*one, repeat) for one in samples for repeat in range(repeats))
        return [_row(found[one]) for one in wanted if one in found]

    def keep_drift(self, key: Key, data: Mapping[str, Any]) -> None:
        """Keeps how far batching moved a model's answers."""
        with self._file.said():
            self._base.execute(
                "INSERT OR REPLACE INTO drifts VALUES (?,?,?,?)",
                (key.model, key.task, key.asking, _dumps(data)),
            )

    def drift(self, key: Key) -> dict[str, Any] | None:
        """How far batching moved a model's answers; None where it was not looked at."""
        row = self._base.execute(
            "SELECT data FROM drifts WHERE model=? AND task=? AND asking=?", (key.model, key.task, key.asking)
        ).fetchone()
        return json.loads(row[0]) if row else None

    # -- runs ------------------------------------------------------------------------------------------

    def begin(self, name: str, data: Mapping[str, Any]) -> RunRecord:
        """The run of that name: begun now, or the one that is there, which goes on.

        Raises:
            InvalidArgumentError: it is there, and was asked in another way (seed, repeats, one at a time).
        """
        now = time.time()
        with self._file.said(), self._file.transaction():
            row = self._base.execute("SELECT data FROM runs WHERE name=?", (name,)).fetchone()
            if row is None:
                self._base.execute(
                    "INSERT INTO runs (name, created, changed, data) VALUES (?,?,?,?)",
                    (name, now, now, _dumps(data)),
                )
            else:
                self._same(name, json.loads(row[0]), data)
                kept = json.loads(row[0]) | {
                    key: value for key, value in data.items() if value or key == "limit"
                }
                self._base.execute(
                    "UPDATE runs SET changed=?, data=? WHERE name=?", (now, _dumps(kept), name)
                )
        return self.run(name)

    def _same(self, name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        for key in ("seed", "repeats", "exact"):
            if before.get(key) != now.get(key):
                raise InvalidArgumentError(
                    f"run '{name}' was begun with {key} {before.get(key)}, and now it is {now.get(key)}",
                    hint="Give this one another name.",
                )

    def add_task(self, run: str, name: str, task: str, data: Mapping[str, Any]) -> None:
        """Adds a task to a run, or brings it up to date."""
        self._add("run_tasks", run, name, task, data)

    def add_model(self, run: str, alias: str, model: str | None, data: Mapping[str, Any]) -> None:
        """Adds a model to a run, or brings it up to date."""
        self._add("run_models", run, alias, model, data)

    def _add(self, table: str, run: str, name: str, key: str | None, data: Mapping[str, Any]) -> None:
        column, of = ("name", "task") if table == "run_tasks" else ("alias", "model")
        with self._file.said(), self._file.transaction():
            (number,) = self._base.execute("SELECT id FROM runs WHERE name=?", (run,)).fetchone()
            # Table and columns are two fixed pairs, never a user's words.
            self._base.execute(
                f"INSERT INTO {table} (run, position, {column}, {of}, data) VALUES "  # noqa: S608
                f"(?, (SELECT count(*) FROM {table} WHERE run=?), ?, ?, ?) "
                f"ON CONFLICT DO UPDATE SET {of}=excluded.{of}, data=excluded.data",
                (number, number, name, key, _dumps(data)),
            )

    def run(self, name: str) -> RunRecord:
        """A run by name.

        Raises:
            InvalidArgumentError: there is none; the nearest is named.
        """
        row = self._base.execute(
            "SELECT id, created, changed, data FROM runs WHERE name=?", (name,)
        ).fetchone()
        if row is None:
            known = [one.name for one in self.runs()]
            raise InvalidArgumentError(
                f"no run is called '{name}' in {self.path}.{nearest(name, known)}",
                hint="`modelyard bench list` shows them.",
            )
        number, created, changed, data = row
        found = RunRecord(name, created, changed, json.loads(data))
        for alias, model, about in self._base.execute(
            "SELECT alias, model, data FROM run_models WHERE run=? ORDER BY position",
            (number,),
        ):
            found.models[alias] = (model, json.loads(about))
        for task_name, task, about in self._base.execute(
            "SELECT name, task, data FROM run_tasks WHERE run=? ORDER BY position",
            (number,),
        ):
            found.tasks[task_name] = (task, json.loads(about))
        return found

    def runs(self) -> list[RunRecord]:
        """All runs, the last changed first."""
        names = [name for (name,) in self._base.execute("SELECT name FROM runs ORDER BY changed DESC")]
        return [self.run(name) for name in names]

    def remove(self, name: str) -> int:
        """Removes a run and the answers that no other run shows; returns how many of them.

        Raises:
            InvalidArgumentError: there is no such run.
        """
        record = self.run(name)
        before = self._count()
        with self._file.said(), self._file.transaction():
            self._base.execute("DELETE FROM runs WHERE name=?", (name,))
            for model, _ in record.models.values():
                for task, _ in record.tasks.values():
                    self._base.execute(
                        "DELETE FROM answers WHERE model=? AND task=? AND NOT EXISTS (SELECT 1 FROM run_models m "
                        "JOIN run_tasks t ON t.run=m.run WHERE m.model=answers.model AND t.task=answers.task)",
                        (model, task),
                    )
        return before - self._count()

    def _count(self) -> int:
        found: int = self._base.execute("SELECT count(*) FROM answers").fetchone()[0]
        return found


def _dumps(data: Any) -> str:
    # Answers may hold half characters: JSON escapes them, and SQLite keeps the text as it is.
    return json.dumps(data, default=str)


def _row(data: str) -> Row:
    values = json.loads(data)
    judgement = Judgement(**values.pop("judgement"))
    tokens = tuple((text, logprob) for text, logprob in values.pop("tokens"))
    return Row(judgement=judgement, tokens=tokens, warnings=tuple(values.pop("warnings")), **values)


def sample_keys(samples: Sequence[Any]) -> list[tuple[str, str]]:
    """Names and contents, by which the store knows samples."""
    return [(one.id, one.content) for one in samples]
