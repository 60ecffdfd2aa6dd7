"""SchemaProgram: answers that are made under a pydantic class's schema, then validated."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, TextBlock
from llama_index.core.program.utils import FlexibleModel, create_flexible_model
from llama_index.core.prompts import BasePromptTemplate, PromptTemplate
from llama_index.core.settings import Settings
from llama_index.core.types import BasePydanticProgram, Model
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from modelyard.errors import InvalidArgumentError, SchemaError

if TYPE_CHECKING:
    from modelyard.integrations.llama_index.llm import ModelyardLLM


class SchemaProgram(BasePydanticProgram[Model]):
    """A prompt that is answered with an object of a class.

    The schema of the class is shown to the model and enforced while it writes, so that even a small model keeps
    it. What the schema cannot say (validators of the class) is checked at the end.

    Args:
        output_cls: a pydantic class.
        llm: who is asked.
        prompt: what is asked, as a template.
    """

    def __init__(self, output_cls: type[Model], llm: ModelyardLLM, prompt: BasePromptTemplate) -> None:
        self._output_cls, self._llm, self._prompt = output_cls, llm, prompt

    @classmethod
    def from_defaults(
        cls,
        output_cls: type[Model],
        *,
        llm: ModelyardLLM | None = None,
        prompt: BasePromptTemplate | None = None,
        prompt_template_str: str | None = None,
    ) -> SchemaProgram[Model]:
        """A program from a template or its text, with `Settings.llm` where no LLM is given.

        Raises:
            InvalidArgumentError: there is no prompt, or there are two; or the LLM is not one of ours.
        """
        from modelyard.integrations.llama_index.llm import ModelyardLLM

        if (prompt is None) == (prompt_template_str is None):
            raise InvalidArgumentError(
                "prompt and prompt_template_str are both given, or neither", hint="Give one of them."
            )
        asked = Settings.llm if llm is None else llm
        if not isinstance(asked, ModelyardLLM):
            raise InvalidArgumentError(f"llm is {type(asked).__name__}", hint="Give a ModelyardLLM.")
        return cls(output_cls, asked, prompt or PromptTemplate(prompt_template_str or ""))

    @property
    def output_cls(self) -> type[Model]:
        """The class of the answers."""
        return self._output_cls

    def __call__(self, llm_kwargs: Mapping[str, Any] | None = None, **values: Any) -> Model:
        """Answers the prompt with these values in it.

        Args:
            llm_kwargs: parameters of the request.
            values: of the template's variables.

        Raises:
            InvalidArgumentError: the answer was cut before it was whole.
            SchemaError: the answer keeps the schema, but not what the class checks beyond it.
        """
        return self._read(self._llm.chat(self._messages(values), **self._how(llm_kwargs)))

    async def acall(self, llm_kwargs: Mapping[str, Any] | None = None, **values: Any) -> Model:
        """The same, awaited."""
        return self._read(await self._llm.achat(self._messages(values), **self._how(llm_kwargs)))

    def stream_call(
        self, *, llm_kwargs: Mapping[str, Any] | None = None, **values: Any
    ) -> Generator[Model | FlexibleModel, None, None]:
        """Objects that grow, of a class in which every field may be missing; the last one is whole."""
        growing = _Growing(self._output_cls)
        last: ChatResponse | None = None
        with closing(self._llm.stream_chat(self._messages(values), **self._how(llm_kwargs))) as pieces:
            for last in pieces:
                if (partial := growing.grown(last)) is not None:
                    yield partial
        yield self._read(last)

    async def astream_call(
        self, *, llm_kwargs: Mapping[str, Any] | None = None, **values: Any
    ) -> AsyncGenerator[Model | FlexibleModel, None]:
        """The same for asynchronous code."""
        return self._apieces(llm_kwargs, values)

    async def _apieces(
        self, llm_kwargs: Mapping[str, Any] | None, values: Mapping[str, Any]
    ) -> AsyncGenerator[Model | FlexibleModel, None]:
        growing = _Growing(self._output_cls)
        last: ChatResponse | None = None
        source = await self._llm.astream_chat(self._messages(values), **self._how(llm_kwargs))
        async with aclosing(source) as pieces:
            async for last in pieces:
                if (partial := growing.grown(last)) is not None:
                    yield partial
        yield self._read(last)

    def _messages(self, values: Mapping[str, Any]) -> list[ChatMessage]:
        messages = self._prompt.format_messages(llm=self._llm, **values)
        return with_schema(self._llm._extend_messages(messages), self._output_cls)

    def _how(self, given: Mapping[str, Any] | None) -> dict[str, Any]:
        return {**(given or {}), "schema": self._output_cls}

    def _read(self, response: ChatResponse | None) -> Model:
        name = self._output_cls.__name__
        finish = None if response is None else response.additional_kwargs.get("finish_reason")
        if response is None or finish != "stop":
            raise InvalidArgumentError(
                f"the answer was cut before it was a whole {name} (finish reason: {finish})",
                hint="Raise max_tokens.",
            )
        try:
            return self._output_cls.model_validate_json(response.message.content or "")
        except ValidationError as error:
            raise SchemaError(
                f"the answer is no {name}: {error}",
                hint="Say in the class's schema (types, patterns, bounds, descriptions) what its validators want.",
            ) from error


class _Growing:
    """The object that a text of JSON has come to so far."""

    def __init__(self, output_cls: type[BaseModel]) -> None:
        self._cls = create_flexible_model(output_cls)
        self._before: Any = None

    def grown(self, response: ChatResponse) -> FlexibleModel | None:
        """The object as it is now; None where nothing has been added."""
        try:
            found = from_json(response.message.content or "", allow_partial="trailing-strings")
        except ValueError:  # not yet the beginning of an object
            return None
        if not isinstance(found, dict) or found == self._before:
            return None
        self._before = found
        return self._cls.model_validate(found)


def with_schema(messages: Sequence[ChatMessage], output_cls: type[BaseModel]) -> list[ChatMessage]:
    """The messages, the schema shown behind the last one of the user: what is enforced should be no surprise."""
    schema = json.dumps(output_cls.model_json_schema(), ensure_ascii=False, separators=(",", ":"))
    block = TextBlock(text=f"\nAnswer with one JSON object that keeps this schema:\n{schema}")
    *before, last = messages or [ChatMessage(role=MessageRole.USER)]
    if last.role != MessageRole.USER:
        return [*before, last, ChatMessage(role=MessageRole.USER, blocks=[block])]
    return [*before, last.model_copy(update={"blocks": [*last.blocks, block]})]
