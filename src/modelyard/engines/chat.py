"""Chat templates: the tokenizer's own Jinja text, rendered in a sandbox.

Templates come with models and are untrusted: they run in Jinja's immutable sandbox, with the few helpers
that the field's templates use (`raise_exception`, `strftime_now`, `tojson`).
"""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Sequence
from typing import Any

from modelyard.errors import InvalidArgumentError, UnsupportedError
from modelyard.types import Message, TextPart, Warning

NO_TEMPLATE = Warning(
    "no_chat_template",
    "the model has no chat template (a base model): it was given the text of the messages as it stands",
)


def render_chat(
    template: str | None, messages: Sequence[Message], *, bos: str = "", eos: str = "", images: bool = False
) -> tuple[str, bool]:
    """The prompt for a conversation, and whether a template made it.

    With `images` the template is given each message as parts, and writes its own mark where an image stands.

    >>> render_chat("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}", [Message("user", "Hi")])
    ('<user>Hi', True)
    """
    if not images and any(message.images for message in messages):
        raise UnsupportedError(
            "the messages hold images, and this model reads text alone", hint="Use a vision model."
        )
    if not template:
        return "\n\n".join(message.text for message in messages), False
    turns = [
        {"role": message.role, "content": parts(message) if images else message.text} for message in messages
    ]
    try:
        text = _compiled(template).render(
            messages=turns, add_generation_prompt=True, bos_token=bos, eos_token=eos, tools=None
        )
    except InvalidArgumentError:
        raise
    except Exception as error:  # a template is somebody's program: it may fail in any way
        roles = ", ".join(dict.fromkeys(message.role for message in messages))
        raise InvalidArgumentError(
            f"the model's chat template refused the messages ({roles}): {error}",
            hint="Many templates want user and assistant to alternate, and some know no system role.",
        ) from error
    return text, True


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
