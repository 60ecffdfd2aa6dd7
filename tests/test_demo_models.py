"""The demo with its real models: what the page shows is so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelyard import create_llm, extract
from modelyard.demo import demo_task, judge


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_larger_model_reads_most_filings_and_every_quote_is_in_the_text() -> None:
    task = demo_task()
    with create_llm("qwen2.5-coder-1.5b") as llm:
        found = extract([one.path for one in task.documents], model=llm, task=task)
    right = 0
    for document, one in zip(found.documents, task.documents, strict=True):
        for name, field in document.fields.items():
            right += judge(field, one.labels[name], task.tolerance) == "right"
            if field.status == "found":
                assert document.text[field.start : field.end] == field.quote
        json.loads(document.reply)
    assert right >= 8, [document.to_dict()["fields"] for document in found.documents]
    assert all(Path(one.document).suffix for one in found.documents)
