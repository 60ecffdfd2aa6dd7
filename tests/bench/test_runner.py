"""Runs: every sample asked once and kept, whatever happens to models, files and machine."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.bench.tasks import Counted, answer_task, choice_task

from modelyard import create_llm
from modelyard.bench import BenchmarkResult, BenchmarkRunner, create_benchmark_runner
from modelyard.bench.store import FORMAT, Store
from modelyard.errors import (
    DiskFullError,
    EngineCrashedError,
    InvalidArgumentError,
    ModelNotFoundError,
    SchemaError,
    UnavailableError,
)
from modelyard.pool import Pool

CATALOG = """
models:
  one: {engine: fake, family: tiny, tags: [finance]}
  two: {engine: fake, options: {reply: "word3"}}
  three: {engine: fake, tags: [finance]}
  broken: {engine: openvino, source: {path: /nowhere/at/all}}
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    file = tmp_path / "models.yaml"
    file.write_text(CATALOG)
    return file


@pytest.fixture
def runner(tmp_path: Path, catalog: Path) -> Iterator[BenchmarkRunner]:
    pool = Pool()
    yield create_benchmark_runner(store=tmp_path / "store.sqlite", catalog=catalog, pool=pool)
    pool.close()


def test_every_model_answers_every_sample_of_every_task(runner: BenchmarkRunner, tmp_path: Path) -> None:
    found = runner.run(
        ["one", "two"], [choice_task(tmp_path / "c"), answer_task(tmp_path / "a")], run_name="both"
    )
    assert {(model, task): len(rows) for (model, task), rows in found.rows.items()} == {
        ("one", "choices"): 20, ("one", "answers"): 20, ("two", "choices"): 20, ("two", "answers"): 20,
    }  # fmt: skip
    answers = found.model_metrics["two"].tasks["answers"]
    assert answers.outcomes["right"] == 1 and answers.outcomes["wrong"] == 19
    assert answers.score.value == pytest.approx(1 / 20)
    assert answers.score.low < 1 / 20 < answers.score.high
    two = found.model_metrics["two"]
    assert two.final_score == pytest.approx((two.tasks["choices"].score.value + 1 / 20) / 2)


def test_it_can_be_awaited_as_the_first_projects_script_does(runner: BenchmarkRunner) -> None:
    task = Counted()
    found = asyncio.run(
        runner.run_benchmark(models=["one"], tasks=[task], run_name="HF 7B Models", description="a test")
    )
    assert found.name == "HF 7B Models" and found.description == "a test"
    assert f"{found.model_metrics['one'].final_score:.3f}" == "0.333"


def test_nothing_is_asked_twice_by_the_same_run_another_run_or_a_larger_one(runner: BenchmarkRunner) -> None:
    task = Counted()
    runner.run(["one"], [task], run_name="first", drift=0)
    assert len(task.asked) == 12
    runner.run(["one"], [task], run_name="first", drift=0)
    runner.run(["one"], [task], run_name="second", drift=0)
    assert len(task.asked) == 12
    found = runner.run(["one", "three"], [task], run_name="first", drift=0)
    assert [model for model, _ in task.asked[12:]] == ["three"] * 12
    assert set(found.model_metrics) == {"one", "three"}
    other = Counted("other", 3)
    found = runner.run(["one"], [task, other], run_name="first", drift=0)
    assert len(task.asked) == 24 and len(other.asked) == 3
    assert set(found.tasks) == {"counted", "other"} and set(found.model_metrics) == {"one", "three"}


def test_a_limit_takes_samples_spread_over_all_and_a_higher_one_adds_to_them(runner: BenchmarkRunner) -> None:
    task = Counted()
    runner.run(["one"], [task], run_name="few", limit=3, drift=0)
    assert [sample for _, sample in task.asked] == ["s0", "s4", "s8"]
    found = runner.run(["one"], [task], run_name="few", limit=6, drift=0)
    assert sorted(sample for _, sample in task.asked[3:]) == ["s10", "s2", "s6"]
    assert len(found.rows["one", "counted"]) == 6


def test_repeats_are_asked_apart_and_counted_by_document(runner: BenchmarkRunner) -> None:
    found = runner.run(["one"], [Counted(size=4)], run_name="r", repeats=3, drift=0)
    metrics = found.model_metrics["one"].tasks["counted"]
    assert metrics.samples == 12 and metrics.score.clusters == 4


