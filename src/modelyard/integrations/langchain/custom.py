"""BaseCustomLLM: what the two Hugging Face classes have in common."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from langchain_core.language_models import llms
from langchain_core.outputs import Generation, LLMResult
from pydantic import Field, model_validator

from modelyard import portal
from modelyard.create import create_llm
from modelyard.errors import InvalidArgumentError
from modelyard.integrations.langchain.answers import generation
from modelyard.integrations.langchain.arguments import check_known
from modelyard.integrations.langchain.prompts import TextPrompts
from modelyard.integrations.langchain.refusals import UNSAFE_OUTPUT, UNSAFE_PROMPT, message, objections
from modelyard.llm import LLM
from modelyard.messages import Prompt
from modelyard.params import ALIASES, NAMES, NEUTRAL, canonical
from modelyard.pool import Pool
from modelyard.safety import Check, Verdict
from modelyard.types import Result

log = logging.getLogger("modelyard.langchain")

Key = tuple[str, bool, str | None]
"""Base model, whether it is quantised, adapter."""


class CachedModel(NamedTuple):
    """A model of the cache, and with which further arguments it was made."""

    hf_model: LLM
    how: dict[str, Any]


class BaseCustomLLM(TextPrompts, llms.LLM):
    """A model by `base_model`, loaded when the object is made and shared by all that name the same.

    Attributes:
        base_model: a Hub id, an alias of the catalogue, or a path.
        quantization: load the weights in 8 bits.
        max_new_tokens: most tokens of an answer.
        seed: of the sampler; the same seed gives the same text.
        do_sample: False takes the likeliest token each time.
        min_length: least tokens of prompt and answer together.
        use_cache: it is always used; False is an error.
        top_k, repetition_penalty: as `modelyard.params` has them.
        length_penalty: 1, since it belongs to beam search; anything else is an error.
        safety_checkers: checks of the prompt before and of the answer after; anything with the coroutine `verdict`.
        hf_model: our LLM, set by the constructor.
        engine, device, options, catalog, offline, pool: as `create_llm` takes them.
    """

    _MODEL_CACHE: ClassVar[dict[Key, CachedModel]] = {}
    RUNTIME: ClassVar[tuple[str, ...]] = ("hf_model",)
    SAMPLING: ClassVar[tuple[str, ...]] = (
        "max_new_tokens", "seed", "do_sample", "min_length", "use_cache", "top_k", "repetition_penalty",
        "length_penalty",
    )  # fmt: skip

    base_model: str | None = None
    quantization: bool = False
    max_new_tokens: int = 1024
    seed: int | None = None
    do_sample: bool = True
    min_length: int | None = None
    use_cache: bool = True
    top_k: int = 50
    repetition_penalty: float = 1.0
    length_penalty: float = 1
    hf_model: Any = Field(default=None, exclude=True, repr=False)
    safety_checkers: list[Any] | None = Field(default=None, exclude=True, repr=False)
    engine: str | None = None
    device: str | None = None
    options: dict[str, Any] | None = None
    catalog: str | Path | None = None
    offline: bool | None = None
    pool: Pool | None = Field(default=None, exclude=True, repr=False)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        named = dict(given)
        check_known(named, cls.model_fields)
        # What another object of this class held comes along where LangChain makes one from its fields.
        return {name: value for name, value in named.items() if name not in cls.RUNTIME}

    @model_validator(mode="after")
    def _set_up(self) -> Self:
        if not self.base_model:
            raise InvalidArgumentError(
                f"base_model is {self.base_model!r}",
                hint="Give a Hub id, an alias of the catalogue, or a path.",
            )
        for check in self.safety_checkers or ():
            if not callable(getattr(check, "verdict", None)):
                raise InvalidArgumentError(
                    f"safety_checkers holds {check!r:.80}", hint="It takes checks of modelyard.safety."
                )
        _ = self.sampling
        self._load()
        return self

    def _load(self) -> None:
        """Takes the model from the cache, or makes it; it is in memory afterwards."""
        key, how = self.key, self._how()
        found = self._MODEL_CACHE.get(key)
        if found is None or found.how != how:
            found = CachedModel(create_llm(key[0], **how), how)
        found.hf_model.load()
        self._MODEL_CACHE[key] = found
        self.hf_model = found.hf_model

    @property
    def key(self) -> Key:
        """Where the model stands in the cache."""
        return (str(self.base_model), self.quantization, None)

    def _how(self) -> dict[str, Any]:
        """The arguments of `create_llm` beside the name."""
        return {
            "quantization": "8bit" if self.quantization else None,
            "engine": self.engine,
            "device": self.device,
            "options": self.options,
            "catalog": self.catalog,
            "offline": self.offline,
            "pool": self.pool,
        }

    @property
    def sampling(self) -> dict[str, Any]:
        """The sampling parameters under our names.

        Greedy decoding uses no temperature, top_p and top_k: their defaults are left out then. Where one was given
        all the same, the answer has a warning.

        Raises:
            InvalidArgumentError, UnsupportedError: a value that cannot be kept; it says which.
        """
        idle = () if self.do_sample else ("temperature", "top_p", "top_k")
        names = [name for name in self.SAMPLING if name not in idle or name in self.model_fields_set]
        return canonical({name: getattr(self, name) for name in names}, where="argument")

    # -- what LangChain wants to know ------------------------------------------------------------------

    @property
    def _llm_type(self) -> str:
        return "custom"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        shown = (name for name, one in type(self).model_fields.items() if not one.exclude)
        named = {name: getattr(self, name) for name in shown if name not in llms.LLM.model_fields}
        checks = [f"{type(one).__name__}({getattr(one, 'name', '')})" for one in self.safety_checkers or ()]
        return {"model_name": self.base_model, **named, "safety_checkers": checks}

    # -- answers ---------------------------------------------------------------------------------------

    def _call(
        self, prompt: Any = None, stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> str:
        return portal.run(self._reply(prompt, stop, kwargs)).text

    async def _acall(
        self, prompt: Any = None, stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> str:
        return (await portal.call(self._reply(prompt, stop, kwargs))).text

    def _generate(
        self, prompts: list[str], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> LLMResult:
        return portal.run(self._replies(prompts, stop, kwargs))

    async def _agenerate(
        self, prompts: list[str], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> LLMResult:
        return await portal.call(self._replies(prompts, stop, kwargs))

    async def _replies(self, prompts: list[str], stop: list[str] | None, given: dict[str, Any]) -> LLMResult:
        asked = [asyncio.ensure_future(self._reply(one, stop, given)) for one in prompts]
        try:
            return LLMResult(generations=[[one] for one in await asyncio.gather(*asked)])
        finally:
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def _reply(self, prompt: Any, stop: list[str] | None, given: Mapping[str, Any]) -> Generation:
        """The answer, checked before and after, with what there is to say of it in `generation_info`."""
        call = {name: value for name, value in given.items() if value is not None}
        if stop is not None:
            call["stop"] = list(stop)
        check_known(call, (*NAMES, *ALIASES, *NEUTRAL, "timeout"))
        timeout = call.pop("timeout", None)
        how = {**self.sampling, **canonical(call, where="argument"), "timeout": timeout, "logprobs": False}
        said = self._text(prompt)
        checks: list[Check] = self.safety_checkers or []
        if refused := await objections(checks, said):
            return _refusal(UNSAFE_PROMPT, refused)
        result = await self._answer(prompt, how)
        for warning in result.warnings:
            log.warning("%s", warning.message)
        if result.finish_reason == "content_filter":  # by the checks that the catalogue gives the model
            side = {one.side for one in result.verdicts}
            return _refusal(UNSAFE_PROMPT if "input" in side else UNSAFE_OUTPUT, result.verdicts)
        if refused := await objections(checks, result.text, said):
            return _refusal(UNSAFE_OUTPUT, refused)
        return generation(result, logprobs=False)

    async def _answer(self, prompt: Any, how: dict[str, Any]) -> Result:
        found: Result = await self.hf_model.generate_async(prompt, **how)
        return found

    def _text(self, prompt: Prompt | None) -> str:
        """What the prompt says, for the checks.

        Raises:
            InvalidArgumentError: it is empty, or no text.
        """
        if not isinstance(prompt, str) or not prompt.strip():
            raise InvalidArgumentError(f"the prompt is {prompt!r:.80}", hint="Give it some text.")
        return prompt


def _refusal(template: str, verdicts: tuple[Verdict, ...]) -> Generation:
    told = {"finish_reason": "content_filter", "verdicts": [asdict(one) for one in verdicts]}
    return Generation(text=message(template, verdicts), generation_info=told)
