"""Files: a run's result as a page, Markdown, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from modelyard.bench.report.markdown import render_markdown
from modelyard.bench.report.page import render_page
from modelyard.bench.result import BenchmarkResult
from modelyard.errors import InvalidArgumentError
from modelyard.output import write_page

_FORMS = {".html": "html", ".htm": "html", ".md": "md", ".markdown": "md", ".json": "json", ".csv": "csv"}
_COLUMNS = (
    "model", "task", "sample", "document", "repeat", "outcome", "score", "expected", "found", "answer", "reason",
    "seconds",
)  # fmt: skip


def write_report(path: Path, result: BenchmarkResult, *, form: str | None = None) -> None:
    """Writes a result.

    Args:
        path: of the file; what it is follows from its ending where `form` is not given.
        result: what a run has found.
        form: html, md, json, or csv with a row a sample.

    Raises:
        InvalidArgumentError: the ending says nothing, or the path cannot be written.
    """
    chosen = form or _FORMS.get(path.suffix.lower())
    if chosen is None:
        raise InvalidArgumentError(
            f"what {path} is to be does not follow from its name",
            hint=f"Let it end in {', '.join(_FORMS)}, or give --format.",
        )
    data = result.to_dict()
    if chosen == "html":
        text = render_page(data)
    elif chosen == "md":
        text = render_markdown(data)
    elif chosen == "json":
        text = json.dumps(data, ensure_ascii=False, indent=1, default=str) + "\n"
    else:
        text = _csv(data["samples"])
    write_page(path, text)


def _csv(samples: list[dict[str, object]]) -> str:
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(_COLUMNS)
    for one in samples:
        writer.writerow([_cell(one[name]) for name in _COLUMNS])
    return file.getvalue()


def _cell(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
