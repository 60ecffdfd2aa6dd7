"""Task files: the shipped ones are whole, and a mistake in one's own is named with file, line and key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelyard.errors import InvalidArgumentError, SchemaError
from modelyard.extraction.documents import read_document
from modelyard.extraction.numbers import numbers
from modelyard.extraction.prompt import build_messages
from modelyard.extraction.task import load_task, shipped_tasks

EXTRACTION = shipped_tasks("extraction")


@pytest.mark.parametrize("name", EXTRACTION)
def test_a_shipped_task_has_what_it_takes_to_ask_and_to_judge(name: str) -> None:
    task = load_task(name)
    assert task.name == name and task.title and task.instructions
    assert task.documents and all(one.path.is_file() for one in task.documents)
    names = {field.name for field in task.schema.fields}
    assert all(set(one.labels) == names for one in task.documents)
    assert all(task.bind(one.values).instructions for one in task.documents)


def test_every_filing_of_the_shipped_task_says_where_it_is_from() -> None:
    assert all("SEC EDGAR" in one.source for one in load_task("eps_extraction").documents)


def _figures(path: Path) -> set[float]:
    return {float(value) for number in numbers(read_document(path).text) for value in number.readings}


def test_the_labels_of_filings_stand_in_them() -> None:
    for one in load_task("eps_extraction").documents:
        labels = {label for label in one.labels.values() if label is not None}
        assert labels <= _figures(one.path), one.path.name


def test_nine_in_ten_labels_of_trials_stand_in_their_articles_and_the_rest_is_worked_out_from_them() -> None:
    figures = {one.path: _figures(one.path) for one in load_task("rct_numbers").documents}
    labels = [
        (one.path, label)
        for one in load_task("rct_numbers").documents
        for label in one.labels.values()
        if label is not None
    ]
    assert len(labels) == 296
    assert sum(label in figures[path] for path, label in labels) >= 0.9 * len(labels)


def test_the_prompt_names_every_field_and_holds_the_document() -> None:
    text = build_messages(load_task("eps_extraction"), "Basic EPS was $1.20")[-1].text
    assert "eps_basic" in text and "eps_diluted" in text and "Basic EPS was $1.20" in text


def test_a_task_of_ones_own_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "name: mine\nfields:\n  dose: {type: number, unit: mg}\ninstructions: Look at the methods.\n"
    )
    task = load_task(file)
    assert task.schema.fields[0].unit == "mg"
    assert "dose" in task.search_terms


def test_parameters_stand_in_the_instructions_and_are_searched_for() -> None:
    said = {"outcome": "Nausea", "intervention": "Ginger", "comparator": "Placebo"}
    task = load_task("rct_numbers").bind(said)
    text = build_messages(task, "An article.")[-1].text
    assert all(value in text for value in said.values())
    assert {"Nausea", "Ginger", "Placebo"} <= set(task.search_terms)


@pytest.mark.parametrize(
    ("given", "words"),
    [({}, "needs outcome, intervention, comparator"), ({"outcom": "x"}, "no parameter 'outcom'")],
)
def test_parameters_that_are_missing_or_unknown_are_named(given: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        load_task("rct_numbers").bind(given)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("fields: [", 2, "YAML"),
        ("- a\n- b\n", 1, "mapping"),
        ("name: x\nfeilds: {a: number}\n", 2, "'fields'"),
        ("name: x\n", 1, "'fields' or 'schema'"),
        ("name: x\nfields: {a: nubmer}\n", 2, "number"),
        ("name: x\nfields: {a: number}\nexamples: [1]\n", 3, "example"),
        ("name: x\nfields: {a: number}\ndata: none.jsonl\n", 3, "none.jsonl"),
        ("name: x\nfields: {a: number}\ndata: none.xlsx\n", 3, ".jsonl"),
        ("name: x\nfields: {a: number}\ninstructions: [1]\n", 3, "instructions"),
        ("name: x\nfields: {a: number}\ntolerance: -1\n", 3, "tolerance"),
        ("name: x\nkind: extracton\nfields: {a: number}\n", 2, "Did you mean 'extraction'"),
        ("name: x\nname: y\nfields: {a: number}\n", 2, "twice"),
        ("name: x\nfields: {a: number}\nterms: [a, yes]\n", 3, "quotes"),
    ],
)
def test_a_mistake_in_a_task_file_is_named(tmp_path: Path, text: str, line: int, words: str) -> None:
    file = tmp_path / "task.yaml"
    file.write_text(text)
    with pytest.raises(SchemaError) as caught:
        load_task(file)
    assert words in str(caught.value) and f"task.yaml:{line}" in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "line", "words"),
    [
        ("{", 1, "not JSON"),
        ('{"file": "a.txt", "labels": {"a": 1}}\n[1]\n', 2, "no mapping"),
        ('\n{"file": "a.txt"}\n', 2, "'labels'"),
        ('{"file": "a.txt", "labels": {"a": 1}, "lables": 2}\n', 1, "'lables'"),
    ],
)
def test_a_mistake_in_the_data_is_named_with_its_line(
    tmp_path: Path, rows: str, line: int, words: str
) -> None:
    (tmp_path / "rows.jsonl").write_text(rows)
    (tmp_path / "task.yaml").write_text("name: x\nfields: {a: number}\ndata: rows.jsonl\n")
    with pytest.raises(SchemaError) as caught:
        load_task(tmp_path)
    assert words in str(caught.value) and f"rows.jsonl:{line}" in str(caught.value)


def test_data_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("\n")
    (tmp_path / "task.yaml").write_text("name: x\nfields: {a: number}\ndata: rows.jsonl\n")
    with pytest.raises(SchemaError, match="has no rows"):
        load_task(tmp_path)


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_data_may_be_csv_or_json_too(tmp_path: Path, suffix: str) -> None:
    rows = [{"id": "1", "question": "One, or two?", "answer": "one"}]
    text = 'id,question,answer\n1,"One, or two?",one\n' if suffix == "csv" else json.dumps(rows)
    (tmp_path / f"rows.{suffix}").write_text(text)
    (tmp_path / "task.yaml").write_text(
        f"kind: short_answer\nprompt: '{{{{ question }}}}'\ndata: rows.{suffix}\n"
    )
    from modelyard.bench import bench_task

    (sample,) = bench_task(tmp_path).samples()
    assert sample.id == "1" and sample.expected == ["one"] and sample.values["question"] == "One, or two?"


def test_a_task_of_another_kind_extracts_nothing_and_says_what_measures_it() -> None:
    with pytest.raises(InvalidArgumentError, match="choice") as caught:
        load_task("pubmedqa")
    assert "modelyard bench run" in caught.value.hint


def test_an_unknown_task_lists_the_shipped_ones() -> None:
    with pytest.raises(InvalidArgumentError, match="eps_extraction"):
        load_task("something else")
