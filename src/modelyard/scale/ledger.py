"""Ledger: one small actor beside the command that keeps what must be kept at once, and hears of lost workers."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from modelyard.extraction.asking.keep import Answer, Answers


class Ledger:
    """Holds the file of answers for workers on any machine, and what workers say of themselves.

    It is made a Ray actor on the machine of the command, whose file it is.

    Args:
        path: of the file of answers; None keeps none.
    """

    def __init__(self, path: str | None) -> None:
        self._answers = Answers(Path(path)) if path else None
        self._begun: dict[str, str] = {}
        self._notes: list[str] = []

    def get(self, question: str) -> Answer | None:
        """The answer to a question, None where it was not asked."""
        return None if self._answers is None else self._answers.get(question)

    def keep(self, question: str, answer: Answer) -> None:
        """Keeps an answer, at once."""
        if self._answers is not None:
            self._answers.keep(question, answer)

    def begun(self, worker: str, place: str) -> None:
        """A worker says that it has begun; one that had begun before was lost in between."""
        before = self._begun.get(worker)
        if before is not None:
            self._notes.append(f"{before} was lost; {place} took its place and what it had in hand")
        self._begun[worker] = place

    def notes(self) -> list[str]:
        """What has happened since this was last asked."""
        found, self._notes = self._notes, []
        return found


class RemoteAnswers:
    """The ledger's file of answers, as a worker sees it; the same two methods as `Answers`.

    Args:
        ledger: its actor handle.
    """

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger

    def get(self, question: str) -> Answer | None:
        """The answer to a question, None where it was not asked."""
        import ray

        found: Answer | None = ray.get(self._ledger.get.remote(question))
        return found

    def keep(self, question: str, answer: Answer) -> None:
        """Keeps an answer; it is on the disk when this returns."""
        import ray

        ray.get(self._ledger.keep.remote(question, answer))


def opened(ray: Any, path: Path | None) -> Any:
    """The ledger as an actor on this machine."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    made = ray.remote(Ledger).options(num_cpus=0, scheduling_strategy=here, max_concurrency=1)
    return made.remote(None if path is None else str(path.absolute()))


def say_begun(ledger: Any) -> None:
    """Says, from inside of a worker, that it has begun."""
    import ray

    context = ray.get_runtime_context()
    place = f"worker {os.getpid()} on {socket.gethostname()}"
    ray.get(ledger.begun.remote(context.get_actor_id() or place, place))
