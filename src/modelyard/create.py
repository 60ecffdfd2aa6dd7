"""create_llm: finds a model by name and makes an LLM of it, with the arguments that people know."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.catalog.spec import ModelSpec
from modelyard.errors import InvalidArgumentError, ModelNotFoundError, UnsupportedError, nearest
from modelyard.llm import LLM
from modelyard.params import ALIASES, NAMES, NEUTRAL
from modelyard.pool import Pool
from modelyard.types import Warning

if TYPE_CHECKING:
    from modelyard.catalog.load import Catalog
    from modelyard.safety.policy import Policy

_PROVIDERS = ("huggingface", "hf")


def create_llm(
    name: str,
    *,
    model: str | None = None,
    model_path: str | Path | None = None,
    model_type: str | None = None,
    api_key: str | None = None,
    use_inference_api: bool = False,
    inference_api_url: str | None = None,
    device: str | None = None,
    device_map: str | None = None,
    quantization: str | None = None,
    engine: str | None = None,
    options: Mapping[str, Any] | None = None,
    model_kwargs: Mapping[str, Any] | None = None,
    pipeline_kwargs: Mapping[str, Any] | None = None,
    catalog: str | Path | None = None,
    offline: bool | None = None,
    pool: Pool | None = None,
    safety: Policy | None = None,
    **params: Any,
) -> LLM:
    """An LLM by name; the model itself loads on first use.

    Args:
        name: an alias of the catalogue, a Hub id (`org/name`), a path; or the provider name
            `huggingface`, and then `model` or `model_path` says which.
        model: alias or Hub id, with a provider name.
        model_path: a GGUF file or a folder.
        model_type: `gguf` or `pipeline`; found out where not given.
        api_key: a token for this model, before those of the environment: the Hub's, or of the server that it
            runs on.
        use_inference_api: run on the hosted Inference API.
        inference_api_url: another address of it.
        device: where the weights are held, as the engine names it.
        device_map: `auto` lets the engine spread them.
        quantization: `4bit` or `8bit`.
        engine: one engine in place of the automatic choice.
        options: options of the engine (`modelyard engines show NAME` lists them).
        model_kwargs: as transformers takes them; an engine refuses what it cannot honour.
        pipeline_kwargs: sampling parameters, as a pipeline takes them.
        catalog: a YAML file laid over the starter catalogue.
        offline: use only what is on this machine.
        pool: where the model is loaded.
        safety: checks of prompts and answers, in place of those that the catalogue gives the model.
        params: sampling parameters for every request of this LLM.

    Raises:
        ModelNotFoundError: no such alias; the nearest are named.
        InvalidArgumentError: an argument that is not known or contradicts another.

    >>> create_llm("fake", max_tokens=3).generate("Hello").usage.completion_tokens
    3
    """
    found = _catalog(catalog)
    spec = _find(found, name, model, model_path, model_type)
    asked = _Asked(spec)
    if use_inference_api or inference_api_url:
        asked.changes |= {"engine": "inference_api", "url": inference_api_url}
    if engine is not None:
        asked.changes["engine"] = engine
    runs_on = asked.changes.get("engine", spec.engine)
    elsewhere = runs_on in ("endpoint", "inference_api") or (runs_on == "auto" and spec.url is not None)
    if elsewhere and device is not None:
        message = f"device '{device}': the model runs on a server, which has chosen its own"
        asked.warnings.append(Warning("device_ignored", message))
        device = None
    if quantization is not None:
        asked.changes["quantization"] = quantization
    asked.read_loading({"device_map": device_map, **(model_kwargs or {})})
    asked.read_pipeline(pipeline_kwargs or {}, params)
    given = {**(options or {}), **asked.options, "device": device}
    if elsewhere and api_key is not None:
        given["api_key"] = api_key
    settings = {
        "provider": name, "model": model or name, "model_path": model_path, "model_type": model_type,
        "use_inference_api": use_inference_api, "inference_api_url": inference_api_url, "device": device,
        "device_map": device_map, "quantization": quantization, **params,
    }  # fmt: skip
    if pool is None and (offline or (api_key and not elsewhere)):
        pool = Pool(offline=bool(offline), token=api_key)
    if safety is None and spec.safety:
        from modelyard.safety import policy_of

        safety = policy_of(spec, catalog=found, pool=pool)
    return LLM(
        _changed(spec, asked.changes),
        pool=pool,
        options={key: value for key, value in given.items() if value is not None},
        params=params,
        settings=settings,
        catalog=found,
        warnings=asked.warnings,
        safety=safety,
    )


class _Asked:
    """What the arguments of the field's older libraries ask for, in our terms."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.changes: dict[str, Any] = {}
        self.options: dict[str, Any] = {}
        self.warnings: list[Warning] = []

    def read_loading(self, given: Mapping[str, Any]) -> None:
        """`model_kwargs`, as transformers takes them."""
        rest = {name: value for name, value in given.items() if value is not None}
        revision = rest.pop("revision", None)
        if revision is not None:
            self.changes["sources"] = _at_revision(self.spec, revision)
        self._trust(rest.pop("trust_remote_code", False), revision)
        for bits in ("4bit", "8bit"):
            if rest.pop(f"load_in_{bits}", False):
                self._quantize(bits)
        if rest.get("device_map") == "auto":
            del rest["device_map"]  # it asks for the engine's own choice, and that is what it makes anyway
        for name, value in _AS_ALWAYS.items():
            if name in rest and rest.pop(name) != value:
                raise UnsupportedError(
                    f"model_kwargs: {name} is {given[name]!r}", hint=f"Here it is {value}."
                )
        self.options |= rest

    def read_pipeline(self, given: Mapping[str, Any], params: dict[str, Any]) -> None:
        """`pipeline_kwargs`: sampling parameters go to `params`."""
        for name, value in given.items():
            if name in (*NAMES, *ALIASES, *NEUTRAL):
                params.setdefault(name, value)
            elif name in _PIPELINE:
                if value:
                    self.warnings.append(Warning("pipeline_option_ignored", f"{name}: {_PIPELINE[name]}"))
            else:
                raise InvalidArgumentError(
                    f"pipeline_kwargs: '{name}' is not known.{nearest(name, (*NAMES, *_PIPELINE))}",
                    hint=f"Known: {', '.join((*NAMES, *_PIPELINE))}.",
                )

    def _trust(self, trust: Any, revision: str | None) -> None:
        if not trust:
            return
        if revision is not None and re.fullmatch(r"[0-9a-f]{40}", revision):
            self.changes["trust_remote_code"] = revision
            return
        message = (
            "trust_remote_code needs a full commit as revision beside it: code that can change is never run. "
            "The model was loaded without code of its own"
        )
        self.warnings.append(Warning("trust_remote_code_ignored", message))

    def _quantize(self, bits: str) -> None:
        if self.changes.get("quantization", bits) != bits:
            raise InvalidArgumentError(
                f"load_in_{bits} and quantization '{self.changes['quantization']}' are both given",
                hint="Keep one of them.",
            )
        self.changes["quantization"] = bits


