"""The kinds of task that a file can describe: what is asked, and what becomes of each answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelyard import create_llm, portal
from modelyard.bench import Asked, BenchTask, bench_task
from modelyard.bench.task import as_text
from modelyard.errors import InvalidArgumentError, SchemaError
from modelyard.extraction.result import DocumentResult, FieldResult
from modelyard.extraction.taskfile import shipped_tasks


def task_of(folder: Path, yaml: str, *rows: dict[str, Any]) -> BenchTask:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "task.yaml").write_text(f"name: mine\ndata: rows.jsonl\n{yaml}")
    return bench_task(folder)


def judged(task: BenchTask, answer: str, finish: Any = "stop") -> Any:
    (sample,) = task.samples()
    return task.judge(sample, Asked("", answer, finish))


def asked(task: BenchTask, **options: Any) -> Asked:
    (sample,) = task.samples()
    return portal.run(task.ask(create_llm("fake", options=options), sample))


@pytest.mark.parametrize("name", shipped_tasks())
def test_a_shipped_task_says_how_it_is_scored_and_where_it_is_from(name: str) -> None:
    task = bench_task(name)
    assert task.name == name and task.title and task.about and task.source and task.licence
    samples = task.samples()
    assert len({one.id for one in samples}) == len(samples) >= 40
    assert len({one.content for one in samples}) == len(samples)


# -- number ----------------------------------------------------------------------------------------------------

EPS = "kind: number\nprompt: 'EPS of {{ of }}?'\nunit: USD per share\ntolerance: 0.005\n"


@pytest.mark.parametrize(
    ("reply", "label", "outcome"),
    [
        ("(0.23)", -0.23, "right"),
        ("-$0.23", -0.23, "right"),
        ("(0.23)", 0.23, "wrong"),
        ("$1,234.50", 1234.5, "right"),
        (".41", 0.41, "right"),
        ("1.45", 1.42, "wrong"),
        ("1.425", 1.42, "right"),
        ("1.45 (prior year 1.42)", 1.45, "unreadable"),
        ("N/A", 0.41, "not answered"),
        ("N/A", None, "right"),
        ("", 0.41, "not answered"),
        ("basic 0.41, diluted 0.40", 0.41, "unreadable"),
        ("Q3 EPS was $0.45", 0.45, "right"),
        ("nan", 0.45, "unreadable"),
        ("27 cents", 0.27, "right"),
        ("I could not say.", 0.27, "unreadable"),
    ],
)
def test_a_figure_is_read_with_sign_and_unit_and_never_picked_from_two(
    tmp_path: Path, reply: str, label: float | None, outcome: str
) -> None:
    task = task_of(tmp_path, EPS, {"of": "x", "answer": label})
    found = judged(task, reply)
    assert found.outcome == outcome, found
    assert found.score == (1.0 if outcome == "right" else 0.0)
    assert found.reason or outcome == "right"


@pytest.mark.parametrize("reply", ["The EPS is $1.", "1.4", "0."])
def test_a_reply_that_was_cut_is_never_read_as_a_figure(tmp_path: Path, reply: str) -> None:
    task = task_of(tmp_path, EPS, {"of": "x", "answer": 1.0})
    assert judged(task, reply, "length").outcome == "cut short"


def test_a_relative_tolerance_is_a_share_of_the_label(tmp_path: Path) -> None:
    task = task_of(
        tmp_path, "kind: number\nprompt: '{{ q }}'\nrelative_tolerance: 0.01\n", {"q": "?", "answer": 200}
    )
    assert judged(task, "201.9").outcome == "right" and judged(task, "202.1").outcome == "wrong"


# -- choice ----------------------------------------------------------------------------------------------------

CHOICE = "kind: choice\nprompt: '{{ q }}'\nchoices: ['yes', 'no']\n"


def test_the_likeliest_choice_is_the_answer_and_every_total_is_kept(tmp_path: Path) -> None:
    found = asked(task_of(tmp_path, CHOICE, {"q": "Is it?", "answer": "yes"}))
    totals = dict(found.tokens)
    assert set(totals) == {"yes", "no"} and found.answer == max(totals, key=totals.__getitem__)  # type: ignore[arg-type]
    assert found.prompt == "Is it?"


def test_an_answer_may_be_the_place_of_a_choice_and_choices_a_column(tmp_path: Path) -> None:
    task = task_of(
        tmp_path,
        "kind: choice\nprompt: '{{ q }}'\nchoices: options\n",
        {"q": "?", "options": ["a", "b"], "answer": 1},
    )
    (sample,) = task.samples()
    assert sample.expected == "b"


@pytest.mark.parametrize(
    ("yaml", "row", "words"),
    [
        (
            "kind: choice\nprompt: '{{ q }}'\nchoices: [yes, no]\n",
            {"q": "", "answer": "yes"},
            "task.yaml:5.*quotes",
        ),
        (CHOICE, {"q": "", "answer": "maybe"}, "rows.jsonl:1.*'maybe'"),
        (CHOICE, {"q": ""}, "rows.jsonl:1.*no 'answer'"),
        (CHOICE, {"p": "", "answer": "yes"}, "rows.jsonl:1.*no 'q'"),
        ("kind: choice\nprompt: '{{ q'\nchoices: ['a', 'b']\n", {"q": "", "answer": "a"}, "template"),
        (CHOICE + "normalise: length\n", {"q": "", "answer": "yes"}, "Did you mean 'normalize'"),
        (CHOICE + "weight: 0\n", {"q": "", "answer": "yes"}, "task.yaml:6.*weight"),
        (CHOICE + "tier: 4\n", {"q": "", "answer": "yes"}, "tier"),
        (CHOICE + "limits: {samples: 0}\n", {"q": "", "answer": "yes"}, "samples"),
    ],
)
def test_a_mistake_in_a_choice_task_is_named(
    tmp_path: Path, yaml: str, row: dict[str, Any], words: str
) -> None:
    with pytest.raises(SchemaError) as caught:
        task_of(tmp_path, yaml, row).samples()
    import re

    assert re.search(words, str(caught.value).replace("\n", " ")), caught.value


def test_an_id_that_is_given_twice_is_named(tmp_path: Path) -> None:
    rows = [{"id": "a", "q": "", "answer": "yes"}, {"id": "a", "q": "", "answer": "no"}]
    with pytest.raises(SchemaError, match=r"rows.jsonl:2: id 'a'"):
        task_of(tmp_path, CHOICE, *rows).samples()


# -- short answer ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scorer", "reply", "outcome"),
    [
        ("exact", " Paris. ", "right"),
        ("exact", "The capital is Paris", "wrong"),
        ("contains", "The capital is  PARIS, of course", "right"),
        ("exact", "Unknown", "not answered"),
        ("exact", "", "not answered"),
    ],
)
def test_a_short_answer_is_compared_as_the_task_says(
    tmp_path: Path, scorer: str, reply: str, outcome: str
) -> None:
    yaml = f"kind: short_answer\nscorer: {scorer}\nprompt: '{{{{ q }}}}'\n"
    task = task_of(tmp_path, yaml, {"q": "Capital of France?", "answer": ["Paris", "Lutetia"]})
    assert judged(task, reply).outcome == outcome


def test_a_cut_short_answer_is_cut_short_unless_it_is_right_already(tmp_path: Path) -> None:
    task = task_of(tmp_path, "kind: short_answer\nprompt: '{{ q }}'\n", {"q": "?", "answer": "Paris"})
    assert judged(task, "Paris", "length").outcome == "right"
    assert judged(task, "Well, the capital", "length").outcome == "cut short"


# -- structured ------------------------------------------------------------------------------------------------

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
    "required": ["a"],
}
ROW = {"q": "Fill it in.", "form": SCHEMA, "answer": {"a": 1, "b": "x"}}
FIELDS = "kind: structured\nschema: form\nprompt: '{{ q }} {{ schema }}'\n"
VALIDITY = FIELDS + "enforce: false\nscorer: validity\n"


@pytest.mark.parametrize(
    ("reply", "outcome", "score"),
    [
        ('{"a": 1, "b": "X"}', "right", 1.0),
        ('```json\n{"a": 1, "b": "x"}\n```', "right", 1.0),
        ('{"a": 1, "b": "y"}', "wrong", 0.5),
        ('{"a": 1}', "wrong", pytest.approx(2 / 3)),
        ("{}", "not answered", 0.0),
        ("It is 1.", "unreadable", 0.0),
        ('{"a": NaN}', "unreadable", 0.0),
        ("", "not answered", 0.0),
    ],
)
def test_fields_are_scored_by_their_f1(tmp_path: Path, reply: str, outcome: str, score: Any) -> None:
    found = judged(task_of(tmp_path, FIELDS, ROW), reply)
    assert (found.outcome, found.score) == (outcome, score)


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [('{"a": 2}', "right"), ('{"a": "2"}', "wrong"), ('{"b": "x"}', "wrong"), ('{"a": 2', "unreadable")],
)
def test_validity_asks_only_whether_the_schema_is_kept(tmp_path: Path, reply: str, outcome: str) -> None:
    assert judged(task_of(tmp_path, VALIDITY, ROW), reply).outcome == outcome


def test_json_that_was_cut_is_cut_short(tmp_path: Path) -> None:
    assert judged(task_of(tmp_path, VALIDITY, ROW), '{"a": 2', "length").outcome == "cut short"


def test_an_enforced_schema_holds_the_reply(tmp_path: Path) -> None:
    found = asked(task_of(tmp_path, FIELDS, ROW))
    assert isinstance(json.loads(found.answer)["a"], int)


def test_validity_of_replies_that_are_held_to_the_schema_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="enforce"):
        task_of(tmp_path, FIELDS + "scorer: validity\n", ROW)


def test_an_answer_that_does_not_keep_its_schema_is_named(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"rows.jsonl:1: the answer does not keep"):
        task_of(tmp_path, FIELDS, {**ROW, "answer": {"a": "one"}}).samples()


# -- extraction ------------------------------------------------------------------------------------------------


def test_fields_of_documents_are_judged_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Basic EPS 1.20\nDiluted EPS 1.10\n")
    reply = {
        "basic": {"quote": "Basic EPS 1.20", "value": 1.2},
        "diluted": {"quote": "Diluted EPS 1.10", "value": 1.2},
        "none": {"quote": None, "value": None},
    }
    task = task_of(
        tmp_path,
        "fields: {basic: number, diluted: number, none: number}\n",
        {"file": "a.txt", "labels": {"basic": 1.2, "diluted": 1.1, "none": None}},
    )
    (sample,) = task.samples()
    found = task.judge(sample, asked(task, reply=json.dumps(reply)))
    assert found.parts == {"basic": "right", "diluted": "wrong", "none": "right"}
    assert found.outcome == "wrong" and found.score == pytest.approx(2 / 3)
    assert "diluted is 1.2, not 1.1" in found.reason


def test_a_document_whose_reply_was_cut_is_cut_short_and_not_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("EPS 1.20\n")
    task = task_of(tmp_path, "fields: {a: number}\n", {"file": "a.txt", "labels": {"a": 1.2}})
    (sample,) = task.samples()
    cell = FieldResult(None, None, None, None, "unreadable")
    read = DocumentResult("a.txt", "", {"a": cell}, (), 0.1, "")
    for finish, outcome in (("length", "cut short"), ("stop", "unreadable")):
        assert task.judge(sample, Asked("", '{"a": {"quote": "EPS', finish, extra=read)).outcome == outcome


def test_a_label_that_is_no_field_and_a_file_that_is_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"rows.jsonl:1: label 'b' is no field"):
        task_of(tmp_path, "fields: {a: number}\n", {"file": "a.txt", "labels": {"b": 1}})
    with pytest.raises(SchemaError, match=r"rows.jsonl:1: there is no file"):
        task_of(tmp_path, "fields: {a: number}\n", {"file": "a.txt", "labels": {"a": 1}})


# -- fingerprints ----------------------------------------------------------------------------------------------


def test_what_is_asked_changes_the_fingerprint_and_what_is_said_about_it_does_not(tmp_path: Path) -> None:
    row = {"q": "?", "answer": "yes"}
    first = task_of(tmp_path, CHOICE, row).fingerprint
    assert task_of(tmp_path, CHOICE + "title: Another\nweight: 3\n", row).fingerprint == first
    assert task_of(tmp_path, CHOICE.replace("{{ q }}", "Q: {{ q }}"), row).fingerprint != first


def test_a_sample_that_has_changed_is_another_one(tmp_path: Path) -> None:
    (one,) = task_of(tmp_path, CHOICE, {"q": "?", "answer": "yes"}).samples()
    (two,) = task_of(tmp_path, CHOICE, {"q": "?", "answer": "no"}).samples()
    assert one.id == two.id and one.content != two.content


# -- python ----------------------------------------------------------------------------------------------------

OWN = """
from modelyard.bench import Asked, BenchTask, Judgement, Sample

