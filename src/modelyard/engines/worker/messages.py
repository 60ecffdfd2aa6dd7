"""The messages between a worker engine and its child process.

The parent sends `Load` once, then calls (`Generate`, `Score` and the others of `Call`), each with an id of its own,
`Abort` for a call that nobody waits for any more, and `Close`, as many in one `Orders` as there are. The child answers `Ready` or `Refused`, then
a `Batch` a step. Each call ends with exactly one of a last `Piece`, a `Value`, a `Failure`, or `Freed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.catalog.model import Model
from modelyard.engines.base import Capabilities, Memory
from modelyard.engines.continuations import Pair
from modelyard.errors import ModelyardError
from modelyard.types import Adapter, Chunk, Fingerprint, Message, Request, TokenizerInfo

# -- from the parent ---------------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class Load:
    """Load this model on the engine of that name."""

    engine: str
    model: Model
    options: dict[str, Any]


@dataclass(slots=True, frozen=True)
class Generate:
    """Answer a request; its deadline is `seconds` away, since the two clocks may not agree."""

    id: int
    request: Request
    seconds: float | None


@dataclass(slots=True, frozen=True)
class Score:
    """Score continuations."""

    id: int
    prompt: str | Sequence[Message]
    continuations: Sequence[str]
    adapter: Adapter | None
    exact: bool


@dataclass(slots=True, frozen=True)
class ScoreTokens:
    """Score continuations that are tokens already."""

    id: int
    pairs: Sequence[Pair]
    adapter: Adapter | None
    exact: bool


@dataclass(slots=True, frozen=True)
class Encode:
    """Tokenise texts."""

    id: int
    texts: Sequence[str]
    special: bool


@dataclass(slots=True, frozen=True)
class Render:
    """Render a conversation with the chat template."""

    id: int
    messages: Sequence[Message]
    answer: bool


@dataclass(slots=True, frozen=True)
class Embed:
    """Embed texts."""

    id: int
    texts: Sequence[str]


@dataclass(slots=True, frozen=True)
class Classify:
    """Give texts their labels."""

    id: int
    texts: Sequence[str]


@dataclass(slots=True, frozen=True)
class Count:
    """Count the tokens of a prompt."""

    id: int
    prompt: str | Sequence[Message]


@dataclass(slots=True, frozen=True)
class Abort:
    """Nobody waits for this call any more: free its slot at once, and say when it is free."""

    id: int


@dataclass(slots=True, frozen=True)
class Close:
    """End all calls, give back the model's memory, and exit."""


Call = Generate | Score | ScoreTokens | Encode | Render | Embed | Classify | Count
Order = Load | Call | Abort | Close


@dataclass(slots=True, frozen=True)
class Orders:
    """All that is to be sent at one time: requests that come together are to be admitted together."""

    orders: tuple[Order, ...]


# -- from the child ----------------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class Ready:
    """The model is loaded, and this is what it is; no tokenizer where the engine tells nothing of tokens."""

    capabilities: Capabilities
    fingerprint: Fingerprint
    memory: Memory
    tokenizer: TokenizerInfo | None


@dataclass(slots=True, frozen=True)
class Refused:
    """The model could not be loaded; the child exits."""

    error: ModelyardError


@dataclass(slots=True, frozen=True)
class Piece:
    """A chunk of an answer."""

    id: int
    chunk: Chunk


@dataclass(slots=True, frozen=True)
class Value:
    """The result of a call that is no answer: scores, tokens, a prompt, vectors, labels, a count."""

    id: int
    value: Any


@dataclass(slots=True, frozen=True)
class Failure:
    """A call that failed, alone."""

    id: int
    error: ModelyardError


@dataclass(slots=True, frozen=True)
class Freed:
    """An aborted call that has left the engine's batch."""

    id: int


@dataclass(slots=True, frozen=True)
class Beat:
    """A sign of life while there are calls; `steps` are those of the batch, None where nothing is generated."""

    steps: int | None


Reply = Piece | Value | Failure | Freed


@dataclass(slots=True, frozen=True)
class Batch:
    """All that one step of the engine has to say, and the memory it holds where a call has ended in it."""

    replies: tuple[Reply, ...]
    memory: Memory | None


Report = Ready | Refused | Batch | Beat