def test_a_model_that_cannot_be_loaded_is_in_the_result_and_the_others_go_on(runner: BenchmarkRunner) -> None:
    found = runner.run(["one", "broken", "three"], [Counted()], run_name="mixed")
    assert found.model_metrics["broken"].error and "/nowhere/at/all" in found.model_metrics["broken"].error
    assert found.model_metrics["broken"].rank is None and found.model_metrics["broken"].final is None
    assert list(found.model_metrics)[-1] == "broken"
    assert {name for name, one in found.model_metrics.items() if one.rank == 1} == {"one", "three"}


def test_a_sample_that_fails_is_kept_as_failed_and_asked_again_only_when_told(
    runner: BenchmarkRunner,
) -> None:
    bad = {"s4"}

    def before(sample: Any) -> None:
        if sample.id in bad:
            raise InvalidArgumentError("too odd", hint="")

    task = Counted(before=before)
    found = runner.run(["one"], [task], run_name="f", drift=0)
    (row,) = [row for row in found.rows["one", "counted"] if row.outcome == "failed"]
    assert row.sample == "s4" and "too odd" in row.judgement.reason and row.score == 0
    bad.clear()
    assert runner.run(["one"], [task], run_name="f", drift=0).rows["one", "counted"][4].outcome == "failed"
    again = runner.run(["one"], [task], run_name="f", drift=0, retry_failed=True)
    assert again.rows["one", "counted"][4].outcome != "failed"
    assert len(task.asked) == 13


def test_what_a_retry_can_mend_is_tried_again(runner: BenchmarkRunner) -> None:
    left = [2]

    def before(sample: Any) -> None:
        if left[0]:
            left[0] -= 1
            raise UnavailableError("busy")

    found = runner.run(["one"], [Counted(size=1, before=before)], run_name="busy", drift=0)
    assert found.rows["one", "counted"][0].outcome != "failed"


@pytest.mark.slow
def test_a_model_that_dies_of_every_sample_is_given_up(runner: BenchmarkRunner) -> None:
    def before(sample: Any) -> None:
        raise EngineCrashedError("died")

    task = Counted(size=40, before=before)
    found = runner.run(["one", "three"], [task], run_name="dead", together=1, drift=0)
    assert found.model_metrics["one"].error and found.model_metrics["three"].error
    assert len({sample for model, sample in task.asked if model == "one"}) == 5


@pytest.mark.model
def test_a_task_that_a_model_cannot_be_asked_is_skipped_and_said(
    runner: BenchmarkRunner, tmp_path: Path, minilm: Path
) -> None:
    file = tmp_path / "vectors.yaml"
    file.write_text(
        f"models: {{vectors: {{source: {{path: {minilm}}}, engine: transformers, task: embedding}}}}"
    )
    llm = create_llm("vectors", catalog=file)
    found = runner.run([llm, "three"], [choice_task(tmp_path / "c"), Counted()], run_name="skip")
    vectors = found.model_metrics["vectors"]
    assert "logprobs" in vectors.skipped["choices"]
    assert vectors.rank is None and found.model_metrics["three"].rank == 1


def test_what_a_class_of_the_users_raises_fails_its_sample_with_its_words(runner: BenchmarkRunner) -> None:
    def before(sample: Any) -> None:
        if sample.id == "s1":
            raise KeyError("absent")

    found = runner.run(["one"], [Counted(size=3, before=before)], run_name="own", drift=0)
    row = found.rows["one", "counted"][1]
    assert row.outcome == "failed" and "KeyError('absent')" in row.judgement.reason


def test_each_model_is_closed_before_the_next_is_loaded(tmp_path: Path, catalog: Path) -> None:
    pool = Pool()
    seen: list[tuple[str, ...]] = []
    task = Counted(size=2, before=lambda _: seen.append(pool.loaded()))
    runner = create_benchmark_runner(store=tmp_path / "s.sqlite", catalog=catalog, pool=pool)
    runner.run(["one", "two", "three"], [task], run_name="x", drift=0)
    assert seen == [("one",)] * 2 + [("two",)] * 2 + [("three",)] * 2
    assert pool.loaded() == ()


def test_models_in_processes_of_their_own_have_their_memory_and_load_time_told(
    tmp_path: Path, catalog: Path
) -> None:
    runner = create_benchmark_runner(store=tmp_path / "s.sqlite", catalog=catalog)
    one = runner.run(["one"], [Counted(size=4)], run_name="x").model_metrics["one"]
    assert one.peak_memory and one.peak_memory > 10_000_000
    assert one.load_seconds and one.load_seconds > 0


