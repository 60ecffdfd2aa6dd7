"""Loading: from a spec to a loaded engine, and how much memory it will take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelyard.catalog.lock import Lock
from modelyard.catalog.model import Model
from modelyard.catalog.plan import Plan, plan
from modelyard.catalog.progress import Progress, Silent
from modelyard.catalog.pull import find_local, pull
from modelyard.catalog.spec import ModelSpec
from modelyard.engines.base import Engine
from modelyard.engines.progress import reporting_to
from modelyard.engines.registry import availability, installed_engine
from modelyard.errors import InvalidArgumentError, ResourceExhaustedError, UnsupportedError
from modelyard.pool.budget import read_bytes

_OVER_WEIGHTS = 1.3  # buffers and first KV blocks; OpenVINO takes 1.2 (135M) to 1.3 times the weights
_PER_MODEL = 60 * 2**20  # bytes: tokenizer, vocabulary, compiled graph
_PER_PROCESS = 80 * 2**20  # bytes: Python and the engine's library, where a model has a process of its own


OPTIONS = {
    "worker": "run the engine in a child process (false)",
    "memory": "memory that the model takes, as in 4GB, in place of what is predicted and measured",
}
"""The options that every engine's models can have: they are the pool's."""

if TYPE_CHECKING:
    from modelyard.catalog.memory.footprint import Footprint, How


@dataclass(slots=True, frozen=True)
class Placement:
    """The options that are the pool's, whatever the engine.

    Attributes:
        worker: run the engine in a child process.
        memory: bytes that the model takes, in place of what would be predicted and measured.
        engine: the options that are the engine's.
    """

    worker: bool
    memory: int | None
    engine: dict[str, Any]

    @classmethod
    def read(cls, options: Mapping[str, Any], *, worker: bool) -> Placement:
        """Takes `worker` and `memory` out of a model's options.

        Raises:
            InvalidArgumentError: one of them has no such value.
        """
        rest = dict(options)
        apart = rest.pop("worker", None)
        apart = worker if apart is None else apart
        if not isinstance(apart, bool):
            raise InvalidArgumentError(
                f"option 'worker' has value {apart!r:.80}", hint="It has to be true or false."
            )
        memory = rest.pop("memory", None)
        return cls(apart, None if memory is None else read_bytes(memory, "option 'memory'"), rest)


@dataclass(slots=True, frozen=True)
class Forecast:
    """What was predicted of a model before any request, to be compared with what it takes.

    Attributes:
        revision: of its files.
        footprint: the prediction.
        how: it is run.
    """

    revision: str
    footprint: Footprint
    how: How

    def compare(self, held: int, *, alone: bool) -> None:
        """Keeps what the model holds beside what was predicted: process and weights, without the KV cache.

        Args:
            held: bytes.
            alone: whether the bytes are those of a process of its own.
        """
        from modelyard.catalog.memory.measured import remember

        process = self.footprint.process
        how: dict[str, Any] = {
            "quantization": self.how.quantization,
            "dtype": self.how.dtype,
            "device": self.how.device,
        }
        remember(
            self.revision,
            self.how.engine,
            process + self.footprint.weights,
            held if alone else held + process,
            **how,
        )


@dataclass(slots=True, frozen=True)
class Loading:
    """A model whose files are here, with the engine that is going to load it."""

    model: Model
    engine: type[Engine]
    placement: Placement
    predicted: int
    forecast: Forecast | None = None
    progress: Progress | None = None

    def load(self) -> Engine:
        """Loads it. Blocks."""
        kind = self.engine
        if self.placement.worker and not kind.apart:
            from modelyard.engines.worker import in_worker

            kind = in_worker(kind)
        with reporting_to(self.progress):
            return kind(self.model, self.placement.engine)


def prepare(
    spec: ModelSpec,
    placement: Placement,
    *,
    offline: bool = False,
    progress: Progress | None = None,
    token: str | None = None,
    lock: Lock | None = None,
) -> Loading:
    """Gets a model's files and picks its engine. Blocks."""
    model = find_local(spec, lock)
    if model is None:
        # Before the download: a model that no engine here can run is not fetched to be refused.
        asked = spec.model_copy(update={"options": placement.engine})
        installed_engine(plan(asked, availability(), lock=lock).engine, placement.engine)
        model = pull(spec, offline=offline, progress=progress, token=token, lock=lock)
    made, engine = _ready(spec, model, placement, progress)
    if placement.memory is not None:
        return Loading(model, engine, placement, placement.memory, progress=progress)
    forecast = _forecast(model, made.engine, placement)
    predicted = _predicted(made, placement, forecast)
    return Loading(model, engine, placement, predicted, forecast, progress)


