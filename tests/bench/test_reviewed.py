"""What people decided in a review is data for a benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.bench.load import bench_task
from modelyard.errors import SchemaError
from modelyard.extraction.review.corrections import Correction

TASK = """
name: amounts
fields: {eps: number, year: integer}
data: result.corrections.jsonl
documents: filings
"""


def folder(path: Path, *rows: Correction) -> Path:
    (path / "filings").mkdir()
    for name in ("a.txt", "b.txt"):
        (path / "filings" / name).write_text("Earnings per share were 1.20 in 2024.", "utf-8")
    (path / "result.corrections.jsonl").write_text("".join(one.to_line() for one in rows), "utf-8")
    (path / "task.yaml").write_text(TASK, "utf-8")
    return path


def test_what_was_accepted_or_corrected_is_a_label_and_the_last_word_counts(tmp_path: Path) -> None:
    task = bench_task(
        folder(
            tmp_path,
            Correction("a.txt", None, "eps", "accept", 1.2, 1.2),
            Correction("a.txt", None, "year", "correct", 2023, 2025),
            Correction("a.txt", None, "year", "correct", 2024, 2025),
            Correction("b.txt", None, "eps", "correct", None, 3.0),
        )
    )
    assert {one.id: one.expected for one in task.samples()} == {
        "a.txt": {"eps": 1.2, "year": 2024}, "b.txt": {"eps": None},
    }  # fmt: skip


def test_what_was_only_rejected_or_withdrawn_is_no_label(tmp_path: Path) -> None:
    task = bench_task(
        folder(
            tmp_path,
            Correction("a.txt", None, "eps", "accept", 1.2, 1.2),
            Correction("a.txt", None, "year", "reject", None, 2025),
            Correction("b.txt", None, "eps", "accept", 1.2, 1.2),
            Correction("b.txt", None, "eps", "withdraw"),
        )
    )
    assert {one.id: one.expected for one in task.samples()} == {"a.txt": {"eps": 1.2}}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (Correction("a.txt", None, "eps", "reject", None, 1.2), "no right value is known"),
        (
            Correction("a.txt", "Case 1", "eps", "accept", 1.2, 1.2),
            "the record 'Case 1' of several documents",
        ),
        (Correction("c.txt", None, "eps", "accept", 1.2, 1.2), "there is no file"),
        (Correction("a.txt", None, "epss", "accept", 1.2, 1.2), "label 'epss' is no field"),
    ],
)
def test_decisions_that_are_no_labels_are_named(tmp_path: Path, row: Correction, words: str) -> None:
    with pytest.raises(SchemaError, match=words):
        bench_task(folder(tmp_path, row))
