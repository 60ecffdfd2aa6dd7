"""Review: a result looked at by a person, field by field, and what that person decided.

`page.py` renders it, `serve.py` keeps decisions as they come, `corrections.py` reads them, `export.py` writes tables.
"""

from modelyard.extraction.review.corrections import Correction, Corrections, labels_from, read_corrections
from modelyard.extraction.review.export import export
from modelyard.extraction.review.page import render_review
from modelyard.extraction.review.sheet import Sheet, read_result

__all__ = [
    "Correction",
    "Corrections",
    "Sheet",
    "export",
    "labels_from",
    "read_corrections",
    "read_result",
    "render_review",
]
