"""Hub source: files of a Hugging Face repository, in the Hub's own cache.

A branch or tag is resolved to a commit once, by the lock first, and everything is read at that commit.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelyard.catalog.auth import find_token, hub_home
from modelyard.catalog.lock import Lock
from modelyard.catalog.model import Model
from modelyard.catalog.progress import Progress
from modelyard.catalog.sources.bars import bar_class
from modelyard.catalog.sources.disk import check_room, naming_full_disk
from modelyard.catalog.sources.hashes import check_sha256, file_sha256
from modelyard.catalog.sources.hub_errors import mapped
from modelyard.catalog.sources.repository import choose_files, shards
from modelyard.catalog.spec import HubSource, ModelSpec
from modelyard.errors import IntegrityError, InvalidArgumentError, ModelyardError, OfflineError

_COMMIT = re.compile(r"[0-9a-f]{40}")


def find_local(spec: ModelSpec, source: HubSource, lock: Lock | None = None) -> Model | None:
    """The model, where all its files are in the Hub's cache; reads the cache's folders, nothing else."""
    commit = _known_commit(spec, source, lock)
    if commit is None:
        return None
    folder = _repository_folder(source) / "snapshots" / commit
    names = _cached_files(spec, source, folder)
    if not names:
        return None
    if any(
        file_sha256(folder / name) != sha256 for name, sha256 in _expected(spec, source, names, lock).items()
    ):
        return None  # a pull downloads it again, and says so when it comes the same
    return _model(spec, source, folder, names, commit)


def pull(
    spec: ModelSpec,
    source: HubSource,
    *,
    offline: bool,
    progress: Progress,
    lock: Lock | None = None,
    token: str | None = None,
) -> Model:
    """Downloads what is missing of the repository and checks it.

    Raises:
        OfflineError: not in the cache, and nothing may be downloaded.
        ModelNotFoundError: no such repository, revision or file.
        AuthenticationError, GatedModelError, RateLimitError, ProviderAPIError: as the Hub answered.
        DownloadError: the Hub could not be reached.
        UnsupportedError: only pickled weights, and the spec does not allow them.
        IntegrityError: a file has another sha256 than the catalogue or the lock says; it is removed.
        DiskFullError: no room.
    """
    if (model := find_local(spec, source, lock)) is not None:
        return model
    prepare_client(offline=offline)
    if offline or _hub_is_offline():
        raise OfflineError(
            f"model '{spec.alias}' is not in the cache, and {source} would have to be downloaded"
        )
    pin = lock.pin(spec, source) if lock else None
    with _named_errors(source, token):
        commit = pin.commit if pin and pin.commit else _resolve(source, token)
        sizes = _sizes(source, commit, token)
    names = choose_files(spec, source, sizes)
    what = f"model '{spec.alias}'"
    check_room(_cache(), sum(sizes[name] for name in names if not _have(source, commit, name)), what)
    expected = _expected(spec, source, names, lock)
    _drop_bad(source, commit, expected)
    folder = _download(source, commit, names, sizes, progress, token)
    for name, sha256 in expected.items():
        _check_one(folder / name, sha256, f"{source.repo}/{name}")
    return _model(spec, source, folder, names, commit)


def describe(spec: ModelSpec, source: HubSource) -> tuple[str, dict[str, str]]:
    """The commit of the source's revision now, and the sha256 of the files where the Hub knows it."""
    prepare_client(offline=False)
    with _named_errors(source, None):
        commit = _resolve(source, None)
        files = {file.rfilename: file for file in _siblings(source, commit, None)}
    names = choose_files(spec, source, files)
    return commit, {name: files[name].lfs.sha256 for name in sorted(names) if files[name].lfs}


def look(
    spec: ModelSpec, source: HubSource, lock: Lock | None = None, token: str | None = None
) -> tuple[str, dict[str, int]]:
    """The commit that a pull would take, and the sizes of the files that it would download."""
    prepare_client(offline=False)
    if _hub_is_offline():
        raise OfflineError(f"HF_HUB_OFFLINE is set, and what {source} holds is on the Hub")
    pin = lock.pin(spec, source) if lock else None
    with _named_errors(source, token):
        commit = pin.commit if pin and pin.commit else _resolve(source, token)
        sizes = _sizes(source, commit, token)
    return commit, {name: sizes[name] for name in choose_files(spec, source, sizes)}


def read_start(source: HubSource, commit: str, name: str, count: int, token: str | None = None) -> bytes:
    """The first bytes of one file, without the rest of it and without keeping them."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    url = hf_hub_url(source.repo, name, revision=commit, endpoint=_endpoint())
    headers = build_hf_headers(token=_token(token), library_name="modelyard")
    found = bytearray()
    with (
        _named_errors(source, token),
        get_session().stream("GET", url, headers={**headers, "Range": f"bytes=0-{count - 1}"}) as answer,
    ):
        hf_raise_for_status(answer)
        for (
            piece
        ) in answer.iter_bytes():  # a server that knows no ranges sends all: it is not read to its end
            found += piece
            if len(found) >= count:
                break
    return bytes(found[:count])


def prepare_client(*, offline: bool) -> None:
    """Has the Hub's client call nobody on its own account; it reads this once, when it is imported."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_UPDATE_CHECK", "1")
    if offline and "huggingface_hub" not in sys.modules:
        os.environ["HF_HUB_OFFLINE"] = "1"


def _hub_is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


@contextmanager
def _named_errors(source: HubSource, token: str | None) -> Iterator[None]:
    """Turns the Hub client's errors into ours."""
    try:
        with naming_full_disk(_existing(_cache()), str(source)):
            yield
    except ModelyardError:
        raise
    except Exception as error:
        ours = mapped(error, source, has_token=bool(token or find_token()))
        if ours is None:
            raise
        raise ours from None  # the cause may hold a request with its headers


