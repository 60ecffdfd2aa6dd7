"""`review`."""

from __future__ import annotations

import signal
import sys
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from modelyard.extraction.review.corrections import Correction
    from modelyard.extraction.review.sheet import FieldKey, Sheet
    from modelyard.extraction.review.truth import Truth


def review(
    result: Annotated[
        Path, typer.Argument(help="The JSON of `modelyard extract`, with the documents' texts.")
    ],
    corrections: Annotated[
        Path | None, typer.Option(help="Where decisions go; RESULT.corrections.jsonl where not given.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Right values (JSONL), for the curves of confidence and accuracy.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="How far a number may be from its label and count as right.")
    ] = 0.0,
    reviewer: Annotated[str | None, typer.Option(help="Kept with each decision.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
    html: Annotated[
        Path | None, typer.Option(help="Write the page as a file in place of serving it.")
    ] = None,
    export_to: Annotated[
        list[Path] | None,
        typer.Option(
            "--export", help="Write a table with the decisions: .csv, .parquet or .json; repeatable."
        ),
    ] = None,
    wide: Annotated[bool, typer.Option("--wide", help="In a table, one row a document.")] = False,
) -> None:
    """Look at what was extracted beside the documents, and accept, correct or reject each value."""
    from modelyard.extraction.review.corrections import read_corrections
    from modelyard.extraction.review.sheet import read_result
    from modelyard.extraction.review.truth import read_truth

    sheet = read_result(result)
    truth = read_truth(labels, tolerance=tolerance) if labels else None
    kept = corrections or result.with_name(f"{result.stem}.corrections.jsonl")
    if html is None and not export_to:
        _serve(sheet, kept, port=port, reviewer=reviewer, truth=truth, open_page=open_page)
        return
    found = read_corrections(kept)
    _warn(sheet, found.decisions, kept, found.torn)
    _write(sheet, found.decisions, truth, html, export_to or [], wide=wide)


def _write(
    sheet: Sheet,
    decisions: Mapping[FieldKey, Correction],
    truth: Truth | None,
    html: Path | None,
    tables: list[Path],
    *,
    wide: bool,
) -> None:
    from modelyard.extraction.review.export import export
    from modelyard.extraction.review.page import render_review
    from modelyard.output import check_writable, write_page

    for path in (*([html] if html else ()), *tables):
        check_writable(path)
    if html is not None:
        write_page(html, render_review(sheet, decisions=decisions, truth=truth))
        print(f"{html}: {_count(len(sheet.items), 'field')} of {_count(len(sheet.documents), 'document')}")
    for path in tables:
        export(sheet, path, wide=wide, decisions=decisions)
        print(path)


def _serve(
    sheet: Sheet, kept: Path, *, port: int, reviewer: str | None, truth: Truth | None, open_page: bool
) -> None:
    from modelyard.extraction.review.journal import Journal
    from modelyard.extraction.review.serve import ReviewServer

    journal = Journal(kept)
    _warn(sheet, journal.decisions, kept, journal.torn)
    server = ReviewServer(sheet, journal, port=port, reviewer=reviewer, truth=truth)
    signal.signal(signal.SIGTERM, _stop)

    def say(url: str) -> None:
        print(f"review: {url}\ncorrections: {kept}\nCtrl-C ends it.", flush=True)
        if open_page and not webbrowser.open(url):
            print("warning: no browser could be opened; open the address yourself", file=sys.stderr)

    server.run(say)
    count = sum(key in sheet.items for key in server.decisions)
    print(f"\n{count} of {len(sheet.items)} reviewed, in {kept}" if count else "\nNothing was decided.")


def _stop(*_: Any) -> None:
    raise KeyboardInterrupt


def _warn(sheet: Sheet, decisions: Mapping[FieldKey, Correction], kept: Path, torn: str | None) -> None:
    """What of the corrections does not count, and what of the result cannot be told apart."""
    known = {one.key for one in sheet.every_item()}
    strange = sum(key not in known for key in decisions)
    if strange:
        _say(
            f"{kept}: {_count(strange, 'decision')} about fields that {sheet.source} does not have, passed over"
        )
    if torn is not None:
        _say(f"{kept}: the last line is unfinished and passed over: {torn[:60]!r}")
    for name in sheet.repeated:
        _say(f"several documents are called '{name}': a decision on one of them holds for all")
    if sheet.documents and not any(one.get("text") for one in sheet.documents):
        _say(f"{sheet.source} holds no texts, so no quote can be shown in its document")


def _say(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
