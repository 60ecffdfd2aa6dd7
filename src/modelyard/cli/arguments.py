"""Arguments that several commands share, and how `name=value` is read."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

Engine = Annotated[str | None, typer.Option(help="One engine in place of the automatic choice.")]
Options = Annotated[
    list[str] | None, typer.Option("--option", "-o", help="An option of the engine, as name=value.")
]


def pairs(given: list[str] | None, option: str) -> dict[str, Any]:
    """`name=value` options with their values read as JSON where they are, as text where not.

    >>> pairs(["top_k=5", "stop=END"], "--param")
    {'top_k': 5, 'stop': 'END'}
    """
    found: dict[str, Any] = {}
    for name, value in texts(given, option).items():
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def texts(given: list[str] | None, option: str) -> dict[str, str]:
    """`name=value` options with their values as they stand.

    >>> texts(["drug=Aspirin 100", "arm=2"], "--set")
    {'drug': 'Aspirin 100', 'arm': '2'}
    """
    found: dict[str, str] = {}
    for one in given or []:
        name, equals, value = one.partition("=")
        if not equals or not name:
            from modelyard.errors import InvalidArgumentError

            raise InvalidArgumentError(f"{option} has value {one!r}", hint="Write it as name=value.")
        found[name] = value
    return found


RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="[ADDRESS]",
        help="Work on a Ray cluster: HOST:PORT, auto, or one that is started here where nothing is said.",
    ),
]
RayWorkers = Annotated[
    str | None, typer.Option(help="Of the cluster: how many, or as in 1:8 the least and the most.")
]


def ray_named(args: list[str]) -> list[str]:
    """The arguments with `local` behind each `--ray` that names no cluster.

    >>> ray_named(["a.html", "--ray", "--model", "m"])
    ['a.html', '--ray', 'local', '--model', 'm']
    >>> ray_named(["--ray", "10.0.0.7:6379", "a.html"]), ray_named(["--ray", "a.html"])
    (['--ray', '10.0.0.7:6379', 'a.html'], ['--ray', 'local', 'a.html'])
    """
    from modelyard.scale.cluster import LOCAL, looks_like_address

    found: list[str] = []
    for at, one in enumerate(args):
        found.append(one)
        if one == "--ray" and not (at + 1 < len(args) and looks_like_address(args[at + 1])):
            found.append(LOCAL)
    return found


class RayCommand(typer.core.TyperCommand):
    """A command whose `--ray` may stand without a value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, ray_named(args) if "--ray" in args else args)
