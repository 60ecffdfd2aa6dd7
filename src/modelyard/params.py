"""Sampling parameters: one set of names, one place where they are checked and merged.

The order is engine default < catalogue < request. A name that is not known is an error that offers the
nearest; a value out of range is an error that names it; two parameters that contradict each other are an
error, or a warning where one of them plainly wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from modelyard.errors import InvalidArgumentError, UnsupportedError, nearest

DEFAULT_MAX_NEW_TOKENS = 512


@dataclass(slots=True, frozen=True)
class SamplingParams:
    """How tokens are chosen and when to stop.

    Attributes:
        max_new_tokens: most tokens of the answer; None lets `max_length` or the default of 512 decide.
        max_length: most tokens of prompt and answer together.
        min_new_tokens: least tokens of the answer.
        min_length: least tokens of prompt and answer together.
        temperature: 0 is greedy; above, the logits are divided by it.
        do_sample: None follows the temperature; False is greedy whatever the temperature says.
        top_p: smallest set of tokens whose probabilities reach it (nucleus sampling).
        top_k: that many most likely tokens; 0 means all.
        min_p: tokens at least this fraction as likely as the most likely one.
        repetition_penalty: above 1 makes tokens already seen less likely (Keskar et al. 2019).
        presence_penalty, frequency_penalty: taken from the logit of a token seen, once or each time.
        seed: of the sampler; None draws a fresh one.
        stop: strings that end the answer and are not part of it.
        num_return_sequences: how many answers.
        return_full_text: put the prompt in front of the answer.
    """

    max_new_tokens: int | None = None
    max_length: int | None = None
    min_new_tokens: int = 0
    min_length: int = 0
    temperature: float = 0.7
    do_sample: bool | None = None
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    num_return_sequences: int = 1
    return_full_text: bool = False

    @property
    def greedy(self) -> bool:
        """Whether the most likely token is always taken."""
        return self.temperature == 0 or self.do_sample is False

    def answer_budget(self, prompt_tokens: int) -> int:
        """Most tokens of the answer after a prompt of this length (it may be zero or less)."""
        if self.max_new_tokens is not None:
            return self.max_new_tokens
        if self.max_length is not None:
            return self.max_length - prompt_tokens
        return DEFAULT_MAX_NEW_TOKENS

    def answer_minimum(self, prompt_tokens: int) -> int:
        """Least tokens of the answer after a prompt of this length."""
        return max(self.min_new_tokens, self.min_length - prompt_tokens, 0)


ALIASES = {"max_tokens": "max_new_tokens", "n": "num_return_sequences", "stop_sequences": "stop"}
# Accepted because the field's configurations carry them, at the one value where they change nothing.
NEUTRAL: dict[str, Any] = {"use_cache": True, "length_penalty": 1, "num_beams": 1}
NAMES = tuple(field.name for field in fields(SamplingParams))

_BOUNDS: dict[str, tuple[float, float, str]] = {
    "max_new_tokens": (1, 1e9, "at least 1"),
    "max_length": (1, 1e9, "at least 1"),
    "min_new_tokens": (0, 1e9, "0 or more"),
    "min_length": (0, 1e9, "0 or more"),
    "temperature": (0, 100, "between 0 and 100"),
    "top_p": (1e-9, 1, "above 0 and at most 1"),
    "top_k": (0, 1e9, "0 (all) or more"),
    "min_p": (0, 1, "between 0 and 1"),
    "repetition_penalty": (1e-9, 100, "above 0"),
    "presence_penalty": (-2, 2, "between -2 and 2"),
    "frequency_penalty": (-2, 2, "between -2 and 2"),
    "seed": (0, 2**64 - 1, "0 or more"),
    "num_return_sequences": (1, 1024, "between 1 and 1024"),
}
_INTEGERS = {
    "max_new_tokens", "max_length", "min_new_tokens", "min_length", "top_k", "seed", "num_return_sequences",
}  # fmt: skip
_OPTIONAL = {"max_new_tokens", "max_length", "seed", "do_sample"}


def canonical(raw: Mapping[str, Any], *, where: str = "parameter") -> dict[str, Any]:
    """Known names with checked values, from one source; `where` says which, for the errors.

    >>> canonical({"max_tokens": 16, "stop": "END"})
    {'max_new_tokens': 16, 'stop': ('END',)}
    """
    clean: dict[str, Any] = {}
    for given, value in raw.items():
        name = ALIASES.get(given, given)
        if name in NEUTRAL:
            if value is not None and value != NEUTRAL[name]:
                raise UnsupportedError(
                    f"{where} '{given}' has value {value!r}; only {NEUTRAL[name]!r} is supported",
                    hint=f"Leave '{given}' out.",
                )
            continue
        if name not in NAMES:
            raise InvalidArgumentError(
                f"{where} '{given}' is not known.{nearest(given, (*NAMES, *ALIASES))}",
                hint=f"Known: {', '.join(NAMES)}.",
            )
        if name in clean:
            raise InvalidArgumentError(
                f"{where} '{given}' is given twice, under two names", hint="Keep one of them."
            )
        clean[name] = _checked(given, name, value, where)
    if clean.get("max_length") is not None and clean.get("max_new_tokens") is not None:
        raise InvalidArgumentError(
            f"{where}s 'max_length' ({clean['max_length']}) and 'max_new_tokens' ({clean['max_new_tokens']}) "
            "are both given",
            hint="max_length counts prompt and answer, max_new_tokens only the answer: keep one.",
        )
    return clean


def merge(*sources: tuple[str, Mapping[str, Any]]) -> tuple[SamplingParams, tuple[tuple[str, str], ...]]:
    """Merges parameters from the weakest source to the strongest; also returns warnings as (code, message).

    A stronger `max_new_tokens` takes the place of a weaker `max_length`, and the other way round.

    >>> params, warnings = merge(("catalogue", {"max_length": 100}), ("request", {"max_new_tokens": 5}))
    >>> params.max_new_tokens, params.max_length
    (5, None)
    """
    merged: dict[str, Any] = {}
    for where, raw in sources:
        clean = canonical(raw, where=f"{where} parameter")
        for mine, other in (("max_length", "max_new_tokens"), ("max_new_tokens", "max_length")):
            if clean.get(mine) is not None:
                merged.pop(other, None)
        merged.update(clean)
    params = SamplingParams(**merged)
    return _consistent(params, merged)


def _consistent(
    params: SamplingParams, given: Mapping[str, Any]
) -> tuple[SamplingParams, tuple[tuple[str, str], ...]]:
    warnings: list[tuple[str, str]] = []
    if params.temperature == 0 and params.do_sample:
        warnings.append(
            ("sampling_ignored", "temperature 0 is greedy decoding; do_sample: true beside it has no effect")
        )
    if params.greedy:
        idle = [
            name for name in ("top_p", "top_k", "min_p") if name in given and given[name] not in (0, 1, 1.0)
        ]
        if given.get("do_sample") is False and given.get("temperature") not in (None, 0, 1):
            idle.insert(0, "temperature")
        if idle:
            warnings.append(("sampling_ignored", f"greedy decoding does not use {', '.join(idle)}"))
        if params.num_return_sequences > 1:
            raise InvalidArgumentError(
                f"num_return_sequences is {params.num_return_sequences}, and greedy decoding gives only one answer",
                hint="Set a temperature above 0, or ask for one answer.",
            )
    least, most = params.min_new_tokens, params.max_new_tokens
    if most is not None and least > most:
        raise InvalidArgumentError(
            f"min_new_tokens ({least}) is above max_new_tokens ({most})", hint="Lower one or raise the other."
        )
    if params.max_length is not None and params.min_length > params.max_length:
        raise InvalidArgumentError(
            f"min_length ({params.min_length}) is above max_length ({params.max_length})",
            hint="Lower one or raise the other.",
        )
    return replace(params, do_sample=not params.greedy), tuple(warnings)


def _checked(given: str, name: str, value: Any, where: str) -> Any:
    if value is None:
        if name in _OPTIONAL:
            return None
        default: Any = SamplingParams.__dataclass_fields__[name].default
        return default
    if name == "stop":
        return _stop_strings(given, value, where)
    if name in ("do_sample", "return_full_text"):
        if not isinstance(value, bool):
            raise _bad(given, value, "true or false", where)
        return value
    low, high, words = _BOUNDS[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _bad(given, value, f"a number, {words}", where)
    if not low <= value <= high:  # NaN is not, either
        raise _bad(given, value, words, where)
    if name in _INTEGERS:
        if value != int(value):
            raise _bad(given, value, f"a whole number, {words}", where)
        return int(value)
    return float(value)


def _stop_strings(given: str, value: Any, where: str) -> tuple[str, ...]:
    strings = [value] if isinstance(value, str) else value
    if not isinstance(strings, list | tuple) or not all(isinstance(one, str) and one for one in strings):
        raise _bad(given, value, "a string or a list of strings, none of them empty", where)
    return tuple(dict.fromkeys(strings))


def _bad(given: str, value: Any, wanted: str, where: str) -> InvalidArgumentError:
    try:
        shown = f"{value!r:.200}"
    except ValueError:  # Python does not print a whole number of more than 4300 digits
        shown = "of thousands of digits"
    return InvalidArgumentError(f"{where} '{given}' has value {shown}", hint=f"It has to be {wanted}.")
