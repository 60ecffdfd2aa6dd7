"""Export: a model of the Hub in OpenVINO's form, made once by optimum-intel in an environment of its own."""

from __future__ import annotations

import hashlib
import json
import re
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from modelyard.catalog.auth import redact
from modelyard.catalog.memory.facts import of_path
from modelyard.catalog.model import Model
from modelyard.catalog.plan import OPENVINO_EXPORT, OPENVINO_VISION
from modelyard.catalog.sources.disk import check_room
from modelyard.engines.environments import Environment, find
from modelyard.engines.openvino.facts import (
    FACTS,
    ends_of,
    library_version,
    locked,
    publish,
    read_json,
    write_facts,
)
from modelyard.engines.openvino.sight import LANGUAGE, cannot_see, sight_of
from modelyard.engines.progress import load_progress
from modelyard.engines.workspace import guarded, lines_of, temporary_folder
from modelyard.errors import (
    DiskFullError,
    EngineError,
    EngineNotInstalledError,
    ModelyardError,
    ResourceExhaustedError,
    UnsupportedError,
)
from modelyard.paths import cache_dir

_FORM = 1  # of what is kept: raised where a change here makes older folders useless
_GLANCE = 0.5  # seconds between two looks at how much has been written
_KEPT, _SHOWN = 400, 6  # lines of what the exporter says; lines of them in a message
_KILLED = 256 - 9  # the exit status of a command that the system killed, as the guard passes it on

# The weights as the exporter names them. 4-bit: in groups of 128 numbers, of fewer where a layer does not divide.
_WEIGHTS: Mapping[str | None, tuple[str, tuple[str, ...]]] = {
    None: ("16-bit", ("--weight-format", "fp16")),
    "8bit": ("8-bit", ("--weight-format", "int8")),
    "4bit": ("4-bit", ("--weight-format", "int4", "--group-size", "128", "--group-size-fallback", "adjust")),
}
_SECRETS = re.compile(r"TOKEN|SECRET|PASSWORD|API_KEY", re.IGNORECASE)

_REFUSED = re.compile(
    r"unsupported architecture|only supports the tasks|is not supported|not supported yet|does not recognize this"
    r"|does not allow for the export|Unrecognized configuration class|Unrecognized model|doesn't support",
    re.IGNORECASE,
)
_CODE = re.compile(r"trust[-_ ]remote[-_ ]code", re.IGNORECASE)
_MEMORY = re.compile(r"MemoryError|bad_alloc|not enough memory|[Cc](?:an't|annot|ould not) allocate memory")
_FULL = re.compile(r"No space left on device|Errno 28\b|Disk quota exceeded")
_TELLING = re.compile(r"\b\w*(?:Error|Exception)\b: ")


def exported(model: Model) -> Path:
    """The folder of a Hub model in OpenVINO's form, exported where that has not been done yet.

    Raises:
        EngineNotInstalledError: the exporter is not installed.
        UnsupportedError: a model that it cannot export, or that this engine does not run.
        DiskFullError, ResourceExhaustedError: no room on the disk, or in memory.
        EngineError: the exporter has failed; its last words are in the message.
    """
    source = model.path if model.path.is_dir() else model.path.parent
    config = read_json(source / "config.json")
    sees = _check(model, config, source)
    environment = find(OPENVINO_EXPORT)
    folder = _place(model, environment)
    if (folder / FACTS).is_file():
        return folder
    if environment is None:
        raise EngineNotInstalledError(
            f"'{model.spec.alias}' has to be exported for OpenVINO, and the exporter is not installed",
            hint=f"Run `modelyard engines install {OPENVINO_EXPORT}`, or use engine: transformers.",
        )
    refused = folder.with_name(f"{folder.name}.refused")
    with locked(folder, f"exporting '{model.spec.alias}'"):
        if not (folder / FACTS).is_file():
            if refused.is_file():
                raise _refusal(model, config, refused.read_text("utf-8"))
            try:
                _export(model, source, folder, environment, sees=sees)
            except UnsupportedError as error:
                if not _CODE.search(error.message):  # allowed to run its code, it may be exported yet
                    refused.write_text(error.message.partition("\n")[2], "utf-8")
                raise
    return folder


def _check(model: Model, config: Mapping[str, Any], source: Path) -> bool:
    """Whether the model sees; refuses what this engine does not run."""
    kind, task = str(config.get("model_type")), model.spec.task
    if task in ("seq2seq", "embedding") or config.get("is_encoder_decoder"):
        raise UnsupportedError(
            f"engine openvino runs no models of task {task} made from Hub files (architecture '{kind}')"
            if task in ("seq2seq", "embedding")
            else f"engine openvino runs no encoder-decoder models (architecture '{kind}')",
            hint="Use engine: transformers for this model.",
        )
    looks = (source / "preprocessor_config.json").is_file() or (source / "processor_config.json").is_file()
    sees = kind in OPENVINO_VISION or "vision_config" in config
    if (sees or task == "vision") and (kind not in OPENVINO_VISION or not looks):
        raise cannot_see(kind)
    return sees


def _place(model: Model, environment: Environment | None) -> Path:
    """Where the export is kept: by revision, precision, and what makes it."""
    weights = _WEIGHTS[model.spec.quantization][0]
    name = re.sub(r"[^\w.-]", "-", model.revision)
    start = f"{name}-{weights}-{library_version()}"
    parent = cache_dir() / "openvino"
    if environment is None:  # what an exporter has made that is gone since is as good as ever
        made = sorted(parent.glob(f"{start}-*/{FACTS}"), key=lambda file: file.stat().st_mtime)
        return made[-1].parent if made else parent / f"{start}-none"
    versions = json.dumps([_FORM, *sorted(environment.versions.items())])
    return parent / f"{start}-{hashlib.sha256(versions.encode()).hexdigest()[:12]}"


