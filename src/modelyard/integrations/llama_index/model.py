"""Which model: the arguments of `create_llm` as fields of LlamaIndex's components."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, Field, SecretStr, field_serializer, field_validator

from modelyard.create import create_llm
from modelyard.errors import InvalidArgumentError
from modelyard.integrations.apart import apart
from modelyard.llm import LLM
from modelyard.pool import Pool

_SECRET = {"key", "apikey", "token", "secret", "password", "auth", "authorization", "header", "headers"}


class ModelFields(BaseModel):
    """The arguments of `create_llm` that say which model, and where it runs.

    A model that runs here gets a process of its own, where `options={"worker": False}` does not keep it in this one.
    The fields are written out (`to_dict`) without what may be secret: `api_key`, options such as `headers`, and a
    password in an address.
    """

    model: str | None = Field(default=None, description="An alias of the catalogue, a Hub id, or a path.")
    model_path: str | None = Field(default=None, description="A GGUF file or a folder, in place of model.")
    model_type: str | None = Field(default=None, description="gguf or pipeline; found out where not given.")
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)
    use_inference_api: bool = False
    inference_api_url: str | None = None
    device: str | None = None
    device_map: Any = None
    quantization: str | None = None
    engine: str | None = None
    options: dict[str, Any] = Field(default_factory=dict, repr=False, description="Options of the engine.")
    model_kwargs: dict[str, Any] = Field(default_factory=dict, repr=False)
    pipeline_kwargs: dict[str, Any] = Field(default_factory=dict)
    catalog: str | None = Field(default=None, description="A YAML file laid over the starter catalogue.")
    offline: bool | None = None

    @field_validator("model", "model_path", "catalog", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return None if value is None else str(value)

    @field_validator("options", "model_kwargs", "pipeline_kwargs", mode="before")
    @classmethod
    def _as_mapping(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_serializer("options", "model_kwargs")
    def _without_secrets(self, value: dict[str, Any]) -> dict[str, Any]:
        return without_secrets(value)

    @field_serializer("inference_api_url")
    def _without_password(self, value: str | None) -> str | None:
        return None if value is None else without_password(value)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """A copy that shares the loaded model, which there is once."""
        return self.model_copy()

    def make_llm(self, pool: Pool | None, parameters: Mapping[str, Any]) -> LLM:
        """The LLM that the fields name.

        Raises:
            InvalidArgumentError: no model is named, or an argument is wrong; it says which.
        """
        if self.model is None and self.model_path is None:
            raise InvalidArgumentError(
                "no model is given", hint="Pass model=… (an alias, Hub id or path) or model_path=…."
            )
        by_path = self.model_path is not None
        made = create_llm(
            "huggingface" if by_path else str(self.model),
            model=self.model if by_path else None,
            model_path=self.model_path,
            model_type=self.model_type,
            api_key=None if self.api_key is None else self.api_key.get_secret_value(),
            use_inference_api=self.use_inference_api,
            inference_api_url=self.inference_api_url,
            device=self.device,
            device_map=self.device_map,
            quantization=self.quantization,
            engine=self.engine,
            options=self.options,
            model_kwargs=self.model_kwargs,
            pipeline_kwargs=self.pipeline_kwargs,
            catalog=self.catalog,
            offline=self.offline,
            pool=pool,
            **parameters,
        )
        return apart(made)

    def refuse_beside_llm(self) -> None:
        """For a component that is given an LLM.

        Raises:
            InvalidArgumentError: an argument names a model as well.
        """
        given = sorted(self.model_fields_set & set(ModelFields.model_fields))
        if given:
            raise InvalidArgumentError(
                f"an LLM is given, and beside it {', '.join(given)}", hint="Give these to create_llm."
            )


def without_secrets(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options without those whose names say that they may be secret, and addresses without passwords.

    >>> without_secrets({"api_key": "hf_x", "prompt_tokens": 2, "url": "http://me:pw@host/v1"})
    {'prompt_tokens': 2, 'url': 'http://host/v1'}
    """
    return {
        name: _plain(value)
        for name, value in given.items()
        if not _SECRET & set(re.split(r"[^a-z]+", name.lower()))
    }


def without_password(address: str) -> str:
    """An address without the name and password before its host."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return without_secrets(value)
    if isinstance(value, str) and "://" in value:
        return without_password(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
