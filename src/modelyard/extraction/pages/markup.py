"""Markup: templates in which everything is escaped, and what may stand in them as it is."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent
_ESCAPES = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


def environment(folder: Path) -> Environment:
    """Templates of a folder, with the shared files beside them; what they are given is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader((folder, _FOLDER)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def join_files(folder: Path, names: Iterable[str]) -> str:
    """Several files as one text, from the folder or from the shared ones."""
    found = (next(place / name for place in (folder, _FOLDER) if (place / name).exists()) for name in names)
    return "\n".join(one.read_text("utf-8") for one in found)


def join_scripts(folder: Path, names: Iterable[str]) -> str:
    """Several scripts as one, in a scope of its own."""
    return f'"use strict";\n(() => {{\n{join_files(folder, names)}}})();\n'


def trusted(script: str) -> str:
    """Our own script, or JSON in which nothing can end its element: neither is to be escaped."""
    from markupsafe import Markup

    return Markup(script)  # noqa: S704  (read from the package, or made by `script_json`)


def script_json(data: Any) -> str:
    """JSON that can stand inside of a `<script>`: pure ASCII, and nothing in it can end the element.

    >>> script_json("</script><!--")
    '"\\\\u003c/script\\\\u003e\\\\u003c!--"'
    """
    return json.dumps(data, separators=(",", ":"), allow_nan=False).translate(_ESCAPES)


def digest(script: str) -> str:
    """What a Content-Security-Policy calls a script or style: the SHA-256 of its text in base64."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def show(value: Any) -> str:
    """A value as people write it.

    >>> show(-0.41), show(12.0), show(0.1 + 0.2), show(None), show(["a", "b"])
    ('-0.41', '12', '0.3', '–', '["a", "b"]')
    """
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, float) and abs(value) < 1e15:
        return str(int(value)) if value.is_integer() else f"{value:.12g}"
    return json.dumps(value, ensure_ascii=False, default=str)
