"""Index settings: where the user's own pip and uv look for packages.

Read as pip reads them: the files of the machine, the user and the virtual environment, each later one over
the former, then the file named by PIP_CONFIG_FILE, then PIP_* variables. uv's variables are added to them.
"""

from __future__ import annotations

import configparser
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelyard.catalog.auth import redact
from modelyard.errors import InvalidArgumentError

PYPI = "https://pypi.org/simple/"
PIP_TIMEOUT = 15.0
_SECTIONS = ("global", "download", "install")  # the weakest first


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """What pip and uv are told about package indexes; URLs may hold credentials, so it has no repr."""

    indexes: tuple[str, ...] = (PYPI,)
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    cert: str | None = None
    client_cert: str | None = None
    proxy: str | None = None
    timeout: float = PIP_TIMEOUT

    def __repr__(self) -> str:
        shown = ", ".join(redact(one) for one in (*self.find_links, *self.indexes))
        return f"IndexSettings({shown})"


def read_settings() -> IndexSettings:
    """The settings that `pip download` would use here."""
    pip = _pip_values()
    default, extra, links = _uv_values()
    index = pip.get("index-url") or (default[0] if default else PYPI)
    others = [*pip.get("extra-index-url", "").split(), *default, *extra]
    indexes = [] if _yes(pip.get("no-index")) else list(dict.fromkeys([index, *others]))
    cert = pip.get("cert") or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return IndexSettings(
        indexes=tuple(indexes),
        find_links=tuple(dict.fromkeys([*pip.get("find-links", "").split(), *links])),
        trusted_hosts=tuple(pip.get("trusted-host", "").split()),
        cert=cert or None,
        client_cert=pip.get("client-cert") or None,
        proxy=pip.get("proxy") or None,
        timeout=_seconds(pip.get("timeout") or pip.get("default-timeout")),
    )


def _pip_values() -> dict[str, str]:
    sections: dict[str, dict[str, str]] = {name: {} for name in _SECTIONS}
    for file in _pip_files():
        for section, values in _parsed(file).items():
            if section in sections:
                sections[section].update(values)
    merged: dict[str, str] = {}
    for name in _SECTIONS:
        merged.update(sections[name])
    for variable, value in os.environ.items():
        if variable.startswith("PIP_") and value:
            merged[variable.removeprefix("PIP_").lower().replace("_", "-")] = value
    return merged


def _parsed(file: Path) -> Mapping[str, Mapping[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(file, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        reason = redact(str(error).splitlines()[0])
        raise InvalidArgumentError(
            f"pip's configuration cannot be read: {reason}", hint=f"Mend {file}."
        ) from None
    # pip reads index_url as index-url.
    return {
        name: {key.replace("_", "-"): value for key, value in parser[name].items()}
        for name in parser.sections()
    }


def _pip_files() -> Iterator[Path]:
    named = os.environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return
    name = "pip.ini" if os.name == "nt" else "pip.conf"
    yield from _machine_files(name)
    if not (named and Path(named).exists()):
        yield from _user_files(name)
    yield Path(sys.prefix) / name
    if named:
        yield Path(named).expanduser()


def _machine_files(name: str) -> Iterator[Path]:
    if os.name == "nt":
        yield Path(os.environ.get("PROGRAMDATA", "C:/ProgramData")) / "pip" / name
        return
    if sys.platform == "darwin":
        yield Path("/Library/Application Support/pip") / name
    # XDG_CONFIG_DIRS lists the strongest first; here the strongest comes last.
    for folder in reversed(os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep)):
        yield Path(folder) / "pip" / name
    yield Path("/etc") / name


def _user_files(name: str) -> Iterator[Path]:
    home = Path.home()
    if os.name == "nt":
        yield home / "pip" / name
        yield Path(os.environ.get("APPDATA", home / "AppData/Roaming")) / "pip" / name
        return
    yield home / ".pip" / name
    support = home / "Library/Application Support/pip"
    if sys.platform == "darwin" and support.is_dir():
        yield support / name
        return
    yield Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / name


def _uv_values() -> tuple[list[str], list[str], list[str]]:
    """uv's default index, its other indexes, and its find-links."""

    def listed(variable: str) -> list[str]:
        # An index may carry a name, as in `internal=https://…`.
        words = shlex.split(os.environ.get(variable, ""))
        return [
            tail if mark and "/" not in head else word
            for word in words
            for head, mark, tail in [word.partition("=")]
        ]

    links = [one for one in os.environ.get("UV_FIND_LINKS", "").replace(",", " ").split() if one]
    return (
        listed("UV_DEFAULT_INDEX") or listed("UV_INDEX_URL"),
        listed("UV_INDEX") + listed("UV_EXTRA_INDEX_URL"),
        links,
    )


def _yes(value: str | None) -> bool:
    return (value or "").strip().lower() in ("1", "true", "yes", "on", "y", "t")


def _seconds(value: str | None) -> float:
    try:
        return float(value) if value else PIP_TIMEOUT
    except ValueError:
        raise InvalidArgumentError(
            f"pip's 'timeout' has value {value!r}", hint="It has to be a number of seconds."
        ) from None
