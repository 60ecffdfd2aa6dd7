"""The environments of engines that tests need: installed once for all runs, in the user's own data folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelyard.engines import environments
from modelyard.paths import data_dir

OWN_DATA = os.environ.get("MODELYARD_DATA")
"""The user's data folder, as it was named before the tests took one of their own."""


def shared(name: str) -> environments.Environment:
    """An environment, installed where it is not; the tests' own data folder gets a link to it."""
    ours = data_dir() / "engines" / name
    with pytest.MonkeyPatch.context() as patch:
        if OWN_DATA is None:
            patch.delenv("MODELYARD_DATA", raising=False)
        else:
            patch.setenv("MODELYARD_DATA", OWN_DATA)
        found = environments.find(name) or environments.install(name)
    _link(ours, found.folder)
    linked = environments.find(name)
    assert linked is not None
    return linked


def _link(place: Path, target: Path) -> None:
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)


def unshare(name: str) -> None:
    """Takes the link away again: tests after this one see a machine without the environment."""
    ours = data_dir() / "engines" / name
    if ours.is_symlink():
        ours.unlink()