_AS_ALWAYS = {"low_cpu_mem_usage": True, "use_safetensors": True, "use_cache": True}
_PIPELINE = {
    "truncate": "a prompt that is too long is an error here, and never cut",
    "truncation": "a prompt that is too long is an error here, and never cut",
    "clean_up_tokenization_spaces": "the answer is the model's own text, to the character",
}


def _catalog(given: str | Path | None) -> Catalog:
    from modelyard.catalog.load import load_catalog

    return load_catalog(Path(given) if given else None)


def _find(
    catalog: Catalog, name: str, model: str | None, path: str | Path | None, kind: str | None
) -> ModelSpec:
    if kind not in (None, "gguf", "pipeline"):
        raise InvalidArgumentError(f"model_type is {kind!r}", hint="It is 'gguf' or 'pipeline', or left out.")
    if name not in _PROVIDERS:
        if model or path:
            raise InvalidArgumentError(
                f"'{name}' is not a provider, and model or model_path is given beside it",
                hint="create_llm('huggingface', model=…), or create_llm(alias).",
            )
        wanted = name
    elif model and path:
        raise InvalidArgumentError("model and model_path are both given", hint="Keep one of them.")
    elif model or path:
        wanted = str(model or path)
    else:
        raise InvalidArgumentError(
            "no model is given", hint="Pass model=… (an alias or Hub id) or model_path=…."
        )
    if path and not Path(path).expanduser().exists():
        raise ModelNotFoundError(f"there is no file or folder {path}", hint="Check model_path.")
    if kind == "gguf" and path and Path(path).suffix.lower() != ".gguf":
        raise InvalidArgumentError(
            f"model_type is 'gguf', and {path} is no .gguf file", hint="Check model_path."
        )
    return catalog.resolve(wanted)


def _at_revision(spec: ModelSpec, revision: str) -> list[dict[str, Any]]:
    sources = [source.model_dump() for source in spec.sources]
    hub = [source for source in sources if source["kind"] == "hub"]
    if not hub:
        raise InvalidArgumentError(
            f"revision {revision!r} is for Hub models", hint=f"{spec.alias} is not one."
        )
    return [{**source, "revision": revision} for source in hub]


def _changed(spec: ModelSpec, changes: Mapping[str, Any]) -> ModelSpec:
    if not changes:
        return spec
    from pydantic import ValidationError

    try:
        return ModelSpec.model_validate({**spec.model_dump(), **changes})
    except ValidationError as error:
        first = error.errors()[0]
        keys = [str(first["loc"][0])] if first["loc"] else list(changes)
        values = ", ".join(f"{key} has value {changes.get(key)!r}" for key in keys)
        raise InvalidArgumentError(f"'{spec.alias}': {values}", hint=f"{first['msg']}.") from error
