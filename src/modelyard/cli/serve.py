"""`serve`."""

from __future__ import annotations

import enum
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelyard.cli.arguments import RayAddress
from modelyard.cli.settings import SETTINGS

if TYPE_CHECKING:
    from modelyard.catalog.load import Catalog
    from modelyard.catalog.spec import ModelSpec
    from modelyard.serving.logs import Form
    from modelyard.serving.settings import ServerSettings


class ConfigKind(enum.StrEnum):
    """Whose configuration is written."""

    serve = "serve"
    kuberay = "kuberay"


def serve(
    catalog: Annotated[
        Path | None, typer.Argument(help="A catalogue file to serve; the whole catalogue where left out.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 5000,
    load: Annotated[
        list[str] | None, typer.Option(help="Load this model before the first request; may be given again.")
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(help="API keys, one a line as 'key' or 'name:key'; else MODELYARD_API_KEYS has them."),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Listen on a public address without API keys.")
    ] = False,
    host_name: Annotated[
        list[str] | None, typer.Option(help="A name by which it is reached; may be given again.")
    ] = None,
    allow_image_host: Annotated[
        list[str] | None, typer.Option(help="Fetch images from this host; may be given again.")
    ] = None,
    running: Annotated[int, typer.Option(help="Requests of one model that run at a time.")] = 64,
    queue: Annotated[int, typer.Option(help="Requests of one model that wait; more get 429.")] = 256,
    deadline: Annotated[float, typer.Option(help="Seconds that a request may take, waiting included.")] = 600,
    drain: Annotated[float, typer.Option(help="Seconds that running work has to finish after SIGTERM.")] = 30,
    max_body: Annotated[int, typer.Option(help="Bytes of a request.")] = 20 * 2**20,
    body_timeout: Annotated[float, typer.Option(help="Seconds in which a request has to arrive whole.")] = 30,
    send_timeout: Annotated[
        float, typer.Option(help="Seconds that a reader may take nothing before his request is dropped.")
    ] = 30,
    stuck_after: Annotated[
        float, typer.Option(help="Seconds without a sign of life after which a model is started again.")
    ] = 60,
    log: Annotated[
        str | None, typer.Option(help="json or text; text where stderr is a terminal, else json.")
    ] = None,
    ray: RayAddress = None,
    write_config: Annotated[
        ConfigKind | None,
        typer.Option(
            help="Print the configuration of a Ray Serve application or of KubeRay, and serve nothing."
        ),
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="The container image that KubeRay's configuration names.")
    ] = None,
) -> None:
    """Serve every model of the catalogue over HTTP: OpenAI's routes, the models' own, and a page to try them."""
    from modelyard.errors import EngineNotInstalledError, InvalidArgumentError

    try:
        from modelyard.serving.run import serve as run
    except ImportError as error:
        raise EngineNotInstalledError(
            f"the server's packages are not installed ({error.name} is missing)",
            hint="pip install 'modelyard[serve]'",
        ) from None
    from modelyard.catalog.load import load_catalog
    from modelyard.serving.keys import ApiKeys
    from modelyard.serving.settings import ServerSettings

    if log not in (None, "json", "text"):
        raise InvalidArgumentError(f"--log is {log!r}", hint="It is json or text.")
    form: Form = "text" if log == "text" or (log is None and sys.stderr.isatty()) else "json"
    on_start = _welcome if sys.stderr.isatty() else None
    settings = ServerSettings(
        host=host,
        port=port,
        keys=ApiKeys.read(api_key_file),
        public=public,
        hosts=tuple(host_name or ()),
        image_hosts=tuple(allow_image_host or ()),
        running=running,
        queue=queue,
        deadline=deadline,
        drain=drain,
        max_body=max_body,
        stuck_after=stuck_after,
        body_timeout=body_timeout,
        send_timeout=send_timeout,
    )
    found = load_catalog(catalog or SETTINGS.catalog)
    specs = found.own() if catalog else tuple(found)
    if write_config is not None:
        _write_config(write_config, found, specs, settings, image, "text" if log == "text" else "json")
        return
    if ray is not None:
        from modelyard.scale.cluster import Where
        from modelyard.scale.serve import serve_on_ray

        serve_on_ray(
            found, specs, settings, Where.read(ray), load=load or (), offline=SETTINGS.offline,
            log=form, on_start=on_start,
        )  # fmt: skip
        return
    run(
        found,
        settings,
        specs=found.own() if catalog else None,
        load=load or (),
        offline=SETTINGS.offline,
        log=form,
        on_start=on_start,
    )


def _write_config(
    kind: ConfigKind,
    catalog: Catalog,
    specs: Sequence[ModelSpec],
    settings: ServerSettings,
    image: str | None,
    log: Form,
) -> None:
    from modelyard.scale.cluster import resources_of
    from modelyard.scale.config import as_yaml, kuberay_config, serve_config

    config = serve_config(catalog, specs, settings, resources=resources_of(specs), log=log)
    made = config if kind is ConfigKind.serve else kuberay_config(config, image=image)
    print(as_yaml(made), end="")


def _welcome(url: str) -> None:
    from modelyard.cli.show import stderr

    stderr().print(f"modelyard is at [bold]{url}[/bold] (Ctrl-C stops it)", highlight=False)
