"""The review page: one HTML file with documents and fields side by side, for a person who decides.

It loads nothing from outside. Everything that comes from a document or a model is data in script elements
that cannot be ended from within, and becomes text nodes.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.extraction.calibration.curves import coverage_curve, reliability
from modelyard.extraction.pages.markup import (
    digest,
    environment,
    join_files,
    join_scripts,
    script_json,
    trusted,
)
from modelyard.extraction.review.corrections import Correction
from modelyard.extraction.review.drawing import Drawing, draw_coverage, draw_reliability
from modelyard.extraction.review.pack import Packed, pack, pack_decisions
from modelyard.extraction.review.sheet import FieldKey, Sheet
from modelyard.extraction.review.truth import Truth, judged

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent
_SCRIPTS = ("dom.js", "store.js", "decisions.js", "list.js", "text.js", "detail.js", "typed.js", "page.js")


@dataclass(slots=True, frozen=True)
class Live:
    """Where a page that is served sends decisions, and what it says of that.

    Attributes:
        file: the corrections file.
        reviewer: whose decisions they are.
    """

    file: str
    reviewer: str | None = None


class ReviewPage:
    """A result's page: packed once, rendered with the decisions of the moment.

    Args:
        sheet: the result.
        truth: labels, for the two curves.
        live: None for a file that is opened by itself.
    """

    def __init__(self, sheet: Sheet, *, truth: Truth | None = None, live: Live | None = None) -> None:
        self._sheet = sheet
        self._truth = truth or Truth()
        self._live = live

    @functools.cached_property
    def _packed(self) -> Packed:
        return pack(self._sheet)

    def render(self, decisions: Mapping[FieldKey, Correction] | None = None) -> str:
        """The page with these decisions in it."""
        from modelyard import __version__

        decisions = decisions or {}
        script, style = _script(), _style()
        data = self._sheet.data
        setup = {
            "result": self._sheet.digest,
            "file": self._live.file if self._live else None,
            "reviewer": self._live.reviewer if self._live else None,
            "name": _file_name(str(data.get("task") or "review")),
        }
        drawings = self._drawings(decisions)
        template = _environment().get_template("page.html")
        return template.render(
            title=f"Review: {data.get('task') or 'extraction'}",
            live=self._live is not None,
            file=self._live.file if self._live else "",
            documents=len(self._sheet.documents),
            records=len(data.get("records") or ()),
            model=data.get("model"),
            voters=data.get("voters") or (),
            drawings=drawings,
            setup=trusted(script_json(setup)),
            decisions=trusted(pack_decisions(decisions)),
            index=trusted(self._packed.index),
            texts=[trusted(one) for one in self._packed.texts],
            units=[trusted(one) for one in self._packed.units],
            version=__version__,
            style=trusted(style),
            style_hash=digest(style),
            script=trusted(script),
            script_hash=digest(script),
        )

    def _drawings(self, decisions: Mapping[FieldKey, Correction]) -> tuple[Drawing, ...]:
        confidences, right = judged(self._sheet.items, decisions, self._truth)
        if not confidences:
            return ()
        return draw_coverage(coverage_curve(confidences, right)), draw_reliability(
            reliability(confidences, right)
        )


def render_review(
    result: Mapping[str, Any] | Sheet,
    *,
    decisions: Mapping[FieldKey, Correction] | None = None,
    truth: Truth | None = None,
) -> str:
    """One self-contained HTML page on which a result is reviewed; decisions stay in the browser.

    Args:
        result: what `Extraction.to_dict(text=True)` gives, or the JSON of it.
        decisions: made before, `read_corrections(path).decisions`.
        truth: labels, for the two curves.

    Raises:
        InvalidArgumentError: it is no result.

    >>> "<title>Review: eps</title>" in render_review({"task": "eps", "documents": []})
    True
    """
    sheet = result if isinstance(result, Sheet) else Sheet(result)
    return ReviewPage(sheet, truth=truth).render(decisions)


def _file_name(name: str) -> str:
    kept = "".join(one if one.isalnum() or one in "-_." else "-" for one in name)[:60]
    return f"{kept.strip('.') or 'review'}.corrections.jsonl"


@functools.cache
def _script() -> str:
    return join_scripts(_FOLDER, _SCRIPTS)


@functools.cache
def _style() -> str:
    return join_files(_FOLDER, ("base.css", "page.css"))


@functools.cache
def _environment() -> Environment:
    return environment(_FOLDER)
