"""ChatModelyard: a chat model for LangChain."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, Self, cast

from langchain_core.language_models import BaseChatModel, LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import PrivateAttr

from modelyard import portal
from modelyard.errors import InvalidArgumentError, UnsupportedError
from modelyard.integrations.langchain.answers import PROVIDER, chat_chunk, chat_generation
from modelyard.integrations.langchain.messages import as_ours
from modelyard.integrations.langchain.retry import retried, stream_retried
from modelyard.integrations.langchain.sampling import SamplingArguments
from modelyard.integrations.langchain.structured import (
    AnswerParser,
    instruction,
    json_schema,
    response_schema,
)
from modelyard.llm import LLM
from modelyard.messages import read_tools
from modelyard.types import Message, Part, Result, TextPart, Warning

_METHODS = ("json_schema", "function_calling", "json_mode")
_OURS = ("system_prompt", "schema", "regex", "choices", "tools", "tool_choice")
Offered = Mapping[str, Any] | type | Callable[..., Any] | BaseTool


class ChatModelyard(SamplingArguments, BaseChatModel):
    """A chat model of ours, on any engine.

    An answer's `usage_metadata` counts its tokens; `response_metadata` has `finish_reason`, `model_name`, the
    `warnings` of parameters that could not be kept, the `logprobs` where they are asked for, and the `fingerprint`
    of the model where the answer came whole. Arguments are those of `SamplingArguments` and of LangChain's own
    `BaseChatModel`; a call may have any sampling parameter, `timeout`, `logprobs`, `top_logprobs`, `adapter`,
    `model` (another one, loaded in the same way), `schema`, `regex`, `choices`, `response_format`, `tools` and
    `tool_choice`.

    The model runs in a process of its own, so that no event loop waits for a step of it; `options={"worker": False}`
    keeps it in this one, and so does an LLM that is given.

    >>> chat = ChatModelyard(model="fake", options={"reply": "Paris"})
    >>> chat.invoke("What is the capital of France?").content
    'Paris'

    Attributes:
        streaming: whether `invoke` streams too, for handlers that want every token.

    Raises:
        InvalidArgumentError: an argument that is not known, or a bad value; it says which.
        ModelNotFoundError: there is no such model.
    """

    streaming: bool = False

    _others: dict[str, LLM] = PrivateAttr(default_factory=dict)

    @classmethod
    def from_llm(cls, llm: LLM, **how: Any) -> Self:
        """The chat model of an LLM that is there already.

        Args:
            llm: ours.
            how: sampling parameters and what else is not about loading.
        """
        return cls(llm=llm, **how)

    # -- what LangChain wants to know ------------------------------------------------------------------

    @property
    def _llm_type(self) -> str:
        return PROVIDER

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return self.identity

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(
            **{
                **super()._get_ls_params(stop=stop, **kwargs),
                "ls_provider": PROVIDER,
                "ls_model_name": kwargs.get("model") or self.model_title,
            }
        )

    def _resolve_model_profile(self) -> ModelProfile:
        """What is known before the model is loaded.

        `structured_output` is left open: LangChain's agents take it as leave to ask for tools and a schema at
        once, and an answer here has one form.
        """
        spec = self.language_model.spec
        return ModelProfile(
            name=spec.title,
            open_weights=not spec.elsewhere,
            text_inputs=True,
            image_inputs=spec.task == "vision",
            image_url_inputs=False,
            pdf_inputs=False,
            audio_inputs=False,
            video_inputs=False,
            text_outputs=True,
            image_outputs=False,
            audio_outputs=False,
            temperature=True,
        )

    def get_token_ids(self, text: str) -> list[int]:
        """The token ids of a text, by the model's own tokenizer; loads the model."""
        return list(self.language_model.encode([text], special=False)[0])

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """How many tokens the messages have, chat template included; loads the model.

        Raises:
            UnsupportedError: tools are to be counted.
        """
        if tools:
            raise UnsupportedError("tokens of tools are not counted", hint="Leave tools out.")
        return self.language_model.count_tokens(as_ours(messages)[0])

    # -- answers ---------------------------------------------------------------------------------------

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        return portal.run(self._answered(messages, stop, kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await portal.call(self._answered(messages, stop, kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        yield from portal.iterate(self._pieces(messages, stop, kwargs))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async with contextlib.aclosing(portal.bridge(self._pieces(messages, stop, kwargs))) as pieces:
            async for piece in pieces:
                yield piece

    async def _answered(
        self, messages: list[BaseMessage], stop: list[str] | None, given: dict[str, Any]
    ) -> ChatResult:
        llm, prompt, how, warnings = self._request(messages, stop, given)
        result: Result = await retried(lambda: llm.generate_async(prompt, **how), self.max_retries)
        generations = [
            chat_generation(one, warnings, logprobs=how["logprobs"]) for one in (result, *result.alternatives)
        ]
        return ChatResult(generations=generations)

    async def _pieces(
        self, messages: list[BaseMessage], stop: list[str] | None, given: dict[str, Any]
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        llm, prompt, how, warnings = self._request(messages, stop, given)
        source = stream_retried(lambda: llm.stream_async(prompt, **how), self.max_retries)
        async with contextlib.aclosing(source) as chunks:
            async for chunk in chunks:
                if chunk.text or chunk.finish_reason or (how["logprobs"] and chunk.tokens):
                    yield chat_chunk(chunk, llm.spec.alias, warnings, logprobs=how["logprobs"])

    def _request(
        self, messages: list[BaseMessage], stop: list[str] | None, given: dict[str, Any]
    ) -> tuple[LLM, list[Message], dict[str, Any], list[Warning]]:
        """The model that is asked, the messages, how it is asked, and what the answer has to say."""
        rest = dict(given)
        rest.pop("stream", None)  # LangChain's own, said by the method that is called
        llm = self._other(rest.pop("model", None))
        format_ = rest.pop("response_format", None)
        _refuse_promises(rest)
        if format_ is not None and (schema := response_schema(format_)) is not None:
            rest["schema"] = schema
        shown = rest.pop("show_schema", False)
        how = self.asked(stop, rest, _OURS)
        prompt, warnings = as_ours(messages)
        if shown:
            prompt = _with_instruction(prompt, instruction(json_schema(how["schema"])))
        return llm, prompt, how, warnings

    def _other(self, name: str | None) -> LLM:
        """The model that a call names, which is loaded as this one is."""
        if name is None or name in (self.model, self.model_title):
            return self.language_model
        if self.llm is not None or self.model_path is not None:
            raise InvalidArgumentError(
                f"the call asks for model '{name}'", hint="Make another ChatModelyard for it."
            )
        if name not in self._others:
            self._others[name] = self._made(name)
        return self._others[name]

    # -- tools and structured answers ------------------------------------------------------------------

    def bind_tools(
        self,
        tools: Sequence[Offered],
        *,
        tool_choice: str | bool | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools that it may call.

        Args:
            tools: functions, pydantic or TypedDict classes, LangChain's tools, or OpenAI's dicts.
            tool_choice: `auto`, `none`, `any` (or `required`, or True) for a call of any tool, or a tool's name.
            kwargs: other arguments of each call.

        Raises:
            InvalidArgumentError: something is no tool, or the choice names none of them.
            UnsupportedError: `strict` is asked for where the model is free not to call (arguments are enforced by
                a grammar where it has to call), or `parallel_tool_calls` is False.
        """
        offered = [convert_to_openai_tool(cast(Any, one)) for one in tools]
        choice = _choice(tool_choice)
        read_tools(offered, choice)
        if choice is not None:
            kwargs["tool_choice"] = choice
        return self.bind(tools=offered, **kwargs)

    def with_structured_output(
        self,
        schema: Mapping[str, Any] | type | None = None,
        *,
        method: str = "json_schema",
        include_raw: bool = False,
        show_schema: bool = True,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """The model, its answers read by a schema.

        Args:
            schema: a pydantic class, a TypedDict class, a JSON Schema or an OpenAI function; `json_mode` can go without.
            method: `json_schema` lets a grammar enforce the schema; `function_calling` makes it the arguments of a
                tool that has to be called; `json_mode` is the first without `show_schema`, and without a schema some
                JSON object.
            include_raw: answer with `raw` (the message), `parsed` and `parsing_error`.
            show_schema: with `json_schema`, put the schema at the end of the question too: a grammar alone does not
                tell the model what a field means.
            strict: accepted, since a schema is enforced anyway.
            kwargs: other arguments of each call.

        Raises:
            InvalidArgumentError: there is no such method, or something is no schema.

        What the result raises: `OutputParserException` where an answer was cut or breaks the schema,
        `ModelRefusalError` where a safety check stopped it.
        """
        if method not in _METHODS:
            raise InvalidArgumentError(f"method is {method!r}", hint=f"It is one of: {', '.join(_METHODS)}.")
        if schema is None and method != "json_mode":
            raise InvalidArgumentError("schema is None", hint="Give one, or use method='json_mode'.")
        of_class = isinstance(schema, type) and is_basemodel_subclass(schema)
        parser = AnswerParser(pydantic_object=cast(Any, schema) if of_class else None)
        told = {"kwargs": {"method": method}, "schema": schema or {"type": "object"}}
        if method == "function_calling":
            tool = convert_to_openai_tool(cast(Any, schema))
            parser.tool = tool["function"]["name"]
            asked = self.bind_tools(
                [tool], tool_choice=parser.tool, ls_structured_output_format=told, **kwargs
            )
        else:
            wanted = json_schema({"type": "object"} if schema is None else schema)
            shown = show_schema and method == "json_schema"
            asked = self.bind(schema=wanted, show_schema=shown, ls_structured_output_format=told, **kwargs)
        if not include_raw:
            return asked | parser
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        unread = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=asked) | parsed.with_fallbacks([unread], exception_key="parsing_error")


def _choice(given: str | bool | Mapping[str, Any] | None) -> Any:
    """LangChain's words for what the model has to call, in OpenAI's."""
    if given is True or given == "any":
        return "required"
    return None if given is False else given


def _refuse_promises(rest: dict[str, Any]) -> None:
    """Takes the arguments out that promise something about calls, and refuses what is not kept here."""
    if rest.pop("parallel_tool_calls", None) is False:
        raise UnsupportedError(
            "parallel_tool_calls is False", hint="How many calls a model makes is its own choice."
        )
    free = rest.get("tools") and rest.get("tool_choice") in (None, "auto")
    if rest.pop("strict", None) and free:
        raise UnsupportedError(
            "strict is True, and the model is free not to call",
            hint="Set tool_choice to 'any' or a tool's name: a grammar then enforces the arguments.",
        )


def _with_instruction(prompt: list[Message], said: str) -> list[Message]:
    """The messages, with a sentence at the end of the last question."""
    at = next((at for at in reversed(range(len(prompt))) if prompt[at].role == "user"), None)
    if at is None:
        return [*prompt, Message("user", said)]
    asked = prompt[at].content
    content: str | tuple[Part, ...] = (
        f"{asked}\n\n{said}" if isinstance(asked, str) else (*asked, TextPart(f"\n\n{said}"))
    )
    return [*prompt[:at], replace(prompt[at], content=content), *prompt[at + 1 :]]
