"""ONNX classifiers in process, on OpenVINO's runtime: no torch, no second runtime.

A folder with one `.onnx` file (itself, or in `onnx/` as repositories of the Hub keep it) or such a file alone; beside
it `tokenizer.json` or `vocab.txt`, and `config.json` where there is one, for the names of the labels. What the files
do not say the options say.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import json
import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from modelyard.catalog.model import Model
from modelyard.catalog.plan import onnx_files
from modelyard.engines.base import Capabilities, Engine, Memory, check_option
from modelyard.engines.labels import are_several, labelled
from modelyard.errors import (
    EngineCrashedError,
    EngineError,
    InvalidArgumentError,
    ModelNotFoundError,
    UnsupportedError,
)
from modelyard.types import Adapter, Chunk, Message, Request, Score

if TYPE_CHECKING:
    import numpy as np

_UNSAID_CONTEXT = 512  # tokens: what BERT and its kin were trained for
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class ONNXEngine(Engine):
    """A sequence classifier in ONNX form."""

    name = "onnx"
    OPTIONS: ClassVar[Mapping[str, str]] = {
        "labels": "the names of the outputs, in order; those of config.json by default",
        "several": "whether several labels may hold of one text (logistic function in place of softmax)",
        "context_length": "most tokens of a text (what config.json says, else 512)",
        "lowercase": "of a vocab.txt without tokenizer.json: whether letters are made small (true)",
        "file": "which .onnx file, where a folder holds several",
        "threads": "CPU threads; all cores by default",
    }

    def __init__(self, model: Model, options: Mapping[str, Any]) -> None:
        super().__init__(model, options)
        for key in options:
            check_option(self.name, key, self.OPTIONS)
        if model.spec.task != "classification":
            raise UnsupportedError(
                f"engine onnx runs classifiers, and '{model.spec.alias}' has task {model.spec.task}",
                hint="Write task: classification, where it is one.",
            )
        file = _file(model, options.get("file"))
        config = _read(_beside(model.path, file, "config.json"))
        said = _read(_beside(model.path, file, "tokenizer_config.json"))
        self._net = _compile(model, file, options.get("threads"))
        self._inputs = [name for one in self._net.inputs if (name := _name(one)) in _INPUTS]
        self._labels = _labels(model, options.get("labels"), config, self._net)
        self._several = _several(options.get("several"), config, self._labels)
        self._context = _context(options.get("context_length"), config, said)
        self._tokenizer = _tokenizer(model, file, options.get("lowercase", True))
        self._weights = file.stat().st_size
        self._lock = threading.Lock()

    @classmethod
    def missing(cls) -> str | None:
        lacking = [name for name in ("openvino", "tokenizers") if importlib.util.find_spec(name) is None]
        return f"{' and '.join(lacking)} not installed: pip install modelyard" if lacking else None

    @classmethod
    def version(cls) -> str:
        return importlib.metadata.version("openvino")

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities.of_classifier(self._labels, self._context)

    @property
    def precision(self) -> str:
        return "as in the file, computed in float32"

    @property
    def active(self) -> int:
        return int(self._lock.locked())

    @property
    def memory(self) -> Memory:
        return Memory(self._weights if self._net is not None else 0, 0)

    async def classify(self, texts: Sequence[str]) -> tuple[dict[str, float], ...]:
        return await asyncio.to_thread(self._classify, tuple(texts))

    async def count_tokens(self, prompt: str | Sequence[Message]) -> int:
        if not isinstance(prompt, str):
            self._writes_nothing()
        return len(self._tokenizer.encode(prompt).ids)

    def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        self._writes_nothing()

    async def score(
        self,
        prompt: str | Sequence[Message],
        continuations: Sequence[str],
        adapter: Adapter | None = None,
        *,
        exact: bool = True,
    ) -> tuple[Score, ...]:
        self._writes_nothing()

    def close(self) -> None:
        with self._lock:
            self._net = None

    def _writes_nothing(self) -> NoReturn:
        raise UnsupportedError(
            f"'{self.model.spec.alias}' gives texts labels and writes none", hint="Use classify."
        )

    def _classify(self, texts: Sequence[str]) -> tuple[dict[str, float], ...]:
        rows = [encoded.ids for encoded in self._tokenizer.encode_batch(list(texts))]
        return labelled(rows, self._logits, self._labels, context=self._context, several=self._several)

    def _logits(self, rows: list[Sequence[int]]) -> np.ndarray:
        import numpy as np

        longest = max(map(len, rows))
        ids = np.zeros((len(rows), longest), dtype=np.int64)
        mask = np.zeros_like(ids)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = row
            mask[at, : len(row)] = 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        with self._lock:
            if self._net is None:
                raise EngineCrashedError("the model was unloaded before the texts were read")
            found = self._net({name: given[name] for name in self._inputs})[_output(self._net)]
            return np.array(found)


# -- files -------------------------------------------------------------------------------------------------


def _file(model: Model, wanted: Any) -> Path:
    if model.path.is_file():
        return model.path
    if wanted is not None:
        file = model.path / str(wanted)
        if not file.is_file():
            raise ModelNotFoundError(f"'{model.spec.alias}': option 'file' names {file}, which is not there")
        return file
    files = onnx_files(model.path)
    if not files:
        raise ModelNotFoundError(f"'{model.spec.alias}': {model.path} holds no .onnx file")
    usual = [file for file in files if file.name == "model.onnx"]
    if len(files) > 1 and not usual:
        raise InvalidArgumentError(
            f"'{model.spec.alias}': {model.path} holds {', '.join(file.name for file in files)}",
            hint="Say which one: options: {file: …}.",
        )
    return (usual or files)[0]


def _beside(folder: Path, file: Path, name: str) -> Path | None:
    places = [one / name for one in (file.parent, folder if folder.is_dir() else folder.parent)]
    return next((one for one in places if one.is_file()), None)


def _read(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        read = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise EngineError(f"{file} is no JSON: {error}", hint="Fetch the model again.") from None
    return read if isinstance(read, dict) else {}


def _compile(model: Model, file: Path, threads: Any) -> Any:
    import openvino

    core = openvino.Core()
    if threads is not None:
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
            raise InvalidArgumentError(
                f"option 'threads' has value {threads!r}", hint="It is a number from 1."
            )
        core.set_property("CPU", {"INFERENCE_NUM_THREADS": threads})
    try:
        # Full numbers: a probability is compared with a threshold.
        net = core.compile_model(str(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1][:300]
        raise EngineError(
            f"'{model.spec.alias}': {file} cannot be read as an ONNX model: {reason}",
            hint="Check that the file is whole; `modelyard models pull` fetches what is missing.",
        ) from error
    names = [_name(one) for one in net.inputs]
    unknown = [name for name in names if name not in _INPUTS]
    if unknown or "input_ids" not in names:
        raise UnsupportedError(
            f"'{model.spec.alias}': {file} takes {', '.join(names)}",
            hint=f"A text classifier takes {', '.join(_INPUTS)}.",
        )
    shape = net.output(_output(net)).partial_shape
    if shape.rank.is_static and shape.rank.get_length() != 2:
        raise UnsupportedError(
            f"'{model.spec.alias}': {file} gives {shape}, no outputs of shape (texts, labels)",
            hint="It is no sequence classifier.",
        )
    return net


def _name(port: Any) -> str:
    return str(port.get_any_name())


def _output(net: Any) -> int:
    """Where the logits are: the output of that name, else the first."""
    return next((at for at, one in enumerate(net.outputs) if "logits" in one.get_names()), 0)


def _labels(model: Model, given: Any, config: Mapping[str, Any], net: Any) -> tuple[str, ...]:
    size = net.output(_output(net)).partial_shape[1]
    count = size.get_length() if size.is_static else None
    if given is None:
        named = config.get("id2label")
        given = (
            [named[key] for key in sorted(named, key=int)] if isinstance(named, Mapping) and named else None
        )
    if given is None:
        given = [f"LABEL_{at}" for at in range(count or 0)]
    several = isinstance(given, Sequence) and not isinstance(given, str)
    if not several or not given or len(set(map(str, given))) != len(given) or count not in (None, len(given)):
        raise InvalidArgumentError(
            f"'{model.spec.alias}': labels are {given!r:.200}, and the model gives {count or 'an unknown number of'}",
            hint="Name them in the order of the outputs: options: {labels: [no, yes]}.",
        )
    return tuple(str(one) for one in given)


def _several(given: Any, config: Mapping[str, Any], labels: Sequence[str]) -> bool:
    if given is None:
        return are_several(config.get("problem_type"), len(labels))
    if not isinstance(given, bool):
        raise InvalidArgumentError(f"option 'several' has value {given!r}", hint="It is true or false.")
    return given


def _context(given: Any, config: Mapping[str, Any], said: Mapping[str, Any]) -> int:
    if given is None:
        # RoBERTa counts two positions that no text may use: its tokenizer says the smaller number.
        trained = (config.get("max_position_embeddings"), said.get("model_max_length"))
        known = [one for one in trained if isinstance(one, int)]
        return min(known, default=_UNSAID_CONTEXT)
    found = given
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise InvalidArgumentError(
            f"option 'context_length' has value {found!r}", hint="It is a number of tokens."
        )
    return found


def _tokenizer(model: Model, file: Path, lowercase: Any) -> Any:
    from tokenizers import BertWordPieceTokenizer, Tokenizer

    if (whole := _beside(model.path, file, "tokenizer.json")) is not None:
        tokenizer = Tokenizer.from_file(str(whole))
        # A text is read whole or refused, whatever the file says.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer
    if (words := _beside(model.path, file, "vocab.txt")) is not None:
        if not isinstance(lowercase, bool):
            raise InvalidArgumentError(
                f"option 'lowercase' has value {lowercase!r}", hint="It is true or false."
            )
        return BertWordPieceTokenizer(str(words), lowercase=lowercase)
    raise ModelNotFoundError(
        f"'{model.spec.alias}': there is neither a tokenizer.json nor a vocab.txt beside {file}",
        hint="Put it there; the model cannot read text without it.",
    )
