"""create_app: the FastAPI application of a catalogue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

import modelyard
from modelyard.catalog.load import Catalog
from modelyard.catalog.spec import ModelSpec
from modelyard.errors import CatalogError, ModelyardError
from modelyard.pool import Pool
from modelyard.serving.context import RECORD, Parts
from modelyard.serving.describe import with_names
from modelyard.serving.feed import Feed
from modelyard.serving.guard import Guard
from modelyard.serving.images.intake import ImageIntake
from modelyard.serving.metrics import Metrics
from modelyard.serving.models import Models
from modelyard.serving.refusals import of_error, of_http, of_validation
from modelyard.serving.routes import chat, completions, embeddings, extracting, health, manage, pages, tokens
from modelyard.serving.routes.registry import registry_router
from modelyard.serving.settings import ServerSettings
from modelyard.serving.watchdog import Watchdog
from modelyard.serving.work import Works

_TITLE = "modelyard"


def create_app(
    catalog: Catalog,
    settings: ServerSettings | None = None,
    *,
    specs: Iterable[ModelSpec] | None = None,
    offline: bool = False,
    pool: Pool | None = None,
) -> FastAPI:
    """The application: OpenAI's routes, the models' own, extraction, management, health, and the pages.

    Args:
        catalog: the models, and where adapters find their bases.
        specs: those of them that are served; all by default.
        settings: limits, keys and hosts.
        offline: use only what is on this machine.
        pool: where models are loaded; one with a process for each model by default.

    Raises:
        CatalogError: a model's `endpoint` is one of the server's own routes.
    """
    settings = settings or ServerSettings()
    feeds: dict[str, Feed] = {}
    pool = pool or Pool(
        worker=True, offline=offline, progress_of=lambda spec: feeds.setdefault(spec.alias, Feed())
    )
    metrics = Metrics(lambda: models.gauges())
    models = Models(catalog, catalog if specs is None else specs, pool, settings, metrics)
    feeds.update({one.loaded_name: one.feed for one in models})
    images = ImageIntake(allow=settings.image_hosts, max_bytes=settings.max_body)
    parts = Parts(settings, models, metrics, Works(), images)
    app = FastAPI(
        title=_TITLE,
        version=modelyard.__version__,
        description="Every model of the catalogue over HTTP.",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(parts),
    )
    app.state.parts, app.state.settings = parts, settings
    for module in (chat, completions, embeddings, tokens, extracting, manage, health, pages):
        app.include_router(module.router)
    _refuse_clashes(app, (one.spec for one in models))
    app.include_router(registry_router(models))
    app.openapi = with_names(app, [one.name for one in models])  # type: ignore[method-assign]  # FastAPI's own way
    app.add_exception_handler(ModelyardError, _ours)
    app.add_exception_handler(HTTPException, _frameworks)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_middleware(Guard, parts=parts)
    return app


def _lifespan(parts: Parts) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def run(_: FastAPI) -> AsyncIterator[None]:
        async with Watchdog(parts.models, parts.settings.stuck_after, parts.metrics):
            yield
        await parts.images.close()

    return run


def _refuse_clashes(app: FastAPI, specs: Iterable[ModelSpec]) -> None:
    for spec in specs:
        scope = {"type": "http", "method": "POST", "path": f"/{spec.endpoint}", "root_path": ""}
        if spec.endpoint and any(route.matches(scope)[0] is Match.FULL for route in app.router.routes):
            raise CatalogError(
                f"model '{spec.alias}': endpoint '{spec.endpoint}' is a route of the server's own",
                file=spec.defined_in,
                hint="Give it another path.",
            )


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, ModelyardError)
    request.scope[RECORD].error = type(error).__name__
    return of_error(error)


async def _frameworks(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return of_http(error)


async def _validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return of_validation(error)