def _api(token: str | None) -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=_endpoint(), token=_token(token), library_name="modelyard")


def _token(given: str | None) -> str | bool:
    found = given or getattr(find_token(), "value", None)
    return found or False  # False: the client shall not look for one of its own


def _endpoint() -> str | None:
    return (os.environ.get("HF_ENDPOINT") or "").rstrip("/") or None


def _resolve(source: HubSource, token: str | None) -> str:
    if source.revision and _COMMIT.fullmatch(source.revision):
        return source.revision
    resolved = _api(token).resolve_revision(source.repo, revision=source.revision, cache_dir=_cache())
    return str(resolved.resolved)


def _siblings(source: HubSource, commit: str, token: str | None) -> list[Any]:
    info = _api(token).model_info(source.repo, revision=commit, files_metadata=True)
    return list(info.siblings or ())


def _sizes(source: HubSource, commit: str, token: str | None) -> dict[str, int]:
    return {file.rfilename: file.size or 0 for file in _siblings(source, commit, token)}


def _download(
    source: HubSource,
    commit: str,
    names: list[str],
    sizes: Mapping[str, int],
    progress: Progress,
    token: str | None,
) -> Path:
    from huggingface_hub import snapshot_download

    progress.start(source.repo, sum(sizes[name] for name in names))
    try:
        with _named_errors(source, token):
            folder = snapshot_download(
                source.repo,
                revision=commit,
                allow_patterns=[glob.escape(name) for name in names],
                cache_dir=_cache(),
                endpoint=_endpoint(),
                token=_token(token),
                library_name="modelyard",
                max_workers=4,
                tqdm_class=bar_class(progress),
            )
    finally:
        progress.done()
    return Path(folder)


def _expected(spec: ModelSpec, source: HubSource, names: list[str], lock: Lock | None) -> dict[str, str]:
    """The sha256 that files have to have: by the lock, and by the catalogue."""
    pin = lock.pin(spec, source) if lock else None
    expected = {name: sha256 for name, sha256 in pin.files.items() if name in names} if pin else {}
    if source.sha256:
        if len(names) != 1:
            raise InvalidArgumentError(
                f"'{spec.alias}' has one 'sha256', and '{source.file}' is {len(names)} files",
                hint="Leave 'sha256' out; `modelyard models lock` keeps one for each file.",
            )
        expected[names[0]] = source.sha256
    return expected


def _drop_bad(source: HubSource, commit: str, expected: Mapping[str, str]) -> None:
    """Removes cached files with a wrong hash; the client would take them as they are."""
    for name, sha256 in expected.items():
        file = _repository_folder(source) / "snapshots" / commit / name
        if file.exists() and file_sha256(file) != sha256:
            _remove(file)


def _check_one(file: Path, expected: str, what: str) -> None:
    try:
        check_sha256(file, expected, what)
    except IntegrityError:
        _remove(file)
        raise


def _remove(file: Path) -> None:
    blob = file.resolve()  # the file is a link into the repository's blobs
    file.unlink()
    blob.unlink(missing_ok=True)


def _model(spec: ModelSpec, source: HubSource, folder: Path, names: list[str], commit: str) -> Model:
    path = folder / names[0] if len(names) == 1 or source.file else folder
    ggufs = [name for name in names if name.endswith(".gguf")]
    # An engine opens the (first shard of the) GGUF file itself; the rest beside it is of no use to it.
    return Model(spec=spec, path=folder / ggufs[0] if ggufs else path, revision=commit, source=str(source))


# ---- the Hub's cache: models--org--name/{refs,snapshots,trees} ----


def _cache() -> Path:
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if given := os.environ.get(variable):
            return Path(os.path.expandvars(given)).expanduser()
    return hub_home() / "hub"


def _existing(folder: Path) -> Path:
    return next(one for one in (folder, *folder.parents) if one.exists())


def _repository_folder(source: HubSource) -> Path:
    return _cache() / ("models--" + source.repo.replace("/", "--"))


def _known_commit(spec: ModelSpec, source: HubSource, lock: Lock | None) -> str | None:
    pin = lock.pin(spec, source) if lock else None
    if pin and pin.commit:
        return pin.commit
    if source.revision and _COMMIT.fullmatch(source.revision):
        return source.revision
    try:
        return (_repository_folder(source) / "refs" / (source.revision or "main")).read_text().strip() or None
    except OSError:
        return None


def _have(source: HubSource, commit: str, name: str) -> bool:
    return (_repository_folder(source) / "snapshots" / commit / name).exists()


def _cached_files(spec: ModelSpec, source: HubSource, folder: Path) -> list[str]:
    """The model's files in the snapshot, none where one of them is missing."""
    here = [str(file.relative_to(folder).as_posix()) for file in folder.rglob("*") if file.is_file()]
    if not here:
        return []
    # The whole repository's listing shows what an interrupted download lacks; not every tool leaves one.
    known = _listed(folder) or here
    try:
        names = choose_files(spec, source, known)
    except ModelyardError:
        return []
    whole = {
        shard for name in names for shard in (shards(name) if not fnmatch.fnmatch(name, "*.json") else [name])
    }
    return names if whole <= set(here) else []


def _listed(folder: Path) -> list[str]:
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    repository = folder.parent.parent.name.removeprefix("models--").replace("--", "/")
    try:
        tree = get_cached_repo_tree(repository, revision=folder.name, cache_dir=folder.parents[2])
    except CachedRepoTreeNotFoundError:
        return []
    return [file.path for file in tree]
