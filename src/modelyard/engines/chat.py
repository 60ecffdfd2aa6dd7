"""Chat templates: the tokenizer's own Jinja text, rendered in a sandbox.

Templates come with models and are untrusted: they run in Jinja's immutable sandbox, with the few helpers
that the field's templates use (`raise_exception`, `strftime_now`, `tojson`).
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.errors import InvalidArgumentError, UnsupportedError
from modelyard.types import Message, TextPart, Tool, Warning

NO_TEMPLATE = Warning(
    "no_chat_template",
    "the model has no chat template (a base model): it was given the text of the messages as it stands",
)


@dataclass(slots=True, frozen=True)
class Offer:
    """Tools that a conversation offers, and how the answer begins where it has to be a call of one."""

    tools: tuple[Tool, ...] = ()
    opening: str = ""


NO_OFFER = Offer()


def render_chat(
    template: str | None,
    messages: Sequence[Message],
    *,
    bos: str = "",
    eos: str = "",
    images: bool = False,
    offer: Offer = NO_OFFER,
    answer: bool = True,
) -> tuple[str, bool]:
    """The prompt for a conversation, and whether a template made it.

    With `images` the template is given each message as parts, and writes its own mark where an image stands.
    With `answer` the prompt ends where the model's answer begins.

    >>> render_chat("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}", [Message("user", "Hi")])
    ('<user>Hi', True)
    """
    if not images and any(message.images for message in messages):
        raise UnsupportedError(
            "the messages hold images, and this model reads text alone", hint="Use a vision model."
        )
    if not template:
        return "\n\n".join(message.text for message in messages), False
    program = _compiled(template)
    given = {
        "add_generation_prompt": answer,
        "bos_token": bos,
        "eos_token": eos,
        "tools": [tool_as_json(one) for one in offer.tools] or None,
    }
    calls = any(message.tool_calls for message in messages)
    try:
        try:
            text = program.render(messages=_turns(messages, images), **given)
        except Exception:
            if not calls:
                raise
            text = program.render(messages=_turns(messages, images, _short), **given)
    except Exception as error:  # a template is somebody's program: it may fail in any way
        roles = ", ".join(dict.fromkeys(message.role for message in messages))
        raise InvalidArgumentError(
            f"the model's chat template refused the messages ({roles}): {error}",
            hint="Many templates want user and assistant to alternate, and some know no system role.",
        ) from error
    return text + offer.opening, True


def rendered(
    template: str | None, messages: Sequence[Message], *, bos: str, eos: str, images: bool, answer: bool
) -> str:
    """The prompt for a conversation as its model's chat template writes it, and never without one.

    Raises:
        UnsupportedError: the model has no chat template.
    """
    if not template:
        raise UnsupportedError(
            "the model has no chat template (a base model)",
            hint="Give it one: chat_template in the catalogue.",
        )
    return render_chat(template, messages, bos=bos, eos=eos, images=images, answer=answer)[0]


def _turns(
    messages: Sequence[Message], images: bool, named: Callable[[str], str] = str
) -> list[dict[str, Any]]:
    """The messages as templates take them, which is the form of transformers' `apply_chat_template`."""
    functions = {call.id: call.name for message in messages for call in message.tool_calls}
    turns = []
    for message in messages:
        turn: dict[str, Any] = {"role": message.role, "content": parts(message) if images else message.text}
        if message.tool_calls:
            turn["tool_calls"] = [
                {
                    "id": named(call.id),
                    "type": "function",
                    "function": {"name": call.name, "arguments": _arguments(call.arguments)},
                }
                for call in message.tool_calls
            ]
        if message.tool_call_id is not None:
            turn["tool_call_id"] = named(message.tool_call_id)
            turn["name"] = functions.get(message.tool_call_id, "")
        turns.append(turn)
    return turns


def _arguments(written: str) -> Any:
    """A mapping, which templates write down in their own way; the text where it is none."""
    try:
        found = json.loads(written)
    except (ValueError, RecursionError):
        return written
    return found if isinstance(found, dict) else written


def _short(name: str) -> str:
    """An id as Mistral's templates want it: nine letters and digits."""
    return hashlib.blake2b(name.encode()).hexdigest()[:9]


def tool_as_json(tool: Tool) -> dict[str, Any]:
    """A tool in the form that OpenAI's protocol and chat templates share."""
    parameters = dict(tool.parameters) or {"type": "object", "properties": {}}
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }


def parts(message: Message) -> list[dict[str, str]]:
    """A message's content as templates that know images take it: texts, and places of images."""
    if isinstance(message.content, str):
        return [{"type": "text", "text": message.content}]
    return [
        {"type": "text", "text": part.text} if isinstance(part, TextPart) else {"type": "image"}
        for part in message.content
    ]


@functools.lru_cache(maxsize=32)
def _compiled(template: str) -> Any:
    from jinja2 import TemplateSyntaxError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    try:
        return environment.from_string(template)
    except TemplateSyntaxError as error:
        raise InvalidArgumentError(
            f"the chat template has a mistake in line {error.lineno}: {error.message}",
            hint="Mend 'chat_template' in the catalogue, or leave it out to use the model's own.",
        ) from error


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _refuse(message: str) -> None:
    from jinja2 import TemplateError

    raise TemplateError(message)
