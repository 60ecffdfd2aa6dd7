"""`demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli.settings import SETTINGS
from modelyard.cli.show import Counter, print_json, print_table

if TYPE_CHECKING:
    from modelyard.demo import Demo, Judged

_SIGNS = {"right": "✓", "wrong": "✗", "not found": "not found", "unreadable": "unreadable"}


def demo(
    quick: Annotated[bool, typer.Option("--quick", help="The small model alone.")] = False,
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="A model in their place; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The page; ./modelyard-demo.html where not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object in place of the tables.")] = False,
) -> None:
    """Let two models read six labelled filings; print the score and write a page with every quote."""
    from modelyard import portal
    from modelyard.demo import MODELS, PAGE, demo_task, render_demo, run_demo
    from modelyard.errors import InvalidArgumentError
    from modelyard.output import check_writable, write_page

    if quick and model:
        raise InvalidArgumentError("--quick and --model are given together", hint="Keep one of them.")
    path = out or PAGE
    check_writable(path)
    names = dict.fromkeys(model or (MODELS[:1] if quick else MODELS))
    llms = [SETTINGS.llm(name) for name in names]
    with _Reading() as reading:
        found = portal.run(run_demo(llms, demo_task(), watch=reading))
    write_page(path, render_demo(found))
    if as_json:
        print_json(found.to_dict() | {"page": str(path.absolute())})
    else:
        _print(found, path)
    if found.stopped:
        raise found.stopped


class _Reading:
    """A bar for each model in turn, taken down by the waiting thread: Ctrl-C leaves a clean terminal."""

    def __init__(self) -> None:
        self._counter: Counter | None = None

    def begin(self, model: str, documents: int) -> None:
        self._stop()
        self._counter = Counter(f"{model} reads", documents)
        self._counter.__enter__()

    def read(self) -> None:
        if self._counter is not None:
            self._counter.step()

    def _stop(self) -> None:
        if self._counter is not None:
            self._counter.__exit__()
            self._counter = None

    def __enter__(self) -> _Reading:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop()


def _print(found: Demo, path: Path) -> None:
    title = f"{found.task.title}: {found.values} values in {len(found.task.documents)} documents"
    columns = ("model", ">right", ">wrong", ">not found", ">unreadable", ">s / document")
    rows = [(run.model, *map(str, run.counts.values()), f"{run.seconds:.1f}") for run in found.runs]
    print_table(columns, rows, title=title)
    _print_documents(found)
    if any(run.ungrounded for run in found.runs):
        print("* its quote is not in the text\n")
    print(f"Every value with its quote: {path.absolute()}")


def _print_documents(found: Demo) -> None:
    fields = [one.name for one in found.task.schema.fields]
    rows = [
        (
            document.path.name,
            ", ".join(_text(document.labels.get(name)) for name in fields),
            *(", ".join(map(_value, run.judged[at])) for run in found.runs),
        )
        for at, document in enumerate(found.task.documents)
    ]
    print_table(("document", "label", *(run.model for run in found.runs)), rows, title=", ".join(fields))


def _value(judged: Judged) -> str:
    sign = _SIGNS[judged.verdict]
    if judged.result.value is None:
        return sign
    return f"{_text(judged.result.value)}{'*' if judged.ungrounded else ''} {sign}"


def _text(value: Any) -> str:
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
