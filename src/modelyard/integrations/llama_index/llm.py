"""ModelyardLLM: a model of ours as LlamaIndex asks it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Self, cast

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW
from llama_index.core.instrumentation.events.llm import (
    LLMStructuredPredictEndEvent,
    LLMStructuredPredictStartEvent,
)
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.prompts import BasePromptTemplate, PromptTemplate
from llama_index.core.types import Model, TokenAsyncGen
from llama_index_instrumentation import get_dispatcher
from pydantic import Field, PrivateAttr

from modelyard import portal
from modelyard.engines.base import Capabilities
from modelyard.integrations.llama_index.answers import Answer
from modelyard.integrations.llama_index.model import ModelFields, without_secrets
from modelyard.integrations.llama_index.program import SchemaProgram
from modelyard.integrations.llama_index.prompts import Asked, asked_messages, asked_prompt
from modelyard.integrations.llama_index.streams import atold, told
from modelyard.integrations.llama_index.tokens import tokenizer_of
from modelyard.integrations.llama_index.tools import first_call_alone, offered, selections
from modelyard.llm import LLM
from modelyard.params import DEFAULT_MAX_NEW_TOKENS, canonical, merge
from modelyard.pool import Pool
from modelyard.types import Result, Warning

if TYPE_CHECKING:
    from llama_index.core.tools.types import BaseTool

dispatcher = get_dispatcher(__name__)


class ModelyardLLM(ModelFields, FunctionCallingLLM):
    """A model of ours as LlamaIndex asks it, for `Settings.llm`.

    The asynchronous methods never block their event loop: the model runs in a process of its own, unless
    `options={"worker": False}` keeps it in this one. The synchronous ones work inside of a running event loop too.
    Leaving a stream cancels its request. The model loads on first use; `await llm.aload()` loads it before
    `metadata` has to (LlamaIndex reads that where nothing can be awaited).

    `complete` puts the prompt into the chat template, where the model has one; with `formatted=True`, or through
    `completion_to_prompt` or `query_wrapper_prompt`, the text goes to the model as it stands. `chat` renders the
    chat template, or what `messages_to_prompt` says. Further arguments of a call are those of `LLM.generate`.

    Args:
        model: an alias of the catalogue, a Hub id, or a path; `create_llm`'s other arguments have their names here.
        llm: an LLM in place of all of them; so too `ModelyardLLM.from_llm(llm)`.
        pool: where the model is loaded.
        given: `context_window` (tokens that LlamaIndex may use, below what the model has), LlamaIndex's own fields
            (`system_prompt`, `callback_manager`, …), and sampling parameters for every request (`temperature`,
            `max_tokens`, …).

    Raises:
        ModelNotFoundError, InvalidArgumentError: as `create_llm` raises them.

    >>> ModelyardLLM(model="fake", options={"reply": "Paris"}).complete("The capital of France?").text
    'Paris'
    """

    context_window: int | None = Field(default=None, gt=0, description="Below what the model has.")
    parameters: dict[str, Any] = Field(default_factory=dict, description="Sampling parameters.")

    _llm: LLM = PrivateAttr()
    _known: Capabilities | None = PrivateAttr(default=None)
    _notes: tuple[Warning, ...] = PrivateAttr(default=())

    def __init__(
        self, model: Any = None, *, llm: LLM | None = None, pool: Pool | None = None, **given: Any
    ) -> None:
        fields = {name: given.pop(name) for name in tuple(given) if name in type(self).model_fields}
        parameters = {**(fields.pop("parameters", None) or {}), **given}
        if model is not None:
            fields["model"] = model
        super().__init__(**{**fields, "parameters": parameters})
        if llm is None:
            self._llm = self.make_llm(pool, parameters)
            return
        self.refuse_beside_llm()
        self._llm = llm.remade(params={**llm.params, **canonical(parameters)}) if parameters else llm
        self.model = llm.spec.alias
        self.options = without_secrets(llm.options)
        self.parameters = self._llm.params

    @classmethod
    def from_llm(cls, llm: LLM, **given: Any) -> Self:
        """The same for an LLM that there is already, which runs where it was made to; `given` as above.

        >>> from modelyard import create_llm
        >>> ModelyardLLM.from_llm(create_llm("fake", max_tokens=8)).metadata.num_output
        8
        """
        return cls(llm=llm, **given)

    @classmethod
    def class_name(cls) -> str:
        """The name in what LlamaIndex writes out."""
        return "modelyard_llm"

    # -- what LlamaIndex wants to know -----------------------------------------------------------------

    @property
    def metadata(self) -> LLMMetadata:
        """The model's context, whether it chats and calls functions; loads the model, once."""
        return self._described(self._learned(self._llm.load()) if self._known is None else self._known)

    async def aload(self) -> LLMMetadata:
        """`metadata` without blocking the event loop; loads the model, once."""
        return self._described(await self._capabilities())

    def to_payload(self) -> dict[str, Any]:
        """What observers are told of this LLM: nothing secret, and it loads nothing."""
        known = {} if self._known is None else self._described(self._known).model_dump()
        return {"class_name": self.class_name(), "model_name": self._llm.spec.alias, **known}

    @property
    def tokenizer(self) -> Callable[[str], list[int]]:
        """The model's own, for `Settings.tokenizer`."""
        return tokenizer_of(self._llm)

    @property
    def llm(self) -> LLM:
        """The LLM behind this one."""
        return self._llm

    def _described(self, known: Capabilities) -> LLMMetadata:
        params, _ = merge(("catalogue", self._llm.spec.defaults), ("parameter", self._llm.params))
        limits = (self.context_window, known.context_length, params.max_length)
        window = min((one for one in limits if one), default=DEFAULT_CONTEXT_WINDOW)
        answer = params.max_new_tokens or min(DEFAULT_MAX_NEW_TOKENS, (params.max_length or window) // 2)
        return LLMMetadata(
            context_window=window,
            num_output=answer,
            is_chat_model=self._chats(known),
            is_function_calling_model=known.tools and self._chats(known),
            model_name=self._llm.spec.alias,
            system_role=MessageRole.SYSTEM,
        )

    def _chats(self, known: Capabilities) -> bool:
        return known.chat

    def _templated(self, asked: Asked, known: Capabilities) -> bool:
        """Whether the chat template is used: for messages where there is one, for a text where it is a chat model."""
        return known.chat and (bool(asked.messages) or self._chats(known))

    async def _capabilities(self) -> Capabilities:
        return self._learned(await self._llm.load_async()) if self._known is None else self._known

    def _learned(self, found: Capabilities) -> Capabilities:
        """Keeps what the model can do; a context that it does not have is said with every answer."""
        wanted, there = self.context_window, found.context_length
        if self._known is None and wanted is not None and 0 < there < wanted:
            message = f"context_window is {wanted}, and the model has {there}: LlamaIndex is told {there}"
            self._notes = (*self._notes, Warning("context_window_reduced", message))
        self._known = found
        return found

    # -- whole answers ---------------------------------------------------------------------------------

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """The answer to a prompt; `formatted` gives it to the model as it stands."""
        result = portal.run(self._answer(asked_prompt(self, prompt, formatted), kwargs))
        return Answer.of(result, self._notes).completion()

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """`complete`, awaited."""
        result = await self._answer(asked_prompt(self, prompt, formatted), kwargs)
        return Answer.of(result, self._notes).completion()

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The answer to a conversation."""
        result = portal.run(self._answer(asked_messages(self, messages), kwargs))
        return Answer.of(result, self._notes).chat()

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """`chat`, awaited."""
        result = await self._answer(asked_messages(self, messages), kwargs)
        return Answer.of(result, self._notes).chat()

    async def _answer(self, asked: Asked, given: Mapping[str, Any]) -> Result:
        prompt, how = asked.fitting(self._templated(asked, await self._capabilities()))
        return await self._llm.generate_async(prompt, **{**how, **given})

    # -- streams ---------------------------------------------------------------------------------------

    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> Generator[CompletionResponse, None, None]:
        """The answer to a prompt as it is made; leaving the stream cancels it."""
        source = _iterate(self._completing(asked_prompt(self, prompt, formatted), kwargs))
        return told(llm_completion_callback, self, prompt, kwargs, source)

    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> AsyncGenerator[CompletionResponse, None]:
        """`stream_complete` for asynchronous code."""
        source = self._completing(asked_prompt(self, prompt, formatted), kwargs)
        return await atold(llm_completion_callback, self, prompt, kwargs, source)

    def stream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> Generator[ChatResponse, None, None]:
        """The answer to a conversation as it is made; leaving the stream cancels it."""
        source = _iterate(self._chatting(asked_messages(self, messages), kwargs))
        return told(llm_chat_callback, self, messages, kwargs, source)

    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> AsyncGenerator[ChatResponse, None]:
        """`stream_chat` for asynchronous code."""
        source = self._chatting(asked_messages(self, messages), kwargs)
        return await atold(llm_chat_callback, self, messages, kwargs, source)

    async def _completing(
        self, asked: Asked, given: Mapping[str, Any]
    ) -> AsyncGenerator[CompletionResponse, None]:
        async with aclosing(self._pieces(asked, given)) as pieces:
            async for answer, delta in pieces:
                yield answer.completion(delta)

    async def _chatting(self, asked: Asked, given: Mapping[str, Any]) -> AsyncGenerator[ChatResponse, None]:
        async with aclosing(self._pieces(asked, given)) as pieces:
            async for answer, delta in pieces:
                yield answer.chat(delta)

    async def _pieces(
        self, asked: Asked, given: Mapping[str, Any]
    ) -> AsyncGenerator[tuple[Answer, str], None]:
        prompt, how = asked.fitting(self._templated(asked, await self._capabilities()))
        answer = Answer(self._llm.spec.alias, self._notes)
        async with aclosing(self._llm.stream_async(prompt, **{**how, **given})) as chunks:
            async for chunk in chunks:
                answer.add(chunk)
                yield answer, chunk.text

    # -- structured answers ----------------------------------------------------------------------------

    def structured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """An object of a class, made under its schema; see `SchemaProgram`."""
        _say_asked(output_cls, prompt, prompt_args)
        found = self._program(output_cls, prompt)(llm_kwargs, **prompt_args)
        dispatcher.event(LLMStructuredPredictEndEvent(output=found))
        return found

    async def astructured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """`structured_predict`, awaited."""
        _say_asked(output_cls, prompt, prompt_args)
        found = await self._program(output_cls, prompt).acall(llm_kwargs, **prompt_args)
        dispatcher.event(LLMStructuredPredictEndEvent(output=found))
        return found

    def _structured_stream_call(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        return self._program(output_cls, prompt).stream_call(llm_kwargs=llm_kwargs, **prompt_args)

    async def _structured_astream_call(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any, None]:
        return await self._program(output_cls, prompt).astream_call(llm_kwargs=llm_kwargs, **prompt_args)

    def _program(self, output_cls: type[Model], prompt: BasePromptTemplate) -> SchemaProgram[Model]:
        return SchemaProgram(output_cls, self, prompt)

    # -- prompts of LlamaIndex's engines, where `metadata` is read inside of the event loop ------------

    async def apredict(self, prompt: BasePromptTemplate, **prompt_args: Any) -> str:
        """`predict`, awaited."""
        await self._capabilities()
        return await super().apredict(prompt, **prompt_args)

    async def astream(self, prompt: BasePromptTemplate, **prompt_args: Any) -> TokenAsyncGen:
        """`stream` for asynchronous code."""
        await self._capabilities()
        return await super().astream(prompt, **prompt_args)

    async def apredict_and_call(self, tools: Any, *args: Any, **kwargs: Any) -> Any:
        """`predict_and_call`, awaited."""
        await self._capabilities()
        return await super().apredict_and_call(tools, *args, **kwargs)

    # -- functions -------------------------------------------------------------------------------------

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        tool_choice: str | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The arguments of `chat`: the conversation, and the tools in our form."""
        asked = (
            ChatMessage(role=MessageRole.USER, content=user_msg) if isinstance(user_msg, str) else user_msg
        )
        messages = [*(chat_history or ()), *(() if asked is None else (asked,))]
        if not tools:
            return {"messages": messages, **kwargs}
        choice = tool_choice or ("required" if tool_required else "auto")
        return {"messages": messages, "tools": offered(tools), "tool_choice": choice, **kwargs}

    def _validate_chat_with_tools_response(
        self,
        response: ChatResponse,
        tools: Sequence[BaseTool],
        allow_parallel_tool_calls: bool = False,
        **kwargs: Any,
    ) -> ChatResponse:
        return response if allow_parallel_tool_calls else first_call_alone(response)

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """The functions that an answer calls.

        Raises:
            EngineError: there is none, or one has arguments that are no JSON object.
        """
        return selections(response, error_on_no_tool_call)


def _iterate(source: AsyncGenerator[Any, None]) -> Generator[Any, None, None]:
    return cast("Generator[Any, None, None]", portal.iterate(source))


def _say_asked(output_cls: Any, prompt: PromptTemplate, values: dict[str, Any]) -> None:
    event = LLMStructuredPredictStartEvent(output_cls=output_cls, template=prompt, template_args=values)
    dispatcher.event(event)
