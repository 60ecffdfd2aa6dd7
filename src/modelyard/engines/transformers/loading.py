"""Loading: files to a model, its tokenizer and its processor, with errors that say what to do.

Nothing is fetched here: the files are on this machine, and transformers is told to look nowhere else.
"""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from modelyard.catalog.model import Model
from modelyard.engines.transformers.memory import is_out_of_memory, release
from modelyard.engines.transformers.precision import best_dtype
from modelyard.engines.transformers.settings import Settings
from modelyard.errors import (
    EngineError,
    EngineNotInstalledError,
    InvalidArgumentError,
    ModelyardError,
    ResourceExhaustedError,
    UnsupportedError,
)


@dataclass(slots=True, frozen=True)
class Loaded:
    """A model with what belongs to it.

    Attributes:
        kind: causal, seq2seq, vision, embedding or classification.
        processor: of images, for a vision model.
        precision: of the weights, in words.
    """

    kind: str
    model: Any
    tokenizer: Any
    processor: Any
    precision: str


def load(model: Model, settings: Settings) -> Loaded:
    """Loads the model; blocks.

    Raises:
        UnsupportedError: an architecture that transformers does not know or that does not do the task.
        ResourceExhaustedError: the memory does not hold it.
        EngineError: files are missing or broken.
    """
    import transformers

    if settings.threads:
        torch.set_num_threads(settings.threads)
    folder, file = _place(model.path)
    _refuse_pickles(model)
    with _quiet(transformers), _named(model):
        common = _common(model, file)
        config = transformers.AutoConfig.from_pretrained(folder, **common)
        kind = _kind(transformers, model, config)
        device = _device(settings)
        dtype = _dtype(settings, config, device, kind)
        processor = _processor(transformers, folder, settings, common) if kind == "vision" else None
        tokenizer = (
            processor.tokenizer
            if processor is not None
            else transformers.AutoTokenizer.from_pretrained(folder, **common)
        )
        loaded = _class(transformers, kind).from_pretrained(
            folder,
            **common,
            **_how(settings, device, dtype, file, transformers, pickles=model.spec.allow_pickle),
            **settings.model_kwargs,
        )
    if settings.device_map is None and settings.quantization is None:
        loaded = loaded.to(device)
    loaded.eval()
    precision = _precision(settings, loaded)
    return Loaded(kind, loaded, tokenizer, processor, precision)


def _place(path: Path) -> tuple[str, str | None]:
    return (str(path.parent), path.name) if path.is_file() else (str(path), None)


def _refuse_pickles(model: Model) -> None:
    if model.path.is_file() or model.spec.allow_pickle or any(model.path.glob("*.safetensors")):
        return
    pickles = [file.name for end in ("bin", "pt", "pth") for file in model.path.glob(f"*.{end}")]
    if pickles:
        raise UnsupportedError(
            f"{model.path} has only pickled weights ({pickles[0]}); reading a pickle can run any code",
            hint=f"Choose a safetensors version, or set 'allow_pickle: true' for '{model.spec.alias}'.",
        )


def _common(model: Model, file: str | None) -> dict[str, Any]:
    how: dict[str, Any] = {
        "local_files_only": True,
        "trust_remote_code": model.spec.trust_remote_code is not None,
    }
    if file is not None and file.endswith(".gguf"):
        how["gguf_file"] = file
    return how


def _how(
    settings: Settings, device: Any, dtype: Any, file: str | None, transformers: Any, *, pickles: bool
) -> dict[str, Any]:
    how: dict[str, Any] = {"dtype": dtype}
    if not pickles and file is None:
        how["use_safetensors"] = True
    if settings.attn_implementation:
        how["attn_implementation"] = settings.attn_implementation
    if settings.device_map is not None:
        how["device_map"] = settings.device_map
    if settings.quantization is not None:
        how["quantization_config"] = _quantized(settings, dtype, transformers)
        how.setdefault("device_map", {"": device.index or 0} if device.type == "cuda" else {"": device.type})
    elif file is not None and file.endswith(".gguf"):
        how["quantization_config"] = transformers.GgufConfig(dequantize=True)
    return how


def _quantized(settings: Settings, dtype: Any, transformers: Any) -> Any:
    if settings.quantization == "8bit":
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    # NF4 with double quantisation, as in Dettmers et al. 2023 (QLoRA).
    compute = torch.bfloat16 if dtype == "auto" else dtype
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )


def _kind(transformers: Any, model: Model, config: Any) -> str:
    """What the task and the configuration together say; a Hub id comes with no task of its own."""
    task = model.spec.task
    if task in ("vision", "embedding", "classification"):
        return str(task)
    if config.is_encoder_decoder:
        return "seq2seq"
    sees, writes = transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    if type(config) not in sees:
        return "causal"
    one_class = type(config) not in writes or sees[type(config)] is writes[type(config)]
    looks = any(
        (model.path / name).is_file() for name in ("preprocessor_config.json", "processor_config.json")
    )
    return "vision" if one_class and looks else "causal"


def _class(transformers: Any, kind: str) -> Any:
    return {
        "causal": transformers.AutoModelForCausalLM,
        "seq2seq": transformers.AutoModelForSeq2SeqLM,
        "vision": transformers.AutoModelForImageTextToText,
        "embedding": transformers.AutoModel,
        "classification": transformers.AutoModelForSequenceClassification,
    }[kind]


