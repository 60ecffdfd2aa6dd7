"""A model's files in OpenVINO's form: converted once, kept in the cache, with the facts beside them."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import shutil
from pathlib import Path
from typing import Any

from modelyard.catalog.model import Model
from modelyard.catalog.plan import OPENVINO_ARCHITECTURES
from modelyard.engines.openvino.pieces import piece_kind
from modelyard.engines.workspace import run_apart, temporary_folder
from modelyard.errors import (
    EngineError,
    ResourceExhaustedError,
    UnsupportedError,
)
from modelyard.paths import cache_dir

FACTS = "modelyard.json"


def library_version() -> str:
    """The version of OpenVINO GenAI; converted files belong to it."""
    return importlib.metadata.version("openvino-genai")


def prepared(model: Model) -> Path:
    """The folder of the model in OpenVINO's form, with the facts that we keep beside it."""
    if model.path.is_dir():
        if not (model.path / "openvino_model.xml").is_file():
            raise UnsupportedError(
                f"{model.path} holds no openvino_model.xml", hint="Use engine: transformers for this model."
            )
        return _with_facts(model)
    name = model.revision.replace(":", "-").replace("/", "-")
    folder = cache_dir() / "openvino" / f"{name}-{library_version()}"
    if (folder / FACTS).is_file():
        return folder
    with _locked(folder):
        if not (folder / FACTS).is_file():
            _convert(model, folder)
    return folder


def _locked(folder: Path) -> contextlib.AbstractContextManager[Any]:
    """Two processes make a folder once."""
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{folder}.lock")


def _with_facts(model: Model) -> Path:
    """A folder of links to an OpenVINO model of the user's, so that nothing is written beside it."""
    import hashlib

    key = hashlib.sha256(f"{model.path.resolve()} {model.revision}".encode()).hexdigest()[:32]
    folder = cache_dir() / "openvino" / f"linked-{key}"
    with _locked(folder):
        if not (folder / FACTS).is_file():
            with temporary_folder(folder.parent, folder.name) as temporary:
                for file in model.path.iterdir():
                    (temporary / file.name).symlink_to(file.resolve())
                _write_facts(temporary, _context_length(model.path / "config.json"), "openvino", [])
                _publish(temporary, folder)
    return folder


def _context_length(config: Path) -> int:
    try:
        return int(json.loads(config.read_text("utf-8"))["max_position_embeddings"])
    except (OSError, ValueError, LookupError, TypeError) as error:
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


def _convert(model: Model, folder: Path) -> None:
    """Converts a GGUF file, in a temporary folder that takes its place when it is whole."""
    from modelyard.catalog.gguf import read_gguf

    header = read_gguf(model.path)
    if header.architecture not in OPENVINO_ARCHITECTURES:
        raise UnsupportedError(
            f"engine openvino cannot read a GGUF of architecture '{header.architecture}'",
            hint=f"It reads {', '.join(sorted(OPENVINO_ARCHITECTURES))}; engine: llamacpp reads all.",
        )
    needed, free = int(model.path.stat().st_size * 1.5), shutil.disk_usage(folder.parent).free
    if free < needed:
        from modelyard.errors import DiskFullError

        raise DiskFullError(f"converting needs {needed:,} bytes in {folder.parent}, and {free:,} are free")
    with temporary_folder(folder.parent, folder.name) as temporary:
        link = temporary / "model.gguf"
        link.symlink_to(model.path.resolve())
        # In a process of its own: a file that is cut off kills the one that reads it (SIGBUS).
        status, said = run_apart(_CONVERSION, str(link))
        if status != 0:
            raise load_error(model, said or f"the converter died ({status})")
        link.unlink()
        eos = [header.metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
        _write_facts(
            temporary, header.context_length, header.file_type, [int(one) for one in eos if one is not None]
        )
        _publish(temporary, folder)


def _write_facts(folder: Path, context_length: int, weights: str, eos: list[int]) -> None:
    """Keeps what loading would otherwise work out each time: special tokens, template, context."""
    import openvino_genai as genai

    tokenizer = genai.Tokenizer(str(folder))
    vocabulary = sorted(tokenizer.get_vocab().values())
    shown = tokenizer.decode([[token] for token in vocabulary], skip_special_tokens=True)
    facts = {
        "context_length": context_length,
        "weights": weights,
        "eos": list(dict.fromkeys([*eos, tokenizer.get_eos_token_id()])),
        "chat_template": tokenizer.get_original_chat_template() or None,
        "special": [token for token, text in zip(vocabulary, shown, strict=True) if text == ""],
        "pieces": piece_kind(tokenizer),
    }
    (folder / FACTS).write_text(json.dumps(facts), "utf-8")


def _publish(temporary: Path, folder: Path) -> None:
    try:
        temporary.replace(folder)
    except OSError:
        if not (folder / FACTS).is_file():
            raise


def load_error(model: Model, text: str) -> EngineError | ResourceExhaustedError:
    """The error for a model that OpenVINO cannot load, out of what it said."""
    if "bad_alloc" in text or "allocate" in text.lower():
        return ResourceExhaustedError(f"not enough memory to load {model.spec.alias}")
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it gives no reason")
    return EngineError(
        f"OpenVINO cannot load {model.spec.alias} ({model.path.name}): {last[:300]}",
        hint="Delete the file and pull it again, or try engine: llamacpp.",
    )
