"""Which model answers: the arguments of `create_llm` as fields of a LangChain class."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, model_validator

from modelyard.create import create_llm
from modelyard.errors import InvalidArgumentError, nearest
from modelyard.integrations.apart import apart
from modelyard.llm import LLM
from modelyard.pool import Pool

_LOADING = (
    "model_path", "model_type", "use_inference_api", "inference_api_url", "device", "device_map", "quantization",
    "engine", "options", "model_kwargs", "pipeline_kwargs", "catalog", "offline", "pool", "safety",
)  # fmt: skip
_UNTOLD = ("pool", "safety")  # objects, which no text tells apart


class ModelArguments(BaseModel):
    """The model behind a LangChain class.

    Attributes:
        model: an alias of the catalogue, a Hub id or a path (`model_name` means the same); `model_path` names a
            file or folder in its place.
        llm: an LLM that is there already, in place of all of these.
        api_key, model_type, use_inference_api, inference_api_url, device, device_map, quantization, engine,
            options, model_kwargs, pipeline_kwargs, catalog, offline, pool, safety: as `create_llm` takes them.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model: str | None = None
    model_path: str | Path | None = None
    model_type: str | None = None
    api_key: SecretStr | None = None
    use_inference_api: bool = False
    inference_api_url: str | None = None
    device: str | None = None
    device_map: str | None = None
    quantization: str | None = None
    engine: str | None = None
    options: dict[str, Any] | None = None
    model_kwargs: dict[str, Any] | None = None
    pipeline_kwargs: dict[str, Any] | None = None
    catalog: str | Path | None = None
    offline: bool | None = None
    pool: Pool | None = Field(default=None, exclude=True, repr=False)
    safety: Any = Field(default=None, exclude=True, repr=False)
    llm: LLM | None = Field(default=None, exclude=True, repr=False)

    _own: str = PrivateAttr(default_factory=lambda: secrets.token_hex(8))

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        """Refuses an argument that is not known, in our words."""
        named = dict(given)
        if "model_name" in named:
            named["model"] = named.pop("model_name")
        named = cls._sorted(named)
        check_known(named, cls.model_fields)
        return named

    @classmethod
    def _sorted(cls, named: dict[str, Any]) -> dict[str, Any]:
        """The arguments under the names of the fields."""
        return named

    @model_validator(mode="after")
    def _found(self) -> Self:
        """Finds the model now, so that a wrong name is an error here; it is loaded on first use."""
        _ = self.language_model
        return self

    @functools.cached_property
    def language_model(self) -> LLM:
        """The model of ours that answers.

        Raises:
            ModelNotFoundError: there is none of this name.
            InvalidArgumentError: an argument contradicts another.
        """
        return self._made(self.model)

    def _made(self, model: str | None) -> LLM:
        given = {name: value for name in _LOADING if (value := getattr(self, name)) not in (None, False)}
        if self.api_key is not None:
            given["api_key"] = self.api_key.get_secret_value()
        if self.llm is not None:
            if given or model is not None:
                names = (*(["model"] if model is not None else []), *given)
                raise InvalidArgumentError(
                    f"llm is given together with {', '.join(names)}", hint="An LLM brings its own: keep one."
                )
            return self.llm
        if (model is None) == (self.model_path is None):
            raise InvalidArgumentError(
                f"model is {model!r}, and model_path is {self.model_path!r}",
                hint="Give one of them: model takes an alias, a Hub id or a path.",
            )
        return apart(create_llm("huggingface" if model is None else model, **given))

    @property
    def model_title(self) -> str:
        """The model's name in answers and traces."""
        return self.language_model.spec.alias

    @property
    def identity(self) -> dict[str, Any]:
        """What tells two models apart, for traces and for caches of answers; no secret is in it."""
        named = {name: getattr(self, name) for name in _LOADING if name not in _UNTOLD}
        told = {name: value for name, value in named.items() if value not in (None, False)}
        if self.llm is not None or any(getattr(self, name) is not None for name in _UNTOLD):
            told["object"] = self._own
        return {"model": self.model_title, **told}


def check_known(given: Iterable[str], known: Iterable[str]) -> None:
    """Refuses a name that is not among the known ones, and offers the nearest.

    >>> check_known(["seed"], ["seed", "stop"])

    Raises:
        InvalidArgumentError: one is not known.
    """
    known = sorted(known)
    for name in given:
        if name not in known:
            raise InvalidArgumentError(
                f"argument '{name}' is not known.{nearest(name, known)}", hint=f"Known: {', '.join(known)}."
            )