def _ready(
    spec: ModelSpec, model: Model, placement: Placement, progress: Progress | None
) -> tuple[Plan, type[Engine]]:
    """The plan and its engine, with the files made that the engine needs; the next engine where it cannot."""
    missing = availability()
    asked = spec.model_copy(update={"options": placement.engine})  # they decide too, whoever gave them
    while True:
        made = plan(asked, missing, model=model)
        engine = installed_engine(made.engine, placement.engine)
        try:
            with reporting_to(progress):
                engine.make_files(model, placement.engine)
        except UnsupportedError as error:
            if spec.engine != "auto" or missing.get(made.engine) is not None:
                raise
            missing[made.engine] = error.message
            (progress or Silent()).note(f"{error.message}\nTrying the next engine.")
        else:
            return made, engine


def load_engine(
    spec: ModelSpec,
    options: Mapping[str, Any],
    *,
    worker: bool = False,
    offline: bool = False,
    progress: Progress | None = None,
    token: str | None = None,
    lock: Lock | None = None,
) -> Engine:
    """Gets a model's files and loads them on the engine that the plan picks. Blocks.

    Args:
        spec: the model.
        options: of the engine, over the spec's; and `worker`, over the argument.
        worker: run the engine in a child process.
        offline: use only what is on this machine.
        progress: where downloads report.
        token: a Hub token, before those of the environment.
        lock: the catalogue's pins.
    """
    placement = Placement.read({**spec.options, **options}, worker=worker)
    return prepare(spec, placement, offline=offline, progress=progress, token=token, lock=lock).load()


def _forecast(model: Model, engine: str, placement: Placement) -> Forecast | None:
    from modelyard.catalog.memory.predict import predict_model

    found = predict_model(model, engine, placement.engine)
    return None if found is None else Forecast(model.revision, *found)


def _predicted(made: Plan, placement: Placement, forecast: Forecast | None) -> int:
    """Bytes that the model will take, 0 for one that runs elsewhere."""
    if not made.weights:
        return 0
    if forecast is not None:
        footprint = forecast.footprint
        return footprint.needed - (0 if placement.worker else footprint.process)
    # An architecture whose cache is not known: the rule of thumb.
    return int(made.weights * _OVER_WEIGHTS) + _around(placement)


def _around(placement: Placement) -> int:
    return _PER_MODEL + (_PER_PROCESS if placement.worker else 0)


def too_large(spec: ModelSpec, found: Loading, budget: int) -> ResourceExhaustedError:
    """The error for a model that does not fit even when it is alone."""
    fits = max(0, int((budget - _around(found.placement)) / _OVER_WEIGHTS))
    hint = (
        f"Weights of up to {_size(fits)} fit: take a smaller model or quantization. "
        f"Or raise the budget with MODELYARD_MEMORY={math.ceil(found.predicted / 1e8) / 10}GB or Pool(memory_budget=…)."
    )
    return ResourceExhaustedError(
        f"'{spec.alias}' would take about {_size(found.predicted)}, and the memory budget is {_size(budget)}",
        hint=hint,
    )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
