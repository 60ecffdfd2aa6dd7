"""The types that everything passes: requests in, chunks and results out.

Plain dataclasses with slots, trusted inside the library; what comes from outside is parsed where it
enters (YAML in `modelyard.catalog`, HTTP in the server, options in `modelyard.params`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from modelyard.params import SamplingParams

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "cancelled", "error", "content_filter"]
LogprobOf = Literal["model", "masked", "sampling", "unknown"]
JSONSchema = Mapping[str, Any]
Side = Literal["input", "output"]
Action = Literal["block", "mask", "warn"]


@dataclass(slots=True, frozen=True)
class TextPart:
    """A piece of text inside a message."""

    text: str


@dataclass(slots=True, frozen=True)
class ImagePart:
    """An image inside a message: its bytes, and the media type where it is known."""

    data: bytes = field(repr=False)
    media_type: str = "image/png"


Part = TextPart | ImagePart


@dataclass(slots=True, frozen=True)
class Tool:
    """A function that the model may ask for: its name, what it does, and a JSON Schema of its arguments."""

    name: str
    description: str = ""
    parameters: JSONSchema = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class ToolCall:
    """A function that the model asks for; `arguments` is the JSON text that it wrote, which may be wrong."""

    id: str
    name: str
    arguments: str


@dataclass(slots=True, frozen=True)
class Message:
    """One turn of a conversation.

    `tool_calls` are those of an assistant's turn; `tool_call_id` says which of them a tool's turn answers.

    >>> Message("user", "Hello").text
    'Hello'
    """

    role: Role
    content: str | tuple[Part, ...]
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """The text of the message, its images left out."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if isinstance(part, TextPart))

    @property
    def images(self) -> tuple[ImagePart, ...]:
        """The images of the message, in order."""
        if isinstance(self.content, str):
            return ()
        return tuple(part for part in self.content if isinstance(part, ImagePart))


@dataclass(slots=True, frozen=True)
class Constraint:
    """The form that an answer must have: exactly one of a JSON Schema, a regex, or a list of choices."""

    schema: JSONSchema | None = None
    regex: str | None = None
    choices: tuple[str, ...] | None = None


@dataclass(slots=True, frozen=True)
class Adapter:
    """Small weights laid over a base model (LoRA), chosen per request: its name, and where its files lie."""

    name: str
    path: str
    revision: str = ""


@dataclass(slots=True, frozen=True)
class Request:
    """What an engine is asked: messages or a raw prompt, and how to answer.

    Exactly one of `messages` and `prompt` is set. `deadline` is in seconds on `time.monotonic()`'s clock.
    `tool_choice` is `auto`, `none`, `required`, or the name of one of the tools. `top_logprobs` is how many of
    the likeliest tokens each token of the answer is given with.
    """

    messages: tuple[Message, ...] | None = None
    prompt: str | None = None
    params: SamplingParams = field(default_factory=SamplingParams)
    constraint: Constraint | None = None
    logprobs: bool = True
    adapter: Adapter | None = None
    deadline: float | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    top_logprobs: int = 0


@dataclass(slots=True, frozen=True)
class TopLogprob:
    """One of the likeliest tokens at a place: its own text, as it decodes alone, its id and its logprob.

    Bytes that are no whole character are U+FFFD in the text, and a special token's is empty.
    """

    text: str
    id: int | None
    logprob: float


@dataclass(slots=True, frozen=True)
class Token:
    """One generated token.

    `start` and `end` are character offsets into the text of the result, and `text` is exactly that part
    of it, so the texts joined give the answer. A token that holds only the first bytes of a character has
    an empty text; the character belongs to the token that completes it. `id` is None where a server does
    not tell it.

    `logprob` is the natural logarithm of the token's probability, `None` when the engine gives none;
    `logprob_of` says of which distribution: `model` is the model's own (softmax of the raw logits),
    `masked` the same over the tokens that a schema, regex or list of choices left open, `sampling` the one
    sampled from, after temperature, penalties and top-k/top-p, `unknown` what a server reports unexplained.
    `top` are the likeliest tokens at this place under the same distribution, the likeliest first, as many as
    were asked for.
    """

    text: str
    id: int | None
    logprob: float | None
    start: int
    end: int
    logprob_of: LogprobOf = "model"
    top: tuple[TopLogprob, ...] = ()


@dataclass(slots=True, frozen=True)
class Warning:  # noqa: A001  (the design's name; never confused with the builtin, which we do not raise)
    """Something that did not go as asked, where going on was harmless.

    `code` is stable and for programs, `message` is for people.
    """

    code: str
    message: str


@dataclass(slots=True, frozen=True)
class Category:
    """Something that a check looks for: how sure it is (0 to 1, None where it gives no number), and whether it objects."""

    name: str
    score: float | None = None
    flagged: bool = False


