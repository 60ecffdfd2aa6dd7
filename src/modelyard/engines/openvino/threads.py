"""A thread of its own for what makes OpenVINO load its CPU plugin."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def in_passing_thread(make: Callable[[], T]) -> T:
    """Runs in a thread that ends with it.

    The plugin gives the thread that loads it a signal stack, and frees that memory in whichever thread it is
    unloaded: a thread that lives on would meet its next signal (Ctrl-C, in the main thread) with a stack that is
    gone, and the process with it.

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
    threading.Thread(target=run, name="openvino-load", daemon=True).start()
    return done.result()
