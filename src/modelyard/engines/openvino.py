"""OpenVINO GenAI in process: GGUF and OpenVINO models on a CPU, with no torch.

Requests share one continuous-batching pipeline, stepped by one thread (`StepLoop`). A GGUF file is
converted once; the result is kept in the cache. Scoring runs the same weights through a plain stateful
model, because the pipeline's prefix cache hides the logprobs of what it has cached.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import json
import secrets
import shutil
import threading
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from modelyard.catalog.model import Model
from modelyard.engines.base import Capabilities, Engine, Memory
from modelyard.engines.chat import NO_TEMPLATE, render_chat
from modelyard.engines.detokenize import TextStream
from modelyard.engines.grammar import compile_constraint
from modelyard.engines.limits import answer_room
from modelyard.engines.steploop import Delta, Job, StepLoop
from modelyard.engines.workspace import run_apart, temporary_folder
from modelyard.errors import (
    EngineCrashedError,
    EngineError,
    InvalidArgumentError,
    PromptTooLongError,
    ResourceExhaustedError,
    UnsupportedError,
    nearest,
)
from modelyard.params import NAMES, SamplingParams
from modelyard.paths import cache_dir
from modelyard.types import Chunk, Constraint, Fingerprint, Message, Request, Score, Warning

GGUF_ARCHITECTURES = frozenset({"llama", "qwen2", "qwen3"})
"""What OpenVINO GenAI's GGUF reader takes; other files belong to llama.cpp."""

_INLINE_CHARACTERS = 20_000  # tokenising more than this (about 5 ms) leaves the event loop
_PREFILL_TOKENS = 512  # a scored prompt is read in pieces, so that the buffers stay small
_SCORE_BUFFER = 256 * 2**20  # bytes of logits held at once while scoring
_FACTS = "modelyard.json"

# Measured on SmolLM2 against float32 throughout, nats a token: as OpenVINO comes 0.07 on average and 0.3 at
# most; without dynamic quantisation 0.04 and 0.16; with float32 as well 0.0005 and 0.003. See docs/log.md.
_EXACT = {
    "INFERENCE_PRECISION_HINT": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    "KV_CACHE_PRECISION": "f16",
}


