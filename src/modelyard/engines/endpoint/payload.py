"""From a request of ours to the body that a server takes; what it cannot honour is refused here."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from modelyard.engines.chat import tool_as_json
from modelyard.engines.endpoint.dialects import STANDARD, Dialect
from modelyard.engines.endpoint.probe import Found
from modelyard.errors import InvalidArgumentError, UnsupportedError
from modelyard.params import SamplingParams
from modelyard.types import Constraint, ImagePart, Message, Request, ToolCall, Warning

_NEUTRAL = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "min_new_tokens": 0}


def body_of(request: Request, found: Found, model: str, budget: int, least: int) -> dict[str, Any]:
    """The body of a request.

    Args:
        request: with messages, or a raw prompt.
        found: what the server can do.
        model: its name there.
        budget: most tokens of the answer.
        least: least tokens of the answer.

    Raises:
        UnsupportedError: the server cannot honour a part of it; it says which.
        SchemaError: the constraint is malformed, or too large.
    """
    body: dict[str, Any] = {"model": model, "stream": True, "stream_options": {"include_usage": True}}
    body |= _sampling(request.params, found.dialect, budget, least)
    if request.messages is not None:
        body["messages"] = [_message(one, found) for one in request.messages]
        body["max_tokens"] = budget
        if request.logprobs:
            body |= {"logprobs": True, "top_logprobs": _listed(request, found.dialect)}
    else:
        body["prompt"] = request.prompt
        body["max_tokens"] = budget
        if request.logprobs:
            body["logprobs"] = _listed(request, found.dialect)
    if found.dialect.token_ids:
        body["return_token_ids"] = True
    if request.constraint is not None:
        body |= _form(request.constraint, found)
    if request.tools:
        body |= _tools(request, found)
    return body


def _listed(request: Request, dialect: Dialect) -> int:
    """How many of the likeliest tokens the server has to list, so that those asked for are among them."""
    if not request.top_logprobs:
        return 0 if dialect.token_ids else 1
    return min(request.top_logprobs + dialect.chosen_counts, dialect.top_logprobs)


def _sampling(params: SamplingParams, dialect: Dialect, budget: int, least: int) -> dict[str, Any]:
    body: dict[str, Any] = {name: getattr(params, name) for name in STANDARD}
    body["stop"] = list(params.stop)
    for name in ("stop", "seed"):
        if body[name] in ([], None):
            del body[name]
    if params.seed is not None:
        body["seed"] = params.seed % dialect.seeds
    if params.greedy:
        body |= {"temperature": 0, "top_p": 1}
        body.pop("seed", None)
    given = {name: getattr(params, name) for name in _NEUTRAL} | {"min_new_tokens": least}
    if params.greedy:
        given |= {"top_k": 0, "min_p": 0.0}
    for name, value in given.items():
        if name in dialect.parameters:
            body[dialect.parameters[name]] = value
        elif name == "min_new_tokens" and dialect.exact_minimum and value == budget:
            body["ignore_eos"] = True
        elif value != _NEUTRAL[name]:
            raise _not_taken(name, value, dialect)
    return body


def _not_taken(name: str, value: Any, dialect: Dialect) -> UnsupportedError:
    if name == "min_new_tokens" and dialect.exact_minimum:
        return UnsupportedError(
            f"a least number of tokens ({value}) is kept by this server only where it is the most too",
            hint="Set min_new_tokens and max_new_tokens to the same number, or leave the former out.",
        )
    return UnsupportedError(
        f"'{name}' ({value}) is not in the protocol that this server speaks ({dialect.name})",
        hint=f"Leave '{name}' out; or name the server's kind in option dialect.",
    )


def _form(constraint: Constraint, found: Found) -> dict[str, Any]:
    from modelyard.engines.grammar import compile_constraint

    grammar = compile_constraint(constraint)  # a bad one is refused here, and harms nobody
    kind = (
        "schema" if constraint.schema is not None else "regex" if constraint.regex is not None else "choices"
    )
    if kind not in found.forms:
        raise UnsupportedError(
            f"the server keeps no {kind}: {found.why.get(kind, 'it speaks a protocol that has none')}",
            hint="Use a server that does (vLLM, llama-server), or ask for JSON in the prompt and check it.",
        )
    if found.dialect.grammar == "structured_outputs":
        return {"structured_outputs": {"grammar": grammar.text}}
    if found.dialect.grammar == "grammar":
        return {"grammar": grammar.text}
    return {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": constraint.schema, "strict": True},
        }
    }


def relaxed(constraint: Constraint) -> tuple[Warning, ...]:
    """What the grammar of a constraint leaves open."""
    from modelyard.engines.grammar import compile_constraint

    sentences = compile_constraint(constraint).relaxed
    return tuple(Warning("constraint_relaxed", sentence) for sentence in sentences)


def _message(message: Message, found: Found) -> dict[str, Any]:
    if message.images and not found.images:
        raise UnsupportedError(
            f"the model sees no image: {found.why.get('images', 'it reads text alone')}",
            hint="Use a model with task: vision.",
        )
    wire: dict[str, Any] = {"role": message.role}
    if isinstance(message.content, str):
        wire["content"] = message.content
    else:
        wire["content"] = [
            _image(part) if isinstance(part, ImagePart) else {"type": "text", "text": part.text}
            for part in message.content
        ]
    if message.tool_calls:
        wire["tool_calls"] = [_call(one) for one in message.tool_calls]
        wire["content"] = wire["content"] or None
    if message.tool_call_id is not None:
        wire["tool_call_id"] = message.tool_call_id
    return wire


def _image(part: ImagePart) -> dict[str, Any]:
    data = base64.b64encode(part.data).decode()
    return {"type": "image_url", "image_url": {"url": f"data:{part.media_type};base64,{data}"}}


def _call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _tools(request: Request, found: Found) -> dict[str, Any]:
    if request.messages is None:
        raise InvalidArgumentError("a raw prompt takes no tools", hint="Leave raw out.")
    named = request.tool_choice not in ("auto", "none", "required")
    choice: Any = request.tool_choice
    if named:
        choice = {"type": "function", "function": {"name": request.tool_choice}}
    return {"tools": [tool_as_json(one) for one in request.tools], "tool_choice": choice}


def wire_messages(messages: Sequence[Message], found: Found) -> list[dict[str, Any]]:
    """Messages as the protocol writes them."""
    return [_message(one, found) for one in messages]
