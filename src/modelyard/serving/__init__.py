"""The server: every model of the catalogue over HTTP.

`create_app` makes the FastAPI application, `serve` runs it until it is told to stop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelyard.serving.app import create_app
    from modelyard.serving.run import serve
    from modelyard.serving.settings import ServerSettings

__all__ = ["ServerSettings", "create_app", "serve"]

_WHERE = {"create_app": "app", "serve": "run", "ServerSettings": "settings"}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        from importlib import import_module

        return getattr(import_module(f"modelyard.serving.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
