"""Hosted models of the Hugging Face Hub: the provider is chosen by name, by the Hub, or by a url.

Text leaves this machine: the model runs at the provider.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import Any, ClassVar

from modelyard.catalog.auth import find_token
from modelyard.catalog.model import Model
from modelyard.catalog.sources.hub import prepare_client
from modelyard.engines.base import Engine
from modelyard.engines.endpoint.dialects import DIALECTS
from modelyard.engines.endpoint.engine import EndpointEngine
from modelyard.engines.endpoint.http import Http
from modelyard.engines.endpoint.probe import Found, examine, look
from modelyard.engines.endpoint.settings import OPTIONS, Settings, read_url
from modelyard.errors import AuthenticationError, InvalidArgumentError, ModelNotFoundError, UnsupportedError

_MORE = {
    "provider": "who runs the model, as the Hub names it (auto: the Hub chooses)",
    "bill_to": "the organisation that pays",
}


class InferenceAPIEngine(EndpointEngine):
    """A model that a provider of the Hub runs, or a server of the same kind behind `url`."""

    name = "inference_api"
    OPTIONS: ClassVar[Mapping[str, str]] = {**OPTIONS, **_MORE}

    def __init__(self, model: Model, options: Mapping[str, Any]) -> None:
        Engine.__init__(self, model, options)
        if model.spec.task in ("embedding", "seq2seq"):
            raise UnsupportedError(
                f"engine inference_api runs no models of task {model.spec.task}",
                hint="Use engine: transformers, or endpoint with the url of a server for embeddings.",
            )
        settings = Settings.read(options, engine=self.name, more=_MORE)
        for name in _MORE:
            if not isinstance(options.get(name), str | None):
                raise InvalidArgumentError(
                    f"option '{name}' has value {options[name]!r:.80}", hint="It is a text."
                )
        self.options.pop("api_key", None)
        url = read_url(model.spec.url) if model.spec.url else None
        if url and options.get("provider"):
            raise InvalidArgumentError(
                f"'{model.spec.alias}' has a url and a provider",
                hint="A url says where it runs: keep one of them.",
            )
        self._open(url or self._hosted(), settings)

    def _hosted(self) -> str:
        if self._repo is None:
            raise ModelNotFoundError(
                f"'{self.model.spec.alias}' is not on the Hub, and has no url",
                hint="The Inference API runs models of the Hub: name one, as in create_llm('org/name', …).",
            )
        return "https://router.huggingface.co/v1"

    def _wired(self, http: Http, settings: Settings) -> Any:
        prepare_client(offline=False)
        from modelyard.engines.inference_api.client import InferenceWire, of_the_hub

        url = self.model.spec.url
        token = settings.key
        if token is None and (url is None or of_the_hub(url)):
            found = find_token()
            token = None if found is None else found.value
        if token is None and url is None:
            raise AuthenticationError("the Inference API wants a token, and none is found")
        how: dict[str, Any] = {"bill_to": self.options.get("bill_to")}
        if url is not None:
            how["base_url"] = http.base
        else:
            how |= {"model": self._repo, "provider": self.options.get("provider", "auto")}
        return InferenceWire(
            http, self._title, token, anywhere=settings.key is not None and url is not None, how=how
        )

    async def _probe(self) -> Found:
        settings = self._settings
        if self.model.spec.url:
            found = await look(self._http, settings, self._wanted(), self._title)
        else:
            dialect = DIALECTS[settings.dialect or "openai"]
            context = settings.context_length or 0
            found = Found(dialect, str(self._repo), context=context, forms=frozenset({"schema"}))
        return await examine(found, self._wire, score=False) if settings.probe else found

    @classmethod
    def version(cls) -> str:
        return f"huggingface_hub {importlib.metadata.version('huggingface_hub')}"

    @property
    def precision(self) -> str:
        if self.model.spec.url:
            return super().precision
        return f"as {self.options.get('provider', 'auto')} serves it"
