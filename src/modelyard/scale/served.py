"""A catalogue on Ray Serve: one deployment a model, and our server as the deployment in front of them."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from modelyard.adapters import Adapters
from modelyard.catalog.load import Catalog
from modelyard.catalog.spec import ModelSpec
from modelyard.engines.base import Engine
from modelyard.engines.ray_serve import About
from modelyard.engines.vllm.settings import HTTP_OPTIONS
from modelyard.errors import InvalidArgumentError, UnsupportedError
from modelyard.pool import Pool
from modelyard.serving.keys import ApiKeys
from modelyard.serving.logs import Form
from modelyard.serving.settings import ServerSettings
from modelyard.types import Adapter, Chunk, Request

APP = "modelyard"
FRONT = "server"
VLLM_ROUTE = "/vllm"
HEALTH = 5
"""Seconds between two questions whether a replica is well."""
_SHARED = (*HTTP_OPTIONS, "context_length")  # options of vLLM that are an endpoint's too
_IDLE = 300  # seconds without need after which a replica goes


class Held:
    """One model in one replica: the engine contract's methods, for `modelyard.engines.ray_serve`.

    Args:
        spec: of the model.
        catalog: where adapters are found by name.
        offline: use only what is on this machine.
    """

    def __init__(self, spec: ModelSpec, catalog: Catalog, offline: bool) -> None:
        self._spec = spec
        self._pool = Pool(worker=True, offline=offline)
        self._adapters = Adapters(spec, catalog)

    @asynccontextmanager
    async def _leased(self) -> AsyncGenerator[Engine, None]:
        async with self._pool.lease(self._spec, lock=self._adapters.lock) as engine:
            yield engine

    async def about(self) -> About:
        """Loads the model, and says what it is."""
        async with self._leased() as engine:
            try:
                tokenizer = engine.tokenizer_info
            except UnsupportedError:
                tokenizer = None
            return About(engine.capabilities, engine.fingerprint, tokenizer)

    async def generate(self, request: Request, left: float | None) -> AsyncGenerator[Chunk, None]:
        """As the engine's; the deadline is `left` seconds away, since two machines' clocks do not agree."""
        deadline = None if left is None else time.monotonic() + left
        adapter = await self._found(request.adapter)
        asked = replace(request, deadline=deadline, adapter=adapter)
        async with self._leased() as engine:
            chunks = engine.generate(asked)
            try:
                async for chunk in chunks:
                    yield chunk
            finally:
                await chunks.aclose()

    async def score(self, prompt: Any, continuations: Any, adapter: Adapter | None, exact: bool) -> Any:
        """As the engine's."""
        found = await self._found(adapter)
        async with self._leased() as engine:
            return await engine.score(prompt, continuations, found, exact=exact)

    async def score_tokens(self, pairs: Any, adapter: Adapter | None, exact: bool) -> Any:
        """As the engine's."""
        found = await self._found(adapter)
        async with self._leased() as engine:
            return await engine.score_tokens(pairs, found, exact=exact)

    async def encode(self, texts: Sequence[str], special: bool) -> Any:
        """As the engine's."""
        async with self._leased() as engine:
            return await engine.encode(texts, special=special)

    async def render(self, messages: Any, answer: bool) -> str:
        """As the engine's."""
        async with self._leased() as engine:
            return await engine.render(messages, answer=answer)

    async def embed(self, texts: Sequence[str]) -> Any:
        """As the engine's."""
        async with self._leased() as engine:
            return await engine.embed(texts)

    async def classify(self, texts: Sequence[str]) -> Any:
        """As the engine's."""
        async with self._leased() as engine:
            return await engine.classify(texts)

    async def count_tokens(self, prompt: Any) -> int:
        """As the engine's."""
        async with self._leased() as engine:
            return await engine.count_tokens(prompt)

    async def _found(self, adapter: Adapter | None) -> Adapter | None:
        """The adapter with its files on this machine."""
        return None if adapter is None else await self._adapters.find(adapter.name, self._pool)


def application(args: Mapping[str, Any]) -> Any:
    """The Serve application of a catalogue: what a Serve configuration names as `import_path`.

    Args:
        args: `catalog` (models as a catalogue file has them under `models`, or the path of a file), `settings` (what
            `modelyard serve` is told: running, queue, deadline, …), `offline`, `vllm` (the address of the application
            that runs vLLM models), `log` (`json` or `text`: the form of the server's log). API keys are read from
            MODELYARD_API_KEYS.

    Raises:
        InvalidArgumentError, CatalogError: a mistake in them.
    """
    known = ("catalog", "settings", "offline", "vllm", "resources", "log")
    for key in args:
        if key not in known:
            raise InvalidArgumentError(f"'{key}' is not known", hint=f"Known: {', '.join(known)}.")
    catalog = read_catalog(args.get("catalog"))
    settings = ServerSettings(**{"public": True, **args.get("settings", {})}, keys=ApiKeys.read(None))
    specs = catalog.own() or tuple(catalog)
    return bound(
        catalog, specs, settings, offline=bool(args.get("offline")), vllm=args.get("vllm"),
        resources=args.get("resources", {}), log=args.get("log", "json"),
    )  # fmt: skip


