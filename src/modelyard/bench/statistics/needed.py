"""scipy, loaded when a figure first needs it: it is an extra, and half a second to import."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from modelyard.errors import EngineNotInstalledError


def scipy(part: str) -> Any:
    """One of scipy's modules.

    Args:
        part: its name within scipy.

    Raises:
        EngineNotInstalledError: scipy is not installed.

    >>> scipy("stats").__name__
    'scipy.stats'
    """
    try:
        return import_module(f"scipy.{part}")
    except ImportError as error:
        raise EngineNotInstalledError(
            f"scipy.{part} cannot be imported ({error}), and a benchmark's intervals and tests need it",
            hint="pip install 'modelyard[bench]'",
        ) from error
