"""`doctor`: what this machine has, and what is missing."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from modelyard.cli.settings import SETTINGS
from modelyard.cli.show import Waiting, print_json, print_table, size


def doctor(as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False) -> None:
    """Show engines, token, Hub, cache and catalogue, and what is missing."""
    with Waiting("looking around"):
        found = _examine()
    if as_json:
        print_json(found)
        return
    machine, token, hub, cache = found["machine"], found["token"], found["hub"], found["cache"]
    print(f"modelyard  {found['modelyard']}, Python {machine['python']}, {machine['system']}")
    print(f"machine    {machine['cpu']}, {machine['cores']} cores, {size(machine['memory'])} memory")
    print(f"token      {'found in ' + token if token else 'none: gated and hosted models need one'}")
    print(f"hub        {hub['url']}: {hub['answer']}")
    print(f"cache      {cache['path']}, {size(cache['free'])} free")
    print(f"catalogue  {found['catalogue']['models']} models" + _own(found["catalogue"]["file"]))
    print()
    print_table(
        ("engine", "version", "what it runs here, or how to get it"), map(_row, found["engines"].items())
    )
    print("`modelyard engines show NAME` lists an engine's options.")


def _row(entry: tuple[str, dict[str, Any]]) -> tuple[str, str, str]:
    name, engine = entry
    if engine["missing"] is not None:
        return name, "missing", engine["missing"]
    return name, engine["version"], engine["runs"]


def _own(file: str | None) -> str:
    return f", {file} over the starter" if file else ", the starter alone"


def _examine() -> dict[str, Any]:
    import modelyard
    from modelyard.catalog.auth import find_token
    from modelyard.paths import cache_dir

    catalog = SETTINGS.load_catalog()
    token = find_token()
    cache = cache_dir()
    return {
        "modelyard": modelyard.__version__,
        "machine": _machine(),
        "engines": _engines(),
        "token": token.where if token else None,
        "hub": _hub(),
        "cache": {"path": str(cache), "free": shutil.disk_usage(_existing(cache)).free},
        "catalogue": {"models": len(catalog), "file": str(catalog.file) if catalog.file else None},
    }


def _machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory": memory,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "CPU"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")


def _engines() -> dict[str, dict[str, Any]]:
    from modelyard.engines.abilities import runs
    from modelyard.engines.registry import engine_class, engine_names

    found: dict[str, dict[str, Any]] = {}
    for name in engine_names():
        engine = engine_class(name)
        missing = engine.missing()
        version = None if missing else engine.version()
        found[name] = {
            "missing": missing,
            "version": version,
            "runs": runs(name),
            "options": dict(engine.OPTIONS),
        }
    return found


def _hub() -> dict[str, Any]:
    """Whether the Hub answers; the token is not sent."""
    from modelyard.catalog.auth import redact

    given = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    url = redact(given)
    if SETTINGS.offline or os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
        return {"url": url, "reachable": None, "answer": "not asked (offline)"}
    import httpx2

    try:
        response = httpx2.get(f"{given}/api/models?limit=1", timeout=4.0, follow_redirects=False)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return {"url": url, "reachable": False, "answer": f"does not answer ({type(error).__name__})"}
    reachable = response.status_code < 400
    return {
        "url": url,
        "reachable": reachable,
        "answer": "answers" if reachable else f"says {response.status_code}",
    }


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
