"""Bench: which model does a job best, told with intervals and tests, and what it costs.

>>> from modelyard.bench import bench_task
>>> bench_task("eps_extraction").kind
'extraction'
"""

from modelyard.bench.load import bench_task
from modelyard.bench.outcome import Judgement, Outcome
from modelyard.bench.result import BenchmarkResult, ModelMetrics, TaskMetrics
from modelyard.bench.runner import BenchmarkRunner, create_benchmark_runner
from modelyard.bench.task import Asked, BenchTask, Sample

__all__ = [
    "Asked", "BenchTask", "BenchmarkResult", "BenchmarkRunner", "Judgement", "ModelMetrics", "Outcome", "Sample",
    "TaskMetrics", "bench_task", "create_benchmark_runner",
]  # fmt: skip
