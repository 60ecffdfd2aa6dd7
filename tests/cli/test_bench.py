"""`bench`: what it prints for people and for programs, and what goes wrong without a traceback."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.bench.tasks import answer_task, choice_task

Run = Callable[..., subprocess.CompletedProcess[str]]
CATALOG = """
models:
  alpha: {engine: fake, tags: [finance]}
  beta: {engine: fake, tags: [finance], options: {reply: "word3"}}
  broken: {engine: openvino, source: {path: /nowhere/at/all}}
"""


@pytest.fixture
def bench(command: Run, tmp_path: Path) -> Run:
    """`modelyard bench …` with two fake models and a store of its own."""
    (tmp_path / "models.yaml").write_text(CATALOG)
    answer_task(tmp_path / "answers")
    choice_task(tmp_path / "choices")

    def run(verb: str, *args: str) -> subprocess.CompletedProcess[str]:
        store = () if verb == "tasks" else ("--store", "store.sqlite")
        return command("bench", verb, *args, *store)

    return run


def ran(bench: Run, *args: str, models: tuple[str, ...] = ("alpha", "beta"), name: str = "first") -> Any:
    done = bench("run", "--models", *models, "--tasks", "answers", "choices", "--name", name, *args)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_a_run_prints_a_table_and_writes_a_page(bench: Run, tmp_path: Path) -> None:
    done = ran(bench)
    assert done.returncode == 0, done.stderr
    for word in ("alpha", "beta", "final score", "[", "not answered", "told apart", "McNemar", "peak memory"):
        assert word in done.stdout
    page = (tmp_path / "modelyard-bench.html").read_text()
    assert "alpha" in page and "beta" in page and "first" in page
    assert [one.name for one in tmp_path.glob(".*")] == []


def test_json_is_for_machines(bench: Run) -> None:
    found = json.loads(ran(bench, "--json", "--limit", "5").stdout)
    assert {one["alias"] for one in found["models"]} == {"alpha", "beta"}
    assert found["run"]["limit"] == 5 and found["run"]["machine"]["cores"] >= 1
    assert all(one["tasks"]["answers"]["samples"] == 5 for one in found["models"])


def test_models_and_tasks_may_be_named_after_one_option_or_each_after_its_own(bench: Run) -> None:
    one = bench("run", "--models", "alpha", "beta", "--tasks", "answers", "--name", "a", "--json")
    two = bench("run", "-m", "alpha", "-m", "beta", "-t", "answers", "--name", "b", "--json")
    assert len(json.loads(one.stdout)["models"]) == len(json.loads(two.stdout)["models"]) == 2


def test_a_family_is_all_its_models(bench: Run) -> None:
    done = bench("run", "--family", "finance", "--tasks", "answers", "--limit", "2", "--json")
    found = json.loads(done.stdout)
    names = {one["alias"] for one in found["models"]}
    assert {"alpha", "beta"} <= names and done.returncode == 9  # the starter's need a Hub that is not there


@pytest.mark.slow
def test_a_kept_run_is_listed_shown_compared_exported_and_removed(bench: Run, tmp_path: Path) -> None:
    ran(bench)
    ran(bench, models=("beta",), name="second")
    assert [one["name"] for one in json.loads(bench("list", "--json").stdout)] == ["second", "first"]
    assert "second" in bench("list").stdout
    assert json.loads(bench("show", "first", "--json").stdout)["run"]["name"] == "first"
    compared = json.loads(bench("compare", "first:alpha", "second", "--json").stdout)
    assert {one["task"] for one in compared} == {"answers", "choices"}
    for name in ("out.html", "out.md", "out.json", "out.csv"):
        assert bench("export", "first", "--out", name).returncode == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 80
    assert len(json.loads((tmp_path / "out.json").read_text())["samples"]) == 80
    assert "| " in (tmp_path / "out.md").read_text()
    assert bench("rm", "first", "--yes").returncode == 0
    assert [one["name"] for one in json.loads(bench("list", "--json").stdout)] == ["second"]


def test_a_run_that_goes_on_asks_nothing_twice(bench: Run) -> None:
    ran(bench, models=("alpha",))
    ran(bench)
    one = json.loads(bench("show", "first", "--json").stdout)
    assert len(one["models"]) == 2


def test_a_model_that_cannot_be_loaded_is_said_and_the_rest_is_there(bench: Run) -> None:
    done = ran(bench, models=("alpha", "broken", "beta"))
    assert done.returncode == 9
    assert "error: broken" in done.stderr and "/nowhere/at/all" in done.stderr
    assert "alpha" in done.stdout and "beta" in done.stdout


def test_tasks_are_listed_with_their_scores(bench: Run) -> None:
    found = json.loads(bench("tasks", "--json").stdout)
    assert {"eps_extraction", "pubmedqa", "rct_numbers", "json_validity"} <= {one["name"] for one in found}
    assert all(one["score"] and one["licence"] for one in found)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("run", "-m", "alhpa", "-t", "answers"), 3, "alpha"),
        (("run", "-m", "alpha", "-t", "pubmedq"), 2, "pubmedqa"),
        (("run", "-m", "alpha", "-t", "answers", "--out", "missing/page.html"), 2, "there is no folder"),
        (("run", "-m", "alpha", "-t", "answers", "--limit", "0"), 2, "--limit"),
        (("run", "-t", "answers"), 2, "no models"),
        (("show", "nothing"), 2, "no run is called"),
        (("compare", "nothing", "other"), 2, "no run is called"),
        (("rm", "nothing", "--yes"), 2, "no run is called"),
        (("export", "nothing", "--out", "x.xlsx"), 2, "no run is called"),
    ],
)
def test_a_mistake_is_one_message_with_the_way_out(
    bench: Run, args: tuple[str, ...], code: int, words: str
) -> None:
    done = bench(*args)
    assert done.returncode == code and words in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_mistake_in_a_task_file_is_named_with_its_line(bench: Run, tmp_path: Path) -> None:
    file = tmp_path / "answers" / "task.yaml"
    file.write_text(file.read_text() + "promt: x\n")
    done = bench("run", "-m", "alpha", "-t", "answers")
    assert done.returncode == 2 and "task.yaml:5: key 'promt'" in done.stderr and "prompt" in done.stderr
