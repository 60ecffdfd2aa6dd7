"""Functions: LlamaIndex's tools as ours, and the calls in an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from llama_index.core.base.llms.types import ChatResponse, ToolCallBlock
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools.types import BaseTool

from modelyard.errors import EngineError
from modelyard.integrations.llama_index.answers import arguments
from modelyard.types import Warning


def offered(tools: Sequence[BaseTool]) -> list[dict[str, Any]]:
    """Tools in the form that `LLM.generate` takes, each under its own name."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.metadata.get_name(),
                "description": tool.metadata.description,
                "parameters": tool.metadata.get_parameters_dict(),
            },
        }
        for tool in tools
    ]


def selections(response: ChatResponse, required: bool) -> list[ToolSelection]:
    """The calls in an answer.

    Args:
        response: of a chat with tools.
        required: whether an answer without a call is an error.

    Raises:
        EngineError: there is none, or its arguments are no JSON object.
    """
    calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    if required and not calls:
        raise EngineError(
            "the model called no function", hint="Ask with tool_required=True: it has to call one then."
        )
    return [
        ToolSelection(
            tool_id=block.tool_call_id or "", tool_name=block.tool_name, tool_kwargs=_arguments(block)
        )
        for block in calls
    ]


def first_call_alone(response: ChatResponse) -> ChatResponse:
    """The answer with its first call, for one who takes no more; a warning says how many were left out."""
    calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    if len(calls) < 2:
        return response
    others = [block for block in response.message.blocks if not isinstance(block, ToolCallBlock)]
    response.message.blocks = [*others, calls[0]]
    response.message.additional_kwargs["tool_calls"] = response.message.additional_kwargs["tool_calls"][:1]
    message = f"{len(calls) - 1} of {len(calls)} calls were left out: allow_parallel_tool_calls is False"
    told = response.additional_kwargs.setdefault("warnings", [])
    told.append(asdict(Warning("tool_calls_left_out", message)))
    return response


def _arguments(block: ToolCallBlock) -> dict[str, Any]:
    given = block.tool_kwargs
    read = arguments(given) if isinstance(given, str) else dict(given)
    if read is None:
        raise EngineError(
            f"the model called '{block.tool_name}' with arguments that are no JSON object: {given!r:.200}",
            hint="Raise max_tokens where they were cut; else ask with tool_required=True, which enforces their form.",
        )
    return read
