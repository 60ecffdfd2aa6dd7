"""Runs on a local cluster: what comes of them is what one process finds, in the same store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bench.tasks import answer_task, choice_task
from tests.recovery.test_bench import rows
from typer.testing import CliRunner

pytest.importorskip("ray", reason="Ray is not installed: pip install 'modelyard[ray]'")

from modelyard.bench import BenchmarkRunner
from modelyard.cli.app import app
from modelyard.cli.arguments import ray_named
from modelyard.create import create_llm
from modelyard.errors import InvalidArgumentError, ModelNotFoundError, UnavailableError
from modelyard.extraction import Extraction, extract_async
from modelyard.scale.bench import RaySeat
from modelyard.scale.cluster import Where, joined, share_of
from modelyard.scale.extract import RayDesk

# Ray Data warns of its own settings when it makes them.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")
TWO = Where(least=2, most=2)
SCHEMA = {
    "type": "object",
    "properties": {"eps": {"type": "number"}, "firm": {"type": "string"}},
    "required": ["eps", "firm"],
}
TEXT = "Firm {at} reports its first quarter.\nThree Months Ended March 31,\n2024 2023\nEarnings per share $ {eps} $ 0.34\n"


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A cluster of this machine, with two cores."""
    import ray as module

    module.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    with joined(TWO) as found:
        yield found
    module.shutdown()


@pytest.fixture
def filings(tmp_path: Path) -> list[Path]:
    """Ten documents, and one that is none although its name says so."""
    for at in range(10):
        (tmp_path / f"filing{at}.txt").write_text(TEXT.format(at=at, eps=f"{at / 10:.2f}"))
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4 and nothing behind it")
    return sorted(tmp_path.glob("*.*"))


def run(filings: list[Path], **how: Any) -> Extraction:
    llm = create_llm("fake", options=how.pop("options", None))
    return asyncio.run(extract_async(filings, model=llm, schema=SCHEMA, **how))


def timeless(found: Extraction) -> Any:
    """What was found, but for how long it took and whether it was kept from before."""
    data = json.loads(json.dumps(found.to_dict(text=True)))
    for one in data["documents"]:
        del one["seconds"]
        for reply in one.get("replies", ()):
            reply.pop("seconds", None)
            reply.pop("kept", None)
    return data


@pytest.mark.slow
def test_documents_give_what_one_process_finds_and_one_that_is_unreadable_stops_nothing(
    ray: Any, filings: list[Path], tmp_path: Path
) -> None:
    said: list[str] = []
    seen: list[str] = []
    desk = RayDesk(ray, TWO, said.append)
    there = run(
        filings, desk=desk, store=tmp_path / "a.sqlite", on_result=lambda one: seen.append(one.document)
    )
    here = run(filings, store=tmp_path / "b.sqlite")
    assert timeless(there) == timeless(here)
    assert len(seen) == len(filings)
    assert [one.document for one in there.documents if one.error] == [str(filings[0])]
    assert "2 to 2 workers" in said[0]


@pytest.mark.slow
def test_what_workers_were_told_is_in_the_file_of_answers(
    ray: Any, filings: list[Path], tmp_path: Path
) -> None:
    store = tmp_path / "answers.sqlite"
    run(filings, desk=RayDesk(ray, TWO, lambda _: None), store=store)
    again = run(filings, store=store)
    replies = [reply for one in again.documents for reply in one.replies]
    assert replies and all(reply.kept for reply in replies)
    other_way = run(filings, desk=RayDesk(ray, TWO, lambda _: None), store=store)
    assert all(reply.kept for one in other_way.documents for reply in one.replies)


@pytest.mark.slow
def test_what_is_wrong_with_the_model_is_one_error_and_not_one_a_document(
    ray: Any, filings: list[Path]
) -> None:
    with pytest.raises(InvalidArgumentError, match="delai"):
        run(filings, desk=RayDesk(ray, TWO, lambda _: None), options={"delai": 1})


