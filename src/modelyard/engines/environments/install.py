"""Installing: a virtual environment, pip's steps, a last look, and the record that makes it whole."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from modelyard.catalog.sources.disk import check_room, naming_full_disk
from modelyard.engines.environments import pip
from modelyard.engines.environments.environment import (
    MARKER,
    Environment,
    aside,
    disk_size,
    find,
    folder_of,
    interpreter,
    lock_file,
    own_environ,
    write,
)
from modelyard.engines.environments.pip import InstallProgress, Silent
from modelyard.engines.environments.recipes import Recipe, recipe
from modelyard.engines.workspace import built_in_place
from modelyard.errors import DiskFullError, EngineError, InvalidArgumentError, OfflineError

_VERSIONS = "modelyard versions: "

_CHECK = f"""
import importlib, importlib.metadata, json, sys
wanted, *distributions = sys.argv[1:]
module, _, attribute = wanted.partition(":")
found = importlib.import_module(module)
if attribute:
    getattr(found, attribute)
print({_VERSIONS!r} + json.dumps({{one: importlib.metadata.version(one) for one in distributions}}), flush=True)
"""


def install(
    what: str | Recipe,
    *,
    hardware: str | None = None,
    offline: bool = False,
    progress: InstallProgress | None = None,
    force: bool = False,
) -> Environment:
    """Makes an environment, unless it is there.

    Of two processes that want the same one, one makes it and the other one waits. One that is interrupted or
    killed leaves nothing that would be taken for whole.

    Args:
        what: an environment's name, or a recipe of your own.
        hardware: `cpu` or `cuda`; found out where it is not given.
        offline: whether to raise rather than to ask a package index.
        progress: told how it goes on.
        force: whether to build anew what is there; the old one stays until the new one is whole.

    Raises:
        InvalidArgumentError: there is no such environment, or it is there for other hardware.
        OfflineError: it is not there, and nothing may be downloaded.
        DownloadError: the package index gives no answer.
        EngineError: a package cannot be had or installed, or what was installed does not work.
        DiskFullError: there is no room for it.
    """
    wanted = what if isinstance(what, Recipe) else recipe(what, hardware)
    heard = progress or Silent()
    if not force and (found := find(wanted.name)) is not None:
        return _fitting(found, hardware)
    if offline:
        raise OfflineError(
            f"the environment '{wanted.name}' has to be downloaded",
            hint=f"Run `modelyard engines install {wanted.name}` once without --offline.",
        )
    folder = folder_of(wanted.name)
    try:
        with _alone(wanted, heard), naming_full_disk(folder.parent, f"the environment '{wanted.name}'"):
            _recover(folder)
            if not force and (found := find(wanted.name)) is not None:
                return _fitting(found, hardware)
            with _old_aside(folder):
                return _build(wanted, folder, heard)
    except DiskFullError as error:
        raise DiskFullError(error.message, hint=pip.ROOM_HINT) from None
    except OSError as error:
        raise EngineError(
            f"the environment '{wanted.name}' cannot be made in {folder}: {error}",
            hint="Set MODELYARD_DATA to a folder that you can write to.",
        ) from error


def _fitting(found: Environment, hardware: str | None) -> Environment:
    if hardware not in (None, found.hardware):
        raise InvalidArgumentError(
            f"the environment '{found.name}' is installed for '{found.hardware}', not for '{hardware}'",
            hint="Build it anew with --force.",
        )
    return found


@contextlib.contextmanager
def _alone(wanted: Recipe, progress: InstallProgress) -> Iterator[None]:
    """A lock between processes; the one that waits says so."""
    from filelock import FileLock, Timeout

    lock = FileLock(lock_file(wanted.name))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.note(f"Another process is installing {wanted.name}; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _recover(folder: Path) -> None:
    """What a killed rebuild left: the old environment, which goes back to its place."""
    old = aside(folder)
    if (old / MARKER).is_file() and not (folder / MARKER).is_file():
        shutil.rmtree(folder, ignore_errors=True)
        old.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _old_aside(folder: Path) -> Iterator[None]:
    """Takes the environment that is there out of the way, and brings it back where the new one fails."""
    if (folder / MARKER).is_file():
        folder.replace(aside(folder))
    try:
        yield
    finally:
        _recover(folder)


def _build(wanted: Recipe, folder: Path, progress: InstallProgress) -> Environment:
    check_room(folder, wanted.room, f"the environment '{wanted.name}'")
    with built_in_place(folder):
        work = _Work(wanted, folder, progress)
        work.create()
        for number, step in enumerate(wanted.steps, 1):
            progress.stage(f"step {number} of {len(wanted.steps)}: {', '.join(step)}")
            work.pip("install", "--progress-bar", "off", *step)
        if wanted.removed:
            progress.stage(f"taking out {', '.join(wanted.removed)}")
            work.pip("uninstall", "--yes", *wanted.removed)
        progress.stage(f"trying to import {wanted.imports}")
        versions = work.versions()
        work.tidy()
        made = Environment(
            name=wanted.name,
            folder=folder,
            hardware=wanted.hardware,
            versions=versions,
            installed_at=datetime.now(UTC).replace(microsecond=0),
            size=disk_size(folder),
            variables=dict(wanted.variables),
            requirements=tuple(dict.fromkeys(one for step in wanted.steps for one in step)),
        )
        write(made)
    return made


class _Work:
    """The commands that build one environment."""

    def __init__(self, wanted: Recipe, folder: Path, progress: InstallProgress) -> None:
        self._wanted, self._folder, self._progress = wanted, folder, progress
        self._environ = own_environ(wanted.variables)
        self._temporary = folder / "tmp"  # on the disk that was asked for room, and gone with the folder
        self._settings = folder / "pip.conf"

    def create(self) -> None:
        """The empty environment, with a pip that has the settings of ours."""
        self._progress.stage(f"creating an environment in {self._folder}")
        self._temporary.mkdir()
        base = getattr(sys, "_base_executable", None) or sys.executable
        status, said = self._run([base, "-I", "-m", "venv", str(self._folder)])
        if status != 0:
            raise pip.failure(f"making a virtual environment with {base}", said, self._folder)
        ours = Path(sys.prefix) / "pip.conf"
        if sys.prefix != sys.base_prefix and ours.is_file():
            shutil.copy2(ours, self._settings)

    def pip(self, command: str, *arguments: str) -> None:
        """Runs pip in the environment.

        Raises:
            ModelyardError: pip has failed.
        """
        python = str(interpreter(self._folder))
        line = [python, "-P", "-m", "pip", command, "--disable-pip-version-check", "--no-input", *arguments]
        status, said = self._run(line)
        if status != 0:
            raise pip.failure(f"installing {self._wanted.name}", said, self._folder)

    def versions(self) -> dict[str, str]:
        """The versions that are recorded, from an environment that works.

        Raises:
            EngineError: the module cannot be imported, or a package is missing.
        """
        python = str(interpreter(self._folder))
        line = [python, "-P", "-c", _CHECK, self._wanted.imports, *self._wanted.distributions]
        status, said = self._run(line)
        found = next((one for one in reversed(said) if one.startswith(_VERSIONS)), None)
        if status != 0 or found is None:
            raise EngineError(
                f"{self._wanted.name} was installed and does not work: its Python cannot import "
                f"{self._wanted.imports}; it said:\n{pip.last_words(said)}",
                hint="The packages on the index may have changed; a newer modelyard may have a new recipe.",
            )
        versions: dict[str, str] = json.loads(found.removeprefix(_VERSIONS))
        return versions

    def tidy(self) -> None:
        """Takes away what only the building needed; pip's settings may hold a password."""
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._settings.unlink(missing_ok=True)

    def _run(self, line: list[str]) -> tuple[int, list[str]]:
        return pip.run(line, self._environ, self._progress, self._temporary)
