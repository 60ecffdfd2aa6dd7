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
