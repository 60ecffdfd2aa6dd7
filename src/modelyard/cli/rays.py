"""What commands share that can work on a Ray cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelyard.scale.cluster import Where


@contextlib.contextmanager
def on_ray(address: str | None, workers: str | None) -> Iterator[tuple[Any, Where] | None]:
    """The cluster that `--ray` names, joined; None where there is no `--ray`.

    Raises:
        InvalidArgumentError: workers without a cluster, or one of the two cannot be read.
    """
    if address is None:
        if workers is not None:
            from modelyard.errors import InvalidArgumentError

            raise InvalidArgumentError("--ray-workers is given without --ray", hint="Add --ray.")
        yield None
        return
    from modelyard.cli.show import Waiting
    from modelyard.scale.cluster import LOCAL, Where, joined

    where = Where.read(address, workers)
    waiting = "starting Ray here" if where.address == LOCAL else f"joining Ray at {where.address}"
    with contextlib.ExitStack() as stack:
        with Waiting(waiting):
            ray = stack.enter_context(joined(where))
        yield ray, where


def said(text: str) -> None:
    """Prints what happens on the cluster, between the bars."""
    from modelyard.cli.show import stderr

    stderr().print(text, highlight=False, markup=False)
