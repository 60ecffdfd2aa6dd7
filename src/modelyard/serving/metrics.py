"""Metrics for Prometheus, in a registry of the server's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from modelyard.serving.record import Record

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Gauges = Callable[[], Iterable[tuple[str, str, dict[str, float]]]]
"""Rows of a gauge: its name, its help, and the value by model."""


class Metrics:
    """What happened, counted; and what is now, asked for when somebody looks.

    Args:
        now: the gauges of the moment.
    """

    def __init__(self, now: Gauges) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "modelyard_requests",
            "Requests by route and status.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._seconds = self._histogram("modelyard_request_seconds", "Seconds from a request to its end.")
        self._queued = self._histogram("modelyard_queue_seconds", "Seconds until a request had its place.")
        self._first = self._histogram("modelyard_time_to_first_token_seconds", "Seconds to the first token.")
        self._loads_took = self._histogram("modelyard_load_seconds", "Seconds that a load took.")
        self._tokens = self._counter("modelyard_tokens", "Tokens read and made.", "kind")
        self._ends = self._counter("modelyard_answers", "Answers by how they ended.", "finish")
        self._cancels = self._counter("modelyard_cancelled", "Requests whose client left before the end.")
        self._refused = self._counter("modelyard_refused", "Requests refused because the queue was full.")
        self._crashes = self._counter(
            "modelyard_engine_crashes", "Requests that an engine's crash has failed."
        )
        self._loads = self._counter("modelyard_loads", "Models loaded, or failed to.", "outcome")
        self._stuck = self._counter(
            "modelyard_stuck", "Times that a model gave no sign of life and was ended."
        )
        self._registry.register(_Now(now))

    def _counter(self, name: str, text: str, *more: str) -> Counter:
        return Counter(name, text, ("model", *more), registry=self._registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, ("model",), buckets=_SECONDS, registry=self._registry)

    def count(self, record: Record) -> None:
        """A request has ended."""
        self._requests.labels(record.route or "unknown", record.method, str(record.status)).inc()
        model = record.model
        if not model:
            return
        self._seconds.labels(model).observe(record.passed)
        if record.queued is not None:
            self._queued.labels(model).observe(record.queued)
        if record.first_token is not None:
            self._first.labels(model).observe(record.first_token)
        self._tokens.labels(model, "prompt").inc(record.prompt_tokens)
        self._tokens.labels(model, "completion").inc(record.completion_tokens)
        if record.finish:
            self._ends.labels(model, record.finish).inc()
        if record.cancelled:
            self._cancels.labels(model).inc()
        if record.status == 429:
            self._refused.labels(model).inc()
        if record.error == "EngineCrashedError":
            self._crashes.labels(model).inc()

    def loaded(self, model: str, seconds: float, outcome: str) -> None:
        """A load has ended."""
        self._loads.labels(model, outcome).inc()
        if outcome == "loaded":
            self._loads_took.labels(model).observe(seconds)

    def stuck(self, model: str) -> None:
        """A model was ended because it gave no sign of life."""
        self._stuck.labels(model).inc()

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self._registry)


class _Now(Collector):
    """Gauges that are read when they are asked for."""

    def __init__(self, read: Gauges) -> None:
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, text, values in self._read():
            family = GaugeMetricFamily(f"modelyard_{name}", text, labels=["model"])
            for model, value in values.items():
                family.add_metric([model], value)
            yield family
