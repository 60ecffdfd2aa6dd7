"""The demo: shipped models read shipped, labelled documents, and every value is judged against its label.

The results are counted for each model and written as a page that shows each quote in its document.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from modelyard.errors import InvalidArgumentError, ModelyardError
from modelyard.extraction.ask import extract_async
from modelyard.extraction.page import VERDICTS, Labels, PageRun, Verdict, render_page
from modelyard.extraction.result import Extraction, FieldResult
from modelyard.extraction.task import LabelledDocument, Task, load_task
from modelyard.llm import LLM

MODELS = ("smollm2-135m", "qwen2.5-coder-1.5b")
TASK = "eps_extraction"
PAGE = Path("modelyard-demo.html")


@dataclass(slots=True, frozen=True)
class Judged:
    """One value of one document beside its label."""

    document: str
    field: str
    label: Any
    result: FieldResult
    verdict: Verdict

    @property
    def ungrounded(self) -> bool:
        """Whether the value comes with a quote that is not in the text."""
        return self.result.status == "ungrounded"


@dataclass(slots=True, frozen=True)
class ModelRun:
    """What one model read, judged; `seconds` is a document's share of the whole run, loading left out."""

    model: str
    extraction: Extraction
    judged: tuple[tuple[Judged, ...], ...]
    seconds: float

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many values have each verdict."""
        found = Counter(one.verdict for document in self.judged for one in document)
        return {verdict: found[verdict] for verdict in VERDICTS}

    @property
    def ungrounded(self) -> int:
        """How many values have a quote that is not in the text."""
        return sum(one.ungrounded for document in self.judged for one in document)


@dataclass(slots=True, frozen=True)
class Demo:
    """The runs that came to their end, and the error that stopped the next one."""

    task: Task
    runs: tuple[ModelRun, ...]
    stopped: ModelyardError | None = None

    @property
    def values(self) -> int:
        """How many values are judged for each model."""
        return sum(len(document.labels) for document in self.task.documents)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for `json.dumps`."""
        return {
            "task": self.task.name,
            "tolerance": self.task.tolerance,
            "values": self.values,
            "models": [_model(run) for run in self.runs],
            "documents": [_document(self, at) for at in range(len(self.task.documents))],
            "error": self.stopped.message if self.stopped else None,
        }


class Watch(Protocol):
    """What follows a run: told when a model, loaded, begins to read, and of each document it has read."""

    def begin(self, model: str, documents: int) -> None: ...

    def read(self) -> None: ...


class Unwatched:
    """Follows nothing."""

    def begin(self, model: str, documents: int) -> None:
        return

    def read(self) -> None:
        return


def demo_task() -> Task:
    """The demo's task, with the few of its documents that are marked for showing."""
    task = load_task(TASK)
    return replace(task, documents=tuple(one for one in task.documents if one.demo))


async def run_demo(llms: Sequence[LLM], task: Task, *, watch: Watch | None = None) -> Demo:
    """Lets each model read the task's documents, one model after another, and judges what it read.

    A model that cannot be loaded ends the demo; what the models before it read is kept, and the error is
    in `stopped`.

    Raises:
        InvalidArgumentError: the task has no labelled documents.
        ModelyardError: the first model failed, so that there is nothing to show.
    """
    if not task.documents:
        raise InvalidArgumentError(
            f"task {task.name} has no labelled documents", hint="Give its file 'data'."
        )
    runs: list[ModelRun] = []
    for llm in llms:
        try:
            runs.append(await _run(llm, task, watch or Unwatched()))
        except ModelyardError as error:
            if not runs:
                raise
            return Demo(task, tuple(runs), error)
        finally:
            llm.close()
    return Demo(task, tuple(runs))