def bound(
    catalog: Catalog,
    specs: Sequence[ModelSpec],
    settings: ServerSettings,
    *,
    offline: bool,
    vllm: str | None = None,
    resources: Mapping[str, Mapping[str, Any]] | None = None,
    log: Form = "json",
) -> Any:
    """The application: our server in front, a deployment for each model that loads behind it.

    Args:
        catalog: where adapters find their bases.
        specs: the models that are served.
        settings: of the server; limits and keys are its own, as on one machine.
        offline: use only what is on the machines.
        vllm: where Ray Serve LLM runs the models of engine vllm.
        resources: for each model what a replica takes, as Ray takes it.
        log: the form of the server's log, which Ray keeps with the logs of its workers.
    """
    from ray import serve

    models = {one.alias: one for one in with_bases(catalog, specs)}
    handles = []
    for spec in filter(holds, models.values()):
        made: Any = serve.deployment(Held)
        made = made.options(**deployment(spec, settings, (resources or {}).get(spec.alias, {})))
        handles.append(made.bind(spec, catalog, offline))
    front = tuple(in_front(one, vllm, settings.keys.joint, models.get(one.base or "")) for one in specs)

    def build() -> Any:
        from modelyard.serving.app import create_app
        from modelyard.serving.logs import set_up

        set_up(log)
        return create_app(catalog, settings, specs=front, offline=offline)

    server: Any = serve.deployment(serve.ingress(build)())
    server = server.options(
        name=FRONT, num_replicas=1, max_ongoing_requests=10_000, ray_actor_options={"num_cpus": 0}
    )
    return server.bind(*handles)


def with_bases(catalog: Catalog, specs: Sequence[ModelSpec]) -> list[ModelSpec]:
    """The models, and the bases of the adapters among them."""
    found = {one.alias: one for one in specs}
    for one in specs:
        if one.base and one.base in catalog:
            found.setdefault(one.base, catalog.get(one.base))
    return list(found.values())


def vllm_url(settings: ServerSettings) -> str:
    """Where Ray Serve LLM's routes are, seen from a replica."""
    return f"http://127.0.0.1:{settings.port}{VLLM_ROUTE}/v1"


def holds(spec: ModelSpec) -> bool:
    """Whether a deployment of ours holds the model: it has files, and vLLM does not run it."""
    return (not spec.elsewhere and not spec.adapter and spec.engine != "vllm") or spec.engine == "fake"


def deployment(spec: ModelSpec, settings: ServerSettings, resources: Mapping[str, Any]) -> dict[str, Any]:
    """Name, replicas and resources of a model's deployment, as Serve takes them."""
    found: dict[str, Any] = {
        "name": spec.alias, "max_ongoing_requests": settings.running,
        "graceful_shutdown_timeout_s": settings.drain, "health_check_period_s": HEALTH,
        "ray_actor_options": {"num_cpus": 1 if spec.replicas and not spec.elsewhere else 0, **resources},
    }  # fmt: skip
    replicas = spec.replicas
    if replicas is not None and replicas.min == replicas.max:
        return {**found, "num_replicas": replicas.max}
    # A model that says nothing is loaded when it is asked for, as on one machine, and goes when nobody asks; it takes
    # memory, and shares the cores.
    return {
        **found,
        "autoscaling_config": {
            "min_replicas": replicas.min if replicas else 0,
            "max_replicas": replicas.max if replicas else 1,
            "target_ongoing_requests": replicas.requests if replicas else settings.running,
            "downscale_delay_s": _IDLE,
        },
    }


def in_front(
    spec: ModelSpec, vllm: str | None, key: str | None = None, base: ModelSpec | None = None
) -> ModelSpec:
    """A model as the server in front has it: reached, not loaded.

    Args:
        spec: of the model.
        vllm: where Ray Serve LLM runs the models of engine vllm.
        key: that it asks for.
        base: of the model, where that is an adapter.
    """
    if (base or spec).engine == "vllm" and vllm:
        # Ray Serve LLM names an adapter with its base in front.
        name = f"{spec.base}:{spec.alias}" if spec.adapter and spec.base else spec.alias
        options = {option: value for option, value in (base or spec).options.items() if option in _SHARED}
        options |= {"model": name, "dialect": "vllm"} | ({"api_key": key} if key else {})
        plain = {"adapter": False, "base": None, "quantization": None, "chat_template": None}
        return spec.model_copy(update={"engine": "endpoint", "url": vllm, "options": options, **plain})
    if spec.adapter and spec.base:
        options = {"app": APP, "deployment": spec.base, "adapter": spec.alias}
        return spec.model_copy(update={"engine": "ray", "adapter": False, "base": None, "options": options})
    if holds(spec):
        options = {"app": APP, "deployment": spec.alias}
        return spec.model_copy(update={"engine": "ray", "quantization": None, "options": options})
    return spec


def read_catalog(given: Any) -> Catalog:
    """A catalogue out of a configuration: models as its file has them, or the path of a file."""
    from modelyard.catalog.load import load_catalog

    if not isinstance(given, Mapping):
        return load_catalog(Path(given) if given else None)
    import tempfile

    import yaml

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "models.yaml")
        file.write_text(yaml.safe_dump({"models": dict(given)}), "utf-8")
        return load_catalog(file)


def settings_of(settings: ServerSettings) -> dict[str, Any]:
    """What of a server's settings travels in a configuration: no keys, no address, nothing that is as always."""
    usual = asdict(ServerSettings())
    left_out = ("keys", "host", "port", "public")
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(settings).items()
        if name not in left_out and value != usual[name]
    }
