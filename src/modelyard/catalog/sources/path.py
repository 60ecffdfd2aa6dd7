"""Path source: a file or folder that is here already.

The revision of a single file is its sha256, read once and then remembered; that of a folder is the sha256
over the names, sizes and times of its files, which costs nothing and changes when they change.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from modelyard.catalog.model import Model
from modelyard.catalog.sources.hashes import file_sha256
from modelyard.catalog.spec import ModelSpec, PathSource
from modelyard.errors import ModelNotFoundError


def find_local(spec: ModelSpec, source: PathSource) -> Model | None:
    """The model, where its file or folder exists."""
    path = Path(source.path).expanduser()
    if not path.exists():
        return None
    revision = f"sha256:{file_sha256(path)}" if path.is_file() else f"folder:{_listing_hash(path)}"
    return Model(spec=spec, path=path.resolve(), revision=revision, source=str(source))


def pull(spec: ModelSpec, source: PathSource) -> Model:
    """The model at its path; nothing is copied.

    Raises:
        ModelNotFoundError: the path does not exist.
    """
    model = find_local(spec, source)
    if model is None:
        raise ModelNotFoundError(
            f"model '{spec.alias}': there is no file or folder {source.path}",
            hint="Check 'path' in the catalogue.",
        )
    return model


def _listing_hash(folder: Path) -> str:
    lines = []
    for file in sorted(one for one in folder.iterdir() if one.is_file()):
        state = file.stat()
        lines.append(f"{file.name}\t{state.st_size}\t{state.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
