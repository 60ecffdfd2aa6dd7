"""Pull: a spec in, its files on this machine out; the sources are tried in order."""

from __future__ import annotations

import logging
from typing import assert_never

from modelyard.catalog.auth import redact
from modelyard.catalog.lock import Lock
from modelyard.catalog.model import Model
from modelyard.catalog.progress import Progress, Silent
from modelyard.catalog.sources import hub, package, path
from modelyard.catalog.spec import AnySource, HubSource, ModelSpec, PackageSource, PathSource
from modelyard.errors import (
    DownloadError,
    IntegrityError,
    ModelNotFoundError,
    ModelyardError,
    OfflineError,
    ProviderAPIError,
)

log = logging.getLogger(__name__)

# After these another source may still have the model. A full disk or a mistake in the catalogue stops.
_NEXT = (DownloadError, ProviderAPIError, ModelNotFoundError)


def pull(
    spec: ModelSpec,
    *,
    offline: bool = False,
    progress: Progress | None = None,
    lock: Lock | None = None,
    token: str | None = None,
) -> Model:
    """The model's files on this machine, downloaded where they are not here yet.

    What is in a cache is used without asking the network. A model that runs elsewhere has no files and is
    returned as it is.

    Args:
        spec: which model.
        offline: never touch the network.
        progress: where downloads report.
        lock: pins of the catalogue; they decide over branches and tags.
        token: for the Hub, in place of the one that `find_token` finds.

    Raises:
        OfflineError: not here, and `offline` is set.
        ModelNotFoundError, AuthenticationError, GatedModelError, RateLimitError, DownloadError: every source
            failed; all their reasons are in the message.
        IntegrityError: a file has another hash than promised, and no other source had the right one.
        DiskFullError: no room; says how much is needed and how much there is.
    """
    if (model := find_local(spec, lock)) is not None:
        return model
    shown = progress or Silent()
    failures: list[tuple[AnySource, ModelyardError]] = []
    for source in spec.sources:
        try:
            return _pull_one(spec, source, offline=offline, progress=shown, lock=lock, token=token)
        except _NEXT as error:
            failures.append((source, error))
            if len(failures) < len(spec.sources):
                _say_next(spec, source, error, shown)
    raise _together(spec, failures)


def find_local(spec: ModelSpec, lock: Lock | None = None) -> Model | None:
    """The model, where its files are here already; never touches the network."""
    if spec.elsewhere:
        return Model.builtin(spec)
    return next((model for source in spec.sources if (model := _find_one(spec, source, lock))), None)


def _find_one(spec: ModelSpec, source: AnySource, lock: Lock | None) -> Model | None:
    match source:
        case HubSource():
            return hub.find_local(spec, source, lock)
        case PackageSource():
            return package.find_local(spec, source)
        case PathSource():
            return path.find_local(spec, source)
        case _:
            assert_never(source)


def _pull_one(
    spec: ModelSpec,
    source: AnySource,
    *,
    offline: bool,
    progress: Progress,
    lock: Lock | None,
    token: str | None,
) -> Model:
    match source:
        case HubSource():
            return hub.pull(spec, source, offline=offline, progress=progress, lock=lock, token=token)
        case PackageSource():
            return package.pull(spec, source, offline=offline, progress=progress)
        case PathSource():
            return path.pull(spec, source)
        case _:
            assert_never(source)


def _say_next(spec: ModelSpec, source: AnySource, error: ModelyardError, progress: Progress) -> None:
    reason = redact(error.message)
    progress.note(f"{source} failed ({reason}); trying the next source.")
    # A wrong hash may be an attack, so it is told even where nobody watches the progress.
    level = logging.WARNING if isinstance(error, IntegrityError) else logging.INFO
    log.log(level, "model %s: %s failed: %s", spec.alias, source, reason)


def _together(spec: ModelSpec, failures: list[tuple[AnySource, ModelyardError]]) -> ModelyardError:
    errors = [error for _, error in failures]
    if len(errors) == 1:
        return errors[0]
    reasons = "; ".join(f"{source}: {error.message}" for source, error in failures)
    message = redact(f"model '{spec.alias}': no source worked. {reasons}")
    kinds = {type(error) for error in errors}
    if any(isinstance(error, IntegrityError) for error in errors):
        return IntegrityError(message, hint="A source carries another file than the catalogue promises.")
    if len(kinds) == 1:
        return errors[0].__class__(message, hint=errors[0].hint)
    if OfflineError in kinds:
        return OfflineError(message)
    return DownloadError(message, hint=" ".join(dict.fromkeys(error.hint for error in errors if error.hint)))
