"""Corrections: what is read back is what was decided, mistakes are found by line, a torn line costs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.extraction.review.results import make_result

from modelyard.errors import InvalidArgumentError
from modelyard.extraction.review.corrections import Correction, Corrections, labels_from, read_corrections
from modelyard.extraction.review.journal import Journal
from modelyard.extraction.review.sheet import FieldKey

KEY = FieldKey(None, "a.html", "eps")


def row(action: str = "accept", **more: Any) -> Correction:
    known: dict[str, Any] = {
        "document": "a.html",
        "record": None,
        "field": "eps",
        "value": 1.2,
        "previous": 1.2,
    }
    return Correction(**{**known, "action": action, **more})


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in lines))
    return path


# -- reading -----------------------------------------------------------------------------------------------


def test_without_a_file_nothing_was_decided(tmp_path: Path) -> None:
    assert read_corrections(tmp_path / "none.jsonl") == Corrections()


def test_the_last_row_for_a_field_counts(tmp_path: Path) -> None:
    file = tmp_path / "c.jsonl"
    rows = [row(), row("reject", value=None), row("correct", value=1.3), row(field="other")]
    file.write_text("".join(one.to_line() for one in rows))
    found = read_corrections(file)
    assert found.rows == tuple(rows)
    assert found.decisions[KEY].value == 1.3


def test_what_was_withdrawn_is_not_decided(tmp_path: Path) -> None:
    file = tmp_path / "c.jsonl"
    file.write_text(row().to_line() + row("withdraw", value=None).to_line())
    assert read_corrections(file).decisions == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[1]", "is no JSON object"),
        ("{", "is not JSON"),
        ({"document": "a", "field": "eps", "action": "ok"}, "'action' is 'ok'"),
        ({"document": "a", "field": 3, "action": "accept", "value": 1}, "'field' is 3"),
        ({"field": "eps", "action": "reject"}, "has neither 'document' nor 'record'"),
        ({"document": 1, "field": "eps", "action": "reject"}, "'document' is 1"),
        ({"document": "a", "field": "eps", "action": "correct"}, "'value' is missing for 'correct'"),
        (
            {"document": "a", "field": "eps", "action": "correct", "vlaue": 1},
            "key 'vlaue' is not known. Did you mean 'value'?",
        ),
        ({"document": "a", "field": "eps", "action": "reject", "time": "noon"}, "'time' is 'noon'"),
    ],
)
def test_a_mistake_is_named_with_file_and_line(tmp_path: Path, line: object, said: str) -> None:
    good = {"document": "a", "field": "eps", "action": "accept", "value": 1}
    file = write(tmp_path / "c.jsonl", good, "", line, good)
    with pytest.raises(InvalidArgumentError) as caught:
        read_corrections(file)
    assert caught.value.message == f"{file}:3: {said}"
    assert caught.value.hint


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_torn_last_line_is_reported_and_passed_over(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "c.jsonl"
    torn = row("reject").to_line()[:-cut]
    file.write_text(row().to_line() + torn)
    found = read_corrections(file)
    complete = cut == 1  # only the newline is missing
    assert (len(found.rows), found.torn) == ((2, None) if complete else (1, torn))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.jsonl"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidArgumentError, match="is not UTF-8"):
        read_corrections(file)


# -- labels ------------------------------------------------------------------------------------------------


def test_accepted_and_corrected_values_are_labels_and_rejected_ones_are_kept_apart() -> None:
    rows = (
        row(),
        row("correct", field="shares", value=None, previous=3),
        row("reject", field="note", value=None, previous="x"),
    )
    found = labels_from(Corrections(rows))
    assert [(one.document, one.field, one.value) for one in found.known] == [
        ("a.html", "eps", 1.2),
        ("a.html", "shares", None),
    ]
    assert [(one.field, one.value) for one in found.wrong] == [("note", "x")]


def test_decisions_about_what_a_result_does_not_have_are_kept_apart() -> None:
    rows = (row(), row(document="doc-0001.txt", field="eps_basic"), row(record="both", field="eps_basic"))
    found = labels_from(Corrections(rows), make_result(3, record=True))
    assert [one.record for one in found.known] == [None, "both"]
    assert [one.document for one in found.unknown] == ["a.html"]


# -- writing -----------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.text(), st.text(), JSON, JSON)
def test_any_names_and_values_survive(document: str, field: str, value: Any, previous: Any) -> None:
    one = Correction(document, None, field, "correct", value, previous, None, "2026-05-01T09:30:00+00:00")
    line = one.to_line()
    assert line.count("\n") == 1
    assert Correction(**json.loads(line)) == one


def test_a_journal_goes_on_where_it_stopped(tmp_path: Path) -> None:
    file = tmp_path / "c.jsonl"
    Journal(file).append(row())
    second = Journal(file)
    assert second.decisions[KEY].action == "accept"
    second.append(row("reject", value=None))
    assert [one.action for one in read_corrections(file).rows] == ["accept", "reject"]


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_decision_after_a_torn_line_stands_on_a_line_of_its_own(tmp_path: Path, end: str) -> None:
    file = tmp_path / "c.jsonl"
    file.write_text(row().to_line() + '{"document": "a.h')
    journal = Journal(file)
    assert journal.torn == '{"document": "a.h'
    assert file.read_text().endswith("a.h"), "nothing is written before a decision is"
    journal.append(row("reject", value=None))
    assert [one.action for one in read_corrections(file).rows] == ["accept", "reject"]


def test_a_last_line_without_newline_gets_one(tmp_path: Path) -> None:
    file = tmp_path / "c.jsonl"
    file.write_text(row().to_line().rstrip("\n"))
    Journal(file).append(row("reject", value=None))
    assert [one.action for one in read_corrections(file).rows] == ["accept", "reject"]


def test_where_nothing_can_be_written_it_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="there is no folder"):
        Journal(tmp_path / "none" / "c.jsonl")
    with pytest.raises(InvalidArgumentError, match="it is a folder"):
        Journal(tmp_path)


WRITER = """
import sys
from pathlib import Path
from modelyard.extraction.review.corrections import Correction
from modelyard.extraction.review.journal import Journal
journal = Journal(Path(sys.argv[1]))
for at in range(100_000):
    journal.append(Correction("a" * 500, None, f"f{at}", "accept", at, at))
    print(at, flush=True)
"""


def test_what_was_confirmed_is_there_after_a_kill(tmp_path: Path) -> None:
    file = tmp_path / "c.jsonl"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(20)]
    process.kill()
    rest = process.stdout.read()
    process.wait()
    process.stdout.close()
    confirmed = int((rest.splitlines() or seen)[-1])
    assert len(read_corrections(file).rows) > confirmed