class Mine(BenchTask):
    name = "mine"
    about = "Always right."

    def samples(self):
        return [Sample("a", "a", 1), Sample("b", "b", 2)]

    async def ask(self, llm, sample, *, seed=None, exact=False):
        return Asked(prompt=sample.id, answer=str(sample.expected))

    def judge(self, sample, asked):
        return Judgement("right", 1.0, asked.answer)

class Nameless(Mine):
    name = ""
"""


def test_a_class_of_ones_own_is_named_by_file_and_class(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    task = bench_task(f"{tmp_path}/own.py:Mine")
    assert task.name == "mine" and len(task.samples()) == 2 and task.fingerprint


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("own.py:Mien", "Did you mean 'Mine'"),
        ("own.py:Nameless", "has no name"),
        ("other.py:Mine", "there is no file"),
        ("no_such_module:Mine", "cannot be imported"),
        ("broken.py:Mine", "cannot be run"),
    ],
)
def test_a_class_that_cannot_be_had_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)
    Path("broken.py").write_text("1 / 0")
    with pytest.raises(InvalidArgumentError, match=words):
        bench_task(name)


def test_prompts_are_shown_as_people_read_them() -> None:
    assert (
        as_text([{"role": "system", "content": "Be short."}, {"role": "user", "content": "Q"}])
        == "Be short.\n\nQ"
    )
