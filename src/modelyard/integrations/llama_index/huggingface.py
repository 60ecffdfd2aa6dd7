"""HuggingFaceLLM: LlamaIndex's class of that name, its arguments on our engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import CallbackManager
from llama_index.core.prompts import PromptTemplate
from llama_index.core.types import BaseOutputParser, PydanticProgramMode
from pydantic import Field

from modelyard.engines.base import Capabilities
from modelyard.errors import InvalidArgumentError, UnsupportedError
from modelyard.integrations.llama_index.huggingface_arguments import (
    answer_parameters,
    check_tokenizer,
    loading,
    refuse_objects,
    stopping,
    tokenizing,
)
from modelyard.integrations.llama_index.llm import ModelyardLLM
from modelyard.types import Warning

_PLAIN = "{query_str}"


class HuggingFaceLLM(ModelyardLLM):
    """An equal of `llama_index.llms.huggingface.HuggingFaceLLM`: change the import, and the call stays.

    What differs from it: the prompt of `complete` goes through the model's chat template where it has one and
    nothing else shapes it (`is_chat_model=False` gives the text as it stands, as `query_wrapper_prompt` and
    `completion_to_prompt` do); `is_chat_model` and `context_window` are the model's own where they are not given;
    a temperature samples without `do_sample`; requests are batched, streams cancelled, and answers can be made
    under a schema.

    Args:
        model_name: an alias of the catalogue, a Hub id, or a path.
        tokenizer_name: the same model's; the engine reads the tokenizer that the model was trained with.
        context_window: tokens that LlamaIndex may use, below what the model has.
        max_new_tokens: most tokens of an answer (256).
        device_map, model_kwargs: as `create_llm` takes them; `load_in_4bit` and a BitsAndBytesConfig too.
        generate_kwargs: sampling parameters for every request.
        system_prompt, query_wrapper_prompt, messages_to_prompt, completion_to_prompt: how prompts are shaped.
        tokenizer_kwargs: `max_length`, which bounds the context; others are refused.
        is_chat_model: whether LlamaIndex asks it with messages.
        stopping_ids: refused: an answer ends at the model's own end tokens, or at the texts in `stop`.
        tokenizer_outputs_to_remove: has no effect: the engine gives the model what it takes.
        model, tokenizer: objects of transformers are refused; give their folder as `model_name`.
        more: `create_llm`'s other arguments: `engine`, `options`, `catalog`, `offline`, ….

    Raises:
        InvalidArgumentError, UnsupportedError: an argument that cannot be honoured; it says which, and why.
    """

    model_name: str = Field(default="", description="An alias of the catalogue, a Hub id, or a path.")
    tokenizer_name: str | None = None
    max_new_tokens: int | None = Field(default=None, gt=0)
    generate_kwargs: dict[str, Any] = Field(default_factory=dict)
    tokenizer_kwargs: dict[str, Any] = Field(default_factory=dict)
    tokenizer_outputs_to_remove: list[str] = Field(default_factory=list)
    is_chat_model: bool | None = None

    def __init__(
        self,
        context_window: int | None = None,
        max_new_tokens: int | None = None,
        query_wrapper_prompt: str | PromptTemplate | None = _PLAIN,
        tokenizer_name: Any = None,
        model_name: Any = None,
        model: Any = None,
        tokenizer: Any = None,
        device_map: Any = "auto",
        stopping_ids: Sequence[int] | None = None,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        tokenizer_outputs_to_remove: Sequence[str] | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
        generate_kwargs: Mapping[str, Any] | None = None,
        is_chat_model: bool | None = None,
        callback_manager: CallbackManager | None = None,
        system_prompt: str | None = "",
        messages_to_prompt: Callable[[Sequence[ChatMessage]], str] | None = None,
        completion_to_prompt: Callable[[str], str] | None = None,
        pydantic_program_mode: PydanticProgramMode = PydanticProgramMode.DEFAULT,
        output_parser: BaseOutputParser | None = None,
        **more: Any,
    ) -> None:
        refuse_objects(model, tokenizer)
        stopping(stopping_ids)
        name = str(model_name or model or "")
        if not name:
            raise InvalidArgumentError("no model is given", hint="Pass model_name=….")
        notes: list[Warning] = []
        limit = tokenizing(tokenizer_kwargs or {}, tokenizer_outputs_to_remove or (), notes)
        windows = [one for one in (context_window, limit) if one is not None]
        parameters = answer_parameters(generate_kwargs or {}, max_new_tokens, notes)
        if callback_manager is not None:
            more["callback_manager"] = callback_manager
        super().__init__(
            name,
            model_name=name,
            tokenizer_name=None if tokenizer_name is None else str(tokenizer_name),
            context_window=min(windows) if windows else None,
            max_new_tokens=max_new_tokens,
            query_wrapper_prompt=_wrapper(query_wrapper_prompt),
            device_map=device_map,
            tokenizer_kwargs=dict(tokenizer_kwargs or {}),
            tokenizer_outputs_to_remove=list(tokenizer_outputs_to_remove or ()),
            model_kwargs=loading(model_kwargs or {}, notes),
            generate_kwargs=dict(generate_kwargs or {}),
            is_chat_model=is_chat_model,
            system_prompt=system_prompt or None,
            messages_to_prompt=messages_to_prompt,
            completion_to_prompt=completion_to_prompt,
            pydantic_program_mode=pydantic_program_mode,
            output_parser=output_parser,
            **{**more, "parameters": {**(more.get("parameters") or {}), **parameters}},
        )
        check_tokenizer(self.tokenizer_name, name, self._llm.spec, self.catalog)
        self._notes = tuple(notes)

    @classmethod
    def class_name(cls) -> str:
        """The name in what LlamaIndex writes out, that of the class it stands for."""
        return "HuggingFace_LLM"

    @classmethod
    def from_llm(cls, llm: Any, **given: Any) -> Any:
        """Not for this class, whose arguments make the LLM.

        Raises:
            UnsupportedError: always.
        """
        raise UnsupportedError("HuggingFaceLLM takes no LLM", hint="Use ModelyardLLM.from_llm(llm).")

    def _chats(self, known: Capabilities) -> bool:
        return known.chat if self.is_chat_model is None else self.is_chat_model


def _wrapper(given: str | PromptTemplate | None) -> PromptTemplate | None:
    """The template; None where it is the question alone, which shapes nothing."""
    text = given.template if isinstance(given, PromptTemplate) else given
    if text is None or text == _PLAIN:
        return None
    return given if isinstance(given, PromptTemplate) else PromptTemplate(text)
