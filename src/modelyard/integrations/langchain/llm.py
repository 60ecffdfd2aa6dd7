"""ModelyardLLM: a text model for LangChain."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any, Self

from langchain_core.language_models import BaseLLM
from langchain_core.language_models.base import LangSmithParams
from langchain_core.outputs import GenerationChunk, LLMResult

from modelyard import portal
from modelyard.integrations.langchain.answers import PROVIDER, generation, generation_chunk
from modelyard.integrations.langchain.prompts import TextPrompts
from modelyard.integrations.langchain.retry import retried, stream_retried
from modelyard.integrations.langchain.sampling import SamplingArguments
from modelyard.llm import LLM
from modelyard.types import Result

_OURS = ("system_prompt", "schema", "regex", "choices", "raw")


class ModelyardLLM(SamplingArguments, TextPrompts, BaseLLM):
    """A model of ours that answers a text with a text.

    The text is given to the model by its chat template, as `LLM.generate` does it; with `raw` as it stands, for a
    base model that goes on with it. A call may have any sampling parameter, `timeout`, `logprobs`, `top_logprobs`,
    `adapter`, `system_prompt`, `schema`, `regex`, `choices` and `raw`. `generation_info` of an answer has
    `finish_reason`, `model_name`, `usage`, `warnings`, and `logprobs` where they are asked for.

    >>> ModelyardLLM(model="fake", options={"reply": "Paris"}).invoke("The capital of France is")
    'Paris'

    Attributes:
        raw: give the text to the model without its chat template.

    Raises:
        InvalidArgumentError: an argument that is not known, or a bad value; it says which.
        ModelNotFoundError: there is no such model.
    """

    raw: bool = False

    @classmethod
    def from_llm(cls, llm: LLM, **how: Any) -> Self:
        """The text model of an LLM that is there already; `how` is what is not about loading."""
        return cls(llm=llm, **how)

    @property
    def _llm_type(self) -> str:
        return PROVIDER

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {**self.identity, "raw": self.raw}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        named = super()._get_ls_params(stop=stop, **kwargs)
        return LangSmithParams(**{**named, "ls_provider": PROVIDER, "ls_model_name": self.model_title})

    def get_token_ids(self, text: str) -> list[int]:
        """The token ids of a text, by the model's own tokenizer; loads the model."""
        return list(self.language_model.encode([text], special=False)[0])

    def _generate(
        self, prompts: list[str], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> LLMResult:
        return portal.run(self._answered(prompts, stop, kwargs))

    async def _agenerate(
        self, prompts: list[str], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> LLMResult:
        return await portal.call(self._answered(prompts, stop, kwargs))

    def _stream(
        self, prompt: str, stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[GenerationChunk]:
        for piece in portal.iterate(self._pieces(prompt, stop, kwargs)):
            if run_manager is not None:
                run_manager.on_llm_new_token(piece.text, chunk=piece)
            yield piece

    async def _astream(
        self, prompt: str, stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[GenerationChunk]:
        async with contextlib.aclosing(portal.bridge(self._pieces(prompt, stop, kwargs))) as pieces:
            async for piece in pieces:
                if run_manager is not None:
                    await run_manager.on_llm_new_token(piece.text, chunk=piece)
                yield piece

    async def _answered(self, prompts: list[str], stop: list[str] | None, given: dict[str, Any]) -> LLMResult:
        how = self._how(stop, given)
        asked = [asyncio.ensure_future(self._answer(one, how)) for one in prompts]
        try:
            results = await asyncio.gather(*asked)
        finally:
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        return LLMResult(
            generations=[
                [generation(answer, logprobs=how["logprobs"]) for answer in (one, *one.alternatives)]
                for one in results
            ],
            llm_output={"model_name": self.model_title},
        )

    async def _answer(self, prompt: str, how: dict[str, Any]) -> Result:
        return await retried(lambda: self.language_model.generate_async(prompt, **how), self.max_retries)

    async def _pieces(
        self, prompt: str, stop: list[str] | None, given: dict[str, Any]
    ) -> AsyncGenerator[GenerationChunk, None]:
        how = self._how(stop, given)
        source = stream_retried(lambda: self.language_model.stream_async(prompt, **how), self.max_retries)
        async with contextlib.aclosing(source) as chunks:
            async for chunk in chunks:
                if chunk.text or chunk.finish_reason or (how["logprobs"] and chunk.tokens):
                    yield generation_chunk(chunk, self.model_title, logprobs=how["logprobs"])

    def _how(self, stop: list[str] | None, given: dict[str, Any]) -> dict[str, Any]:
        return {"raw": self.raw, **self.asked(stop, given, _OURS)}