def test_how_far_batching_moved_the_answers_is_looked_at_once(runner: BenchmarkRunner) -> None:
    task = Counted()
    found = runner.run(["one"], [task], run_name="d", drift=3)
    assert found.model_metrics["one"].tasks["counted"].drift == {
        "samples": 3, "changed_outcomes": 0, "changed_answers": 0, "largest_logprob_difference": None,
    }  # fmt: skip
    assert len(task.asked) == 15
    runner.run(["one"], [task], run_name="d", drift=3)
    assert len(task.asked) == 15


def test_exact_asks_one_at_a_time_and_keeps_its_rows_apart(tmp_path: Path, catalog: Path) -> None:
    pool = Pool()
    flying, most = [0], [0]

    class Watched(Counted):
        async def ask(self, llm: Any, sample: Any, **how: Any) -> Any:
            flying[0] += 1
            most[0] = max(most[0], flying[0])
            try:
                return await super().ask(llm, sample, **how)
            finally:
                flying[0] -= 1

    runner = create_benchmark_runner(store=tmp_path / "s.sqlite", catalog=catalog, pool=pool)
    task = Watched()
    runner.run(["one"], [task], run_name="together", drift=0)
    assert most[0] > 1
    most[0] = 0
    runner.run(["one"], [task], run_name="exact", exact=True)
    assert most[0] == 1 and len(task.asked) == 24


def test_a_family_is_found_by_family_and_tag(runner: BenchmarkRunner) -> None:
    assert {"one", "three"} <= set(runner.family("finance")) and runner.family("tiny") == ["one"]
    with pytest.raises(InvalidArgumentError, match="Did you mean 'finance'"):
        runner.family("finanse")


# -- ranks -----------------------------------------------------------------------------------------------------


def test_models_that_cannot_be_told_apart_share_a_rank_and_others_do_not(
    runner: BenchmarkRunner, tmp_path: Path
) -> None:
    class Apart(Counted):
        def judge(self, sample: Any, asked: Any) -> Any:
            from modelyard.bench import Judgement

            right = asked.answer.startswith("word3")
            return Judgement("right" if right else "wrong", float(right), asked.answer)

    found = runner.run(["one", "two", "three"], [Apart(size=60)], run_name="ranks", drift=0)
    assert {name: one.rank for name, one in found.model_metrics.items()} == {"two": 1, "one": 2, "three": 2}
    pairs = {(one.a, one.b): one for one in found.tasks["counted"].comparisons}
    assert pairs["one", "two"].told_apart and not pairs["one", "three"].told_apart
    assert found.tasks["counted"].smallest_difference is not None


def test_the_first_projects_score_is_there_by_name(runner: BenchmarkRunner) -> None:
    runner.run(["one"], [Counted()], run_name="legacy", drift=0)
    found = runner.result("legacy", score="legacy")
    # The only model is the fastest one: its efficiency is 1.
    assert found.model_metrics["one"].final_score == pytest.approx(0.9 * (1 / 3) + 0.1)


