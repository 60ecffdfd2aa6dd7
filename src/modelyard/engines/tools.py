"""Tools for models that run here: how a chat template writes a call, and the calls in an answer.

Nothing here knows a model. Its chat template is given a conversation with a marked call, and what comes out
around the mark is how the model was taught to write one.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import re
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelyard.engines.base import Engine, has_calls
from modelyard.engines.chat import NO_OFFER, Offer, render_chat
from modelyard.engines.detokenize import Piece, overlap
from modelyard.errors import InvalidArgumentError
from modelyard.types import Chunk, Constraint, JSONSchema, Message, Request, Token, Tool, ToolCall, Warning

_ASK = Message("user", "Hello.")
_TEXT = "\N{SECTION SIGN}qxtext"  # begins as no call does
_KEY, _VALUE = "qxkey", "qxvalue"
_TOOL = Tool("qxtool", "qxdescription", {"type": "object", "properties": {_KEY: {"type": "string"}}})
_CALL = ToolCall("call_1", _TOOL.name, json.dumps({_KEY: _VALUE}))
_TAG = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")
_UNIT = re.compile(rf"({_TAG.pattern})|(.)", re.DOTALL)
_SAYS_NOTHING = {"type", "properties", "required", "title", "description", "$schema"}


@dataclass(slots=True, frozen=True)
class ToolForm:
    """How a call is written: `prefix`, a JSON object that has these two keys, `suffix`.

    >>> ToolForm("[TOOL_CALLS] [", "name", "arguments", "]").mark
    '[TOOL_CALLS]'
    """

    prefix: str
    name: str
    arguments: str
    suffix: str

    @property
    def mark(self) -> str:
        """What tells a call from text, in whatever white space and brackets; empty where nothing does."""
        return self.prefix.strip().removesuffix("[").rstrip()

    @property
    def closing(self) -> str:
        """What stands behind the last call."""
        return self.suffix.strip().removeprefix("]").lstrip()

    @property
    def between(self) -> str:
        """Characters that separate calls, and are no text."""
        return " \t\r\n" if self.mark and not self.prefix.rstrip().endswith("[") else " \t\r\n,;]"


def tool_form(template: str | None) -> ToolForm | None:
    """How a chat template writes calls; None where it has no tools, or their form is not understood."""
    found = _found(template)
    return found if isinstance(found, ToolForm) else None


@functools.lru_cache(maxsize=32)
def _found(template: str | None) -> ToolForm | str:
    """The form, or why there is none."""
    if not template:
        return "it has no chat template"
    offer = Offer((_TOOL,))
    try:
        offered, _ = render_chat(template, [_ASK], offer=offer)
        if not all(mark in offered for mark in (_TOOL.name, _TOOL.description, _KEY)):
            return "its chat template has none"
        said, _ = render_chat(template, [_ASK, Message("assistant", _TEXT)], offer=offer, answer=False)
        called, _ = render_chat(
            template, [_ASK, Message("assistant", "", (_CALL,))], offer=offer, answer=False
        )
    except InvalidArgumentError as error:
        return f"its chat template fails with them ({error.__cause__ or error.message})"
    return _form(said, called) or "its chat template writes calls in a form that is not understood"


def _form(said: str, called: str) -> ToolForm | None:
    """The form of a call, from the same turn with a text and with a call: what both have is not the call's."""
    before, text, after = said.partition(_TEXT)
    start = _shared(_units(before), _units(called))
    at = called.find("{", start)
    while text and at >= 0:
        with contextlib.suppress(ValueError, RecursionError):
            value, end = json.JSONDecoder().raw_decode(called, at)
            keys = [_key(value, _CALL.name), _key(value, {_KEY: _VALUE})]
            if None not in keys:
                prefix, behind = called[start:at], called[end:]
                suffix = behind[: len(behind) - _shared(_units(behind)[::-1], _units(after)[::-1])]
                # Several tags may be sections of the answer, which a model fills before it calls.
                clear = "{" not in prefix and len(_TAG.findall(prefix)) <= 1
                return ToolForm(prefix, str(keys[0]), str(keys[1]), suffix) if clear else None
        at = called.find("{", at + 1)
    return None


def _units(text: str) -> list[str]:
    """The text cut into tags and single characters."""
    return [tag or char for tag, char in _UNIT.findall(text)]


def _shared(one: list[str], other: list[str]) -> int:
    """How many characters two texts begin with alike, no tag of them cut."""
    alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return sum(len(unit) for unit, _ in alike)


