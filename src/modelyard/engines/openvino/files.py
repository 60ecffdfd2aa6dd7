"""A model's files in OpenVINO's form: converted once, kept in the cache, with the facts beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from modelyard.catalog.model import Model
from modelyard.catalog.plan import OPENVINO_ARCHITECTURES
from modelyard.catalog.sources.disk import check_room
from modelyard.engines.openvino.export import exported
from modelyard.engines.openvino.facts import (
    FACTS,
    ends_of,
    library_version,
    locked,
    publish,
    write_facts,
)
from modelyard.engines.openvino.sight import LANGUAGE, sight_of
from modelyard.engines.openvino.zeros import rounds
from modelyard.engines.workspace import run_apart, temporary_folder
from modelyard.errors import EngineError, ResourceExhaustedError, UnsupportedError
from modelyard.paths import cache_dir

_TEXT = "openvino_model.xml"


def prepared(model: Model, *, exact: bool = False) -> Path:
    """The folder of the model in OpenVINO's form, with the facts that we keep beside it.

    Args:
        model: its files.
        exact: with the weights of a GGUF file to the last bit, which costs speed; else zero points may be off by a
            thirty-second of a step. See `modelyard.engines.openvino.zeros`.

    Raises:
        UnsupportedError: the files are of a kind or an architecture that cannot be brought into it.
        EngineNotInstalledError: they have to be exported, and the exporter is not installed.
    """
    if to_export(model):
        return exported(model)
    if model.spec.quantization is not None:
        raise UnsupportedError(
            f"engine openvino cannot load '{model.spec.alias}' with quantization '{model.spec.quantization}'",
            hint="Leave 'quantization' out: the weights are used as they are stored.",
        )
    if model.path.is_dir():
        return _with_facts(model)
    name = model.revision.replace(":", "-").replace("/", "-")
    kept = cache_dir() / "openvino" / f"{name}-{library_version()}"
    mended, plain = (kept.with_name(f"{kept.name}-{one}") for one in ("whole" if exact else "near", "plain"))
    for folder in (mended, plain):
        if (folder / FACTS).is_file():
            return folder
    mend = ("restore" if exact else "widen") if rounds(model.path) else None
    folder = mended if mend else plain
    _made(folder, lambda: _convert(model, folder, mend))
    return folder


def _made(folder: Path, make: Callable[[], None]) -> None:
    """Has a folder made once, however many processes want it."""
    if (folder / FACTS).is_file():
        return
    with locked(folder):
        if not (folder / FACTS).is_file():
            make()


def to_export(model: Model) -> bool:
    """Whether the files are those of the Hub, which are exported.

    Raises:
        UnsupportedError: the folder holds no model that OpenVINO can be given.
    """
    path = model.path
    if path.is_file():
        return path.suffix == ".safetensors"
    if (path / _TEXT).is_file() or (path / LANGUAGE).is_file():
        return False
    if (path / "config.json").is_file() and (any(path.glob("*.safetensors")) or model.spec.allow_pickle):
        return True
    raise UnsupportedError(
        f"{path} holds no openvino_model.xml, and no config.json with safetensors to make one of",
        hint="Use engine: transformers for this model.",
    )


def _with_facts(model: Model) -> Path:
    """A folder of links to an OpenVINO model of the user's, so that nothing is written beside it."""
    key = hashlib.sha256(f"{model.path.resolve()} {model.revision}".encode()).hexdigest()[:32]
    folder = cache_dir() / "openvino" / f"linked-{key}"
    with locked(folder):
        if not (folder / FACTS).is_file():
            with temporary_folder(folder.parent, folder.name) as temporary:
                for file in model.path.iterdir():
                    (temporary / file.name).symlink_to(file.resolve())
                more = {"sight": sight_of(temporary)} if (model.path / LANGUAGE).is_file() else {}
                eos = ends_of(model.path)
                write_facts(temporary, _context_length(model.path / "config.json"), "openvino", eos, more)
                publish(temporary, folder)
    return folder


def _context_length(config: Path) -> int:
    try:
        known = json.loads(config.read_text("utf-8"))
        text = known.get("text_config") or {}
        return int(known.get("max_position_embeddings") or text["max_position_embeddings"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise EngineError(
            f"{config} does not say 'max_position_embeddings', the context length: {error}",
            hint="Export the model again, or add it there.",
        ) from error


_CONVERSION = """
import sys
import openvino_genai as genai
keep = {"enable_save_ov_model": True}
genai.ContinuousBatchingPipeline(sys.argv[1], genai.SchedulerConfig(), "CPU", keep, keep)
"""


_MENDING = """
import sys
from modelyard.engines.openvino import zeros
getattr(zeros, sys.argv[1])(*sys.argv[2:])
"""


def _convert(model: Model, folder: Path, mend: str | None) -> None:
    """Converts a GGUF file, in a temporary folder that takes its place when it is whole.

    Args:
        model: its file.
        folder: to become the model's.
        mend: the function of `zeros` that puts the file's zero points back in, None where none were rounded.
    """
    from modelyard.catalog.gguf import read_gguf

    header = read_gguf(model.path)
    if header.architecture not in OPENVINO_ARCHITECTURES:
        raise UnsupportedError(
            f"engine openvino cannot read a GGUF of architecture '{header.architecture}'",
            hint=f"It reads {', '.join(sorted(OPENVINO_ARCHITECTURES))}; engine: llamacpp reads all.",
        )
    check_room(
        folder.parent, int(model.path.stat().st_size * (4 if mend else 1.5)), f"converting {model.path.name}"
    )
    with temporary_folder(folder.parent, folder.name) as temporary:
        link = temporary / "model.gguf"
        link.symlink_to(model.path.resolve())
        # In a process of its own: a file that is cut off kills the one that reads it (SIGBUS).
        status, said = run_apart(_CONVERSION, str(link))
        if status != 0:
            raise load_error(model, said or f"the converter died ({status})")
        link.unlink()
        if mend:
            _mend(model, temporary, mend)
        eos = [header.metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
        ends = [int(one) for one in eos if one is not None]
        weights = f"{header.file_type} in 8 bits" if mend == "widen" else header.file_type
        write_facts(temporary, header.context_length, weights, ends)
        publish(temporary, folder)


def _mend(model: Model, folder: Path, mend: str) -> None:
    status, said = run_apart(_MENDING, mend, str(folder), str(model.path))
    if status != 0:
        last = said.strip().splitlines()[-1:] or [f"it died ({status})"]
        raise EngineError(
            f"the zero points of {model.path.name} cannot be put back: {last[0][:300]}",
            hint="Use engine: llamacpp.",
        )


def load_error(model: Model, text: str) -> EngineError | ResourceExhaustedError:
    """The error for a model that OpenVINO cannot load, out of what it said."""
    if "bad_alloc" in text or "allocate" in text.lower():
        return ResourceExhaustedError(f"not enough memory to load {model.spec.alias}")
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it gives no reason")
    other = "llamacpp" if model.path.suffix == ".gguf" else "transformers"
    return EngineError(
        f"OpenVINO cannot load {model.spec.alias} ({model.path.name}): {last[:300]}",
        hint=f"Delete the file and pull it again, or try engine: {other}.",
    )
