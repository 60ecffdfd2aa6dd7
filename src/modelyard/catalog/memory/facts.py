"""Facts: what is known of one model's memory, out of its files or of what is published beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard.catalog.gguf import GGUFHeader, read_gguf
from modelyard.catalog.memory.architecture import Architecture, read_config
from modelyard.catalog.memory.header import converted_bytes, largest_tensor, read_header, repacked_bytes
from modelyard.catalog.memory.parameters import Tally, count_parameters, parameters_unknown
from modelyard.catalog.memory.weights import (
    DTYPE_BYTES,
    header_size,
    header_tensors,
    index_bytes,
    tensor_bytes,
    weight_bytes,
)
from modelyard.errors import CatalogError

INDEX = "model.safetensors.index.json"
_OTHERS = (".bin", ".pt", ".pth")
_SAFETENSORS_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "F64": "float64"}


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a model's memory.

    Attributes:
        architecture: None where neither a config.json nor a GGUF header can be had.
        stored: bytes of the weights as they are published; None where that is not known.
        parameters: how many numbers; None where that is not known.
        tally: the numbers by what quantisation does to them; None for an architecture not known here.
        dtype: of the published weights, empty where it is not said.
        gguf: the header of a GGUF file.
        file_bytes: of the weight files on the disk.
        revision: of the files, where it is known: what measurements are kept under.
        unknown: what could not be found out, and why.
    """

    architecture: Architecture | None = None
    stored: int | None = None
    parameters: int | None = None
    tally: Tally | None = None
    dtype: str = ""
    gguf: GGUFHeader | None = field(default=None, repr=False)
    file_bytes: int | None = None
    revision: str | None = None
    unknown: tuple[str, ...] = ()

    @property
    def converted(self) -> int | None:
        """Bytes of the weights in OpenVINO's form."""
        return converted_bytes(self.gguf) if self.gguf else self.file_bytes

    @property
    def repacked(self) -> int:
        """Bytes that llama.cpp copies."""
        return repacked_bytes(self.gguf) if self.gguf else 0

    @property
    def largest(self) -> int:
        """Numbers of the largest tensor; of the embedding, where there is no header."""
        if self.gguf:
            return largest_tensor(self.gguf)
        return self.architecture.vocabulary * self.architecture.hidden if self.architecture else 0

    def loaded_bytes(self, dtype: str, quantization: str | None) -> int | None:
        """Bytes of the weights once transformers has loaded them; None where they cannot be known."""
        if self.architecture and self.architecture.quantized and self.gguf is None:
            return self.stored  # packed by its publisher, and stays so
        if self.tally is not None:
            return weight_bytes(self.tally, dtype, quantization)
        if quantization is not None:
            return None  # which of the numbers would be packed is not known
        if self.parameters is not None:
            return int(self.parameters * DTYPE_BYTES[dtype])
        if self.stored is None:
            return None
        return int(self.stored * DTYPE_BYTES[dtype] / DTYPE_BYTES[self.dtype])


def of_gguf(header: GGUFHeader, file_bytes: int, revision: str | None = None) -> ModelFacts:
    """The facts of a GGUF file."""
    architecture = read_header(header)
    return ModelFacts(
        architecture=architecture,
        stored=file_bytes,
        parameters=header.parameter_count or None,
        dtype=header.file_type,
        gguf=header,
        file_bytes=file_bytes,
        revision=revision,
        unknown=(architecture.unknown,) if architecture.unknown else (),
    )