def _key(found: Mapping[str, Any], wanted: Any) -> str | None:
    return next((key for key, value in found.items() if wanted in (value, _mapping(value))), None)


def _mapping(value: Any) -> Any:
    """Arguments as a mapping, also where they are written as a text of JSON."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(value, parse_constant=_no_number)
    return value


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


# -- a request with tools ----------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class ToolUse:
    """How an engine that renders prompts itself goes about a request, with tools or without.

    Attributes:
        request: with the grammar of a call where the answer has to be one.
        offer: what the chat template is given.
        form: how calls are written; None where none are looked for.
    """

    request: Request
    offer: Offer = NO_OFFER
    form: ToolForm | None = None

    @property
    def marks(self) -> list[str]:
        """The texts around calls, which some tokenizers have special tokens for."""
        return [one for one in (self.form.mark, self.form.closing) if one] if self.form else []

    def pieces(self, piece: Piece, special: Mapping[int, bytes]) -> Piece:
        """The bytes of a token, also of those special ones that calls are written with.

        Args:
            piece: of a token; empty for a special one.
            special: how the special ones are written.
        """
        marks = "\n".join(self.marks).encode()
        shown = {token: text for token, text in special.items() if text and text in marks} if marks else {}
        return (lambda token: shown.get(token) or piece(token)) if shown else piece

    def read(self, chunks: AsyncGenerator[Chunk, None]) -> AsyncGenerator[Chunk, None]:
        """The chunks of an answer, its calls taken out of the text."""
        if self.form is None:
            return chunks
        begun = self.request.tool_choice != "auto"
        return _read(chunks, CallReader(self.form, self.request.tools, begun=begun))


def tool_use(engine: Engine, request: Request, template: str | None) -> ToolUse:
    """How to go about a request to a model with this chat template.

    Raises:
        UnsupportedError: tools are offered or have been called, and the template cannot say so.
        InvalidArgumentError: tools are offered together with a raw prompt or a form of the answer.
    """
    tools = () if request.tool_choice == "none" else request.tools
    if not tools and not has_calls(request):
        return ToolUse(request)
    form = _found(template)
    if isinstance(form, str):
        raise engine.no_tools(form)
    if not tools:
        return ToolUse(request)
    if request.messages is None:
        raise InvalidArgumentError("a raw prompt takes no tools", hint="Leave raw out.")
    if request.constraint is not None:
        raise InvalidArgumentError(
            "tools are given together with a schema, regex or choices",
            hint="An answer is a call or has that form: keep one, or set tool_choice to 'none'.",
        )
    if request.tool_choice == "auto":
        return ToolUse(request, Offer(tools), form)
    wanted = [one for one in tools if request.tool_choice in ("required", one.name)]
    # The opening goes into the prompt: it may be a special token, which no grammar can ask for.
    constraint = Constraint(schema=_schema(form, wanted))
    return ToolUse(replace(request, constraint=constraint), Offer(tools, form.prefix), form)


def _schema(form: ToolForm, tools: Sequence[Tool]) -> JSONSchema:
    """The JSON of one call."""
    calls = []
    for at, tool in enumerate(tools):
        place = f"#/anyOf/{at}/properties/{form.arguments}"
        calls.append(
            {
                "type": "object",
                "properties": {
                    form.name: {"const": tool.name},
                    form.arguments: _moved(_arguments(tool), place),
                },
                "required": [form.name, form.arguments],
                "additionalProperties": False,
            }
        )
    return {"anyOf": calls}


def _arguments(tool: Tool) -> JSONSchema:
    """The schema of a tool's arguments: an object, and the empty one where none are named."""
    parameters = tool.parameters
    if (
        parameters.keys() <= _SAYS_NOTHING
        and not parameters.get("properties")
        and not parameters.get("required")
    ):
        return {"const": {}}
    return {"type": "object", **parameters}


def _moved(schema: Any, place: str) -> Any:
    """A schema that stands at a place of another one: its references point into itself as before."""
    if isinstance(schema, Mapping):
        return {
            key: place + value[1:]
            if key == "$ref" and isinstance(value, str) and value.startswith("#")
            else _moved(value, place)
            for key, value in schema.items()
        }
    return [_moved(one, place) for one in schema] if isinstance(schema, list | tuple) else schema


# -- an answer with calls ----------------------------------------------------------------------------------