def _device(settings: Settings) -> torch.device:
    wanted = settings.device
    if wanted in (None, "auto"):
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(str(wanted))
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps", "xpu"):
        raise InvalidArgumentError(
            f"option 'device' has value {wanted!r}", hint="It is cpu, cuda, cuda:1, mps or xpu."
        )
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InvalidArgumentError(
            f"option 'device' has value {wanted!r}, and torch sees no GPU here",
            hint="Leave it out, or install a torch that is built for the GPU.",
        )
    return device


def _dtype(settings: Settings, config: Any, device: torch.device, kind: str) -> Any:
    if settings.dtype == "auto":
        return "auto"
    if settings.dtype is not None:
        return getattr(torch, settings.dtype)
    # Vectors are compared with each other to the third digit, and probabilities with thresholds: made in full.
    return torch.float32 if kind in ("embedding", "classification") else best_dtype(device)


def _processor(transformers: Any, folder: str, settings: Settings, common: dict[str, Any]) -> Any:
    try:
        processor = transformers.AutoProcessor.from_pretrained(folder, **common)
    except ImportError as error:
        if "VideoProcessor" not in str(error):
            raise
        processor = _without_videos(transformers, folder, common)
    if not hasattr(processor, "image_processor"):
        raise UnsupportedError(
            f"{folder} has no image processor (preprocessor_config.json)", hint="Use task: generation."
        )
    _limit_pixels(processor.image_processor, settings)
    return processor


def _limit_pixels(looks: Any, settings: Settings) -> None:
    least, most = settings.min_pixels, settings.max_pixels
    if least is None and most is None:
        return
    if "max_pixels" not in getattr(looks.valid_kwargs, "__annotations__", {}):
        raise UnsupportedError(
            f"{type(looks).__name__} scales images to sizes of its own, without limits of pixels",
            hint="Leave min_pixels and max_pixels out.",
        )
    least, most = least or looks.size.shortest_edge, most or looks.size.longest_edge
    if least > most:
        raise InvalidArgumentError(f"min_pixels ({least}) is above max_pixels ({most})", hint="Lower it.")
    looks.size = type(looks.size)(shortest_edge=least, longest_edge=most)


def _without_videos(transformers: Any, folder: str, how: dict[str, Any]) -> Any:
    """The processor without its part for videos, which alone needs torchvision."""
    known: dict[str, Any] = {}
    for name in ("tokenizer_config.json", "preprocessor_config.json", "processor_config.json"):
        file = Path(folder, name)
        known |= json.loads(file.read_text("utf-8")) if file.is_file() else {}
    whole = getattr(transformers, known["processor_class"])
    parts = [name for name in whole.get_attributes() if name != "video_processor"]
    images_alone: Any = type(whole.__name__, (whole,), {"get_attributes": classmethod(lambda _: parts)})
    return images_alone.from_pretrained(folder, **how)


def _precision(settings: Settings, model: Any) -> str:
    dtype = str(model.dtype).removeprefix("torch.")
    kind = {"4bit": f"4-bit (nf4), computed in {dtype}", "8bit": f"8-bit (int8), computed in {dtype}"}
    return kind.get(settings.quantization or "", dtype)


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without the library's own bars and advice: progress is shown by who loads, errors are raised."""
    # peft brings it in, and it says each time that a faster kernel could be fetched from the Hub.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    said = transformers.utils.logging
    level, bars = said.get_verbosity(), said.is_progress_bar_enabled()
    said.set_verbosity_error()
    said.disable_progress_bar()
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        said.set_verbosity(level)
        if bars:
            said.enable_progress_bar()


@contextlib.contextmanager
def _named(model: Model) -> Iterator[None]:
    """Turns what the library raises while it loads into our errors."""
    what = f"'{model.spec.alias}'"
    try:
        yield
    except ModelyardError:
        raise
    except (
        Exception
    ) as error:  # torch, tokenizers, safetensors and the model's own code have classes of their own
        reason = _reason(error)
        if is_out_of_memory(error):
            release()
            raise ResourceExhaustedError(f"{what} does not fit into memory: {reason}") from error
        if isinstance(error, ImportError):
            raise EngineNotInstalledError(
                f"{what} needs a package that is not installed: {reason}",
                hint="pip install 'modelyard[transformers]' has all that models of the Hub usually need.",
            ) from error
        if "trust_remote_code" in str(error):
            raise UnsupportedError(
                f"{what} brings code of its own, which is not run unless the catalogue says so",
                hint="Read the code, then name its commit: trust_remote_code: <40 hexadecimal digits>.",
            ) from error
        if "Unrecognized configuration class" in str(error) or "does not recognize this architecture" in str(
            error
        ):
            raise UnsupportedError(
                f"transformers {_version()} has no model of this kind for {what}: {reason}",
                hint="Check the task of the catalogue entry, or update transformers.",
            ) from error
        raise EngineError(
            f"{what} cannot be loaded from {model.path}: {reason}",
            hint="Check that its files are whole; `modelyard models pull` fetches what is missing.",
        ) from error


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no reason given'}"


def _version() -> str:
    import importlib.metadata

    return importlib.metadata.version("transformers")
