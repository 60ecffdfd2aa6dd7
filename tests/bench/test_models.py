"""Benchmarks with a real model: bits that repeat, and scores that are the file's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.bench import create_benchmark_runner
from modelyard.pool import Pool

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.timeout(900)]


def totals(store: Path, **how: object) -> list[tuple[str, object]]:
    pool = Pool()
    runner = create_benchmark_runner(store=store, pool=pool)
    found = runner.run(["smollm2-135m"], ["pubmedqa"], run_name="x", limit=10, **how)  # type: ignore[arg-type]
    pool.close()
    return [(row.sample, row.tokens) for row in found.rows["smollm2-135m", "pubmedqa"]]


def test_exact_gives_the_same_bits_again(tmp_path: Path) -> None:
    assert totals(tmp_path / "a", exact=True) == totals(tmp_path / "b", exact=True)


def test_the_default_says_how_far_it_is_from_exact(tmp_path: Path) -> None:
    store = tmp_path / "s"
    totals(store, drift=4)
    pool = Pool()
    metrics = create_benchmark_runner(store=store, pool=pool).result("x").model_metrics["smollm2-135m"]
    drift = metrics.tasks["pubmedqa"].drift
    assert drift is not None and drift["samples"] == 4
    assert 0 < drift["largest_logprob_difference"] < 1


def test_json_is_written_without_a_grammar_and_judged_by_its_schema(tmp_path: Path) -> None:
    pool = Pool()
    runner = create_benchmark_runner(store=tmp_path / "s", pool=pool)
    found = runner.run(["smollm2-135m"], ["json_validity"], run_name="j", limit=8)
    pool.close()
    rows = found.rows["smollm2-135m", "json_validity"]
    assert len(rows) == 8 and all(row.answer and row.tokens for row in rows)
    assert all("JSON Schema" in row.prompt for row in rows)
