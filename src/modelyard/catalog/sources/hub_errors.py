"""Hub errors: what the Hub's client raises, in our words."""

from __future__ import annotations

from modelyard.catalog.auth import redact
from modelyard.catalog.spec import HubSource
from modelyard.errors import (
    AuthenticationError,
    DownloadError,
    GatedModelError,
    InvalidArgumentError,
    ModelNotFoundError,
    ModelyardError,
    OfflineError,
    ProviderAPIError,
    RateLimitError,
)


def mapped(error: Exception, source: HubSource, *, has_token: bool) -> ModelyardError | None:
    """Our error for one of the Hub client's, None for one that is not its."""
    import httpx2
    from huggingface_hub import errors as hub

    repo, revision = source.repo, source.revision or "main"
    match error:
        case hub.GatedRepoError():
            return GatedModelError(
                f"{repo} is gated, and {_who(has_token)} has no access", hint=_terms(repo, has_token)
            )
        case hub.RepositoryNotFoundError():
            return _no_repository(repo, has_token)
        case hub.RevisionNotFoundError():
            return ModelNotFoundError(
                f"{repo} has no revision '{revision}'", hint="Check 'revision' in the catalogue."
            )
        case hub.OfflineModeIsEnabled():
            return OfflineError(f"HF_HUB_OFFLINE is set, and {repo} is not in the cache")
        case hub.HfHubHTTPError():
            return _by_status(error.response, repo, has_token)
        case hub.LocalEntryNotFoundError() | hub.RevisionResolutionError():
            return _behind(error, source, has_token)
        case hub.EntryNotFoundError():
            return ModelNotFoundError(
                f"{repo} has no such file at '{revision}'", hint="Check 'file' in the catalogue."
            )
        case hub.HFValidationError():
            return InvalidArgumentError(
                f"the Hub takes no repository called '{repo}'", hint="It is 'organization/name'."
            )
        case (
            httpx2.HTTPError()
            | hub.FileMetadataError()
            | hub.XetDownloadError()
            | ConnectionError()
            | TimeoutError()
        ):
            return DownloadError(f"{repo}: the Hub cannot be reached: {redact(_words(error))}")
        case _:
            return None


def _behind(error: Exception, source: HubSource, has_token: bool) -> ModelyardError:
    """The client wraps what went wrong once it has looked into its cache in vain."""
    cause = error.__cause__
    inner = mapped(cause, source, has_token=has_token) if isinstance(cause, Exception) else None
    return inner or DownloadError(f"{source.repo}: the Hub cannot be reached: {redact(_words(error))}")


def _no_repository(repo: str, has_token: bool) -> ModelyardError:
    why = "or the token has no access to it" if has_token else "or it is private and needs a token"
    hint = f"Check the name at https://huggingface.co/{repo}" + ("." if has_token else ", or set HF_TOKEN.")
    return ModelNotFoundError(f"the Hub has no repository '{repo}', {why}", hint=hint)


def _by_status(response: object, repo: str, has_token: bool) -> ModelyardError:
    status = int(getattr(response, "status_code", 0))
    if status == 401:
        return AuthenticationError(f"{repo}: the Hub does not accept {_who(has_token)}")
    if status == 403:
        return AuthenticationError(
            f"{repo}: {_who(has_token)} may not read this repository",
            hint="Give the token read access on the Hub.",
        )
    if status == 429:
        after = getattr(response, "headers", {}).get("Retry-After")
        return RateLimitError(
            f"{repo}: too many requests to the Hub" + (f"; again in {after} s" if after else "")
        )
    return ProviderAPIError(f"{repo}: the Hub answered {status}", hint="Try again later.")


def _who(has_token: bool) -> str:
    return "the token" if has_token else "a request without a token"


def _terms(repo: str, has_token: bool) -> str:
    accept = f"Accept its terms at https://huggingface.co/{repo}"
    return f"{accept} with the account of the token." if has_token else f"{accept}, and set HF_TOKEN."


def _words(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
