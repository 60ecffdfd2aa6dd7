"""What goes over the wire in OpenAI's form: the bodies that are taken, checked field by field.

A field that is not known is refused by its name. Some of OpenAI's fields mean nothing here; they are taken at
the one value at which they change nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[
    str, Field(min_length=1, max_length=256, description="A model's name, as GET /v1/models has it.")
]
Stop = Annotated[str, Field(min_length=1, max_length=256)]


class Wire(BaseModel):
    """A body or a part of one."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


class StreamOptions(Wire):
    """How a stream ends."""

    include_usage: bool = Field(False, description="Send the counts of tokens as the last event.")
    include_obfuscation: Literal[False] | None = None


class Sampling(Wire):
    """How tokens are chosen, on all routes that generate. What is left out is the catalogue's default."""

    model: Name
    max_tokens: int | None = Field(None, ge=1, le=2**31, description="Most tokens of an answer.")
    temperature: float | None = Field(None, ge=0, le=100, description="0 is greedy.")
    top_p: float | None = Field(None, gt=0, le=1)
    n: int | None = Field(None, ge=1, le=128, description="How many answers.")
    stop: Stop | list[Stop] | None = Field(
        None, description="Texts that end the answer and are not part of it."
    )
    seed: int | None = Field(None, ge=0, le=2**63 - 1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, max_length=1024, description="Taken, and of no effect.")
    logit_bias: dict[str, float] | None = Field(
        None, max_length=0, description="Not supported: leave it empty."
    )
    # Beyond OpenAI's, under the names that other servers have for them.
    top_k: int | None = Field(None, ge=0, description="0 means all tokens.")
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0, le=100)
    min_tokens: int | None = Field(None, ge=0, le=2**31, description="Least tokens of an answer.")
    regex: str | None = Field(
        None, max_length=100_000, description="The form of the answer, as a regular expression."
    )
    choices: list[str] | None = Field(
        None, min_length=1, max_length=10_000, description="The answers that there are."
    )
    timeout: float | None = Field(None, ge=1, le=1e6, description="Seconds until the answer is given up.")

    def sampling(self) -> dict[str, Any]:
        """The arguments of an LLM that are the same everywhere."""
        found: dict[str, Any] = {
            name: value
            for name in (
                "temperature", "top_p", "seed", "presence_penalty", "frequency_penalty", "top_k", "min_p",
                "repetition_penalty", "regex", "choices",
            )
            if (value := getattr(self, name)) is not None
        }  # fmt: skip
        if self.max_tokens is not None:
            found["max_new_tokens"] = self.max_tokens
        if self.min_tokens is not None:
            found["min_new_tokens"] = self.min_tokens
        if self.stop is not None:
            found["stop"] = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        return found


class ImageUrl(Wire):
    """An image: a `data:` URL, or one of a host that the server's owner has allowed."""

    url: str = Field(min_length=1)
    detail: Literal["auto", "low", "high"] | None = Field(None, description="Taken, and of no effect.")


class TextContent(Wire):
    """A piece of text in a message."""

    type: Literal["text"]
    text: str


class ImageContent(Wire):
    """An image in a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


class CalledFunction(Wire):
    """A function with the arguments that the model wrote."""

    name: str = Field(min_length=1, max_length=256)
    arguments: str = ""


class Called(Wire):
    """A call in an assistant's turn."""

    id: str = Field(max_length=256)
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(Wire):
    """A turn of the conversation. `developer` is read as `system`."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Annotated[TextContent | ImageContent, Field(discriminator="type")]] | None = None
    name: str | None = Field(None, max_length=256, description="Taken, and of no effect.")
    tool_calls: list[Called] | None = None
    tool_call_id: str | None = Field(None, max_length=256)
    refusal: None = None
    audio: None = None
    function_call: None = None
    annotations: list[Any] | None = Field(None, max_length=0)


class FunctionTool(Wire):
    """A function that the model may ask for."""

    name: str = Field(min_length=1, max_length=256)
    description: str | None = None
    parameters: dict[str, Any] | None = Field(None, description="A JSON Schema of its arguments.")
    strict: bool | None = Field(
        None, description="Taken: a call that has to be made always keeps the schema."
    )


class ToolOffer(Wire):
    """A tool."""

    type: Literal["function"]
    function: FunctionTool


class FunctionName(Wire):
    """A function by name."""

    name: str = Field(min_length=1, max_length=256)


class ToolChoice(Wire):
    """The one function that has to be called."""

    type: Literal["function"]
    function: FunctionName


class AsText(Wire):
    """Free text."""

    type: Literal["text"]


class AsObject(Wire):
    """Any JSON object."""

    type: Literal["json_object"]


class NamedSchema(Wire):
    """A JSON Schema and its name."""

    name: str = Field(max_length=256)
    schema_: dict[str, Any] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = Field(None, description="Taken: a schema is always enforced, or refused.")


class AsSchema(Wire):
    """JSON that keeps a schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


Format = Annotated[AsText | AsObject | AsSchema, Field(discriminator="type")]


