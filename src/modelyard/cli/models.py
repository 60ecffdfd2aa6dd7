"""`models list | show | pull | lock | plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli.plan import plan
from modelyard.cli.settings import SETTINGS
from modelyard.cli.show import Bars, print_json, print_table

if TYPE_CHECKING:
    from modelyard.catalog.spec import ModelSpec

app = typer.Typer(
    help="The catalogue: what is in it, where it comes from, what would run it.", no_args_is_help=True
)

AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Names = Annotated[list[str], typer.Argument(help="Aliases, Hub ids or paths.")]


@app.command("list")
def list_models(
    family: Annotated[str | None, typer.Option(help="Only this family.")] = None,
    task: Annotated[str | None, typer.Option(help="Only this task.")] = None,
    local: Annotated[bool, typer.Option("--local", help="Only what is on this machine.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the models of the catalogue."""
    from modelyard.catalog.lock import read_lock
    from modelyard.catalog.pull import find_local

    catalog = SETTINGS.load_catalog()
    lock = read_lock(catalog)
    rows = []
    for spec in catalog:
        if (family and spec.family != family) or (task and spec.task != task):
            continue
        here = not spec.elsewhere and find_local(spec, lock) is not None
        if here or not local:
            rows.append((spec, here))
    if as_json:
        print_json({"models": [_described(spec) | {"local": here} for spec, here in rows]})
        return
    columns = ("alias", "task", "family", "size", "source", "licence", "here")
    print_table(columns, [_row(spec, here) for spec, here in rows])


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="An alias, a Hub id or a path.")], as_json: AsJson = False
) -> None:
    """Show one model: sources, task, defaults, licence, where it was defined."""
    spec = SETTINGS.load_catalog().resolve(name)
    data = _described(spec)
    if as_json:
        print_json(data)
        return
    for key, value in data.items():
        if value not in (None, "", [], {}, False):
            print(f"{key + ':':<16} {_text(value)}")


@app.command()
def pull(names: Names, as_json: AsJson = False) -> None:
    """Download models into the cache, checked against their hashes; what was cut goes on."""
    from modelyard.catalog.lock import read_lock
    from modelyard.catalog.pull import pull as pull_model

    catalog = SETTINGS.load_catalog()
    lock = read_lock(catalog)
    specs = [catalog.resolve(name) for name in names]
    found = []
    for spec in specs:
        bars = Bars()
        try:
            model = pull_model(spec, offline=SETTINGS.offline, progress=bars, lock=lock)
        finally:
            bars.done()
        found.append(
            {"alias": spec.alias, "path": str(model.path), "revision": model.revision, "source": model.source}
        )
        if not as_json:
            print(f"{spec.alias}  {model.path}")
    if as_json:
        print_json({"models": found})


@app.command()
def lock(
    names: Annotated[
        list[str] | None, typer.Argument(help="Aliases; those of your own catalogue by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Pin every Hub model to the commit it has now, in models.lock."""
    from modelyard.catalog.lock import write_lock
    from modelyard.errors import OfflineError

    if SETTINGS.offline:
        raise OfflineError("a lock is written from what the Hub says now")
    written = write_lock(SETTINGS.load_catalog(), names or None)
    if as_json:
        pins = {
            alias: [pin.model_dump(exclude_defaults=True) for pin in found]
            for alias, found in written.pins.items()
        }
        print_json({"file": str(written.file), "models": pins})
        return
    for alias, found in sorted(written.pins.items()):
        for pin in found:
            print(f"{alias}  {pin.hub or ', '.join(pin.packages)}  {pin.commit or ''}".rstrip())
    print(f"written: {written.file}")


app.command("plan")(plan)


def _described(spec: ModelSpec) -> dict[str, Any]:
    data = spec.model_dump(mode="json", exclude={"sources"})
    data["sources"] = [str(source) for source in spec.sources]
    return {"alias": spec.alias, "defined_in": spec.defined_in, **data}


def _row(spec: ModelSpec, here: bool) -> tuple[str, ...]:
    source = str(spec.sources[0]) if spec.sources else spec.url or "–"
    licence = (spec.licence or "") + (" (gated)" if spec.gated else "")
    task = f"{spec.task}, adapter" if spec.adapter else spec.task
    return (
        spec.alias,
        task,
        spec.family or "",
        spec.parameters or "",
        source,
        licence,
        "yes" if here else "",
    )


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}={one}" for key, one in value.items())
    return str(value)
