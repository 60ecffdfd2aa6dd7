"""A thread of its own for what a native library ties to the thread that first uses it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def in_passing_thread(make: Callable[[], T]) -> T:
    """Runs in a thread that ends with it, for loading a model.

    OpenVINO's CPU plugin gives the thread that loads it a signal stack, and frees that memory in whichever thread it
    is unloaded: a thread that lives on would meet its next signal (Ctrl-C, in the main thread) with a stack that is
    gone, and the process with it. torch keeps a team of threads for each thread that has computed something, for as
    long as that one lives; with more of them than cores, libgomp (`gomp_managed_threads`) has every team go to
    sleep at the end of each operation, and small operations take ten times as long.

    >>> in_passing_thread(lambda: 1 + 1)
    2
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(make())
        except BaseException as error:
            done.set_exception(error)

    # A daemon, and not waited for by an executor: Ctrl-C is not held up until a model is loaded.
    threading.Thread(target=run, name="load", daemon=True).start()
    return done.result()
