"""Progress of a load: engines tell it here, whoever has asked for the model shows it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from modelyard.catalog.progress import Progress, Silent

_HERE: ContextVar[Progress | None] = ContextVar("modelyard_load_progress", default=None)


@contextlib.contextmanager
def reporting_to(progress: Progress | None) -> Iterator[None]:
    """What is loaded inside tells this progress how it goes on."""
    before = _HERE.set(progress)
    try:
        yield
    finally:
        _HERE.reset(before)


def load_progress() -> Progress:
    """Where the load that runs now reports; a silent one where nobody watches."""
    return _HERE.get() or Silent()
