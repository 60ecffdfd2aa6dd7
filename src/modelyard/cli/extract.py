"""`extract`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli.arguments import Engine, Options, RayAddress, RayWorkers, pairs, texts
from modelyard.cli.rays import on_ray, said
from modelyard.cli.settings import SETTINGS
from modelyard.cli.show import Counter, Waiting, print_json, print_table

if TYPE_CHECKING:
    from modelyard.extraction import DocumentResult, Extraction, FieldResult
    from modelyard.extraction.merging.rules import MergeRules


class Mode(StrEnum):
    """How replies are held."""

    constrained = "constrained"
    free = "free"
    free_then_constrained = "free-then-constrained"
    extractive = "extractive"


class Strategy(StrEnum):
    """How a conflict is settled."""

    auto = "auto"
    agreement = "agreement"
    priority = "priority"
    logprob = "logprob"
    llm = "llm"


class CaseOf(StrEnum):
    """Which documents are about the same thing."""

    each = "each"
    all_ = "all"
    folder = "folder"


def extract(
    files: Annotated[
        list[str],
        typer.Argument(help="Text, Markdown, HTML, PDF or DOCX files, folders, or patterns in quotes."),
    ],
    model: Annotated[str, typer.Option("--model", "-m", help="An alias, a Hub id or a path.")],
    task: Annotated[
        str | None, typer.Option("--task", "-t", help="A shipped task, or the path of a task file.")
    ] = None,
    schema: Annotated[Path | None, typer.Option(help="In place of a task: fields, or a JSON Schema.")] = None,
    parameters: Annotated[
        list[str] | None, typer.Option("--set", help="What the task needs to be told: NAME=TEXT; repeatable.")
    ] = None,
    voters: Annotated[
        str,
        typer.Option(
            help="How many are asked, or which: passages, evidence, evidence-backwards, joined by commas; #1 behind "
            "one is a sample, @ALIAS another model."
        ),
    ] = "3",
    mode: Annotated[Mode, typer.Option(help="How replies are held to the schema.")] = Mode.constrained,
    merge: Annotated[
        Strategy | None, typer.Option(help="How a conflict is settled; the task's way by default, else auto.")
    ] = None,
    priority: Annotated[
        list[str] | None,
        typer.Option(
            help="Whose word counts first: PATTERN of document names, or FIELD=PATTERN; repeatable, in order."
        ),
    ] = None,
    cases: Annotated[
        CaseOf,
        typer.Option(help="Documents about the same thing, merged to one record: each, all, or by folder."),
    ] = CaseOf.each,
    judge: Annotated[
        str | None,
        typer.Option(help="The model that settles what is left open, or 'none'; the same by default."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="What `modelyard calibrate` wrote: the confidence, and what is accepted."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the whole result as JSON, for `review` and `calibrate`.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the page on which values are reviewed.")] = None,
    export: Annotated[
        list[Path] | None, typer.Option(help="Write a table: .csv, .parquet or .json; repeatable.")
    ] = None,
    text_out: Annotated[
        Path | None,
        typer.Option(help="Write the text that the spans point into: a file, or a folder for several."),
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="The file that keeps every answer; in your data folder by default.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask everything anew, and keep no answers.")] = False,
    max_tokens_read: Annotated[
        int, typer.Option(help="Tokens of a document that a voter reads at most.")
    ] = 1500,
    together: Annotated[int, typer.Option(help="Requests in flight at once.")] = 8,
    ray: RayAddress = None,
    ray_workers: RayWorkers = None,
    engine: Engine = None,
    option: Options = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object with values, quotes and spans.")
    ] = False,
) -> None:
    """Extract fields from documents: every value with its verbatim quote, its confidence, and how it was settled.

    Stopped or killed, the same command goes on where it was: no model is asked twice.
    """
    from modelyard.extraction import extract as run
    from modelyard.extraction.ask import resolve_task
    from modelyard.extraction.asking.keep import default_answers
    from modelyard.extraction.asking.voters import read_voters
    from modelyard.extraction.locate import locate
    from modelyard.output import check_writable

    located = locate(files)
    paths = located.files
    if located.warning:
        print(f"warning: {located.warning}", file=sys.stderr)
    wanted = resolve_task(task, schema).bind(texts(parameters, "--set"))
    who = read_voters(voters)
    rules = _rules(wanted.rules, merge, priority)
    for target in (out, html, *(export or [])):
        if target is not None:
            check_writable(target)
    llm = SETTINGS.llm(model, engine=engine, options=pairs(option, "--option"))
    how: dict[str, Any] = {
        "model": llm, "task": wanted, "voters": who, "mode": mode.value, "rules": rules, "cases": cases.value,
        "judge": {None: True, "none": False}.get(judge, judge), "calibration": calibration, "max_tokens_read": max_tokens_read,
        "store": None if fresh else store or default_answers(), "together": together,
        "find": SETTINGS.llm,
    }  # fmt: skip
    with on_ray(ray, ray_workers) as cluster:
        if cluster is None:
            with Waiting(f"loading {model}"):
                llm.load()
        else:
            from modelyard.scale.extract import RayDesk

            how["desk"] = RayDesk(*cluster, said)
        found = _found(run, paths, model, how, several=len(paths) > 1 or cluster is not None)
    if text_out is not None:
        _write_texts(text_out, found)
    _write(found, out, html, export or [])
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)
    failed = [one for one in found.documents if one.error]
    for one in failed:
        print(f"error: {one.document}: {one.error}", file=sys.stderr)
    if failed:
        raise typer.Exit(9 if len(failed) < len(found.documents) else 1)


def _found(
    run: Callable[..., Extraction], paths: Sequence[Path], model: str, how: dict[str, Any], *, several: bool
) -> Extraction:
    """The run, with a bar for several documents."""
    if several:
        with Counter("documents", len(paths)) as counter:
            return run(paths, on_result=lambda _: counter.step(), **how)
    with Waiting(f"{model} reads {paths[0].name}"):
        return run(paths, **how)


def _rules(rules: MergeRules, merge: Strategy | None, priority: list[str] | None) -> MergeRules:
    """The task's rules with what the command says."""
    lists: dict[str, list[str]] = {}
    for one in priority or []:
        field, equals, pattern = one.partition("=")
        lists.setdefault(field if equals else "*", []).append(pattern if equals else one)
    changes: dict[str, Any] = {"strategy": merge.value} if merge else {}
    if lists:
        changes["priority"] = {
            **rules.priority,
            **{name: tuple(patterns) for name, patterns in lists.items()},
        }
    return replace(rules, **changes)