def _export(model: Model, source: Path, folder: Path, environment: Environment, *, sees: bool) -> None:
    """Exports, in a temporary folder that takes its place when it is whole."""
    title = f"'{model.spec.alias}'"
    weights, how = _WEIGHTS[model.spec.quantization]
    stored = sum(one.stat().st_size for one in source.iterdir() if one.suffix in (".safetensors", ".bin"))
    # A packed model is written twice: in 16 bits beforehand, and as it will be.
    check_room(folder.parent, int(stored * 1.1) * (2 if model.spec.quantization else 1), f"exporting {title}")
    progress = load_progress()
    progress.note(
        f"Exporting {title} for OpenVINO at {weights}: once, and kept. "
        "It takes half a minute for a small model, minutes for a large one."
    )
    with temporary_folder(folder.parent, folder.name) as temporary:
        made, scratch = temporary / "made", temporary / "tmp"
        scratch.mkdir()
        task = "image-text-to-text" if sees else "text-generation-with-past"
        line = [str(environment.python), "-P", "-m", "optimum.commands.optimum_cli", "export", "openvino"]
        line += ["--model", str(source), "--task", task, *how]
        line += ["--trust-remote-code"] * (model.spec.trust_remote_code is not None)
        progress.start(f"exporting {model.spec.alias}", stored)
        try:
            status, said = _run([*line, str(made)], _environ(environment, scratch), temporary)
        finally:
            progress.done()
        if status != 0:
            raise _failure(model, source, folder, status, said)
        _complete(model, source, made, environment, weights, said, sees=sees)
        publish(made, folder)


def _environ(environment: Environment, scratch: Path) -> dict[str, str]:
    """Offline, without anybody's keys, and with its temporary files where the disk was asked for room."""
    kept = {name: value for name, value in environment.environ().items() if not _SECRETS.search(name)}
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    quiet = {"TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore", "CUDA_VISIBLE_DEVICES": ""}
    return {**kept, **offline, **quiet, "TMPDIR": str(scratch)}


def _run(line: list[str], environ: Mapping[str, str], watched: Path) -> tuple[int, list[str]]:
    """Runs the exporter; gives its exit status and its last lines, and tells how much it has written."""
    said: deque[str] = deque(maxlen=_KEPT)
    progress, before = load_progress(), 0
    with guarded(line, environ) as child:
        for text in lines_of(child, _GLANCE):
            if text is not None:
                said.append(text)
                continue
            size = sum(one.stat().st_size for one in watched.glob("**/*.bin"))
            progress.advance(size - before)
            before = size
        return child.wait(), list(said)


def _complete(
    model: Model,
    source: Path,
    made: Path,
    environment: Environment,
    weights: str,
    said: Iterable[str],
    *,
    sees: bool,
) -> None:
    """Checks that nothing lacks, and writes the facts beside it."""
    config = read_json(source / "config.json")
    for name in (LANGUAGE if sees else "openvino_model.xml", "openvino_tokenizer.xml"):
        if not (made / name).is_file():
            what = "its tokenizer" if "tokenizer" in name else "the model itself"
            raise _refusal(model, config, f"  {what} was not exported\n{_words(said)}")
    architecture = of_path(source).architecture
    if architecture is None or not architecture.context_length:
        raise _refusal(model, config, "  config.json does not say how many tokens its context holds")
    more: dict[str, Any] = {"made_by": dict(environment.versions)}
    if sees:
        more["sight"] = sight_of(made)
    try:
        write_facts(made, architecture.context_length, weights, ends_of(source), more)
    except EngineError as error:
        raise _refusal(model, config, f"  {error.message}") from error


def _failure(model: Model, source: Path, folder: Path, status: int, said: list[str]) -> ModelyardError:
    """The error for an exporter that has failed, out of what it said."""
    text, title = "\n".join(said), f"'{model.spec.alias}'"
    if _FULL.search(text):
        return DiskFullError(f"the disk filled up while exporting {title} in {folder.parent}")
    if status == _KILLED or _MEMORY.search(text):
        return ResourceExhaustedError(
            f"not enough memory to export {title}: it takes two to three times the weights",
            hint="Unload other models, use a smaller one, or engine: transformers.",
        )
    words = _words(said)
    if _CODE.search(words) and model.spec.trust_remote_code is None:
        return UnsupportedError(
            f"{title} cannot be exported without code of its own; the exporter said:\n{words}",
            hint="Set trust_remote_code to the full commit whose code may run, or use another model.",
        )
    if _REFUSED.search(words):
        return _refusal(model, read_json(source / "config.json"), words)
    return EngineError(
        f"exporting {title} for OpenVINO failed ({status}); the exporter said:\n{words}",
        hint="Use engine: transformers for this model.",
    )


def _refusal(model: Model, config: Mapping[str, Any], words: str) -> UnsupportedError:
    kind = config.get("model_type")
    return UnsupportedError(
        f"'{model.spec.alias}' (architecture '{kind}') cannot be exported for OpenVINO; the exporter said:\n{words}",
        hint="Use engine: transformers for this model.",
    )


def _words(said: Iterable[str]) -> str:
    """The lines that tell most of what went wrong, without secrets."""
    lines = [line.strip() for line in said if line.strip()]
    telling = [line for line in lines if _TELLING.search(line)]
    chosen = dict.fromkeys(line[:500] for line in (telling[-2:] or lines[-_SHOWN:]))
    return redact("\n".join(f"  {line}" for line in chosen)) or "  nothing"
