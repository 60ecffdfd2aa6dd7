"""Task files: the shipped one is whole, and a mistake in one's own is named with file and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.errors import InvalidArgumentError, SchemaError
from modelyard.extraction.documents import read_document
from modelyard.extraction.numbers import numbers
from modelyard.extraction.prompt import build_messages
from modelyard.extraction.task import load_task, shipped_tasks


@pytest.mark.parametrize("name", shipped_tasks())
def test_a_shipped_task_has_what_it_takes_to_ask_and_to_judge(name: str) -> None:
    task = load_task(name)
    assert task.name == name and task.title and task.instructions
    assert task.documents and all(one.path.is_file() and one.source for one in task.documents)
    names = {field.name for field in task.schema.fields}
    assert all(set(one.labels) == names for one in task.documents)


@pytest.mark.parametrize("name", shipped_tasks())
def test_the_labels_of_a_shipped_task_stand_in_its_documents(name: str) -> None:
    for one in load_task(name).documents:
        found = {
            float(value) for number in numbers(read_document(one.path).text) for value in number.readings
        }
        assert set(one.labels.values()) <= found, one.path.name


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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fields: [", "YAML"),
        ("- a\n- b\n", "mapping"),
        ("name: x\nfeilds: {a: number}\n", "'fields'"),
        ("name: x\n", "'fields' or 'schema'"),
        ("name: x\nfields: {a: nubmer}\n", "number"),
        ("name: x\nfields: {a: number}\nexamples: [1]\n", "example"),
        ("name: x\nfields: {a: number}\ndata: none.jsonl\n", "none.jsonl"),
        ("name: x\nfields: {a: number}\ninstructions: [1]\n", "instructions"),
    ],
)
def test_a_mistake_in_a_task_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "task.yaml"
    file.write_text(text)
    with pytest.raises(SchemaError) as caught:
        load_task(file)
    assert words in str(caught.value) and "task.yaml" in str(caught.value)


def test_an_unknown_task_lists_the_shipped_ones() -> None:
    with pytest.raises(InvalidArgumentError, match="eps_extraction"):
        load_task("something else")