def of_config(
    config: Mapping[str, Any],
    *,
    index: Mapping[str, Any] | None = None,
    tensors: Mapping[str, tuple[str, int]] | None = None,
    file_bytes: int | None = None,
    revision: str | None = None,
) -> ModelFacts:
    """The facts of a Hub model.

    Args:
        config: its config.json.
        index: its model.safetensors.index.json, where the weights are in several files.
        tensors: the tensors of its one file's header.
        file_bytes: of the weight files.
        revision: of the files.

    >>> of_config({"model_type": "gpt2", "torch_dtype": "float32"}).stored
    497759232
    """
    try:
        architecture = read_config(config)
    except CatalogError as error:
        return _nothing(error.message, file_bytes, revision)
    tally = None if architecture.quantized else count_parameters(architecture)
    unknown = [architecture.unknown] if architecture.unknown else []
    dtype, stored = architecture.dtype, index_bytes(index) if index else None
    parameters = tally.total if tally else None
    if tensors:
        stored = tensor_bytes(tensors)
        dtype = dtype or _most(tensors)
        if parameters is None and not architecture.quantized:
            parameters = sum(count for _, count in tensors.values())
    stored = stored or file_bytes
    if architecture.quantized:
        unknown.append(f"its parameters are not counted: they are packed ({architecture.quantized})")
    elif parameters is None:
        unknown.append(parameters_unknown(architecture))
    elif stored is None:
        stored = int(parameters * DTYPE_BYTES.get(dtype, 4))
    return ModelFacts(
        architecture=architecture,
        stored=stored,
        parameters=parameters,
        tally=tally,
        dtype=dtype if dtype in DTYPE_BYTES else "float32",
        file_bytes=file_bytes or stored,
        revision=revision,
        unknown=tuple(unknown),
    )


def _nothing(why: str, file_bytes: int | None, revision: str | None) -> ModelFacts:
    """The facts where only the size is known."""
    return ModelFacts(stored=file_bytes, file_bytes=file_bytes, revision=revision, unknown=(why,))


def of_path(path: Path, revision: str | None = None) -> ModelFacts:
    """The facts of a model's files on this machine: a GGUF file, or a folder with at least a config.json.

    Raises:
        CatalogError: a GGUF file is broken.
    """
    if path.is_file():
        size = path.stat().st_size
        if path.suffix == ".gguf":
            return of_gguf(read_gguf(path), size, revision)
        return _of_folder(path.parent, [path], revision)
    files = sorted(one for one in path.iterdir() if one.is_file())
    if not (path / "config.json").is_file() and len(ggufs := [f for f in files if f.suffix == ".gguf"]) == 1:
        return of_path(ggufs[0], revision)
    ends = next((one for one in ((".safetensors",), _OTHERS) if any(f.suffix in one for f in files)), _OTHERS)
    return _of_folder(path, [one for one in files if one.suffix in ends], revision)


def _of_folder(folder: Path, weights: list[Path], revision: str | None) -> ModelFacts:
    size = sum(one.stat().st_size for one in weights) or None
    try:
        config, index = _read_json(folder / "config.json"), _read_json(folder / INDEX)
        if config is None:
            return _nothing(f"{folder} holds no config.json", size, revision)
        single = len(weights) == 1 and weights[0].suffix == ".safetensors"
        tensors = _header_of(weights[0]) if index is None and single else None
    except CatalogError as error:
        return _nothing(f"{error.file or folder}: {error.message}", size, revision)
    return of_config(config, index=index, tensors=tensors, file_bytes=size, revision=revision)


def _read_json(file: Path) -> dict[str, Any] | None:
    """A JSON object, None where there is no such file."""
    try:
        value = json.loads(file.read_bytes())
    except OSError:
        return None
    except ValueError as error:
        raise CatalogError(f"it is no JSON: {error}", file=str(file)) from None
    if not isinstance(value, dict):
        raise CatalogError("it is no JSON object", file=str(file))
    return value


def _header_of(file: Path) -> dict[str, tuple[str, int]]:
    with file.open("rb") as opened:
        start = opened.read(8)
        return header_tensors(start + opened.read(header_size(start) - 8))


def _most(tensors: Mapping[str, tuple[str, int]]) -> str:
    """The type of most numbers."""
    counts: dict[str, int] = {}
    for kind, count in tensors.values():
        counts[kind] = counts.get(kind, 0) + count
    most = max(counts, key=lambda kind: counts[kind], default="")
    return _SAFETENSORS_DTYPES.get(most, "")
