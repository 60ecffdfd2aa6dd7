"""`engines list | show | install | remove`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli.settings import SETTINGS
from modelyard.cli.show import print_json, print_table, size, stderr

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from modelyard.engines.environments import Environment

app = typer.Typer(
    help="The engines: what can run here, and those that need an environment of their own.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Name = Annotated[str, typer.Argument(help="An environment; `modelyard engines list` shows them.")]


@app.command("list")
def list_engines(as_json: AsJson = False) -> None:
    """List the engines: what is installed, where, and what to do for the others."""
    found = [*_engines(), *_environments()]
    if as_json:
        print_json({"engines": found})
        return
    print_table(("name", "state", "version", "where", ">size", "what to do"), map(_row, found))


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="An engine, as the catalogue names it.")],
    as_json: AsJson = False,
) -> None:
    """Show an engine: what it runs here, and the options that a model can have for it."""
    from modelyard.engines.abilities import runs
    from modelyard.engines.registry import engine_class
    from modelyard.pool.loading import OPTIONS as OF_EVERY_ENGINE

    engine = engine_class(name)
    missing = engine.missing()
    options = {**engine.OPTIONS, **OF_EVERY_ENGINE}
    if as_json:
        print_json({"name": name, "missing": missing, "runs": runs(name), "options": options})
        return
    print(f"{name}: {runs(name)}" + (f"\nmissing: {missing}" if missing else ""))
    print_table(("option", "what it says"), options.items())


@app.command()
def install(
    name: Name,
    hardware: Annotated[
        str | None, typer.Option(help="cpu or cuda, in place of what is found here.", metavar="cpu|cuda")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Build it anew where it is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Install an engine in an environment of its own, in the data folder."""
    from modelyard.engines.environments import install as install_environment

    with Stages(name) as stages:
        made = install_environment(
            name, hardware=hardware, offline=SETTINGS.offline, progress=stages, force=force
        )
    if as_json:
        print_json(_described(made))
        return
    versions = ", ".join(f"{one} {version}" for one, version in made.versions.items())
    print(f"{made.name}  {made.folder}  {size(made.size)}\n{versions}")


@app.command()
def remove(name: Name, as_json: AsJson = False) -> None:
    """Remove an engine's environment; nothing is asked."""
    from modelyard.engines.environments import remove as remove_environment

    freed = remove_environment(name)
    if as_json:
        print_json({"name": name, "freed": freed})
        return
    print(f"{name} removed, {size(freed)} freed")


class Stages:
    """An installation as one bar on a terminal, else a line a stage, on stderr."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._file: str | None = None

    def __enter__(self) -> Stages:
        if sys.stderr.isatty():
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
            from rich.table import Column

            self._bar = Progress(
                TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, ratio=1)),
                BarColumn(bar_width=16), TextColumn("{task.fields[amount]}"), TimeElapsedColumn(),
                console=stderr(), transient=True, expand=True,
            )  # fmt: skip
            self._bar.start()
        return self

    def stage(self, text: str) -> None:
        self._file = None
        if self._bar is None:
            sys.stderr.write(f"{self._name}: {text}\n")
        self._begin(text, None)

    def download(self, file: str, done: int, total: int | None) -> None:
        if self._file != file:
            self._file = file
            self._begin(file, total)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, amount=f"{size(done)} of {size(total)}")

    def note(self, text: str) -> None:
        if self._bar is None:
            sys.stderr.write(f"{text}\n")
        else:
            self._bar.console.print(text, highlight=False, markup=False)

    def _begin(self, what: str, total: int | None) -> None:
        if self._bar is not None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(f"{self._name}: {what}", total=total, amount="")

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _engines() -> list[dict[str, Any]]:
    """The engines that run in this Python, or in one that it starts."""
    from modelyard.engines.environments import names
    from modelyard.engines.registry import engine_class, engine_names

    found = []
    for name in engine_names():
        if name in names():
            continue  # told of below, with its environment
        engine = engine_class(name)
        missing = engine.missing()
        found.append(
            {
                "name": name,
                "kind": "engine",
                "installed": missing is None,
                "version": None if missing else engine.version(),
                "path": sys.prefix,
                "size": None,
                "todo": missing,
            }
        )
    return found


def _environments() -> list[dict[str, Any]]:
    from modelyard.engines.environments import find, names, recipe

    found = []
    for name in names():
        wanted = recipe(name)
        made = find(name)
        if made is not None:
            found.append(_described(made) | {"purpose": wanted.purpose})
            continue
        found.append(
            {
                "name": name,
                "kind": "environment",
                "installed": False,
                "version": None,
                "path": None,
                "size": None,
                "todo": f"modelyard engines install {name}",
                "download": wanted.download,
                "purpose": wanted.purpose,
            }
        )
    return found


def _described(made: Environment) -> dict[str, Any]:
    return {
        "name": made.name,
        "kind": "environment",
        "installed": True,
        "version": made.version,
        "path": str(made.folder),
        "size": made.size,
        "todo": None,
        "python": str(made.python),
        "hardware": made.hardware,
        "versions": dict(made.versions),
        "installed_at": made.installed_at.isoformat(),
    }


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    state = "installed" if one["installed"] else "not installed"
    amount = "" if one["size"] is None else size(one["size"])
    where = ""
    if one["installed"]:
        where = "this Python" if one["kind"] == "engine" else _short(one["path"])
    elif "download" in one:
        amount = f"about {size(one['download'])}"
    return (one["name"], state, one["version"] or "", where, amount, one["todo"] or "")


def _short(path: str) -> str:
    home = os.path.expanduser("~")  # noqa: PTH111 (Path.home raises where there is none)
    return f"~{path.removeprefix(home)}" if path.startswith(home + os.sep) else path