class ChatRequest(Sampling):
    """POST /v1/chat/completions."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1, le=2**31)
    response_format: Format | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    tools: list[ToolOffer] | None = None
    tool_choice: Literal["auto", "none", "required"] | ToolChoice | None = None
    parallel_tool_calls: bool | None = Field(
        None, description="False with tools is refused: models decide that."
    )
    # OpenAI's own, at the value at which they change nothing.
    store: Literal[False] | None = None
    metadata: dict[str, str] | None = Field(None, description="Taken, and of no effect.")
    service_tier: Literal["auto", "default"] | None = None
    modalities: list[Literal["text"]] | None = None
    reasoning_effort: Literal["none"] | None = None
    verbosity: Literal["medium"] | None = None
    safety_identifier: str | None = Field(None, description="Taken, and of no effect.")
    prompt_cache_key: str | None = Field(
        None, description="Taken, and of no effect: prefixes are always shared."
    )


class CompletionRequest(Sampling):
    """POST /v1/completions: the text goes to the model as it stands, without its chat template."""

    prompt: str | list[str] = Field(description="A text, or several; token ids are not taken.")
    logprobs: int | None = Field(None, ge=0, le=20)
    echo: bool | None = False
    best_of: int | None = Field(None, ge=1)
    suffix: None = None


class EmbeddingRequest(Wire):
    """POST /v1/embeddings."""

    model: Name
    input: str | list[str] = Field(description="A text, or several; token ids are not taken.")
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: None = Field(None, description="Not supported: vectors have the model's own length.")
    user: str | None = Field(None, max_length=1024, description="Taken, and of no effect.")


class TokenizeRequest(Wire):
    """POST /tokenize, as vLLM's server has it."""

    model: Name
    prompt: str | None = None
    messages: list[ChatMessage] | None = Field(None, min_length=1)
    add_special_tokens: bool = Field(True, description="Those that the model wants around a raw text.")
    add_generation_prompt: bool = Field(True, description="Of messages: end where the answer begins.")


# -- what is sent ------------------------------------------------------------------------------------------


class Counts(BaseModel):
    """Tokens read and made."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Notice(BaseModel):
    """Something that did not go as asked, where going on was harmless."""

    code: str
    message: str


class FoundCategory(BaseModel):
    """What a safety check objects to, and how sure it is where it gives a number."""

    name: str
    score: float | None


class SafetyNotice(BaseModel):
    """A safety check that objects: to the prompt (`input`) or the answer (`output`), and what was done about it."""

    check: str
    model: str | None
    side: Literal["input", "output"]
    action: Literal["block", "mask", "warn"]
    categories: list[FoundCategory]


class LikelyToken(BaseModel):
    """A token that was likely at a place."""

    token: str
    logprob: float
    bytes: list[int] | None


class MadeToken(LikelyToken):
    """A token of the answer."""

    top_logprobs: list[LikelyToken]


class TokenList(BaseModel):
    """The answer's tokens, with the natural logarithms of their probabilities."""

    content: list[MadeToken]
    refusal: None = None


class AnswerMessage(BaseModel):
    """The model's turn."""

    role: Literal["assistant"]
    content: str | None
    refusal: None = None
    tool_calls: list[dict[str, Any]] | None = None


class ChatChoice(BaseModel):
    """One answer."""

    index: int
    message: AnswerMessage
    logprobs: TokenList | None
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"]


class ChatCompletion(BaseModel):
    """The reply of POST /v1/chat/completions; with `stream` it comes as server-sent events instead."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: Counts
    warnings: list[Notice] = []
    safety: list[SafetyNotice] = []


class TextTokens(BaseModel):
    """The answer's tokens, in parallel lists."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


class TextChoice(BaseModel):
    """One answer."""

    index: int
    text: str
    logprobs: TextTokens | None
    finish_reason: Literal["stop", "length", "content_filter"]


class Completion(BaseModel):
    """The reply of POST /v1/completions; with `stream` it comes as server-sent events instead."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[TextChoice]
    usage: Counts
    warnings: list[Notice] = []
    safety: list[SafetyNotice] = []


class Vector(BaseModel):
    """One text's vector, as numbers or as base64 of little-endian 32-bit floats."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class ReadTokens(BaseModel):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(BaseModel):
    """The reply of POST /v1/embeddings."""

    object: Literal["list"]
    data: list[Vector]
    model: str
    usage: ReadTokens


class Tokenized(BaseModel):
    """The reply of POST /tokenize."""

    count: int
    max_model_len: int | None
    tokens: list[int] | None = Field(description="Null where the engine tells no token ids.")


class ModelCard(BaseModel):
    """A model, as OpenAI lists them."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    served_by: str = Field(description="modelyard and its version.")
    max_model_len: int | None = Field(description="Tokens of prompt and answer, once the model was loaded.")


class ModelCards(BaseModel):
    """The reply of GET /v1/models."""

    object: Literal["list"]
    data: list[ModelCard]
