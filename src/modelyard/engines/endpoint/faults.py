"""What a server's refusal, or its silence, is in our tree of errors."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from typing import Any

import httpx2

from modelyard.catalog.auth import redact
from modelyard.errors import (
    AuthenticationError,
    GatedModelError,
    InvalidArgumentError,
    ModelNotFoundError,
    ModelyardError,
    PromptTooLongError,
    ProviderAPIError,
    RateLimitError,
    SchemaError,
    UnsupportedError,
)

_TOO_LONG = re.compile(
    r"context.{0,12}(length|size|window)|maximum.{0,20}length|too (long|many tokens)|exceed.{0,30}(context|token)"
    r"|context_length_exceeded",
    re.IGNORECASE,
)
_GATED = re.compile(r"gated|accept.{0,40}(terms|licen[cs]e|conditions)|awaiting a review", re.IGNORECASE)
_FORM = re.compile(r"grammar|schema|regex|structured.?output|guided|response_format", re.IGNORECASE)
_IMAGE = re.compile(r"image|multi-?modal|vision|mmproj", re.IGNORECASE)
_LONGEST = 400  # characters of a server's words that are shown


def refused(title: str, status: int, body: bytes, headers: Mapping[str, str] = {}) -> ModelyardError:
    """The error for an answer with an error's status, or an error inside a stream.

    >>> type(refused("m at http://h", 429, b"{}", {"retry-after": "7"})).__name__
    'RateLimitError'
    """
    said, details = _words(body)
    what = f"{title} answered {status}" + (f": {said}" if said else "")
    if status == 401:
        return AuthenticationError(
            what, hint="The server wants a key, or another one: set option api_key_env, or api_key."
        )
    if status == 403:
        if _GATED.search(said):
            return GatedModelError(what)
        return AuthenticationError(what, hint="The key has no right to this model, or to this server.")
    if status == 404:
        return ModelNotFoundError(what, hint="Check the url, and option model, the model's name there.")
    if status == 429:
        return _told_to_wait(what, headers)
    if 300 <= status < 400:
        return _redirected(title, status, headers)
    if status == 413 or (status in (400, 422, 500) and _TOO_LONG.search(said)):
        return _too_long(what, details)
    if status in (400, 422, 500, 501) and _IMAGE.search(said):
        return UnsupportedError(what, hint="Use a model that sees (task: vision).")
    if status in (400, 422):
        if _FORM.search(said):
            return SchemaError(what, hint="Make the schema simpler, or leave it out.")
        return InvalidArgumentError(what, hint="")
    wait = "Try again later." if status in (502, 503, 504) else "Its own log may say more."
    return ProviderAPIError(what, hint=wait)


def unreachable(title: str, error: Exception) -> ModelyardError:
    """The error for a server that cannot be reached, or that stopped talking."""
    said = redact(str(error)) or type(error).__name__
    if _cause(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in said:
        return ProviderAPIError(
            f"{title} shows a certificate that cannot be trusted: {said}",
            hint="Name the authority that signed it in option verify, or set SSL_CERT_FILE.",
        )
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
        return ProviderAPIError(
            f"{title} cannot be reached: {said}", hint="Check the url, and that the server runs."
        )
    if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol):
        return InvalidArgumentError(f"{title} has no usable address: {said}", hint="Check the url.")
    return ProviderAPIError(
        f"the connection to {title} broke: {said}",
        hint="What it had made so far is lost; send the request again.",
    )


def unreadable(title: str, data: str) -> ProviderAPIError:
    """The error for an answer that is not what the protocol says."""
    shown = redact(data[:120]).strip()
    return ProviderAPIError(
        f"{title} sent something that is no answer: {shown!r}",
        hint="Is it an OpenAI-compatible server? The url has to end before '/chat/completions'.",
    )


def never_sent(error: Exception) -> bool:
    """Whether the server cannot have begun on the request, so that sending it again repeats no work."""
    known = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
    return known and not _cause(error, ssl.SSLError)


def _cause(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False


def _words(body: bytes) -> tuple[str, Mapping[str, Any]]:
    """The server's own words, and what it says beside them."""
    text = body[:20_000].decode("utf-8", "replace")
    details: Any = {}
    try:
        found = json.loads(text)
    except ValueError:
        return redact(re.sub(r"<[^>]*>|\s+", " ", text).strip()[:_LONGEST]), {}
    if isinstance(found, dict):
        details = found.get("error", found)
        found = details
    if isinstance(details, dict):
        found = details.get("message") or details.get("detail") or details
    else:
        details = {}
    shown = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    return redact(" ".join(shown.split())[:_LONGEST]), details


def _told_to_wait(what: str, headers: Mapping[str, str]) -> RateLimitError:
    from modelyard.catalog.sources.retry import parse_retry_after

    seconds = parse_retry_after(headers.get("retry-after"))
    if seconds is None:
        return RateLimitError(what)
    return RateLimitError(what, hint=f"It says to come back in {seconds:.0f} s.")


def _redirected(title: str, status: int, headers: Mapping[str, str]) -> ProviderAPIError:
    target = redact(headers.get("location", "nowhere"))
    return ProviderAPIError(
        f"{title} answered {status} and points to {target}, where neither the request nor the key was sent",
        hint="If that is right, write the new address as the url.",
    )


def _too_long(what: str, details: Mapping[str, Any]) -> PromptTooLongError:
    prompt, context = details.get("n_prompt_tokens"), details.get("n_ctx")
    if prompt and context:
        return PromptTooLongError(f"the prompt has {prompt} tokens, and the context holds {context}")
    return PromptTooLongError(what)