async def _run(llm: LLM, task: Task, watch: Watch) -> ModelRun:
    await llm.load_async()
    watch.begin(llm.spec.alias, len(task.documents))
    began = time.monotonic()
    extraction = await extract_async(
        [one.path for one in task.documents], model=llm, task=task, on_result=lambda _: watch.read()
    )
    seconds = (time.monotonic() - began) / len(task.documents)
    judged = tuple(
        judge_document(document, result.fields, task.tolerance)
        for document, result in zip(task.documents, extraction.documents, strict=True)
    )
    return ModelRun(llm.spec.alias, extraction, judged, seconds)


def judge_document(
    document: LabelledDocument, found: Mapping[str, FieldResult], tolerance: float
) -> tuple[Judged, ...]:
    """Every labelled field of a document, judged."""
    missing = FieldResult(None, None, None, None, "not_found")
    return tuple(
        Judged(document.path.name, name, label, one, judge(one, label, tolerance))
        for name, label in document.labels.items()
        for one in [found.get(name, missing)]
    )


def judge(found: FieldResult, label: Any, tolerance: float = 0.0) -> Verdict:
    """The verdict on one value: numbers may differ by the tolerance, texts in case and outer space.

    A label of None says that the document does not give the field; to find nothing is then right.

    >>> judge(FieldResult(1.234, "EPS 1.23", 0, 8, "found"), 1.23, tolerance=0.005)
    'right'
    """
    if found.status in ("unreadable", "failed"):
        return "unreadable"
    if found.status == "not_found" or found.value is None:
        return "right" if label is None else "not found"
    return "right" if _same(found.value, label, tolerance) else "wrong"


def _same(value: Any, label: Any, tolerance: float) -> bool:
    if isinstance(value, bool) or isinstance(label, bool):
        return value is label
    if isinstance(value, int | float) and isinstance(label, int | float):
        # Two decimals a hair over the tolerance apart are so only in binary: 1.235 - 1.23 > 0.005.
        return abs(value - label) <= tolerance + 1e-9
    if isinstance(value, str) and isinstance(label, str):
        return value.strip().casefold() == label.strip().casefold()
    return bool(value == label)


# -- the page ----------------------------------------------------------------------------------------------


def render_demo(demo: Demo) -> str:
    """The demo as a page."""
    task = demo.task
    runs = [
        PageRun(
            run.model,
            run.extraction,
            run.seconds,
            tuple({one.field: one.verdict for one in document} for document in run.judged),
        )
        for run in demo.runs
    ]
    return render_page(
        f"{task.title or task.name}: {_count(runs, 'model')}, {_count(task.documents, 'filing')}",
        runs,
        about=_about(demo),
        labels=[Labels(document.labels, document.source) for document in task.documents],
        schema=task.schema,
    )


def _about(demo: Demo) -> str:
    stopped = f" The next model could not be run: {demo.stopped.message}." if demo.stopped else ""
    return (
        f"{demo.task.description} Each model read the same {len(demo.task.documents)} public filings on this "
        "machine and copied a quote from the text for every value. A value counts as right when it is within "
        f"{demo.task.tolerance:g} of the label. Choose a value to see its quote in the filing.{stopped}"
    )


def _count(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


# -- plain data --------------------------------------------------------------------------------------------


def _model(run: ModelRun) -> dict[str, Any]:
    fingerprint = run.extraction.fingerprint
    return {
        "model": run.model,
        "fingerprint": asdict(fingerprint) if fingerprint else None,
        "counts": run.counts,
        "ungrounded": run.ungrounded,
        "seconds_a_document": round(run.seconds, 3),
    }


def _document(demo: Demo, at: int) -> dict[str, Any]:
    document = demo.task.documents[at]
    return {
        "document": document.path.name,
        "source": document.source,
        "labels": dict(document.labels),
        "models": {run.model: _values(run.judged[at]) for run in demo.runs},
    }


def _values(judged: Iterable[Judged]) -> dict[str, Any]:
    return {
        one.field: {
            "value": one.result.value,
            "verdict": one.verdict,
            "status": one.result.status,
            "quote": one.result.quote,
            "where": one.result.where,
        }
        for one in judged
    }
