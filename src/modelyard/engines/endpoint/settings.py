"""The options of a model behind a URL."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from modelyard.engines.base import check_option
from modelyard.engines.endpoint.dialects import DIALECTS
from modelyard.errors import AuthenticationError, InvalidArgumentError

OPTIONS = {
    "model": "the model's name on the server (the Hub id of its source, else the only one that the server has)",
    "api_key": "key for the server; better named than written: see api_key_env",
    "api_key_env": "the environment variable that holds the key",
    "headers": "more headers, by name",
    "connect_timeout": "seconds to be connected (10)",
    "timeout": "seconds until the first byte of an answer (600)",
    "stall_timeout": "seconds between two pieces of an answer (120)",
    "retries": "times that a request is sent again where the server has not begun on it (3)",
    "longest_wait": "seconds of Retry-After that are waited for (60)",
    "max_connections": "connections at a time (256)",
    "verify": "false trusts any certificate; a path names the authorities to trust (the system's)",
    "probe": "ask the server at the start what it can do, with a few short requests (true)",
    "dialect": f"what is taken beyond OpenAI's protocol: {', '.join(DIALECTS)} (found out)",
    "context_length": "tokens of prompt and answer, where the server does not tell",
}
_SECONDS = ("connect_timeout", "timeout", "stall_timeout", "longest_wait")
_COUNTS = {"retries": 0, "max_connections": 1, "context_length": 1}


@dataclass(slots=True, frozen=True)
class Settings:
    """The options, checked.

    Attributes:
        key: sent as `Authorization: Bearer`, in no repr.
        headers: likewise.
    """

    model: str | None = None
    key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    connect_timeout: float = 10.0
    timeout: float = 600.0
    stall_timeout: float = 120.0
    retries: int = 3
    longest_wait: float = 60.0
    max_connections: int = 256
    verify: bool | str = True
    probe: bool = True
    dialect: str | None = None
    context_length: int | None = None

    @classmethod
    def read(
        cls, options: Mapping[str, Any], *, engine: str = "endpoint", more: Mapping[str, str] = {}
    ) -> Settings:
        """Reads the options; those in `more` are the caller's.

        Raises:
            InvalidArgumentError: an option is not known, or has no such value.
            AuthenticationError: the variable that is to hold the key is empty.
        """
        for key in options:
            check_option(engine, key, (*OPTIONS, *more))
        values = {key: value for key, value in options.items() if value is not None and key in OPTIONS}
        for name, value in values.items():
            _check(name, value)
        values["key"] = _key(values.pop("api_key", None), values.pop("api_key_env", None))
        return cls(**values)


def read_url(url: str) -> str:
    """The address under which the protocol's routes lie, without a slash at its end.

    >>> read_url("http://localhost:8000"), read_url("https://host/v1/chat/completions")
    ('http://localhost:8000/v1', 'https://host/v1')

    Raises:
        InvalidArgumentError: it is no http or https URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InvalidArgumentError(
            f"url is {url!r:.120}", hint="Write it as https://host/v1, without '?' and '#'."
        )
    path = re.sub(r"/(chat/)?completions$", "", parts.path.rstrip("/"))
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}"


def _check(name: str, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in _SECONDS and not (number and 0 < value < 1e6):
        raise _bad(name, value, "a number of seconds above 0")
    if name in _COUNTS and not (number and value == int(value) and _COUNTS[name] <= value < 2**31):
        raise _bad(name, value, f"a whole number, {_COUNTS[name]} or more")
    if name == "probe" and not isinstance(value, bool):
        raise _bad(name, value, "true or false")
    if name == "verify" and not isinstance(value, bool | str):
        raise _bad(name, value, "true, false, or the path of a file of certificates")
    if name == "verify" and isinstance(value, str) and not Path(value).exists():
        raise _bad(name, value, "the path of a file of certificates; there is none")
    if name == "dialect" and value not in DIALECTS:
        raise _bad(name, value, f"one of {', '.join(DIALECTS)}")
    if name in ("model", "api_key", "api_key_env") and not (isinstance(value, str) and value):
        raise _bad(name, "***" if name == "api_key" else value, "a text")
    if name == "headers" and not (
        isinstance(value, Mapping) and all(isinstance(one, str) for pair in value.items() for one in pair)
    ):
        raise InvalidArgumentError("option 'headers' is no mapping of texts", hint="Write name: value.")


def _bad(name: str, value: Any, wanted: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"option '{name}' has value {value!r:.80}", hint=f"It has to be {wanted}.")


def _key(given: str | None, variable: str | None) -> str | None:
    if given is not None and variable is not None:
        raise InvalidArgumentError("api_key and api_key_env are both given", hint="Keep one of them.")
    if variable is None:
        return given
    value = os.environ.get(variable, "").strip()
    if not value:
        raise AuthenticationError(
            f"api_key_env names {variable}, and that variable is empty", hint=f"Set {variable} to the key."
        )
    return value
