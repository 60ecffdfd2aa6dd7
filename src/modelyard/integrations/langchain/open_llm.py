"""HuggingFaceOpenLLM: a chat model of the Hub, with the arguments that users had before."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from modelyard.catalog.load import load_catalog
from modelyard.create import create_llm
from modelyard.errors import EngineNotInstalledError, InvalidArgumentError, PromptTooLongError
from modelyard.integrations.langchain.custom import BaseCustomLLM, Key
from modelyard.integrations.langchain.runtime import ChatTemplate, Tokenizer
from modelyard.safety import SalesforceCheck
from modelyard.types import Result


class HuggingFaceOpenLLM(BaseCustomLLM):
    """Any chat model, by its Hub id, an alias or a path, with a LoRA on it where `peft_model` names one.

    >>> HuggingFaceOpenLLM(base_model="fake", options={"reply": "Paris"}).invoke("The capital of France?")
    'Paris'

    Attributes:
        peft_model: a PEFT adapter on the base: an alias, a Hub id or a path. The base is loaded once for all of its
            adapters.
        enable_salesforce_content_safety: check prompt and answer with the model `safety_flan_t5`.
        top_p, temperature: as `modelyard.params` has them.
        max_padding_length: most tokens of a prompt. Prompts are not padded here, and never cut: a longer one is an
            error.
        tokenizer: gives the token ids of a text; set by the constructor.
        formatter: makes the text that the model is given (`format_prompt`); by default the model's chat template.

    What else there is, `BaseCustomLLM` says.
    """

    RUNTIME: ClassVar[tuple[str, ...]] = ("hf_model", "tokenizer")
    SAMPLING: ClassVar[tuple[str, ...]] = (*BaseCustomLLM.SAMPLING, "top_p", "temperature")

    peft_model: str | None = None
    enable_salesforce_content_safety: bool = False
    top_p: float = 0.9
    temperature: float = 0.6
    max_padding_length: int | None = Field(default=None, ge=1)
    tokenizer: Any = Field(default=None, exclude=True, repr=False)
    formatter: Any = Field(default=None, exclude=True, repr=False)

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {**super()._identifying_params, "formatter": type(self.formatter).__name__}

    @property
    def key(self) -> Key:
        return (str(self.base_model), self.quantization, self.peft_model)

    def _how(self) -> dict[str, Any]:
        how = super()._how()
        if self.peft_model is not None:
            create_llm(self.peft_model, catalog=self.catalog)  # a wrong name is an error now
            if how["engine"] is None and not self.peft_model.endswith(".gguf"):
                how["engine"] = "transformers"  # the engine that lays PEFT's adapters over a base
            if how["engine"] == "transformers" and importlib.util.find_spec("peft") is None:
                raise EngineNotInstalledError(
                    f"peft_model is '{self.peft_model}', and peft is not installed",
                    hint="pip install 'modelyard[transformers]'",
                )
        return how

    def _load(self) -> None:
        super()._load()
        self.tokenizer = Tokenizer(self.hf_model)
        if self.formatter is None or isinstance(self.formatter, ChatTemplate):
            self.formatter = ChatTemplate(self.hf_model)
        elif not callable(getattr(self.formatter, "format_prompt", None)):
            raise InvalidArgumentError(
                f"formatter is {self.formatter!r:.80}", hint="It needs a method format_prompt(prompt)."
            )
        if self.enable_salesforce_content_safety and self.safety_checkers is None:
            found = load_catalog(Path(self.catalog) if self.catalog else None)
            self.safety_checkers = [SalesforceCheck(catalog=found)]

    async def _answer(self, prompt: str, how: dict[str, Any]) -> Result:
        text, raw = prompt, False
        if not isinstance(self.formatter, ChatTemplate):
            text, raw = self.formatter.format_prompt(prompt), True
        await self._check_length(text, raw)
        # The engine renders the chat template itself: what a template writes in front is not added twice.
        return await super()._answer(text, {**how, "raw": raw, "adapter": self.peft_model})

    async def _check_length(self, text: str, raw: bool) -> None:
        most = self.max_padding_length
        if most is None:
            return
        count = await self.hf_model.count_tokens_async(text, raw=raw)
        if count > most:
            raise PromptTooLongError(
                f"the prompt has {count} tokens, and max_padding_length is {most}",
                hint="Shorten it, or raise max_padding_length: a prompt is never cut.",
            )
