"""The tree of errors, and the one table that says how each behaves.

    ModelyardError
    ├── InvalidArgumentError
    │   ├── PromptTooLongError
    │   ├── SchemaError
    │   └── UnsupportedError
    ├── CatalogError
    ├── ModelNotFoundError
    ├── DocumentError
    ├── ResourceExhaustedError
    │   ├── DiskFullError
    │   └── QueueFullError
    ├── UnavailableError
    ├── DownloadError
    │   ├── IntegrityError
    │   └── OfflineError
    ├── ProviderAPIError
    │   ├── AuthenticationError
    │   ├── GatedModelError
    │   └── RateLimitError
    ├── EngineError
    │   ├── EngineNotInstalledError
    │   └── EngineCrashedError
    ├── DeadlineExceededError
    └── CancelledError

Every error carries a message that says what happened and where, and a hint that says what to do.

>>> conduct(PromptTooLongError("9000 tokens, 8192 fit")).http_status
400
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


class ModelyardError(Exception):
    """The root of every error that modelyard raises on purpose.

    Args:
        message: what happened, and where.
        hint: what to do about it; the table's hint for the class where none is given.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint if hint is not None else _row(type(self)).hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.hint, dict(self.__dict__)))


def _rebuild(cls: type[ModelyardError], message: str, hint: str, state: dict[str, object]) -> ModelyardError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class InvalidArgumentError(ModelyardError):
    """An option, parameter or value that cannot be used as given."""


class PromptTooLongError(InvalidArgumentError):
    """The prompt has more tokens than the model's context holds."""


class SchemaError(InvalidArgumentError):
    """A JSON Schema, regex or list of choices that is malformed, too large, or cannot be enforced."""


class UnsupportedError(InvalidArgumentError):
    """The engine or model cannot do what was asked."""


class CatalogError(ModelyardError):
    """A catalogue file with a mistake; `file` and `line` say where."""

    def __init__(
        self, message: str, *, file: str | None = None, line: int | None = None, hint: str | None = None
    ) -> None:
        self.file, self.line = file, line
        where = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(where + message, hint=hint)


class ModelNotFoundError(ModelyardError):
    """No such alias in the catalogue, no such repository, or no such file."""


class DocumentError(ModelyardError):
    """A document that cannot be read."""


class ResourceExhaustedError(ModelyardError):
    """Memory, or a queue, does not hold what was asked."""


class DiskFullError(ResourceExhaustedError):
    """The disk has no room for a download or a converted model."""


class QueueFullError(ResourceExhaustedError):
    """More requests wait for a model than its queue holds; `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: float = 1.0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class UnavailableError(ModelyardError):
    """The server takes no new work, or the model does not answer for now."""


class DownloadError(ModelyardError):
    """A download that failed; what arrived is kept and continued by the next try."""


class IntegrityError(DownloadError):
    """A file that does not have the promised hash or size."""


class OfflineError(DownloadError):
    """Something must be downloaded, and modelyard was told to stay offline."""


class ProviderAPIError(ModelyardError):
    """A remote service (the Hub, an endpoint) answered with an error."""


class AuthenticationError(ProviderAPIError):
    """The token is missing, wrong or expired."""


class GatedModelError(ProviderAPIError):
    """The model's terms have to be accepted on the Hub first."""


class RateLimitError(ProviderAPIError):
    """Too many requests."""


class EngineError(ModelyardError):
    """The engine failed on this request."""


class EngineNotInstalledError(EngineError):
    """The engine's package is not installed."""


class EngineCrashedError(EngineError):
    """The engine's process or pipeline died; the next request finds a fresh one."""


class DeadlineExceededError(ModelyardError):
    """The answer was not finished by its deadline."""


class CancelledError(ModelyardError):
    """The request was cancelled by its caller."""


@dataclass(frozen=True, slots=True)
class Conduct:
    """How an error behaves: its HTTP status, whether a retry can help, the exit code, the usual remedy."""

    http_status: int
    retryable: bool
    exit_code: int
    hint: str


TABLE: dict[type[ModelyardError], Conduct] = {
    ModelyardError: Conduct(500, False, 1, ""),
    InvalidArgumentError: Conduct(400, False, 2, ""),
    PromptTooLongError: Conduct(400, False, 2, "Shorten the prompt, or use a model with a longer context."),
    SchemaError: Conduct(400, False, 2, ""),
    UnsupportedError: Conduct(422, False, 2, ""),
    CatalogError: Conduct(500, False, 2, ""),
    ModelNotFoundError: Conduct(404, False, 3, "`modelyard models list` shows what the catalogue has."),
    DocumentError: Conduct(422, False, 2, ""),
    ResourceExhaustedError: Conduct(
        507, False, 4, "Use a smaller model, a shorter context, or quantization: 4bit."
    ),
    DiskFullError: Conduct(
        507, False, 4, "Free some room, or set MODELYARD_CACHE to a folder on a larger disk."
    ),
    QueueFullError: Conduct(429, True, 4, "Send the request again a little later."),
    UnavailableError: Conduct(503, True, 6, "Send the request again, here a little later or elsewhere now."),
    DownloadError: Conduct(502, True, 5, "Run the same command again: it goes on where it stopped."),
    IntegrityError: Conduct(502, False, 5, ""),
    OfflineError: Conduct(503, False, 5, "Run once without --offline, or pull the model beforehand."),
    ProviderAPIError: Conduct(502, True, 6, ""),
    AuthenticationError: Conduct(
        401, False, 6, "Set HF_TOKEN, or run `hf auth login`; `modelyard doctor` says which token is found."
    ),
    GatedModelError: Conduct(
        403, False, 6, "Accept the model's terms on its Hub page with the account that the token belongs to."
    ),
    RateLimitError: Conduct(429, True, 6, "Wait, then try again."),
    EngineError: Conduct(500, False, 7, ""),
    EngineNotInstalledError: Conduct(501, False, 7, ""),
    EngineCrashedError: Conduct(503, True, 7, "Send the request again."),
    DeadlineExceededError: Conduct(504, True, 8, "Give it more time, or ask for fewer tokens."),
    CancelledError: Conduct(499, False, 130, ""),
}


def _row(cls: type[ModelyardError]) -> Conduct:
    return next(TABLE[base] for base in cls.__mro__ if base in TABLE)


def conduct(error: ModelyardError) -> Conduct:
    """The row of the table for an error: that of its own class, else of its nearest ancestor."""
    return _row(type(error))


def nearest(name: str, known: Iterable[str], *, count: int = 3) -> str:
    """A half-sentence that offers the known names nearest to a wrong one, empty where none is near.

    >>> nearest("temprature", ["temperature", "top_p"])
    " Did you mean 'temperature'?"
    """
    close = difflib.get_close_matches(name, list(known), n=count, cutoff=0.6)
    if not close:
        return ""
    return f" Did you mean {' or '.join(repr(one) for one in close)}?"
