"""An engine in a child process: what crashes there harms no other request, and its memory comes back whole."""

from modelyard.engines.worker.engine import WorkerEngine, in_worker

__all__ = ["WorkerEngine", "in_worker"]