class OpenVINOEngine(Engine):
    """The embedded default on a CPU."""

    name = "openvino"
    OPTIONS: ClassVar[Mapping[str, str]] = {
        "device": "OpenVINO device: CPU (default), GPU, NPU or AUTO",
        "threads": "CPU threads; all cores by default",
        "precision": "fast (default: the CPU's own, activations quantised on the fly) or exact (float32)",
        "kv_cache_gb": "fixed size of the KV cache in GiB; by default it grows with the requests",
        "max_batch_tokens": "tokens of one step (256): larger reads prompts slightly faster, cancels later",
    }

    def __init__(self, model: Model, options: Mapping[str, Any]) -> None:
        super().__init__(model, options)
        settings = _Settings.read(options)
        import openvino_genai as genai

        self.folder = _prepared(model)
        self._facts = json.loads((self.folder / _FACTS).read_text("utf-8"))
        self._settings = settings
        try:
            pipeline = genai.ContinuousBatchingPipeline(
                str(self.folder), settings.scheduler(genai), settings.device, settings.properties(), {}
            )
        except RuntimeError as error:
            raise _load_error(model, str(error)) from error
        self._tokenizer = pipeline.get_tokenizer()
        # Two threads inside `encode` wait for each other for ever, one with the interpreter's lock, one with
        # the tokenizer's only free request: they take turns here.
        self._tokenizer_lock = threading.Lock()
        self._pieces = _pieces(self._tokenizer, self._facts)
        self._eos = frozenset(self._facts["eos"])
        self._pipeline = pipeline
        self._scorer: _Scorer | None = None
        self._scorer_lock = threading.Lock()
        self._loop = StepLoop(_Backend(pipeline), name=f"openvino:{model.spec.alias}")

    @classmethod
    def missing(cls) -> str | None:
        if importlib.util.find_spec("openvino_genai") is None:
            return "openvino-genai is not installed: pip install modelyard"
        return None

    @classmethod
    def version(cls) -> str:
        return importlib.metadata.version("openvino-genai")

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            chat=self._template is not None,
            context_length=self._facts["context_length"],
            parameters=frozenset(NAMES),
        )

    @property
    def fingerprint(self) -> Fingerprint:
        precision = f"{self._facts['weights']}, {self._settings.precision}"
        model = self.model
        return Fingerprint(
            model.spec.alias, model.source, model.revision, self.name, self.version(), precision
        )

    @property
    def memory(self) -> Memory:
        weights = (self.folder / "openvino_model.bin").stat().st_size
        return Memory(
            weights, 0 if self._pipeline is None else int(self._pipeline.get_metrics().cache_size_in_bytes)
        )

    async def generate(self, request: Request) -> AsyncIterator[Chunk]:
        large = _characters(request) > _INLINE_CHARACTERS or request.constraint is not None
        event_loop = asyncio.get_running_loop()
        if large or self._tokenizer_lock.locked():
            job = await asyncio.to_thread(self._job, request, event_loop)
        else:
            job = self._job(request, event_loop)
        stream = self._loop.stream(job)
        try:
            async for chunk in stream:
                yield chunk
        finally:
            await stream.aclose()  # type: ignore[attr-defined]  # an async generator, typed as its iterator

    async def score(self, prompt: str | Sequence[Message], continuations: Sequence[str]) -> tuple[Score, ...]:
        if not continuations or not all(continuations):
            raise InvalidArgumentError(
                "score needs continuations, none of them empty", hint="Pass at least one."
            )
        return await asyncio.to_thread(self._score, prompt, tuple(continuations))

    async def count_tokens(self, prompt: str | Sequence[Message]) -> int:
        return await asyncio.to_thread(lambda: len(self._encode(prompt)[0]))

    def close(self) -> None:
        self._loop.close()
        self._pipeline = self._scorer = None

    # -- from a request to a job -----------------------------------------------------------------------

    @property
    def _template(self) -> str | None:
        return self.model.spec.chat_template or self._facts["chat_template"]

    def _encode(self, prompt: str | Sequence[Message]) -> tuple[np.ndarray, str, bool, tuple[Warning, ...]]:
        """Token ids, the prompt's text, whether special tokens were added, and warnings."""
        warnings: tuple[Warning, ...] = ()
        if isinstance(prompt, str):
            text, templated = prompt, False
        else:
            bos = self._tokenizer.get_bos_token()
            text, templated = render_chat(
                self._template, prompt, bos=bos, eos=self._tokenizer.get_eos_token()
            )
            warnings = () if templated else (NO_TEMPLATE,)
        return self._ids(text, special=not templated), text, not templated, warnings

    def _ids(self, text: str, *, special: bool) -> np.ndarray:
        with self._tokenizer_lock:
            encoded: np.ndarray = self._tokenizer.encode(text, add_special_tokens=special).input_ids.data[0]
        return encoded.astype(np.int64, copy=True)

    def _job(self, request: Request, event_loop: asyncio.AbstractEventLoop) -> Job:
        if request.adapter is not None:
            raise UnsupportedError(
                f"engine openvino cannot use the adapter '{request.adapter}'",
                hint="Use engine: transformers.",
            )
        prompt = request.prompt if request.prompt is not None else (request.messages or ())
        ids, _, _, warnings = self._encode(prompt)
        count = len(ids)
        budget, shortened = answer_room(request.params, count, self._facts["context_length"])
        config, relaxed = self._config(request.params, request.constraint, count, budget, request.logprobs)
        return Job(
            prompt_ids=ids[None, :],
            prompt_tokens=count,
            config=config,
            text=TextStream(self._pieces.__getitem__, request.params.stop),
            deadline=request.deadline,
            warnings=(*warnings, *shortened, *relaxed),
            suspect=request.constraint is not None,
            eos=self._eos,
            event_loop=event_loop,
        )

    def _config(
        self,
        params: SamplingParams,
        constraint: Constraint | None,
        prompt_tokens: int,
        budget: int,
        logprobs: bool,
    ) -> tuple[Any, tuple[Warning, ...]]:
        import openvino_genai as genai

        config = genai.GenerationConfig()
        config.apply_chat_template = False
        config.stop_token_ids = set(self._eos)
        config.eos_token_id = self._facts["eos"][0]
        config.max_new_tokens = budget
        config.min_new_tokens = min(params.answer_minimum(prompt_tokens), budget)
        config.logprobs = int(logprobs)
        config.repetition_penalty = params.repetition_penalty
        config.presence_penalty = params.presence_penalty
        config.frequency_penalty = params.frequency_penalty
        config.do_sample = not params.greedy
        if not params.greedy:
            # As good as 0 and as good as 1: the pipeline refuses the limits themselves (as 32-bit floats).
            config.temperature = max(params.temperature, 1e-9)
            config.top_p = params.top_p
            config.min_p = min(params.min_p, 0.9999999)
            if params.top_k:
                config.top_k = params.top_k
            # The pipeline's default seed is a constant: without one of our own, every answer repeats itself.
            config.rng_seed = secrets.randbits(32) if params.seed is None else params.seed
        relaxed: tuple[Warning, ...] = ()
        if constraint is not None:
            grammar = compile_constraint(constraint)
            config.structured_output_config = genai.StructuredOutputConfig(grammar=grammar.text)
            relaxed = tuple(Warning("constraint_relaxed", sentence) for sentence in grammar.relaxed)
        try:
            config.validate()
        except RuntimeError as error:
            reason = next(
                (line for line in reversed(str(error).splitlines()) if line.strip()), "no reason given"
            )
            raise InvalidArgumentError(f"OpenVINO refuses the parameters: {reason}", hint="") from error
        return config, relaxed

    # -- scoring ---------------------------------------------------------------------------------------

    def _score(self, prompt: str | Sequence[Message], continuations: tuple[str, ...]) -> tuple[Score, ...]:
        _, text, special, _ = self._encode(prompt)
        stripped = text.rstrip(" ")
        gap = text[len(stripped) :]
        pairs = [self._split(stripped, gap + one, special) for one in continuations]
        context = self._facts["context_length"]
        longest = max(len(head) + len(tail) for head, tail in pairs)
        if longest > context:
            raise PromptTooLongError(
                f"prompt and continuation have {longest} tokens, the context holds {context}"
            )
        with self._scorer_lock:
            if self._pipeline is None:
                raise EngineCrashedError("the model was unloaded before the scoring began")
            if self._scorer is None:
                self._scorer = _Scorer(self.folder, self._settings)
            return self._scorer.score(pairs)

    def _split(
        self, prompt: str, continuation: str, special: bool
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Token ids of prompt and continuation, cut as the field's harnesses cut them.

        Both are tokenised together, so that the pieces are those the model would see; spaces at the end of
        the prompt count as the continuation's.
        """
        whole = tuple(int(one) for one in self._ids(prompt + continuation, special=special))
        cut = len(self._ids(prompt, special=special)) if prompt else 0
        cut = min(cut, len(whole) - 1)
        if cut < 1:
            raise InvalidArgumentError(
                "score needs a prompt of at least one token", hint="Give it some text."
            )
        return whole[:cut], whole[cut:]


@dataclass(slots=True, frozen=True)
class _Settings:
    device: str = "CPU"
    threads: int | None = None
    precision: str = "fast"
    kv_cache_gb: int = 0
    max_batch_tokens: int = 256

    @classmethod
    def read(cls, options: Mapping[str, Any]) -> _Settings:
        for key in options:
            if key not in OpenVINOEngine.OPTIONS:
                raise InvalidArgumentError(
                    f"option '{key}' is not known to engine openvino.{nearest(key, OpenVINOEngine.OPTIONS)}",
                    hint=f"Known: {', '.join(OpenVINOEngine.OPTIONS)}.",
                )
        values = {key: value for key, value in options.items() if value is not None}
        device = {"cpu": "CPU", "auto": "AUTO", "gpu": "GPU", "npu": "NPU"}.get(
            str(values.pop("device", "CPU")).lower()
        )
        if device is None:
            raise InvalidArgumentError(
                f"option 'device' has value {options['device']!r}",
                hint="OpenVINO has CPU, GPU, NPU and AUTO.",
            )
        if values.get("precision", "fast") not in ("fast", "exact"):
            raise InvalidArgumentError(
                f"option 'precision' has value {values['precision']!r}",
                hint="It has to be 'fast' or 'exact'.",
            )
        for key in ("threads", "kv_cache_gb", "max_batch_tokens"):
            if key in values and (not isinstance(values[key], int) or values[key] < 1):
                raise InvalidArgumentError(
                    f"option '{key}' has value {values[key]!r}", hint="It has to be 1 or more."
                )
        return cls(device=device, **values)

    def scheduler(self, genai: Any) -> Any:
        config = genai.SchedulerConfig()
        config.cache_size = self.kv_cache_gb
        config.enable_prefix_caching = True
        config.max_num_batched_tokens = self.max_batch_tokens
        return config

    def properties(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.threads:
            found["INFERENCE_NUM_THREADS"] = self.threads
        if self.precision == "exact":
            found |= _EXACT
        return found


class _Backend:
    """The pipeline as the step loop drives it."""

    def __init__(self, pipeline: Any) -> None:
        import openvino
        import openvino_genai as genai

        self._pipeline = pipeline
        self._tensor = openvino.Tensor
        self._jobs: dict[int, Job] = {}
        self._count = 0
        self._running = genai.GenerationFinishReason.NONE
        self._length = genai.GenerationFinishReason.LENGTH
        self._ignored = genai.GenerationStatus.IGNORED

    def add(self, job: Job) -> None:
        self._count += 1
        job.handle = self._pipeline.add_request(self._count, self._tensor(job.prompt_ids), job.config)
        self._jobs[id(job)] = job

    def drop(self, job: Job) -> None:
        if self._jobs.pop(id(job), None) is not None:
            job.handle.cancel()
            if not self._jobs:
                self._pipeline.step()  # the pipeline frees a cancelled request's blocks in its next step

    def close(self) -> None:
        for job in self._jobs.values():
            job.handle.cancel()
        self._jobs.clear()
        self._pipeline = None

    def step(self) -> Iterable[Delta]:
        self._pipeline.step()
        deltas = []
        for job in tuple(self._jobs.values()):
            delta = self._read(job)
            if delta is not None:
                deltas.append(delta)
                if delta.finish is not None or delta.error is not None:
                    del self._jobs[id(job)]
        return deltas

    def _read(self, job: Job) -> Delta | None:
        handle = job.handle
        if not handle.can_read():
            if handle.get_status() == self._ignored:
                error = ResourceExhaustedError(
                    "the KV cache has no room for this request", hint="Raise kv_cache_gb."
                )
                return Delta(job, (), (), error=error)
            return None
        ids: list[int] = []
        logprobs: list[float | None] = []
        reason = self._running
        while handle.can_read():
            for output in handle.read().values():
                ids += output.generated_ids
                logprobs += output.generated_log_probs
                reason = output.finish_reason
        if not job.config.logprobs:
            logprobs = [None] * len(ids)
        if reason == self._running:
            return Delta(job, ids, logprobs)
        return Delta(job, ids, logprobs, "length" if reason == self._length else "stop")


class _Scorer:
    """The same weights as a plain stateful model that gives logits, for scoring.

    The prompt runs once with a batch of one; its KV cache is then spread over the continuations, as beam
    search spreads a beam. The head is computed only where logits are wanted.
    """

    def __init__(self, folder: Path, settings: _Settings) -> None:
        import openvino
        from openvino import opset13 as ops

        core = openvino.Core()
        model = core.read_model(folder / "openvino_model.xml")
        head = model.get_results()[0].input_value(0).get_node()
        while head.get_type_name() != "MatMul":
            head = head.input_value(0).get_node()
        begin = ops.parameter([1], np.int64, name="logits_from")
        begin.output(0).set_names({"logits_from"})
        one = np.array([1], dtype=np.int64)
        tail = ops.slice(head.input_value(0), begin, np.array([2**31 - 1], dtype=np.int64), one, one)
        head.input(0).replace_source_output(tail.output(0))
        model.add_parameters([begin])
        model.validate_nodes_and_infer_types()
        # A score is compared with others, often to the second digit: it is always exact.
        properties = {**settings.properties(), **_EXACT}
        self._tensor = openvino.Tensor
        self._request = core.compile_model(model, settings.device, properties).create_infer_request()

    def score(self, pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> tuple[Score, ...]:
        """Scores of the continuations, in order; pairs with the same prompt share its reading."""
        scores: dict[int, Score] = {}
        by_prompt: dict[tuple[int, ...], list[int]] = {}
        for index, (prompt, _) in enumerate(pairs):
            by_prompt.setdefault(prompt, []).append(index)
        for prompt, members in by_prompt.items():
            found = self._score_group(prompt, [pairs[index][1] for index in members])
            scores.update(zip(members, found, strict=True))
        return tuple(scores[index] for index in range(len(pairs)))

    def _score_group(self, prompt: tuple[int, ...], tails: list[tuple[int, ...]]) -> list[Score]:
        first = _log_softmax(self._read_prompt(prompt))[0]
        if all(len(tail) == 1 for tail in tails):
            return [_score(tail, [first]) for tail in tails]
        rows = max(1, _SCORE_BUFFER // (4 * len(first) * max(map(len, tails))))
        saved = self._save() if rows < len(tails) else None
        scores: list[Score] = []
        for at in range(0, len(tails), rows):
            if at and saved is not None:
                self._restore(saved)
            scores += self._score_rows(len(prompt), tails[at : at + rows], first)
        return scores

    def _read_prompt(self, prompt: tuple[int, ...]) -> np.ndarray:
        self._request.reset_state()
        logits = np.empty(0)
        for at in range(0, len(prompt), _PREFILL_TOKENS):
            piece = np.array([prompt[at : at + _PREFILL_TOKENS]], dtype=np.int64)
            end = at + piece.shape[1]
            logits = self._infer(piece, np.ones((1, end), np.int64), at, logits_from=piece.shape[1] - 1)[
                :, -1
            ]
        return logits

    def _score_rows(
        self, prompt_length: int, tails: Sequence[tuple[int, ...]], first: np.ndarray
    ) -> list[Score]:
        width = max(map(len, tails))
        ids = np.zeros((len(tails), width), np.int64)
        mask = np.zeros((len(tails), prompt_length + width), np.int64)
        mask[:, :prompt_length] = 1
        for row, tail in enumerate(tails):
            ids[row, : len(tail)] = tail
            mask[row, prompt_length : prompt_length + len(tail)] = 1
        logprobs = _log_softmax(self._infer(ids, mask, prompt_length, logits_from=0))
        return [_score(tail, [first, *logprobs[row, : len(tail) - 1]]) for row, tail in enumerate(tails)]

    def _infer(self, ids: np.ndarray, mask: np.ndarray, position: int, *, logits_from: int) -> np.ndarray:
        rows, width = ids.shape
        inputs = {
            "input_ids": ids,
            "attention_mask": mask,
            "position_ids": np.tile(np.arange(position, position + width, dtype=np.int64), (rows, 1)),
            "beam_idx": np.zeros(rows, np.int32),
            "logits_from": np.array([logits_from], np.int64),
        }
        self._request.infer(inputs)
        return np.array(self._request.get_output_tensor(0).data, dtype=np.float32)

    def _save(self) -> dict[str, np.ndarray]:
        return {state.name: np.array(state.state.data, copy=True) for state in self._request.query_state()}

    def _restore(self, saved: Mapping[str, np.ndarray]) -> None:
        for state in self._request.query_state():
            state.state = self._tensor(saved[state.name])


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def _score(tail: Sequence[int], rows: Sequence[np.ndarray]) -> Score:
    logprobs = tuple(float(row[token]) for row, token in zip(rows, tail, strict=True))
    greedy = all(int(row.argmax()) == token for row, token in zip(rows, tail, strict=True))
    return Score(sum(logprobs), logprobs, tuple(tail), greedy)


# -- preparing a model -------------------------------------------------------------------------------------


def _prepared(model: Model) -> Path:
    """The folder of the model in OpenVINO's form, with the facts that we keep beside it."""
    if model.path.is_dir():
        if not (model.path / "openvino_model.xml").is_file():
            raise UnsupportedError(
                f"{model.path} holds no openvino_model.xml", hint="Use engine: transformers for this model."
            )
        return _with_facts(model)
    name = model.revision.replace(":", "-").replace("/", "-")
    folder = cache_dir() / "openvino" / f"{name}-{OpenVINOEngine.version()}"
    if (folder / _FACTS).is_file():
        return folder
    with _locked(folder):
        if not (folder / _FACTS).is_file():
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
        if not (folder / _FACTS).is_file():
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
    if header.architecture not in GGUF_ARCHITECTURES:
        raise UnsupportedError(
            f"engine openvino cannot read a GGUF of architecture '{header.architecture}'",
            hint=f"It reads {', '.join(sorted(GGUF_ARCHITECTURES))}; engine: llamacpp reads all.",
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
            raise _load_error(model, said or f"the converter died ({status})")
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
        "pieces": _piece_kind(tokenizer),
    }
    (folder / _FACTS).write_text(json.dumps(facts), "utf-8")


def _publish(temporary: Path, folder: Path) -> None:
    try:
        temporary.replace(folder)
    except OSError:
        if not (folder / _FACTS).is_file():
            raise


_SAMPLE = "Revenue rose 4.5% to €1,234 — naïve “quotes”, 日本 😀.\n\tEnd"


def _piece_kind(tokenizer: Any) -> str:
    """How vocabulary entries become bytes, found out by rebuilding a sample."""
    ids = [int(one) for one in tokenizer.encode(_SAMPLE, add_special_tokens=False).input_ids.data[0]]
    for kind in ("bytes", "sentencepiece"):
        table = _table(tokenizer, kind, frozenset())
        if b"".join(table[token] for token in ids).decode("utf-8", "replace").lstrip(" ") == _SAMPLE:
            return kind
    raise EngineError("the tokenizer's vocabulary does not rebuild a text", hint="Use engine: llamacpp.")


def _pieces(tokenizer: Any, facts: Mapping[str, Any]) -> list[bytes]:
    return _table(tokenizer, facts["pieces"], frozenset(facts["special"]))


def _table(tokenizer: Any, kind: str, special: frozenset[int]) -> list[bytes]:
    vocabulary: dict[bytes, int] = tokenizer.get_vocab()
    table = [b""] * (max(vocabulary.values()) + 1)
    for piece, token in vocabulary.items():
        table[token] = piece if kind == "bytes" else _from_sentencepiece(piece)
    for token in special:
        table[token] = b""
    return table


def _from_sentencepiece(piece: bytes) -> bytes:
    if len(piece) == 6 and piece.startswith(b"<0x") and piece.endswith(b">"):
        return bytes([int(piece[3:5], 16)])
    return piece.replace("▁".encode(), b" ")


def _load_error(model: Model, text: str) -> EngineError | ResourceExhaustedError:
    if "bad_alloc" in text or "allocate" in text.lower():
        return ResourceExhaustedError(f"not enough memory to load {model.spec.alias}")
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it gives no reason")
    return EngineError(
        f"OpenVINO cannot load {model.spec.alias} ({model.path.name}): {last[:300]}",
        hint="Delete the file and pull it again, or try engine: llamacpp.",
    )


def _characters(request: Request) -> int:
    if request.prompt is not None:
        return len(request.prompt)
    return sum(len(message.text) for message in request.messages or ())
