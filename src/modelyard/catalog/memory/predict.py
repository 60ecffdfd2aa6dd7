"""Predict: the peak of a model whose files are here, for whoever makes room for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard.catalog.memory.device import Device
from modelyard.catalog.memory.facts import of_path
from modelyard.catalog.memory.footprint import Footprint, How, Workload
from modelyard.catalog.memory.verdict import predict
from modelyard.catalog.model import Model
from modelyard.catalog.plan import run_how


def predict_model(
    model: Model,
    engine: str,
    options: Mapping[str, Any] | None = None,
    *,
    work: Workload | None = None,
    device: Device | None = None,
) -> tuple[Footprint, How] | None:
    """The predicted peak of a model on an engine, and what `remember` wants to know of the run.

    `Footprint.total` has been corrected by what was measured, `Footprint.predicted` has not. None for a model
    that runs elsewhere, and for one of which too little is known.

    Args:
        model: its files.
        engine: that is going to run it.
        options: of the engine, over the spec's.
        work: that it is to do; four requests of 2,048 tokens by default.
        device: where it is going to run; the machine's own memory by default.
    """
    if model.spec.elsewhere:
        return None
    facts = of_path(model.path, model.revision)
    limit = facts.architecture.context_length if facts.architecture else 0
    wanted = work or Workload(4, min(2048, limit or 2048))
    spec = model.spec.model_copy(update={"options": {**model.spec.options, **(options or {})}})
    how = run_how(spec, engine, facts, device=device)
    found = predict(facts, wanted, how)
    return None if found is None else (found, how)
