"""An installed environment: where it is, what is in it, and how to be rid of it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from modelyard.engines.environments.recipes import recipe
from modelyard.errors import EngineError, InvalidArgumentError, ModelNotFoundError
from modelyard.paths import data_dir, write_atomically

MARKER = "modelyard.json"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

# What would lead a Python into another one's packages, or pip to another place.
_DROPPED = {"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"} | {
    "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON", "PIP_DRY_RUN", "PIP_QUIET"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment that is whole.

    Args:
        name: what it was installed as.
        folder: where it is.
        hardware: `cpu` or `cuda`, what it was made for.
        versions: the packages that matter, each with its version; the first is what it is about.
        installed_at: when it was finished, in UTC.
        size: bytes on the disk.
        variables: environment variables for what runs in it.
        requirements: what pip was asked for.
    """

    name: str
    folder: Path
    hardware: str
    versions: Mapping[str, str]
    installed_at: datetime
    size: int
    variables: Mapping[str, str] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return interpreter(self.folder)

    @property
    def version(self) -> str:
        """The version of the package that it is about."""
        return next(iter(self.versions.values()), "")

    def environ(self) -> dict[str, str]:
        """The environment variables to run its Python with: ours without what would lead it astray."""
        return own_environ(self.variables)


def own_environ(variables: Mapping[str, str]) -> dict[str, str]:
    """This process's environment variables, made fit for a Python of its own."""
    kept = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    return {**kept, "PYTHONNOUSERSITE": "1", "PIP_USER": "0", **variables}


def engines_dir() -> Path:
    """The folder with all environments."""
    return data_dir() / "engines"


def folder_of(name: str) -> Path:
    """Where an environment is, or would be.

    Raises:
        InvalidArgumentError: the name would lead out of the folder of environments.
    """
    if not _NAME.fullmatch(name):
        raise InvalidArgumentError(
            f"an environment cannot be named {name!r}", hint="Use letters, digits, '-', '_' and '.'."
        )
    return engines_dir() / name


def interpreter(folder: Path) -> Path:
    """The Python of a virtual environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def find(name: str) -> Environment | None:
    """The environment of that name, None where there is none that is whole."""
    folder = folder_of(name)
    try:
        written: dict[str, Any] = json.loads((folder / MARKER).read_text("utf-8"))
        found = Environment(
            name=name,
            folder=folder,
            hardware=str(written["hardware"]),
            versions=dict(written["versions"]),
            installed_at=datetime.fromisoformat(written["installed_at"]),
            size=int(written["size"]),
            variables=dict(written["variables"]),
            requirements=tuple(written["requirements"]),
        )
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return found if found.python.exists() else None  # its base Python may have been removed


def write(environment: Environment) -> None:
    """Records an environment; from now on it is whole."""
    record = {
        "name": environment.name,
        "hardware": environment.hardware,
        "versions": dict(environment.versions),
        "installed_at": environment.installed_at.isoformat(timespec="seconds"),
        "size": environment.size,
        "variables": dict(environment.variables),
        "requirements": list(environment.requirements),
    }
    write_atomically(environment.folder / MARKER, json.dumps(record, indent=2) + "\n")


def lock_file(name: str) -> Path:
    """The lock that whoever builds or removes an environment holds."""
    engines_dir().mkdir(parents=True, exist_ok=True)
    return engines_dir() / f"{name}.lock"


def aside(folder: Path) -> Path:
    """Where an environment waits while it is built anew."""
    return folder.with_name(f".{folder.name}.old")


def remove(name: str) -> int:
    """Removes an environment, a half-built one too; gives the bytes that this has freed.

    Raises:
        InvalidArgumentError: there is no recipe of that name, and nothing installed.
        ModelNotFoundError: it is not installed.
        EngineError: another process is installing it now.
    """
    from filelock import FileLock, Timeout

    folder = folder_of(name)
    there = [one for one in (folder, aside(folder)) if one.is_dir()]
    if not there:
        recipe(name)  # a misspelt name is another mistake
        raise ModelNotFoundError(
            f"the environment '{name}' is not installed", hint="`modelyard engines list` shows what is."
        )
    try:
        with FileLock(lock_file(name), timeout=0):
            freed = sum(map(disk_size, there))
            for one in there:
                (one / MARKER).unlink(missing_ok=True)  # first: what is left of it is never taken for whole
                shutil.rmtree(one, ignore_errors=True)
    except Timeout:
        raise EngineError(
            f"the environment '{name}' is being installed by another process", hint="Stop that one first."
        ) from None
    if left := [str(one) for one in there if one.exists()]:
        raise EngineError(f"not all of {', '.join(left)} could be removed", hint="Delete it yourself.")
    return freed


def disk_size(folder: Path) -> int:
    """The bytes of all files in a folder."""
    total = 0
    for where, _, files in os.walk(folder):
        for file in files:
            try:
                total += os.lstat(os.path.join(where, file)).st_size  # noqa: PTH118 (twice as fast)
            except OSError:
                continue
    return total
