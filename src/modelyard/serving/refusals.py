"""Refusals: what goes wrong, as HTTP: a status, headers, and OpenAI's form of an error."""

from __future__ import annotations

import re
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from modelyard.catalog.auth import redact
from modelyard.errors import (
    AuthenticationError,
    GatedModelError,
    ModelyardError,
    QueueFullError,
    RateLimitError,
    conduct,
)

_NAMED = re.compile(r"(?:parameter|argument|option|key)s? '(\w+)'|^(\w+)(?: is|:) ")
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_AGAIN = 2  # seconds that `Retry-After` says where nothing better is known


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str = Field(description="What happened, and what to do about it.")
    type: str = Field(description="The class of error, as OpenAI names them.")
    param: str | None = Field(description="The parameter that is to blame, where it is one.")
    code: str | None = Field(description="The kind of error, for programs.")


class ErrorBody(BaseModel):
    """The body of every refusal."""

    error: ErrorDetail


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, for its description."""
    return {status: {"model": ErrorBody, "description": _SAID[status]} for status in statuses}


_SAID = {
    400: "The request cannot be used as it is.",
    401: "No API key, or none that is known.",
    403: "Not from there, or not with these terms.",
    404: "No such model or route.",
    405: "Not with this method.",
    408: "The request did not arrive in time.",
    413: "The request is too large.",
    415: "The body is no JSON.",
    421: "The server is not known by this name.",
    422: "A value is of the wrong kind, or cannot be honoured.",
    429: "The queue is full; `Retry-After` says when to come back.",
    499: "The client left.",
    500: "Something broke here; the log has it under the request's id.",
    501: "The engine is not installed.",
    502: "Something behind this server failed.",
    503: "Not now: the model crashed, does not answer, or the server is stopping.",
    504: "The deadline passed.",
    507: "Memory or disk does not hold it.",
}
GUARD = (400, 401, 403, 404, 405, 408, 413, 415, 421, 422, 503)
"""What every route may answer before it is reached."""
MODEL = (*GUARD, 429, 500, 501, 502, 504, 507)
"""What a route may answer that runs a model."""


def body(message: str, status: int, *, param: str | None = None, code: str | None = None) -> bytes:
    """The JSON of a refusal."""
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


def refusal(
    message: str,
    status: int,
    *,
    param: str | None = None,
    code: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """A refusal as a response."""
    return Response(
        body(message, status, param=param, code=code), status, headers, media_type="application/json"
    )


def status_of(error: ModelyardError) -> int:
    """The status of one of our errors; a token that is wrong here is no fault of who asks."""
    if isinstance(error, AuthenticationError | GatedModelError | RateLimitError):
        return 502
    return conduct(error).http_status


def described(error: ModelyardError) -> tuple[bytes, int]:
    """The body and status of one of our errors."""
    status = status_of(error)
    named = _NAMED.search(error.message) if status < 500 else None
    param = next((one for one in named.groups() if one), None) if named else None
    code = re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__.removesuffix("Error")).lower()
    return body(redact(str(error)), status, param=param, code=code), status


def of_error(error: ModelyardError) -> Response:
    """One of our errors as a response."""
    said, status = described(error)
    headers = {}
    if conduct(error).retryable and status in (429, 503):
        seconds = error.retry_after if isinstance(error, QueueFullError) else _AGAIN
        headers["Retry-After"] = f"{seconds:.0f}"
    return Response(said, status, headers, media_type="application/json")


def of_http(error: HTTPException) -> Response:
    """What the framework refuses."""
    headers = dict(error.headers or {})
    return refusal(str(error.detail), error.status_code, headers=headers)


def of_validation(error: RequestValidationError) -> Response:
    """A body or path that is not as its type says; the first problem, its place, and how many more there are."""
    problems = error.errors()
    # A misspelt name shows twice, as one that is not known and one that is missing: the first says more.
    first = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
    place = [str(one) for one in first["loc"] if one not in ("body", "query", "path")]
    if first["type"] == "json_invalid":
        return refusal(f"the body is no JSON: {first['ctx']['error']}", 400, code="json_invalid")
    where = ".".join(place)
    said = str(first["msg"])
    if first["type"] == "extra_forbidden":
        said = "this is not known here"
    more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
    message = f"{where or 'the body'}: {said[0].lower()}{said[1:]}{more}"
    return refusal(message, 422, param=where or None, code=str(first["type"]))


def event(error: ModelyardError) -> bytes:
    """An error in the middle of a stream, as an event."""
    return b"data: " + described(error)[0] + b"\n\n"
