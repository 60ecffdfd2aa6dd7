"""Parts of Ray Serve LLM that are ours: who may ask vLLM's models, and where their adapters come from.

Ray Serve LLM cannot be imported without vLLM, so this module is named in configurations and imported where vLLM is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ray.llm._internal.common.models import global_id_manager
from ray.llm._internal.serve.core.configs.llm_config import DiskMultiplexConfig
from ray.llm._internal.serve.utils.lora_serve_utils import LoraModelLoader
from ray.serve.llm.deployment import LLMServer
from ray.serve.llm.ingress import OpenAiIngress

from modelyard.catalog.pull import pull
from modelyard.errors import ModelyardError
from modelyard.scale.config import ADAPTERS
from modelyard.scale.served import read_catalog
from modelyard.serving.keys import ApiKeys
from modelyard.serving.refusals import refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_LOG = logging.getLogger("ray.serve")


class Closed(OpenAiIngress):
    """Ray Serve LLM's routes, for our server alone where that asks its own clients for keys.

    They lie on the same port as ours, so whoever reaches one reaches the other.

    Args:
        key: that requests carry; without one it is made of `MODELYARD_API_KEYS`, and where there are none everybody
            may ask, as of our server.
        adapters: for each base the adapters that the catalogue has of it; they are listed as `base:alias`.
    """

    def __init__(
        self,
        *args: Any,
        key: str | None = None,
        adapters: Mapping[str, Sequence[str]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._key = key or ApiKeys.read(None).joint
        self._bases = {f"{base}:{one}": base for base, found in (adapters or {}).items() for one in found}

    async def model(self, model_id: str) -> Any:
        """The card of a model or of an adapter of the catalogue, None where there is none."""
        card = await super().model(self._bases.get(model_id, model_id))
        return card and card.model_copy(update={"id": model_id})

    async def models(self) -> Any:
        """The cards of all of them."""
        found = await super().models()
        return found.model_copy(
            update={"data": [*found.data, *[await self.model(one) for one in self._bases]]}
        )

    async def __serve_build_asgi_app__(self) -> Any:
        """Ray Serve's hook for the application of a replica."""
        app: Any = self.app  # type: ignore[attr-defined]  # of the class that Ray Serve makes of this one
        if self._key is not None:
            app.add_middleware(Gate, key=self._key)
        return app


class Gate:
    """Lets requests through that carry a key; 401 for others."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._keys = ApiKeys.of([key])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "lifespan":
            given = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
            if self._keys.owner(given) is None:
                message = "these routes are for the server in front of them: ask it under /v1"
                await refusal(message, 401, code="invalid_api_key")(scope, receive, send)
                return
        await self._app(scope, receive, send)


class Server(LLMServer):
    """A replica of a vLLM model whose adapters come from where the catalogue says."""

    async def __init__(self, llm_config: Any, **how: Any) -> None:  # type: ignore[misc]  # Ray Serve awaits it
        await super().__init__(llm_config, model_downloader=Catalogued, **how)

    async def start(self) -> None:
        """Starts vLLM, and gives it the adapters.

        They are there before the first request, since of several that are the first for an adapter at the same time
        Ray 2.60 lets one load it and fails the others. An adapter that cannot be had fails its own requests alone.
        """
        await super().start()  # type: ignore[no-untyped-call]
        engine: Any = self.engine
        loader = Catalogued()
        for alias in self._llm_config.experimental_configs[ADAPTERS]:
            name = f"{self._llm_config.model_id}:{alias}"
            try:
                await engine.resolve_lora(await loader.load_model_from_config(name, self._llm_config))
            except (ModelyardError, ValueError) as error:
                _LOG.error("the adapter %s cannot be had: %s", name, error)


class Catalogued(LoraModelLoader):
    """Finds an adapter in the catalogue's entries, and gets its files to this machine."""

    async def load_model_from_config(self, lora_model_id: str, llm_config: Any) -> DiskMultiplexConfig:
        """The adapter of `base:alias` on this machine's disk.

        Raises:
            ModelNotFoundError: the catalogue has no such adapter of this model.
        """
        if lora_model_id not in self.disk_cache:
            found = read_catalog(llm_config.experimental_configs[ADAPTERS])
            spec = found.get(lora_model_id.partition(":")[2])
            model = await asyncio.to_thread(pull, spec)
            self.disk_cache[lora_model_id] = DiskMultiplexConfig(
                model_id=lora_model_id,
                max_total_tokens=None,
                local_path=str(model.path),
                lora_assigned_int_id=global_id_manager.next(),
            )
        return self.disk_cache[lora_model_id]