@dataclass(slots=True, frozen=True)
class Span:
    """A part of a text: `text[start:end]`."""

    start: int
    end: int


@dataclass(slots=True, frozen=True)
class Verdict:
    """What a check says of a text.

    Attributes:
        allowed: whether the check has nothing against it.
        check: the check's name.
        model: the model that judged, by its alias; empty where none did.
        categories: what was looked for, the surest first; of the worst window, where the text was read in several.
        window: the worst window: `text[window.start:window.end]` is what was judged. None where there was no text.
        spans: what the check objects to: what a pattern matched, else the windows that were flagged.
        side: `input` for a prompt, `output` for an answer; None where a check was asked directly.
        action: what the policy did about it; None where it is allowed, or a check was asked directly.
    """

    allowed: bool
    check: str
    model: str = ""
    categories: tuple[Category, ...] = ()
    window: Span | None = None
    spans: tuple[Span, ...] = ()
    side: Side | None = None
    action: Action | None = None

    @property
    def flagged(self) -> tuple[str, ...]:
        """The names of the categories that it objects to.

        >>> Verdict(False, "personal data", categories=(Category("email", flagged=True),)).flagged
        ('email',)
        """
        return tuple(one.name for one in self.categories if one.flagged)


@dataclass(slots=True, frozen=True)
class Usage:
    """Token counts. `cached_tokens` are prompt tokens read from the prefix cache, None when unknown."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = None

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(slots=True, frozen=True)
class Timings:
    """Seconds: `queued` until the engine first worked on it, `first_token` and `total` from submission."""

    queued: float
    first_token: float | None
    total: float


@dataclass(slots=True, frozen=True)
class Chunk:
    """A piece of an answer as it is made. The last one of an answer has a `finish_reason`, and all tool calls.

    `verdicts` are those of the safety checks that object to something, on the last chunk.
    """

    text: str = ""
    tokens: tuple[Token, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    timings: Timings | None = None
    warnings: tuple[Warning, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    verdicts: tuple[Verdict, ...] = ()


@dataclass(slots=True, frozen=True)
class TokenizerInfo:
    """What there is to know of a model's tokens, for a caller who cuts and joins them himself.

    Attributes:
        bos, eos: ids of the tokens that begin and end a text; None where the tokenizer names none.
        bos_text, eos_text: the same as they are written; empty where there is none.
        chat_template: the Jinja text that messages are rendered with, None for a base model.
        vocabulary: ids are below it; 0 where unknown.
        longest: most tokens of a scored prompt and its continuation together, 0 where unknown. The last token is
            read by nobody, so that it may be one more than the context holds. Of an encoder-decoder, of each.
        encoder_decoder: whether prompt and continuation are read apart.
    """

    bos: int | None = None
    eos: int | None = None
    bos_text: str = ""
    eos_text: str = ""
    chat_template: str | None = None
    vocabulary: int = 0
    longest: int = 0
    encoder_decoder: bool = False


@dataclass(slots=True, frozen=True)
class Fingerprint:
    """Which model answered: enough to tell two runs apart that may differ, and to run the same again."""

    model: str
    source: str
    revision: str
    engine: str
    engine_version: str
    precision: str
    adapter: str = ""


@dataclass(slots=True, frozen=True)
class Result:
    """A whole answer. `str(result)` is its text.

    With `num_return_sequences` above 1 this is the first answer and `alternatives` holds the others. An
    answer that asks for functions has them in `tool_calls`, and its text may be empty. Where a safety check
    refuses the prompt or the answer, `finish_reason` is `content_filter`, the text is empty, and `verdicts` say why;
    checks that only mask or warn have their verdicts there, too.
    """

    text: str
    tokens: tuple[Token, ...]
    finish_reason: FinishReason
    usage: Usage
    timings: Timings
    warnings: tuple[Warning, ...]
    fingerprint: Fingerprint
    alternatives: tuple[Result, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    verdicts: tuple[Verdict, ...] = ()

    def __str__(self) -> str:
        return self.text

    def to_dict(self) -> dict[str, Any]:
        """The result as plain data, ready for `json.dumps`."""
        data = asdict(self)
        data["usage"]["total_tokens"] = self.usage.total_tokens
        data["alternatives"] = [one.to_dict() for one in self.alternatives]
        return data

    def with_warnings(self, more: Sequence[Warning]) -> Result:
        """The same result with more warnings."""
        return replace(self, warnings=(*self.warnings, *more))


@dataclass(slots=True, frozen=True)
class Score:
    """How likely a continuation is after a prompt, in nats.

    `total` is the sum of `token_logprobs`; `is_greedy` says whether greedy decoding would have produced
    exactly these tokens.
    """

    total: float
    token_logprobs: tuple[float, ...]
    token_ids: tuple[int | None, ...]
    is_greedy: bool