def _write(found: Extraction, out: Path | None, html: Path | None, exports: list[Path]) -> None:
    """The files that were asked for."""
    if out is None and html is None and not exports:
        return
    import json

    from modelyard.output import write_page, write_whole

    data = found.to_dict(text=True)
    if out is not None:
        write_whole(out, json.dumps(data, allow_nan=False).encode())
        print(f"wrote {out}; look at it with `modelyard review {out}`", file=sys.stderr)
    if html is not None:
        from modelyard.extraction.review.page import render_review

        write_page(html, render_review(data))
        print(f"wrote {html}", file=sys.stderr)
    for path in exports:
        from modelyard.extraction.review.export import export

        export(data, path)
        print(f"wrote {path}", file=sys.stderr)


def _print(found: Extraction) -> None:
    for one in found.documents:
        _print_fields(one.document, one.fields)
        _print_warnings(one)
    for record in found.records:
        _print_fields(f"{record.name}: {', '.join(record.documents)}", record.fields, several=True)


def _print_fields(title: str, fields: Mapping[str, FieldResult], *, several: bool = False) -> None:
    """A table of values, and under it how each conflict was settled."""
    rows = [
        (
            name,
            "–" if cell.value is None else str(cell.value),
            _sure(cell),
            cell.status,
            _shortened(cell.quote),
            ", ".join(filter(None, (cell.document if several and cell.quote else None, cell.where))),
        )
        for name, cell in fields.items()
    ]
    print_table(("field", ">value", ">sure", "status", "quote", "where"), rows, title=title)
    for name, cell in fields.items():
        if cell.reason and cell.strategy not in ("single", "equal", "none", None):
            print(f"{name}: {cell.strategy}: {cell.reason}")


def _sure(cell: FieldResult) -> str:
    """The confidence, and whether it is enough."""
    said = "" if cell.confidence is None else f"{cell.confidence:.2f}"
    return said if cell.accepted is None else f"{said} {'accepted' if cell.accepted else 'open'}".strip()


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
