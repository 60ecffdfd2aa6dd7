"""Keep: every answer of a model, in one SQLite file, so that a run that is stopped or killed asks nothing twice.

An answer belongs to a question, not to a run: to the model's fingerprint, the messages, the schema, and how it was
sampled. The same question asked again, by any run, has its answer already.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from modelyard.database import Database
from modelyard.paths import data_dir
from modelyard.types import Token

FORMAT = 1
_TABLES = """
CREATE TABLE answers (question TEXT PRIMARY KEY, data TEXT NOT NULL, made REAL NOT NULL) STRICT, WITHOUT ROWID;
"""


def default_answers() -> Path:
    """The file in the user's data folder."""
    return data_dir() / "answers.sqlite"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said to one question.

    Attributes:
        tokens: with their probabilities.
        finish: `stop`, or `length` where it was cut.
        warnings: what did not go as asked.
        seconds: that it took when it was asked.
        kept: whether it was asked before and is from the store.
    """

    text: str
    tokens: tuple[Token, ...]
    finish: str
    prompt_tokens: int
    completion_tokens: int
    warnings: tuple[str, ...]
    seconds: float
    kept: bool = False


class Known(Protocol):
    """Where answers are looked up and kept: a file here, or one that another process holds."""

    def get(self, question: str) -> Answer | None:
        """The answer to a question, None where it was not asked."""

    def keep(self, question: str, answer: Answer) -> None:
        """Keeps an answer, at once; the first one stays."""


class Answers:
    """The answers in one file.

    Args:
        path: of the file; it is made where it is not there.

    Raises:
        InvalidArgumentError: it is no such file, cannot be written, or was made by a newer modelyard.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = Database(path, _TABLES, FORMAT)

    def get(self, question: str) -> Answer | None:
        """The answer to a question, None where it was not asked."""
        with self._file.said():
            row = self._file.base.execute("SELECT data FROM answers WHERE question=?", (question,)).fetchone()
        return None if row is None else _answer(json.loads(row[0]))

    def keep(self, question: str, answer: Answer) -> None:
        """Keeps an answer, at once; the first one stays."""
        data = {
            "text": answer.text, "finish": answer.finish, "prompt": answer.prompt_tokens,
            "completion": answer.completion_tokens, "warnings": answer.warnings, "seconds": answer.seconds,
            "tokens": [
                (one.text, one.id, one.logprob, one.start, one.end, one.logprob_of) for one in answer.tokens
            ],
        }  # fmt: skip
        with self._file.said():
            self._file.base.execute(
                "INSERT OR IGNORE INTO answers VALUES (?,?,?)", (question, json.dumps(data), time.time())
            )

    def __len__(self) -> int:
        (count,) = self._file.base.execute("SELECT count(*) FROM answers").fetchone()
        return int(count)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _answer(data: Mapping[str, Any]) -> Answer:
    tokens = tuple(
        Token(text, id_, logprob, start, end, of) for text, id_, logprob, start, end, of in data["tokens"]
    )
    return Answer(
        data["text"], tokens, data["finish"], data["prompt"], data["completion"], tuple(data["warnings"]),
        data["seconds"], kept=True,
    )  # fmt: skip
