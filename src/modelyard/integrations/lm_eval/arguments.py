"""lm-eval's arguments, of a model and of a task's generation, in our terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lm_eval.models.utils import normalize_gen_kwargs

from modelyard.errors import InvalidArgumentError, UnsupportedError, nearest
from modelyard.params import canonical

_OPTION = "option_"
_KNOWN = (
    "model", "engine", "option_NAME", "device", "quantization", "revision", "trust_remote_code", "adapter",
    "catalog", "offline", "exact", "batch_size", "max_batch_size", "max_length", "max_gen_toks", "prefix_token_id",
)  # fmt: skip
_REFUSED = {
    "max_length": "Give max_gen_toks, which counts the answer alone.",
    "num_return_sequences": "Give the task `repeats`: each of its requests has one answer.",
    "return_full_text": "Leave it out: lm-eval reads the answer alone.",
}


def options_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The engine's options among a model's arguments, where nothing else may be left.

    >>> options_of({"option_precision": "exact"})
    {'precision': 'exact'}

    Raises:
        InvalidArgumentError: an argument that is not known.
    """
    for name in given:
        if not name.startswith(_OPTION):
            near = " Did you mean 'model'?" if name == "pretrained" else nearest(name, _KNOWN)
            raise InvalidArgumentError(
                f"model argument '{name}' is not known.{near}", hint=f"Known: {', '.join(_KNOWN)}."
            )
    return {name.removeprefix(_OPTION): value for name, value in given.items()}


def whole(name: str, value: Any, least: int = 1) -> int:
    """A whole number among a model's arguments.

    >>> whole("max_length", "2048")
    2048

    Raises:
        InvalidArgumentError: it is none, or less than `least`.
    """
    written = str(value)
    if isinstance(value, bool) or not written.isdecimal() or int(written) < least:
        raise InvalidArgumentError(
            f"model argument '{name}' has value {value!r}", hint=f"It is a whole number, {least} or more."
        )
    return int(written)


def in_flight(batch_size: Any, max_batch_size: Any) -> int:
    """How many requests run at a time; `auto` and `auto:N` leave it to `max_batch_size`.

    >>> in_flight("auto", 64), in_flight("8", 64)
    (64, 8)

    Raises:
        InvalidArgumentError: one of them is no such number.
    """
    most = whole("max_batch_size", max_batch_size)
    return most if str(batch_size).partition(":")[0] == "auto" else whole("batch_size", batch_size)


def generation(given: Mapping[str, Any], max_gen_toks: int) -> dict[str, Any]:
    """Our sampling parameters for what a task says of its answers.

    >>> generation({"until": ["END"], "max_gen_toks": 8, "do_sample": False}, 256)
    {'temperature': 0.0, 'max_new_tokens': 8, 'stop': ('END',)}

    Args:
        given: lm-eval's generation arguments.
        max_gen_toks: most tokens of an answer, where they do not say.

    Raises:
        InvalidArgumentError: an argument that is not known, or sampling without a temperature.
        UnsupportedError: one that would change what lm-eval gets.
    """
    for name, hint in _REFUSED.items():
        if name in given:
            raise UnsupportedError(f"generation argument '{name}' is given", hint=hint)
    rest = dict(normalize_gen_kwargs(dict(given), max_gen_toks))
    samples, budget = rest.pop("do_sample"), rest.pop("max_gen_toks")
    temperature = float(rest.pop("temperature", 0.0))
    if samples and not temperature:
        raise InvalidArgumentError(
            "generation argument 'do_sample' is true, and there is no temperature to sample with",
            hint="Give one: --gen_kwargs temperature=…, or set do_sample to false.",
        )
    stop = [*rest.pop("until"), *_several(rest.pop("stop", None))]
    asked = {
        **rest,
        "temperature": temperature,
        "max_new_tokens": budget,
        "stop": [one for one in stop if one],
    }
    return canonical(asked, where="generation argument")


def _several(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [given]
