"""Small tasks for tests of what runs them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from modelyard.bench import Asked, BenchTask, Judgement, Sample
from modelyard.llm import LLM


class Counted(BenchTask):
    """Asks the model for a few words and counts how often; right where the label says so."""

    about = "Mean of the labels."

    def __init__(
        self, name: str = "counted", size: int = 12, *, before: Callable[[Sample], Any] | None = None
    ) -> None:
        self.name, self.size, self.asked = name, size, []  # type: ignore[var-annotated]
        self._before = before

    @property
    def fingerprint(self) -> str:
        return self.name

    def samples(self) -> Sequence[Sample]:
        return [Sample(f"s{at}", f"d{at}", float(at % 3 == 0)) for at in range(self.size)]

    async def ask(self, llm: LLM, sample: Sample, *, seed: int | None = None, exact: bool = False) -> Asked:
        self.asked.append((llm.spec.alias, sample.id))
        if self._before is not None:
            self._before(sample)
        result = await llm.generate_async(f"Say {sample.id}.", max_tokens=4, temperature=0)
        return Asked(prompt=sample.id, answer=result.text, completion_tokens=4, prompt_tokens=3)

    def judge(self, sample: Sample, asked: Asked) -> Judgement:
        return Judgement("right" if sample.expected else "wrong", sample.expected, asked.answer)


def choice_task(folder: Path, count: int = 20, *, name: str = "choices", delay: str = "") -> Path:
    """A task file with so many yes-or-no questions; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"q": f"Question {at}?", "answer": ("yes", "no")[at % 2]} for at in range(count)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = folder / "task.yaml"
    file.write_text(
        f"name: {name}\nkind: choice\nprompt: '{{{{ q }}}}{delay}'\nchoices: ['yes', 'no']\ndata: rows.jsonl\n"
    )
    return file


def answer_task(folder: Path, count: int = 20, *, name: str = "answers") -> Path:
    """A task file with so many questions for a word; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"q": f"Question {at}?", "answer": f"word{at}"} for at in range(count)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = folder / "task.yaml"
    file.write_text(f"name: {name}\nkind: short_answer\nprompt: '{{{{ q }}}}'\ndata: rows.jsonl\n")
    return file
