"""The arguments of LlamaIndex's HuggingFaceLLM in our terms: honoured, or refused with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelyard.catalog.load import load_catalog
from modelyard.catalog.spec import ModelSpec
from modelyard.errors import InvalidArgumentError, ModelNotFoundError, UnsupportedError
from modelyard.params import canonical
from modelyard.types import Warning

DEFAULT_MAX_NEW_TOKENS = 256
"""As in the class that it stands for."""
_NO_EFFECT = {
    "pad_token_id": "requests of different lengths need no padding here",
    "use_cache": "the KV cache is always used",
}
_BITS = ("load_in_4bit", "load_in_8bit")
# As engine transformers quantises; what a configuration says otherwise changes numbers, and is said.
_QUANTIZED = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}


def refuse_objects(model: Any, tokenizer: Any) -> None:
    """Refuses models and tokenizers that are loaded already.

    Raises:
        UnsupportedError: one is given.
    """
    for name, given in (("model", model), ("tokenizer", tokenizer)):
        if given is not None and not isinstance(given, str | Path):
            raise UnsupportedError(
                f"{name} is a {type(given).__name__}, and the engine loads its own",
                hint="Save it with save_pretrained(folder), and pass model_name=folder.",
            )
    if tokenizer is not None:
        raise UnsupportedError("tokenizer is given, and the engine reads the model's", hint="Leave it out.")


def stopping(ids: Sequence[int] | None) -> None:
    """Refuses token ids to stop at.

    Raises:
        UnsupportedError: some are given.
    """
    if ids:
        raise UnsupportedError(
            f"stopping_ids is {list(ids)!r:.80}: an answer ends at the model's own end tokens, and at texts",
            hint="Leave them out; other ends go into generate_kwargs={'stop': ['text', …]}.",
        )


def tokenizing(kwargs: Mapping[str, Any], removed: Sequence[str], notes: list[Warning]) -> int | None:
    """The context's bound among a tokenizer's arguments, the only one that there is here.

    Raises:
        UnsupportedError: another is given.
    """
    for name in kwargs:
        if name != "max_length":
            raise UnsupportedError(
                f"tokenizer_kwargs: '{name}' is given, and the engine reads the model's tokenizer as it was saved",
                hint="Leave it out; 'max_length' alone is taken.",
            )
    if removed:
        notes.append(
            Warning(
                "tokenizer_outputs_ignored",
                "tokenizer_outputs_to_remove has no effect: the engine gives the model what it takes",
            )
        )
    limit = kwargs.get("max_length")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InvalidArgumentError(
            f"tokenizer_kwargs: 'max_length' has value {limit!r:.80}", hint="It has to be 1 or more."
        )
    return limit


def answer_parameters(
    kwargs: Mapping[str, Any], max_new_tokens: int | None, notes: list[Warning]
) -> dict[str, Any]:
    """Our sampling parameters for `generate_kwargs`.

    >>> answer_parameters({"temperature": 0.7, "max_new_tokens": 256}, None, [])
    {'temperature': 0.7, 'max_new_tokens': 256}

    Raises:
        InvalidArgumentError: one is not known, or the length is said twice.
    """
    rest = dict(kwargs)
    for name, why in _NO_EFFECT.items():
        if rest.pop(name, None) is not None:
            notes.append(Warning("generate_option_ignored", f"generate_kwargs: {name} has no effect: {why}"))
    found = canonical(rest, where="generate_kwargs:")
    said = found.get("max_new_tokens")
    if said is not None and max_new_tokens is not None and said != max_new_tokens:
        raise InvalidArgumentError(
            f"max_new_tokens is {max_new_tokens}, and {said} in generate_kwargs", hint="Keep one of them."
        )
    if said is None and found.get("max_length") is None:
        found["max_new_tokens"] = max_new_tokens or DEFAULT_MAX_NEW_TOKENS
    return found


def loading(kwargs: Mapping[str, Any], notes: list[Warning]) -> dict[str, Any]:
    """`model_kwargs` with a `quantization_config` read into `load_in_4bit` or `load_in_8bit`.

    >>> loading({"quantization_config": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}}, [])
    {'load_in_4bit': True}

    Raises:
        UnsupportedError: a configuration of another kind than bitsandbytes'.
    """
    rest = dict(kwargs)
    config = rest.pop("quantization_config", None)
    if config is None:
        return rest
    said = config if isinstance(config, Mapping) else _told(config)
    wanted = [name for name in _BITS if said.get(name)]
    if len(wanted) != 1:
        raise UnsupportedError(
            f"model_kwargs: quantization_config is {said!r:.120}",
            hint="load_in_4bit or load_in_8bit is taken; a model that is quantised already needs none.",
        )
    if wanted == ["load_in_4bit"]:
        other = {name: said[name] for name, value in _QUANTIZED.items() if said.get(name, value) != value}
        if other:
            message = f"4 bits are nf4 with double quantisation here; the configuration says {other}"
            notes.append(Warning("quantization_differs", message))
    return {**rest, wanted[0]: True}


def _told(config: Any) -> Mapping[str, Any]:
    """A configuration object's values."""
    told = config.to_dict() if hasattr(config, "to_dict") else None
    if not isinstance(told, Mapping):
        raise InvalidArgumentError(
            f"model_kwargs: quantization_config is a {type(config).__name__}",
            hint="Give a BitsAndBytesConfig, or load_in_4bit=True.",
        )
    return told


def check_tokenizer(name: str | None, model: str, spec: ModelSpec, catalog: str | None) -> None:
    """Refuses the tokenizer of another model.

    Raises:
        InvalidArgumentError: the name means another model.
    """
    if name is None or name == model:
        return
    try:
        other = load_catalog(None if catalog is None else Path(catalog)).resolve(name)
    except ModelNotFoundError:
        other = None
    if other is None or _places(other) != _places(spec):
        raise InvalidArgumentError(
            f"tokenizer_name is '{name}', and model_name '{model}'",
            hint="A model is read with its own tokenizer here: leave tokenizer_name out.",
        )


def _places(spec: ModelSpec) -> list[Any]:
    """Where a model comes from, whatever its revision."""
    return [source.model_dump(exclude={"revision"}) for source in spec.sources]
