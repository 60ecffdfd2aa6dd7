"""The probe: what a server can do, found out by asking it.

A list of models says which there are and often what kind of server it is. Whether a schema is kept, images
are seen, tools reach the model, logprobs come or a prompt can be scored is found out with a few requests of
some tokens each, because servers accept what they then ignore.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import struct
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from modelyard.engines.endpoint.dialects import DIALECTS, Dialect, by_owner
from modelyard.engines.endpoint.http import Http
from modelyard.engines.endpoint.settings import Settings
from modelyard.errors import (
    AuthenticationError,
    GatedModelError,
    InvalidArgumentError,
    ModelNotFoundError,
    ModelyardError,
    ProviderAPIError,
)

_WORD = "zq7"  # no model says it by itself
_FORMS = ("schema", "regex", "choices")


class Wire(Protocol):
    """Sends bodies to a server, and gives the pieces of its answers."""

    def chat(
        self, body: Mapping[str, Any], deadline: float | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Answers messages."""

    def complete(
        self, body: Mapping[str, Any], deadline: float | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Goes on with a raw prompt."""


@dataclass(slots=True, frozen=True)
class Found:
    """What a server can do.

    Attributes:
        dialect: what it takes beyond the protocol.
        model: the model's name there.
        version: of the server, as it tells.
        context: tokens of prompt and answer, 0 where it does not tell.
        forms: of `schema`, `regex` and `choices`, those it keeps.
        chat, logprobs, top_logprobs, images, score, tools: whether it does.
        adapters: names of adapters that it has for the model.
        why: for what it does not do, what it said or did when it was asked.
    """

    dialect: Dialect
    model: str
    version: str = ""
    context: int = 0
    forms: frozenset[str] = frozenset()
    chat: bool = True
    logprobs: bool = True
    top_logprobs: bool = True
    images: bool = False
    score: bool = False
    tools: bool = True
    adapters: tuple[str, ...] = ()
    why: Mapping[str, str] = field(default_factory=dict)


async def look(http: Http, settings: Settings, wanted: str | None, title: str) -> Found:
    """Which kind of server it is, which model is meant, and how much that reads.

    Raises:
        ModelNotFoundError: the server has no such model, or several and none is named.
        ModelyardError: it cannot be reached, or refuses the key.
    """
    listed = await _models(http, title)
    first = (listed or [{}])[0]
    dialect = DIALECTS.get(settings.dialect or "") or by_owner(str(first.get("owned_by", "")))
    served_by, _, version = str(first.get("served_by") or "").partition(" ")
    if served_by == "modelyard" and settings.dialect is None:
        dialect = DIALECTS["modelyard"]
    elif dialect.name == "openai" and settings.dialect is None:
        dialect, version = await _by_info(http, dialect)
    if not dialect.keeps:
        await http.forget_connections()
    model = _named(listed, settings.model or wanted, dialect, title, said=settings.model is not None)
    entry = next((one for one in listed if one.get("id") == model), {})
    context = settings.context_length or _context(entry)
    version = version or await _version(http, dialect)
    adapters = tuple(str(one["id"]) for one in listed if one.get("parent") == model)
    forms = frozenset(_FORMS if dialect.grammar else {"schema"})
    score = dialect.name == "vllm"
    return Found(dialect, model, version, int(context or 0), forms, score=score, adapters=adapters)


async def examine(found: Found, wire: Wire, *, score: bool = True) -> Found:
    """The same with what the server does when it is asked.

    Args:
        found: what it says of itself.
        wire: to it.
        score: whether to ask for the logprobs of a prompt.
    """
    questions = [
        _ask_logprobs(found, wire),
        _ask_form(found, wire),
        _ask_images(found, wire),
        _ask_tools(found, wire),
    ]
    if score:
        questions.append(_ask_score(found, wire))
    answers = await asyncio.gather(*questions)
    changes: dict[str, Any] = {}
    why: dict[str, str] = {}
    for answer in answers:
        why |= answer.pop("why", {})
        changes |= answer
    return replace(found, why=why, **changes)


# -- what it says of itself --------------------------------------------------------------------------------


async def _models(http: Http, title: str) -> list[dict[str, Any]]:
    try:
        listed = await http.ask("GET", f"{http.base}/models")
    except ModelNotFoundError:
        return []  # many servers of a single model list none
    except InvalidArgumentError:
        return []
    data = listed.get("data") if isinstance(listed, dict) else listed
    if not isinstance(data, list) or not all(isinstance(one, dict) for one in data):
        raise ProviderAPIError(
            f"{title} lists its models in another form", hint="Is it an OpenAI-compatible server?"
        )
    return data


async def _by_info(http: Http, dialect: Dialect) -> tuple[Dialect, str]:
    """Text Generation Inference does not name itself in its list, and does under /info."""
    with contextlib.suppress(ModelyardError):
        info = await http.ask("GET", f"{http.root}/info")
        if isinstance(info, dict) and "max_concurrent_requests" in info:
            return DIALECTS["tgi"], str(info.get("version", ""))
    return dialect, ""


async def _version(http: Http, dialect: Dialect) -> str:
    if dialect.name in ("vllm", "ollama"):
        route = "/version" if dialect.name == "vllm" else "/api/version"
        with contextlib.suppress(ModelyardError):
            return str((await http.ask("GET", f"{http.root}{route}")).get("version", ""))
    if dialect.name == "llamacpp":
        with contextlib.suppress(ModelyardError):
            return str((await http.ask("GET", f"{http.root}/props")).get("build_info", ""))
    return ""


def _named(
    listed: list[dict[str, Any]], wanted: str | None, dialect: Dialect, title: str, *, said: bool
) -> str:
    names = [str(one["id"]) for one in listed if one.get("id") and not one.get("parent")]
    if wanted in [str(one.get("id")) for one in listed] or (wanted and not names):
        return str(wanted)
    if len(names) == 1 and not said:
        return names[0]
    if not names:
        if dialect.name == "tgi":
            return "tgi"
        raise ModelNotFoundError(
            f"{title} lists no models", hint="Name the model in option model, as the server knows it."
        )
    shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
    problem = f"has no model '{wanted}'" if wanted else f"has {len(names)} models"
    raise ModelNotFoundError(f"{title} {problem}", hint=f"Name one in option model. It has: {shown}.")


def _context(entry: Mapping[str, Any]) -> int:
    meta = entry.get("meta") or {}
    found = entry.get("max_model_len") or meta.get("n_ctx") or entry.get("context_length") or 0
    return int(found)


# -- what it does ------------------------------------------------------------------------------------------


async def _ask_logprobs(found: Found, wire: Wire) -> dict[str, Any]:
    """Whether it answers messages, and lists the tokens."""
    body = _chat(found, "Say hello.", 1) | {"logprobs": True, "top_logprobs": 1}
    try:
        pieces = await _all(wire.chat(body))
    except ModelyardError as error:
        _pass_on(error)
        try:
            pieces = await _all(wire.chat(_chat(found, "Say hello.", 1)))
        except ModelyardError as second:
            _pass_on(second)
            return {"chat": False, "why": {"chat": second.message}}
        return {"logprobs": False, "why": {"logprobs": error.message}}
    listed = [
        one for choice in _choices(pieces) for one in (choice.get("logprobs") or {}).get("content") or ()
    ]
    if not listed:
        return {"logprobs": False, "why": {"logprobs": "it was asked for some, and gave none"}}
    return {"top_logprobs": any(one.get("top_logprobs") for one in listed)}


async def _ask_form(found: Found, wire: Wire) -> dict[str, Any]:
    """Whether it keeps a form that no model would keep by chance."""
    schema = {
        "type": "object",
        "properties": {"k": {"const": _WORD}},
        "required": ["k"],
        "additionalProperties": False,
    }
    form: dict[str, Any]
    if found.dialect.grammar == "structured_outputs":
        form = {"structured_outputs": {"grammar": f'root ::= "{_WORD}"\n'}}
    elif found.dialect.grammar == "grammar":
        form = {"grammar": f'root ::= "{_WORD}"\n'}
    else:
        described = {"name": "answer", "schema": schema, "strict": True}
        form = {"response_format": {"type": "json_schema", "json_schema": described}}
    try:
        pieces = await _all(wire.chat(_chat(found, "Tell me about the sea.", 24) | form))
    except ModelyardError as error:
        _pass_on(error)
        return _no_forms(error.message)
    text = _text(pieces)
    kept = text.strip() == _WORD if found.dialect.grammar else "".join(text.split()) == f'{{"k":"{_WORD}"}}'
    return {} if kept else _no_forms(f"it was asked to keep one, and answered {text[:60]!r}")


def _no_forms(why: str) -> dict[str, Any]:
    return {"forms": frozenset(), "why": dict.fromkeys(_FORMS, why)}


async def _ask_images(found: Found, wire: Wire) -> dict[str, Any]:
    """Whether a picture makes the prompt longer: some servers take one and leave it out."""
    seen = _chat(found, "Hi", 1)
    url = "data:image/png;base64," + base64.b64encode(_picture()).decode()
    seen["messages"][0]["content"] = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": "Hi"},
    ]
    try:
        pieces = await _all(wire.chat(seen))
    except ModelyardError as error:
        _pass_on(error)
        return {"images": False, "why": {"images": error.message}}
    if await _longer(found, wire, pieces):
        return {"images": True}
    return {"images": False, "why": {"images": "it was sent one, and left it out of the prompt"}}


async def _ask_tools(found: Found, wire: Wire) -> dict[str, Any]:
    """Whether a tool makes the prompt longer, or is called: some servers take one and leave it out."""
    function = {"name": "add", "parameters": {"type": "object", "properties": {}}}
    offered = _chat(found, "Hi", 24) | {"tools": [{"type": "function", "function": function}]}
    try:
        try:
            pieces = await _all(wire.chat(offered | {"tool_choice": "required"}))
        except ModelyardError as error:
            _pass_on(error)  # it may know no `required`
            pieces = await _all(wire.chat(offered))
    except ModelyardError as error:
        _pass_on(error)
        return {"tools": False, "why": {"tools": error.message}}
    called = any((one.get("delta") or one.get("message") or {}).get("tool_calls") for one in _choices(pieces))
    if called or await _longer(found, wire, pieces):
        return {"tools": True}
    return {"tools": False, "why": {"tools": "it was sent one, and left it out of the prompt"}}


async def _longer(found: Found, wire: Wire, pieces: list[dict[str, Any]]) -> bool:
    """Whether the prompt of these pieces was longer than the same one with a text alone, as far as is told."""
    plain = await _all(wire.chat(_chat(found, "Hi", 1)))
    counts = [
        next((one["usage"]["prompt_tokens"] for one in two if one.get("usage")), 0) for two in (pieces, plain)
    ]
    return counts[0] > counts[1] or not counts[0]


async def _ask_score(found: Found, wire: Wire) -> dict[str, Any]:
    """Whether it gives the logprobs of a prompt that it repeats."""
    body = {
        "model": found.model,
        "prompt": "one two three four",
        "max_tokens": 1,
        "temperature": 0,
        "stream": False,
    }
    try:
        pieces = await _all(wire.complete(body | {"echo": True, "logprobs": 1}))
    except ModelyardError as error:
        _pass_on(error)
        return {"score": False, "why": {"score": error.message}}
    listed = [(choice.get("logprobs") or {}).get("token_logprobs") or [] for choice in _choices(pieces)]
    if sum(map(len, listed)) > 2:
        return {"score": True}
    return {"score": False, "why": {"score": "it was asked for the prompt's logprobs, and gave none"}}


def _pass_on(error: ModelyardError) -> None:
    """What is wrong with the server or the key is no answer to the question."""
    refused = isinstance(error, AuthenticationError | GatedModelError | ModelNotFoundError)
    if refused or not isinstance(error, InvalidArgumentError | ProviderAPIError):
        raise error


def _chat(found: Found, text: str, most: int) -> dict[str, Any]:
    return {
        "model": found.model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": most,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def _all(pieces: AsyncIterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one async for one in pieces]


def _choices(pieces: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
    return [choice for one in pieces for choice in one.get("choices") or ()]


def _text(pieces: list[dict[str, Any]]) -> str:
    parts = [choice.get("delta") or choice.get("message") or {} for choice in _choices(pieces)]
    return "".join(str(one.get("content") or "") for one in parts)


def _picture() -> bytes:
    """A grey PNG of 64 by 64: large enough for every model that sees."""

    def part(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    side = 64
    rows = (b"\0" + b"\x80\x80\x80" * side) * side
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")
    )
