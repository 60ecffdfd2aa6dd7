"""What LlamaIndex asks with, in our terms: the shaping that a user has set first, then the model's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.base.llms.generic_utils import messages_to_prompt as generic_messages_to_prompt
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import llm as index_llm

from modelyard.integrations.llama_index.messages import read_messages, refuse_beyond_text
from modelyard.messages import Prompt


@dataclass(slots=True, frozen=True)
class Asked:
    """A prompt in our terms: as a chat template is to render it, and as a model without one is to read it.

    `plain` is None where the first holds for every model, and `messages` are what it was made of.
    """

    prompt: Prompt
    how: dict[str, Any] = field(default_factory=dict)
    plain: str | None = None
    messages: Sequence[ChatMessage] = ()

    def fitting(self, chats: bool) -> tuple[Prompt, dict[str, Any]]:
        """The prompt and its arguments for a model with a chat template, or for one without.

        Raises:
            UnsupportedError: a message holds more than text, and the model has no chat template.
        """
        if chats or self.plain is None:
            return self.prompt, self.how
        refuse_beyond_text(self.messages)
        return self.plain, {"raw": True}


def asked_prompt(llm: index_llm.LLM, prompt: str, formatted: bool) -> Asked:
    """A text, formatted already or not."""
    if formatted:
        return Asked(prompt, {"raw": True})
    shaped = _shaped(llm, prompt)
    if shaped is not None:
        return Asked(shaped, {"raw": True})
    system = llm.system_prompt
    how = {"system_prompt": system} if system else {}
    return Asked(prompt, how, plain="\n\n".join(one for one in (system, prompt) if one))


def asked_messages(llm: index_llm.LLM, messages: Sequence[ChatMessage]) -> Asked:
    """A conversation.

    Raises:
        UnsupportedError: a message holds what is not read.
    """
    render = llm.messages_to_prompt
    if render is None or render is generic_messages_to_prompt:
        return Asked(read_messages(messages), plain=generic_messages_to_prompt(messages), messages=messages)
    refuse_beyond_text(messages)
    return Asked(render(messages), {"raw": True})


def _shaped(llm: index_llm.LLM, prompt: str) -> str | None:
    """The prompt as `query_wrapper_prompt` and `completion_to_prompt` shape it; None where neither is given."""
    shape = llm.completion_to_prompt
    if shape is index_llm.default_completion_to_prompt:
        shape = None
    if llm.query_wrapper_prompt is None and shape is None:
        return None
    if llm.query_wrapper_prompt is not None:
        prompt = llm.query_wrapper_prompt.format(query_str=prompt)
    if shape is not None:
        return shape(prompt)
    return f"{llm.system_prompt} {prompt}" if llm.system_prompt else prompt