_STRING_OR_BRACE = re.compile(r'"(?:[^"\\]|\\.|\\\Z)*(?:"|\Z)|[{}]', re.DOTALL)


class CallReader:
    """Takes the calls out of an answer as it comes; what may be the beginning of one waits.

    Args:
        form: how calls are written.
        tools: that were offered.
        begun: whether the answer begins behind the opening of a call, which stands in the prompt.

    >>> reader = CallReader(ToolForm("<call>", "name", "args", "</call>"), [Tool("add")])
    >>> text = 'Let us see. <call>{"name": "add", "args": {"a": 1}}</call>'
    >>> [one.text for one in reader.push([Token(text, 1, None, 0, len(text))], last=True)]
    ['Let us see.']
    >>> [(call.name, call.arguments) for call in reader.calls]
    [('add', '{"a": 1}')]
    """

    def __init__(self, form: ToolForm, tools: Iterable[Tool], *, begun: bool = False) -> None:
        self.calls: list[ToolCall] = []
        self._warnings: list[Warning] = []
        self._form = form
        self._tools = {one.name: one for one in tools}
        self._tokens: deque[Token] = deque()  # not given yet
        self._text = ""  # theirs
        self._given = 0  # characters
        # Where a call begins in the text, and where its JSON is looked for; None outside of one. An answer may
        # begin with the JSON: some forms have no mark, and small models leave theirs out.
        self._call: tuple[int, int] | None = (0, 0)
        self._sure = begun  # its opening was there
        self._searched = 0  # up to here the text holds no call
        self._behind = False  # a call has just ended
        self._closing = form.closing  # what may stand behind it

    @property
    def warnings(self) -> tuple[Warning, ...]:
        """What is wrong with the calls."""
        return (*self._warnings, *judged(self.calls, self._tools.values()))

    def push(self, tokens: Iterable[Token], *, last: bool = False) -> list[Token]:
        """Takes tokens, and returns those that are text, with their places in it.

        Args:
            tokens: the next ones.
            last: whether the answer ends behind them.
        """
        for token in tokens:
            self._tokens.append(token)
            self._text += token.text
        given: list[Token] = []
        going = True
        while going:
            if self._call is not None:
                going = self._in_call(self._call, given, last)
            elif self._behind:
                going = self._behind_call(last)
            else:
                going = self._in_text(given, last)
        return given

    # Each of these goes one step, and says whether another one can follow now.

    def _in_text(self, given: list[Token], last: bool) -> bool:
        mark = self._form.mark
        at = self._text.find(mark, self._searched) if mark else -1
        if at >= 0:
            self._call, self._sure = (self._stripped(at), at + len(mark)), True
            given += self._give(self._call[0], whole=True)
            return True
        certain = len(self._text)
        if mark and not last:
            certain = self._stripped(certain - overlap(self._text[self._searched :], mark))
        given += self._give(certain, whole=not last)
        if last:  # those that are left have no text
            given += [replace(token, start=self._given, end=self._given) for token in self._tokens]
            self._tokens.clear()
        return False

    def _in_call(self, call: tuple[int, int], given: list[Token], last: bool) -> bool:
        begin, at = call
        start = self._json_at(at, last)
        if start is None:
            return False
        end = _end_of_object(self._text, start)
        if start < len(self._text) and self._text[start] != "{":
            found: ToolCall | str = "no JSON follows its opening"
        elif end is not None:
            found = self._read(self._text[start:end])
        elif not last:
            return False
        else:
            found = "its JSON does not end"
        self._call = None
        if isinstance(found, ToolCall):
            self.calls.append(found)
            given += self._give(begin)
            self._take((end or 0) - begin)
            self._behind = True
            return True
        if self._sure or self._meant(self._text[start:end]):
            self._warnings.append(Warning("tool_call_invalid", f"a call stays in the text: {found}"))
        self._searched = at
        return True

    def _json_at(self, at: int, last: bool) -> int | None:
        """Where the JSON of a call has to begin, None while that is open."""
        start = _behind_any(self._text, at, " \t\r\n[")
        self._closing = self._form.closing
        for fence in () if self._sure else ("```json", "```"):
            if self._text.startswith(fence, start):
                self._closing = "```"
                return _behind_any(self._text, start + len(fence), " \t\r\n[")
            if not last and fence.startswith(self._text[start:]):
                return None
        return start

    def _behind_call(self, last: bool) -> bool:
        self._take(_behind_any(self._text, 0, self._form.between))
        rest, closing = self._text, self._closing
        if closing and (rest.startswith(closing) or (last and closing.startswith(rest))):
            self._take(len(closing))
            self._closing = ""
            return True
        if not last and (not rest or closing.startswith(rest)):
            return False
        self._behind = False
        open_still = bool(closing or not self._form.closing)
        self._call = (0, 0) if rest.startswith("{") and open_still else None
        return True

    def _read(self, written: str) -> ToolCall | str:
        """The call that this JSON is, or what is wrong with it."""
        form = self._form
        try:
            found = json.loads(written, parse_constant=_no_number)
            keys = (form.arguments, "arguments", "parameters")
            arguments = _mapping(next((found[key] for key in keys if key in found), {}))
            text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
        except (ValueError, RecursionError) as error:
            return f"its JSON is broken: {error}"
        name = found.get(form.name)
        if not isinstance(name, str) or name not in self._tools:
            return f"{name!r:.80} is none of the tools"
        if not isinstance(arguments, dict):
            return f"the arguments of '{name}' are no JSON object"
        return ToolCall(f"call_{secrets.token_hex(12)}", name, text)

    def _meant(self, text: str) -> bool:
        """Whether JSON without a mark was meant as a call."""
        name, arguments = re.escape(self._form.name), re.escape(self._form.arguments)
        return re.match(rf'\{{\s*"{name}"\s*:.*"{arguments}"\s*:', text, re.DOTALL) is not None

    # Tokens

    def _stripped(self, end: int) -> int:
        """Where the text ends before a place, the white space in front of it left out."""
        return max(self._searched, len(self._text[:end].rstrip()))

    def _give(self, count: int, *, whole: bool = False) -> list[Token]:
        """The tokens of the first characters as part of the answer's text."""
        given = []
        for token in self._take(count, whole=whole):
            start, self._given = self._given, self._given + len(token.text)
            given.append(replace(token, start=start, end=self._given))
        return given

    def _take(self, count: int, *, whole: bool = False) -> list[Token]:
        """The tokens of the first characters, the last one cut; with `whole`, one that goes on behind stays."""
        taken = []
        left = count
        while left and self._tokens:
            token = self._tokens.popleft()
            if len(token.text) > left:
                rest = token if whole else replace(token, text=token.text[left:])
                self._tokens.appendleft(rest)
                if whole:
                    break
                token = replace(token, text=token.text[:left])
            taken.append(token)
            left -= len(token.text)
        gone = count - left
        self._text = self._text[gone:]
        self._searched = max(0, self._searched - gone)
        if self._call is not None:
            self._call = (self._call[0] - gone, self._call[1] - gone)
        return taken