@pytest.mark.slow
def test_samples_give_the_rows_of_one_process_and_are_asked_once(ray: Any, tmp_path: Path) -> None:
    tasks = [choice_task(tmp_path / "c", 30), answer_task(tmp_path / "a", 30)]
    asked: list[str] = []

    class Said:
        def begin(self, model: str, task: str, total: int, done: int) -> None: ...
        def step(self) -> None:
            asked.append("row")

        def note(self, text: str) -> None: ...

    def seat(llm: Any) -> RaySeat:
        return RaySeat(ray, TWO, llm, lambda _: None)

    there = BenchmarkRunner(store=tmp_path / "there.sqlite", seat=seat, watch=Said())
    there.run(["fake"], tasks, run_name="r")
    assert len(asked) == 60
    here = BenchmarkRunner(store=tmp_path / "here.sqlite")
    here.run(["fake"], tasks, run_name="r")
    assert rows(tmp_path / "there.sqlite") == rows(tmp_path / "here.sqlite")
    asked.clear()
    there.run(["fake"], tasks, run_name="r")
    BenchmarkRunner(store=tmp_path / "there.sqlite", watch=Said()).run(["fake"], tasks, run_name="r")
    assert asked == []


@pytest.mark.slow
def test_a_model_that_cannot_be_had_is_in_the_report_and_the_others_go_on(ray: Any, tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(
        "models:\n  gone: {source: {path: /nowhere/at-all.gguf}}\n  words: {engine: fake}\n"
    )
    runner = BenchmarkRunner(
        store=tmp_path / "s.sqlite", catalog=tmp_path / "models.yaml",
        seat=lambda llm: RaySeat(ray, TWO, llm, lambda _: None),
    )  # fmt: skip
    found = runner.run(["gone", "words"], [choice_task(tmp_path / "c", 6)], run_name="r")
    assert "/nowhere/at-all.gguf" in (found.model_metrics["gone"].error or "")
    assert found.model_metrics["words"].error is None


@pytest.mark.slow
def test_a_workers_share_is_what_plan_says(ray: Any, small_gguf: Path) -> None:
    share = share_of(ray, TWO, [create_llm(str(small_gguf))])
    assert share.cpus == 1 and share.workers == (2, 2)
    assert 0.2 < share.memory / 2**30 < 4


# -- the command line ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--ray-workers", "2"], "--ray-workers is given without --ray"),
        (["--ray", "--ray-workers", "3:1"], "--ray-workers is '3:1'"),
        (["--ray", "--ray-workers", "many"], "--ray-workers is 'many'"),
        (["--ray", "ray://10.0.0.1:10001"], "ray job submit"),
    ],
)
def test_a_mistake_is_said_before_anything_starts(line: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Revenue 5")
    (tmp_path / "s.yaml").write_text("fields:\n  revenue: {type: number}\n")
    call = ["extract", str(tmp_path / "a.txt"), "-m", "fake", "--schema", str(tmp_path / "s.yaml"), *line]
    found = CliRunner().invoke(app, call)
    assert isinstance(found.exception, InvalidArgumentError)
    assert said in str(found.exception)


def test_a_cluster_that_is_not_there_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray as module

    if module.is_initialized():
        module.shutdown()
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9"), joined(Where("127.0.0.1:9")):
        pass


@given(st.lists(st.sampled_from(["--ray", "a.html", "--model", "m", "10.0.0.1:6379", "auto", "-o", "x=1"])))
def test_an_address_behind_ray_is_kept_and_everything_else_stays_as_it_was(args: list[str]) -> None:
    made = ray_named(args)
    kept = [one for at, one in enumerate(made) if not (one == "local" and made[at - 1] == "--ray")]
    assert kept == args
    assert all(
        made[at + 1] in ("local", "auto", "10.0.0.1:6379") for at, one in enumerate(made) if one == "--ray"
    )


def test_a_model_that_is_not_known_is_said_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="smollm3"):
        BenchmarkRunner(store=tmp_path / "s.sqlite").run(["smollm3"], [choice_task(tmp_path / "c", 3)])
