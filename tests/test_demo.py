"""The demo: values are judged as their labels say, and the page is written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from modelyard import portal
from modelyard.cli import demo as command
from modelyard.cli.app import app
from modelyard.create import create_llm
from modelyard.demo import judge, judge_document, render_demo, run_demo
from modelyard.errors import EngineError, InvalidArgumentError, ModelNotFoundError
from modelyard.extraction.result import FieldResult
from modelyard.extraction.schema import read_schema
from modelyard.extraction.task import LabelledDocument, Task
from modelyard.llm import LLM


def field(value: Any, status: Any = "found") -> FieldResult:
    return FieldResult(value, "a quote", 0, 7, status)


@pytest.mark.parametrize(
    ("found", "label", "verdict"),
    [
        (field(1.23), 1.23, "right"),
        (field(1.235), 1.23, "right"),
        (field(1.225), 1.23, "right"),
        (field(1.2351), 1.23, "wrong"),
        (field(-1.23), 1.23, "wrong"),
        (field(2), 2.0, "right"),
        (field(1.23, "ungrounded"), 1.23, "right"),
        (field(9.9, "ungrounded"), 1.23, "wrong"),
        (field(None, "not_found"), 1.23, "not found"),
        (field(None, "not_found"), None, "right"),
        (field(1.23), None, "wrong"),
        (field(None, "unreadable"), 1.23, "unreadable"),
        (field(None, "unreadable"), None, "unreadable"),
        (field(None, "failed"), 1.23, "unreadable"),
        (field(" Acme Corp "), "ACME corp", "right"),
        (field("Acme"), "Acme Corp", "wrong"),
        (field("1.23"), 1.23, "wrong"),
        (field(True), True, "right"),
        (field(True), 1, "wrong"),
        (field(["a", "b"]), ["a", "b"], "right"),
    ],
)
def test_a_value_is_judged_by_its_label(found: FieldResult, label: Any, verdict: str) -> None:
    assert judge(found, label, tolerance=0.005) == verdict


def test_a_labelled_field_that_was_not_answered_is_not_found() -> None:
    document = LabelledDocument(Path("a.txt"), {"eps": 1.0}, "")
    assert [one.verdict for one in judge_document(document, {}, 0)] == ["not found"]


@pytest.fixture
def task(tmp_path: Path) -> Task:
    (tmp_path / "one.txt").write_text("Basic EPS was 1.20 for the quarter.\n")
    (tmp_path / "two.txt").write_text("Basic EPS was 0.40 for the quarter.\n")
    documents = tuple(
        LabelledDocument(tmp_path / name, {"eps": label}, f"source of {name}")
        for name, label in (("one.txt", 1.2), ("two.txt", 0.4))
    )
    return Task(
        "eps", read_schema({"name": "eps", "fields": {"eps": "number"}}), documents=documents, tolerance=0.005
    )


class Steps:
    def __init__(self) -> None:
        self.seen: list[object] = []

    def begin(self, model: str, documents: int) -> None:
        self.seen.append((model, documents))

    def read(self) -> None:
        self.seen.append("read")


def test_every_value_of_every_model_is_judged_once(task: Task) -> None:
    steps = Steps()
    demo = portal.run(run_demo([create_llm("fake")], task, watch=steps))
    (run,) = demo.runs
    assert sum(run.counts.values()) == demo.values == 2
    assert [one.document for judged in run.judged for one in judged] == ["one.txt", "two.txt"]
    assert steps.seen == [("fake", 2), "read", "read"]
    assert run.extraction.fingerprint is not None
    assert run.seconds > 0


def test_a_model_is_unloaded_before_the_next_is_loaded(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    load, close = LLM.load_async, LLM.close

    async def loads(self: LLM) -> Any:
        events.append(f"load {self.config_manager.get_param('stop')}")
        return await load(self)

    def closes(self: LLM) -> None:
        events.append(f"close {self.config_manager.get_param('stop')}")
        close(self)

    monkeypatch.setattr(LLM, "load_async", loads)
    monkeypatch.setattr(LLM, "close", closes)
    portal.run(run_demo([create_llm("fake", stop="A"), create_llm("fake", stop="B")], task))
    assert [one for at, one in enumerate(events) if at == 0 or events[at - 1] != one] == [
        "load A", "close A", "load B", "close B",
    ]  # fmt: skip


def broken() -> LLM:
    return create_llm("fake", options={"replay": "x"})


def test_a_model_that_cannot_run_keeps_what_those_before_it_read(task: Task) -> None:
    demo = portal.run(run_demo([create_llm("fake"), broken()], task))
    assert len(demo.runs) == 1
    assert demo.stopped is not None
    assert "'replay' is not known" in demo.to_dict()["error"]
    assert "The next model could not be run" in render_demo(demo)


def test_the_first_model_that_cannot_run_ends_the_demo(task: Task) -> None:
    with pytest.raises(InvalidArgumentError, match="'replay' is not known"):
        portal.run(run_demo([broken()], task))


def test_a_task_without_labels_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="no labelled documents"):
        portal.run(run_demo([], Task("bare", read_schema({"fields": {"eps": "number"}}))))


# -- the command -------------------------------------------------------------------------------------------


def call(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["demo", *arguments])


def test_json_has_models_counts_values_and_the_page(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    done = call("--model", "fake", "--out", str(path), "--json")
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    assert data["page"] == str(path)
    assert data["task"] == "eps_extraction"
    assert (data["values"], len(data["documents"]), data["error"]) == (12, 6, None)
    (model,) = data["models"]
    assert model["model"] == "fake"
    assert model["fingerprint"]["engine"] == "fake"
    assert sum(model["counts"].values()) == 12
    assert list(model["counts"]) == ["right", "wrong", "not found", "unreadable"]
    assert model["seconds_a_document"] >= 0
    first = data["documents"][0]
    assert first["labels"] == {"eps_basic": 0.65, "eps_diluted": 0.59}
    assert set(first["models"]["fake"]["eps_basic"]) == {"value", "verdict", "status", "quote", "where"}
    assert path.read_text("utf-8").startswith("<!doctype html>")


def test_the_tables_name_every_model_and_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("--model", "fake", "--model", "fake")
    assert done.exit_code == 0, done.output
    assert "12 values in 6 documents" in done.stdout
    assert "0001104659-20-053353.html" in done.stdout
    assert done.stdout.count("0.65, 0.59") == 1
    assert str(tmp_path / "modelyard-demo.html") in done.stdout


def test_an_unknown_model_is_told_before_any_other_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_print", lambda *_: pytest.fail("it ran"))
    done = call("--model", "fake", "--model", "smollm2-135", "--out", str(tmp_path / "page.html"))
    assert isinstance(done.exception, ModelNotFoundError)
    assert "smollm2-135m" in str(done.exception)
    assert not list(tmp_path.iterdir())


def test_the_error_of_a_later_model_comes_after_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tmp_path / "models.yaml"
    spec.write_text("models:\n  bad:\n    engine: fake\n    options: {replay: x}\n")
    path = tmp_path / "page.html"
    done = CliRunner().invoke(
        app, ["--catalog", str(spec), "demo", "-m", "fake", "-m", "bad", "--out", str(path)]
    )
    assert isinstance(done.exception, InvalidArgumentError)
    assert path.exists()
    assert "12 values" in done.stdout


def test_an_unwritable_page_is_told_before_any_model_runs(tmp_path: Path) -> None:
    done = call("--model", "fake", "--out", str(tmp_path / "missing" / "page.html"))
    assert isinstance(done.exception, InvalidArgumentError)
    assert "cannot be written" in str(done.exception)


def test_quick_and_model_contradict_each_other() -> None:
    assert "Keep one of them" in str(call("--quick", "--model", "fake").exception)


def test_an_engine_that_fails_in_the_middle_makes_a_score_and_no_crash(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(self: LLM, *args: Any, **how: Any) -> Any:
        raise EngineError("out of luck")

    monkeypatch.setattr(LLM, "generate_async", fails)
    demo = portal.run(run_demo([create_llm("fake")], task))
    assert demo.runs[0].counts["unreadable"] == 2
    assert "out of luck" in render_demo(demo)
