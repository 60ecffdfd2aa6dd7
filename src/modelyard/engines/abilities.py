"""What each engine can run on this machine, in words; nothing heavy is imported to say it."""

from __future__ import annotations

from importlib.util import find_spec

from modelyard.catalog.auth import find_token
from modelyard.catalog.plan import OPENVINO_ARCHITECTURES
from modelyard.engines import environments


def runs(name: str) -> str:
    """What an engine can run here, for `doctor`.

    >>> runs("fake")
    'made-up answers, for tests without a model'
    """
    return _WORDS[name]()


def _openvino() -> str:
    here = f"GGUF ({', '.join(sorted(OPENVINO_ARCHITECTURES))}) and OpenVINO models on the CPU"
    if environments.find("openvino-export") is None:
        return f"{here}; Hub models too after `modelyard engines install openvino-export`"
    return f"{here}; Hub models, exported once at 16, 8 or 4 bits"


def _llamacpp() -> str:
    return "GGUF files of every architecture, with LoRA adapters"


def _transformers() -> str:
    device = "the GPU" if environments.hardware_here() == "cuda" else "the CPU"
    more = [
        what
        for module, what in (("bitsandbytes", "4-bit and 8-bit"), ("peft", "LoRA adapters"))
        if find_spec(module) is not None
    ]
    kinds = "Hub models of every architecture (text, sequence-to-sequence, vision, embeddings, classifiers)"
    return f"{kinds} on {device}" + (f"; {', '.join(more)}" if more else "")


def _onnx() -> str:
    return "text classifiers in ONNX form on the CPU"


def _endpoint() -> str:
    return "models behind any OpenAI-compatible url"


def _inference_api() -> str:
    what = "hosted models of the Hub, which the text is sent to"
    return what if find_token() is not None else f"{what}; needs a token"


def _vllm() -> str:
    found = environments.find("vllm")
    device = found.hardware if found is not None else environments.hardware_here()
    return f"Hub models on the {'GPU' if device == 'cuda' else 'CPU'}, many requests at once, LoRA adapters"


def _ray() -> str:
    return "models that a Ray Serve deployment holds; `modelyard serve --ray` makes them"


def _fake() -> str:
    return "made-up answers, for tests without a model"


_WORDS = {
    "openvino": _openvino,
    "llamacpp": _llamacpp,
    "transformers": _transformers,
    "onnx": _onnx,
    "endpoint": _endpoint,
    "inference_api": _inference_api,
    "vllm": _vllm,
    "ray": _ray,
    "fake": _fake,
}
