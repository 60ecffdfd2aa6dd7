"""serve_on_ray: a catalogue on Ray Serve, from the first request to a stop in good order."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from modelyard.catalog.load import Catalog
from modelyard.catalog.spec import ModelSpec
from modelyard.errors import (
    EngineError,
    EngineNotInstalledError,
    InvalidArgumentError,
    ModelNotFoundError,
    nearest,
)
from modelyard.scale.cluster import Where, joined, resources_of
from modelyard.scale.config import VLLM_APP, llm_args
from modelyard.scale.served import APP, VLLM_ROUTE, bound, holds, vllm_url, with_bases
from modelyard.serving.logs import Form, say, set_up
from modelyard.serving.settings import ServerSettings

_STARTED = 900.0  # seconds that the first replicas have to load their models


def serve_on_ray(
    catalog: Catalog,
    specs: Sequence[ModelSpec],
    settings: ServerSettings,
    where: Where,
    *,
    load: Sequence[str] = (),
    offline: bool = False,
    log: Form = "json",
    on_start: Callable[[str], None] | None = None,
) -> None:
    """Serves a catalogue on a cluster until SIGTERM or Ctrl-C. Blocks, and belongs in the main thread.

    Args:
        catalog: the models, and where adapters find their bases.
        specs: those of them that are served.
        settings: address, keys and limits; they are those of one server, however many replicas stand behind it.
        where: the cluster.
        load: models to load before the first request, by alias.
        offline: use only what is on the machines.
        log: a JSON object a line, or short lines for people: what this process says on stderr, and what the server's
            replica writes to its log, which Ray keeps.
        on_start: called with the URL once it takes requests.

    Raises:
        InvalidArgumentError: the address cannot be listened on, or something serves on this cluster already.
        ModelNotFoundError: a model to load is not served.
        EngineError: the application could not be started.
    """
    for name in load:
        _served(name, specs)
    settings = _with_port(settings)
    set_up(log)
    with joined(where) as ray, _asked_to_stop() as stop:
        from ray import serve as rays

        serve: Any = rays
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        if APP in serve.status().applications:
            raise InvalidArgumentError(
                f"an application '{APP}' is served on this cluster already",
                hint="`serve shutdown` ends it, or take another cluster.",
            )
        serve.start(http_options={"host": settings.host, "port": settings.port}, logging_config=_QUIET)
        try:
            kind = "cuda" if ray.cluster_resources().get("GPU") else "cpu"
            vllm = _start_vllm(serve, with_bases(catalog, specs), settings, kind, offline)
            app = bound(
                catalog, specs, settings, offline=offline, vllm=vllm, resources=resources_of(specs), log=log
            )
            _run(serve, app, APP, "/")
            for name in load:
                _load(serve, _served(name, specs))
            say(
                "started",
                url=_url(settings),
                models=[one.alias for one in specs],
                keys=len(settings.keys.hashes),
            )
            if on_start is not None:
                on_start(_url(settings))
            stop.wait()
        finally:
            serve.shutdown()
            say("stopped")


_QUIET = {"log_level": "WARNING", "enable_access_log": False}


def _run(serve: Any, app: Any, name: str, route: str) -> None:
    try:
        serve.run(app, name=name, route_prefix=route, logging_config=_QUIET)
    except RuntimeError as error:
        said = str(error).strip().splitlines() or ["no reason given"]
        raise EngineError(f"Ray Serve could not start '{name}': {said[-1][:300]}") from error


def _start_vllm(
    serve: Any, specs: Sequence[ModelSpec], settings: ServerSettings, kind: str, offline: bool
) -> str | None:
    """Starts Ray Serve LLM for the models of engine vllm; the address of its routes, None where there are none."""
    args = llm_args(specs, kind, key=settings.keys.joint, offline=offline)
    if not args:
        return None
    try:
        with _own_log():
            from ray.serve.llm import build_openai_app
    except ImportError as error:
        raise EngineNotInstalledError(
            f"Ray Serve LLM cannot run '{args['llm_configs'][0]['model_loading_config']['model_id']}' here: "
            f"{str(error).splitlines()[0][:200]}",
            hint="pip install 'ray[llm]' on every machine with a GPU, or give the model another engine.",
        ) from error
    try:
        app = build_openai_app(args)
    except ValueError as error:
        said = " ".join(str(error).split())
        raise InvalidArgumentError(
            f"Ray Serve LLM refuses its configuration: {said[:300]}", hint=""
        ) from error
    _run(serve, app, VLLM_APP, VLLM_ROUTE)
    return vllm_url(settings)


@contextlib.contextmanager
def _own_log() -> Iterator[None]:
    """Keeps the log the server's: an import of Ray Serve LLM gives the root logger a handler, and vLLM talks to it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        root.handlers[:] = handlers
        root.setLevel(level)


def _served(name: str, specs: Sequence[ModelSpec]) -> ModelSpec:
    for spec in specs:
        if spec.alias == name:
            return spec
    raise ModelNotFoundError(f"no model '{name}' is served.{nearest(name, [one.alias for one in specs])}")


def _load(serve: Any, spec: ModelSpec) -> None:
    """Has a replica of a model load it now."""
    if holds(spec):
        serve.get_deployment_handle(spec.alias, APP).about.remote().result(timeout_s=_STARTED)


def _with_port(settings: ServerSettings) -> ServerSettings:
    """With a free port where none is named, and one that can be listened on."""
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((settings.host, settings.port))
        except OSError as error:
            raise InvalidArgumentError(
                f"port {settings.port} on {settings.host} cannot be listened on: {error.strerror}",
                hint="Stop what listens there, or take another with --port (0 finds a free one).",
            ) from None
        return replace(settings, port=found.getsockname()[1])


def _url(settings: ServerSettings) -> str:
    return f"http://{settings.host}:{settings.port}"


@contextlib.contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set."""
    stop = threading.Event()
    before = {one: signal.signal(one, lambda *_: stop.set()) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
