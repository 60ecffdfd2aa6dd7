"""How a model is asked: the sampling parameters of a LangChain class, and a call's own over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import Field, model_validator

from modelyard.errors import InvalidArgumentError
from modelyard.integrations.langchain.arguments import ModelArguments, check_known
from modelyard.params import ALIASES, NAMES, NEUTRAL, canonical

_FIELDS = {
    "temperature": "temperature", "max_tokens": "max_new_tokens", "top_p": "top_p", "top_k": "top_k", "seed": "seed",
    "stop": "stop",
}  # fmt: skip
_ASKED = ("timeout", "logprobs", "top_logprobs", "adapter")
_LENGTHS = {"max_length": "max_new_tokens", "max_new_tokens": "max_length"}


class SamplingArguments(ModelArguments):
    """A model, and how it is asked where a call does not say.

    Attributes:
        temperature, max_tokens, top_p, top_k, seed, stop: sampling parameters (`modelyard.params`); what is None is
            the catalogue's choice.
        params: the other sampling parameters; each may also be given as an argument of its own.
        timeout: seconds that an answer may take.
        logprobs: whether an answer lists the logprobs of its tokens.
        top_logprobs: how many of the likeliest tokens are listed at each place; it brings `logprobs` with it.
        adapter: a LoRA on the model, by alias, Hub id or path.
        max_retries: how often a request is made again after an error that passes by itself (a full queue, say).
    """

    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    timeout: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    adapter: str | None = None
    max_retries: int = Field(default=0, ge=0)

    @classmethod
    def _sorted(cls, named: dict[str, Any]) -> dict[str, Any]:
        params = dict(named.get("params") or {})
        for name in [one for one in named if one not in cls.model_fields]:
            field = next((own for own, ours in _FIELDS.items() if ALIASES.get(name, name) == ours), None)
            place = named if field else params
            if name in (*NAMES, *ALIASES, *NEUTRAL):
                if place.get(field or name) is not None:
                    raise InvalidArgumentError(f"{field or name} is given twice", hint="Keep one of them.")
                place[field or name] = named.pop(name)
        return {**named, "params": params}

    @model_validator(mode="after")
    def _checked(self) -> Self:
        """Refuses a bad value before the first call."""
        _ = self.sampling
        return self

    @property
    def sampling(self) -> dict[str, Any]:
        """The sampling parameters under our names, as far as they are given."""
        own = {name: value for name in _FIELDS if (value := getattr(self, name)) is not None}
        return canonical({**self.params, **own}, where="argument")

    @property
    def identity(self) -> dict[str, Any]:
        named = {name: getattr(self, name) for name in (*_FIELDS, *_ASKED)}
        told = {name: value for name, value in named.items() if value is not None}
        return {**super().identity, **self.params, **told}

    def asked(
        self, stop: Sequence[str] | None, given: Mapping[str, Any], also: Sequence[str] = ()
    ) -> dict[str, Any]:
        """The arguments of `LLM.generate_async` for one call: its own before those of the class.

        Args:
            stop: the call's stop strings.
            given: the call's other arguments; None is as if it were not given.
            also: names that the call may have beside sampling parameters and `timeout`, `logprobs`,
                `top_logprobs`, `adapter`.

        Raises:
            InvalidArgumentError: an argument is not known, or has a value that it cannot have.
        """
        call = {name: value for name, value in given.items() if value is not None}
        if stop is not None:
            call["stop"] = list(stop)
        own = {name: value for name in _ASKED if (value := getattr(self, name)) is not None}
        check_known(call, (*NAMES, *ALIASES, *NEUTRAL, *_ASKED, *also))
        asked = {**own, **{name: call.pop(name) for name in (*_ASKED, *also) if name in call}}
        asked.setdefault("logprobs", bool(asked.get("top_logprobs")))
        return {**_over(self.sampling, canonical(call, where="argument")), **asked}


def _over(weaker: dict[str, Any], stronger: dict[str, Any]) -> dict[str, Any]:
    """A call's parameters over those of the class; one length takes the place of the other."""
    replaced = {_LENGTHS[name] for name in stronger if name in _LENGTHS}
    return {**{name: value for name, value in weaker.items() if name not in replaced}, **stronger}