async def _read(chunks: AsyncGenerator[Chunk, None], reader: CallReader) -> AsyncGenerator[Chunk, None]:
    async with contextlib.aclosing(chunks):
        async for chunk in chunks:
            last = chunk.finish_reason is not None
            tokens = tuple(reader.push(chunk.tokens, last=last))
            text = "".join(token.text for token in tokens)
            if last:
                calls, warnings = tuple(reader.calls), (*chunk.warnings, *reader.warnings)
                yield replace(chunk, text=text, tokens=tokens, tool_calls=calls, warnings=warnings)
            elif tokens:
                yield replace(chunk, text=text, tokens=tokens)


def _behind_any(text: str, start: int, chars: str) -> int:
    """Where characters that are none of these begin, from a place on."""
    return len(text) - len(text[start:].lstrip(chars))


def _end_of_object(text: str, start: int) -> int | None:
    """Where the braces that open at a place are closed, None while they are not."""
    depth = 0
    for found in _STRING_OR_BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth == 0:
            return found.end()
    return None


def judged(calls: Iterable[ToolCall], tools: Iterable[Tool]) -> tuple[Warning, ...]:
    """A warning for each call of no tool that was offered, and of arguments that break its schema."""
    from modelyard.engines.grammar import check_answer

    schemas = {tool.name: tool.parameters for tool in tools}
    warnings = []
    for call in calls:
        if call.name not in schemas:
            problem: str | None = f"the model asks for '{call.name}', which is none of the tools"
        else:
            try:
                problem = check_answer(Constraint(schema=schemas[call.name]), call.arguments or "{}")
            except Exception as error:  # whoever offered the tool wrote its schema, and it may be none
                problem = f"its arguments cannot be checked: {error}"
        if problem:
            warnings.append(Warning("tool_call_invalid", f"{call.name}: {problem}"))
    return tuple(warnings)
