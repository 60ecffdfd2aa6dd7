"""`extract`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelyard.cli.arguments import Engine, Options, pairs, texts
from modelyard.cli.settings import SETTINGS
from modelyard.cli.show import Counter, Waiting, print_json, print_table

if TYPE_CHECKING:
    from modelyard.extraction import DocumentResult, Extraction


def extract(
    files: Annotated[list[Path], typer.Argument(help="Text, HTML or PDF files, or folders of them.")],
    model: Annotated[str, typer.Option("--model", "-m", help="An alias, a Hub id or a path.")],
    task: Annotated[
        str | None, typer.Option("--task", "-t", help="A shipped task, or the path of a task file.")
    ] = None,
    schema: Annotated[Path | None, typer.Option(help="In place of a task: fields, or a JSON Schema.")] = None,
    parameters: Annotated[
        list[str] | None, typer.Option("--set", help="What the task needs to be told: NAME=TEXT; repeatable.")
    ] = None,
    text_out: Annotated[
        Path | None,
        typer.Option(help="Write the text that the spans point into: a file, or a folder for several."),
    ] = None,
    max_tokens_read: Annotated[int, typer.Option(help="Tokens of a document that are read at most.")] = 3000,
    together: Annotated[int, typer.Option(help="Documents in flight at once.")] = 8,
    engine: Engine = None,
    option: Options = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object with values, quotes and spans.")
    ] = False,
) -> None:
    """Extract fields from documents, each value with its verbatim quote and the quote's place."""
    from modelyard.extraction import extract as run
    from modelyard.extraction.ask import locate_documents, resolve_task

    paths = locate_documents(files)
    wanted = resolve_task(task, schema).bind(texts(parameters, "--set"))
    llm = SETTINGS.llm(model, engine=engine, options=pairs(option, "--option"))
    with Waiting(f"loading {model}"):
        llm.load()
    if len(paths) > 1:
        with Counter("documents", len(paths)) as counter:
            found = run(
                paths, model=llm, task=wanted, max_tokens_read=max_tokens_read, together=together,
                on_result=lambda _: counter.step(),
            )  # fmt: skip
    else:
        with Waiting(f"{model} reads {paths[0].name}"):
            found = run(paths, model=llm, task=wanted, max_tokens_read=max_tokens_read)
    if text_out is not None:
        _write_texts(text_out, found)
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)
    failed = [one for one in found.documents if one.error]
    for one in failed:
        print(f"error: {one.document}: {one.error}", file=sys.stderr)
    if failed:
        raise typer.Exit(9 if len(failed) < len(found.documents) else 1)


def _print(found: Extraction) -> None:
    for one in found.documents:
        rows = [
            (
                name,
                "–" if cell.value is None else str(cell.value),
                cell.status,
                _shortened(cell.quote),
                cell.where or "",
            )
            for name, cell in one.fields.items()
        ]
        print_table(("field", ">value", "status", "quote", "where"), rows, title=one.document)
        _print_warnings(one)


def _print_warnings(one: DocumentResult) -> None:
    for warning in one.warnings:
        print(f"warning: {one.document}: {warning}", file=sys.stderr)


def _shortened(quote: str | None) -> str:
    line = " ".join((quote or "").split())
    return line if len(line) <= 90 else line[:88] + " …"


def _write_texts(target: Path, found: Extraction) -> None:
    """The derived texts, newlines as they are: offsets must hold in what is read back."""
    from modelyard.errors import InvalidArgumentError

    several = len(found.documents) > 1
    try:
        if several:
            target.mkdir(parents=True, exist_ok=True)
        names = _unique([Path(one.document).name for one in found.documents])
        for one, name in zip(found.documents, names, strict=True):
            path = target / f"{name}.txt" if several else target
            path.write_bytes(one.text.encode("utf-8", "surrogatepass"))
    except OSError as error:
        raise InvalidArgumentError(
            f"--text-out {target} cannot be written: {error.strerror}", hint="Give another path."
        ) from error


def _unique(names: list[str]) -> list[str]:
    """The names, those that come again with a number: documents of two folders may share theirs.

    >>> _unique(["a.html", "b.html", "a.html"])
    ['a.html', 'b.html', 'a.html-2']
    """
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return found
