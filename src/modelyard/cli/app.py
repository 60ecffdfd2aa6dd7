"""The command's tree: global options here, one module a group of commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli import bench, calibrate, demo, doctor, engines, extract, models, plan, review, serve, talk
from modelyard.cli.arguments import RayCommand
from modelyard.cli.settings import SETTINGS

app = typer.Typer(
    name="modelyard",
    help="Run, compare and trust open Hugging Face models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(models.app, name="models")
app.add_typer(engines.app, name="engines")
app.add_typer(bench.app, name="bench")
app.command()(talk.generate)
app.command()(talk.chat)
app.command(cls=RayCommand)(extract.extract)
app.command()(review.review)
app.command()(calibrate.calibrate)
app.command()(plan.plan)
app.command(cls=RayCommand)(serve.serve)
app.command()(demo.demo)
app.command()(doctor.doctor)


def _version(asked: bool) -> None:
    if asked:
        import modelyard

        print(f"modelyard {modelyard.__version__}")
        raise typer.Exit


@app.callback()
def settings(
    catalog: Annotated[
        Path | None, typer.Option(help="A YAML catalogue laid over the starter.", envvar="MODELYARD_CATALOG")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Use only what is on this machine.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave."),
    ] = False,
) -> None:
    """Run, compare and trust open Hugging Face models."""
    SETTINGS.catalog, SETTINGS.offline = catalog, offline
    if offline:
        import os

        # huggingface_hub reads it once, when it is imported.
        os.environ["HF_HUB_OFFLINE"] = "1"