# -- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("models", "tasks", "error", "words"),
    [
        (["oen"], ["pubmedqa"], ModelNotFoundError, "one"),
        (["one"], ["pubmedq"], InvalidArgumentError, "Did you mean 'pubmedqa'"),
        ([], ["pubmedqa"], InvalidArgumentError, "no models"),
        (["one"], [], InvalidArgumentError, "no tasks"),
        (["one", "one"], ["pubmedqa"], InvalidArgumentError, "given twice"),
        (["one"], ["pubmedqa", "pubmedqa"], InvalidArgumentError, "given twice"),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_is_asked(
    runner: BenchmarkRunner, models: list[str], tasks: list[str], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        runner.run(models, tasks, run_name="x")
    assert not runner.store.exists()


def test_a_task_without_samples_or_with_a_mistake_is_refused(runner: BenchmarkRunner, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="has no samples"):
        runner.run(["one"], [Counted(size=0)])
    file = choice_task(tmp_path / "c")
    file.write_text(file.read_text() + "wieght: 2\n")
    with pytest.raises(SchemaError, match=r"task.yaml:6: key 'wieght'.*Did you mean 'weight'"):
        runner.run(["one"], [file])


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"limit": 0}, "limit is 0"),
        ({"repeats": 0}, "repeats is 0"),
        ({"limits": 5}, "Did you mean 'limit'"),
        ({"exact": True, "together": 4}, "one at a time"),
    ],
)
def test_a_wrong_option_is_named(runner: BenchmarkRunner, how: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        runner.run(["one"], [Counted()], **how)


def test_a_run_does_not_go_on_in_another_way(runner: BenchmarkRunner) -> None:
    runner.run(["one"], [Counted()], run_name="x", seed=1, drift=0)
    with pytest.raises(InvalidArgumentError, match="begun with seed 1, and now it is 2"):
        runner.run(["one"], [Counted()], run_name="x", seed=2)


def test_a_run_that_is_worked_on_is_not_begun_a_second_time(runner: BenchmarkRunner, catalog: Path) -> None:
    other: list[Exception] = []

    def before(sample: Any) -> None:
        if not other:
            script = (
                "import sys; from modelyard.bench import create_benchmark_runner; "
                "create_benchmark_runner(store=sys.argv[1], catalog=sys.argv[2])"
                ".run(['one'], ['json_validity'], run_name='x')"
            )
            done = subprocess.run(
                [sys.executable, "-c", script, str(runner.store), str(catalog)],
                capture_output=True,
                text=True,
            )
            other.append(InvalidArgumentError(done.stderr))

    runner.run(["one"], [Counted(size=2, before=before)], run_name="x", drift=0)
    assert "being worked on by another process" in str(other[0])


# -- the store -----------------------------------------------------------------------------------------------------


def test_a_store_of_a_newer_modelyard_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "new.sqlite"
    Store(file).close()
    with sqlite3.connect(file) as base:
        base.execute(f"PRAGMA user_version={FORMAT + 1}")
    base.close()
    before = file.read_bytes()
    with pytest.raises(InvalidArgumentError, match="made by a newer modelyard"):
        Store(file)
    assert file.read_bytes() == before


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database " * 100)
    with pytest.raises(InvalidArgumentError, match="is no SQLite file"):
        Store(tmp_path / "text")
    with sqlite3.connect(tmp_path / "other") as base:
        base.execute("CREATE TABLE t (a)")
    base.close()
    with pytest.raises(InvalidArgumentError, match="something else"):
        Store(tmp_path / "other")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True
    )
    if done.returncode:
        pytest.skip("a small disk cannot be made: mount needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_ends_the_run_and_loses_no_answer(small_disk: Path, catalog: Path) -> None:
    pool = Pool()

    class Long(Counted):
        async def ask(self, llm: Any, sample: Any, **how: Any) -> Any:
            from modelyard.bench import Asked

            self.asked.append(("one", sample.id))
            return Asked(prompt="p" * 4000, answer=sample.id)

    runner = create_benchmark_runner(store=small_disk / "s.sqlite", catalog=catalog, pool=pool)
    task = Long(size=200)
    with pytest.raises(DiskFullError, match="the disk is full"):
        runner.run(["one"], [task], run_name="x", together=1, drift=0)
    kept = len(runner.result("x").rows.get(("one", "counted"), []))
    assert 3 < kept < 200 and kept >= len(task.asked) - 1


def test_removing_a_run_keeps_the_answers_that_another_shows(runner: BenchmarkRunner) -> None:
    task = Counted()
    runner.run(["one"], [task], run_name="a", drift=0)
    runner.run(["one"], [task, Counted("other", 5)], run_name="b", drift=0)
    with Store(runner.store) as store:
        assert store.remove("b") == 5
        assert len(runner.result("a").rows["one", "counted"]) == 12
        assert store.remove("a") == 12
        with pytest.raises(InvalidArgumentError, match="no run is called 'a'"):
            store.remove("a")


def test_a_result_is_worked_out_from_the_store_alone(runner: BenchmarkRunner) -> None:
    made = runner.run(["one", "two"], [Counted()], run_name="x", drift=2)
    again = runner.result("x")
    assert _without_time(again) == _without_time(made)


def _without_time(found: BenchmarkResult) -> Any:
    return found.to_dict()


def test_answers_with_half_characters_and_zeros_are_kept(tmp_path: Path, catalog: Path) -> None:
    class Odd(Counted):
        async def ask(self, llm: Any, sample: Any, **how: Any) -> Any:
            from modelyard.bench import Asked

            return Asked(prompt="\x00", answer="a\ud800b\x00 😀", tokens=(("\udfff", -1.5), ("x", None)))

    pool = Pool()
    runner = create_benchmark_runner(store=tmp_path / "s.sqlite", catalog=catalog, pool=pool)
    row = runner.run(["one"], [Odd(size=1)], run_name="x", drift=0).rows["one", "counted"][0]
    assert row.answer == "a\ud800b\x00 😀" and row.tokens == (("\udfff", -1.5), ("x", None))
