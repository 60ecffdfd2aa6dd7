"""LangExtract as a process that answers jobs: its environment, made once in the cache, and what is asked of it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from modelyard.engines import environments
from modelyard.paths import cache_dir

RECIPE = environments.Recipe(
    name="langextract",
    purpose="LangExtract, which our extraction is measured against",
    hardware="cpu",
    steps=(("langextract[openai]==1.7.1",),),
    distributions=("langextract", "openai"),
    imports="langextract:extract",
    download=80_000_000,
    room=400_000_000,
)


def environment() -> environments.Environment:
    """LangExtract's environment, in the cache: it is none of the engines that the user has installed."""
    with mock.patch.dict(os.environ, MODELYARD_DATA=str(cache_dir() / "perf")):
        return environments.install(RECIPE)


class Peer:
    """The process."""

    def __init__(self, child: subprocess.Popen[str], errors: Path) -> None:
        self._child, self._errors = child, errors

    def ask(self, what: str, **job: Any) -> dict[str, Any]:
        """The answer to a job.

        Raises:
            RuntimeError: it failed, or its process has ended.
        """
        assert self._child.stdin and self._child.stdout
        self._child.stdin.write(json.dumps({"what": what, **job}) + "\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        said: dict[str, Any] = json.loads(line) if line else {"error": self._errors.read_text()[-2000:]}
        if "error" in said:
            raise RuntimeError(f"LangExtract: {said['error']}")
        return said


@contextlib.contextmanager
def langextract() -> Iterator[Peer]:
    """The process, started."""
    found = environment()
    line = [str(found.python), "-P", str(Path(__file__).with_name("langextract_side.py"))]
    with tempfile.TemporaryDirectory() as folder:
        errors = Path(folder) / "errors"
        with (
            errors.open("w") as said,
            subprocess.Popen(
                line,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                env=found.environ(),
            ) as child,
        ):
            try:
                yield Peer(child, errors)
            finally:
                child.kill()
