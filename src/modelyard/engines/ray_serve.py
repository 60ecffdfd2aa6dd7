"""A model that a Ray Serve deployment holds: the same contract, over a deployment handle.

`modelyard serve --ray` makes the deployments (`modelyard.scale.served`), one a model, and its server reaches each by
this engine. Replicas come and go behind the handle; a request whose replica is lost fails alone, and retryably.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from modelyard.catalog.model import Model
from modelyard.engines.base import Capabilities, Engine, Memory, check_option
from modelyard.engines.continuations import Pair
from modelyard.errors import (
    EngineCrashedError,
    EngineError,
    InvalidArgumentError,
    ModelyardError,
    QueueFullError,
    UnavailableError,
)
from modelyard.types import Adapter, Chunk, Fingerprint, Message, Request, Score, TokenizerInfo

_FIRST = 900.0  # seconds that the first replica has to load the model


@dataclass(slots=True, frozen=True)
class About:
    """What a replica says of its model."""

    capabilities: Capabilities
    fingerprint: Fingerprint
    tokenizer: TokenizerInfo | None


class RayServeEngine(Engine):
    """A handle to the replicas of one model."""

    name = "ray"
    OPTIONS: ClassVar[Mapping[str, str]] = {
        "app": "the Serve application that has the deployment (modelyard)",
        "deployment": "the deployment that holds the model (the alias)",
        "adapter": "the adapter that every request is for",
    }
    apart: ClassVar[bool] = True
    heals: ClassVar[bool] = True

    def __init__(self, model: Model, options: Mapping[str, Any]) -> None:
        super().__init__(model, options)
        for key, value in options.items():
            check_option(self.name, key, self.OPTIONS)
            if not isinstance(value, str) or not value:
                raise InvalidArgumentError(f"option '{key}' has value {value!r:.80}", hint="It is a name.")
        from ray import serve
        from ray.exceptions import RayError
        from ray.serve.exceptions import RayServeException

        self._errors = (RayError, RayServeException)
        self._adapter = options.get("adapter")
        self._active = 0
        try:
            self._handle: Any = serve.get_deployment_handle(
                options.get("deployment", model.spec.alias), options.get("app", "modelyard")
            )
            self._about: About = self._handle.about.remote().result(timeout_s=_FIRST)
        except (*self._errors, TimeoutError) as error:
            raise _ours(error, model.spec.alias) from error

    @classmethod
    def missing(cls) -> str | None:
        return (
            None if importlib.util.find_spec("ray") else "ray is not installed: pip install 'modelyard[ray]'"
        )

    @classmethod
    def version(cls) -> str:
        return importlib.metadata.version("ray")

    @property
    def capabilities(self) -> Capabilities:
        return self._about.capabilities

    @property
    def precision(self) -> str:
        return self._about.fingerprint.precision

    @property
    def fingerprint(self) -> Fingerprint:
        return self._about.fingerprint

    @property
    def active(self) -> int:
        return self._active

    @property
    def memory(self) -> Memory:
        return Memory(0, 0)

    @property
    def tokenizer_info(self) -> TokenizerInfo:
        if self._about.tokenizer is None:
            raise self.no_tokens()
        return self._about.tokenizer

    async def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        if self._adapter is not None and request.adapter is None:
            request = replace(request, adapter=Adapter(self._adapter, ""))
        left = None if request.deadline is None else request.deadline - time.monotonic()
        self._active += 1
        chunks = self._handle.options(stream=True).generate.remote(replace(request, deadline=None), left)
        ended = False
        try:
            async for chunk in chunks:
                ended = chunk.finish_reason is not None
                yield chunk
            if not ended:
                raise EngineCrashedError(f"the replica of '{self.model.spec.alias}' ended in mid-answer")
        except self._errors as error:
            ended = True
            raise _ours(error, self.model.spec.alias) from error
        finally:
            self._active -= 1
            if not ended:
                chunks.cancel()

    async def score(
        self,
        prompt: str | Sequence[Message],
        continuations: Sequence[str],
        adapter: Adapter | None = None,
        *,
        exact: bool = True,
    ) -> tuple[Score, ...]:
        found: tuple[Score, ...] = await self._asked("score", prompt, continuations, adapter, exact)
        return found

    async def encode(self, texts: Sequence[str], *, special: bool = True) -> tuple[tuple[int, ...], ...]:
        found: tuple[tuple[int, ...], ...] = await self._asked("encode", texts, special)
        return found

    async def score_tokens(
        self, pairs: Sequence[Pair], adapter: Adapter | None = None, *, exact: bool = True
    ) -> tuple[Score, ...]:
        found: tuple[Score, ...] = await self._asked("score_tokens", pairs, adapter, exact)
        return found

    async def render(self, messages: Sequence[Message], *, answer: bool = True) -> str:
        found: str = await self._asked("render", messages, answer)
        return found

    async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        found: tuple[tuple[float, ...], ...] = await self._asked("embed", texts)
        return found

    async def classify(self, texts: Sequence[str]) -> tuple[dict[str, float], ...]:
        found: tuple[dict[str, float], ...] = await self._asked("classify", texts)
        return found

    async def count_tokens(self, prompt: str | Sequence[Message]) -> int:
        found: int = await self._asked("count_tokens", prompt)
        return found

    async def _asked(self, method: str, *given: Any) -> Any:
        try:
            return await getattr(self._handle, method).remote(*given)
        except self._errors as error:
            raise _ours(error, self.model.spec.alias) from error

    def close(self) -> None:
        """Nothing is held here: the replicas belong to the deployment."""


def raised_there(error: BaseException | None) -> ModelyardError | None:
    """The error of ours that Ray has wrapped; None where it was none of ours."""
    while error is not None:
        if isinstance(error, ModelyardError):
            return error
        error = getattr(error, "cause", None) or error.__cause__
    return None


def _ours(error: BaseException, alias: str) -> ModelyardError:
    """What went wrong behind the handle: an error of ours as it was raised there, else what became of the replica."""
    from ray.exceptions import RayActorError, RayTaskError
    from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

    found = raised_there(error)
    if found is not None:
        return found
    if isinstance(error, BackPressureError):
        return QueueFullError(f"every replica of '{alias}' has as many requests as it takes")
    if isinstance(error, DeploymentUnavailableError):
        return UnavailableError(f"no replica of '{alias}' could be started")
    if isinstance(error, TimeoutError):
        return UnavailableError(f"no replica of '{alias}' has loaded the model within {_FIRST:.0f} s")
    if isinstance(error, RayActorError):
        return EngineCrashedError(f"the replica of '{alias}' that had the request was lost")
    said = str(error).strip().splitlines() or [type(error).__name__]
    if isinstance(error, RayTaskError):
        return EngineError(f"the replica of '{alias}' failed: {said[-1][:300]}")
    return EngineCrashedError(f"the replica of '{alias}' gave no answer: {said[-1][:300]}")
