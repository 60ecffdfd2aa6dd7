"""The command line and environment of a vLLM server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelyard.catalog.memory.device import has_bfloat16
from modelyard.catalog.model import Model
from modelyard.catalog.spec import ModelSpec
from modelyard.engines.environments import Environment, hardware_here
from modelyard.engines.environments.environment import own_environ
from modelyard.engines.vllm.settings import ServeSettings
from modelyard.errors import EngineNotInstalledError, UnsupportedError

QUANTIZATIONS = frozenset({"4bit"})
"""What vLLM packs weights to as it loads them."""
_SERVER = (
    "vllm.entrypoints.openai.api_server"  # the `vllm` command of the CPU build does not find its package
)


def hardware(environment: Environment | None) -> str:
    """What the server computes on: `cpu` or `cuda`."""
    return environment.hardware if environment is not None else hardware_here()


def dtype_of(settings: ServeSettings, kind: str) -> str | None:
    """The number type of the weights, None where vLLM chooses."""
    if settings.dtype is not None or kind != "cpu":
        return settings.dtype
    return "bfloat16" if has_bfloat16() else "float32"


def command_of(
    model: Model,
    settings: ServeSettings,
    environment: Environment | None,
    *,
    port: int,
    names: Sequence[str],
    template: Path | None,
) -> list[str]:
    """The server's command line; its key is not in it.

    Args:
        model: its files.
        settings: the options.
        environment: the installed one, None where a command is given.
        port: on the local host.
        names: the model's names on the server.
        template: a file with a chat template in place of the tokenizer's own.

    Raises:
        EngineNotInstalledError: there is neither an environment nor a command.
        UnsupportedError: vLLM does not read such files.
    """
    if not model.path.is_dir() or not (model.path / "config.json").is_file():
        raise UnsupportedError(
            f"engine vllm reads Hub files (config.json and safetensors), and {model.path.name} is none",
            hint="Use engine: openvino or llamacpp for GGUF files.",
        )
    if settings.command is not None:
        line = [*settings.command]
        line += ["serve", str(model.path)] if Path(line[-1]).name == "vllm" else ["--model", str(model.path)]
    elif environment is not None:
        line = [str(environment.python), "-m", _SERVER, "--model", str(model.path)]
    else:
        raise EngineNotInstalledError("engine 'vllm' is not installed", hint="modelyard engines install vllm")
    line += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", *names]
    line += _written(arguments(model.spec, settings, hardware(environment)))
    if template is not None:
        line += ["--chat-template", str(template)]
    return [*line, *settings.args]


def check_quantization(spec: ModelSpec, kind: str) -> None:
    """Raises UnsupportedError for weights that vLLM cannot pack on what it computes on."""
    if not spec.quantization:
        return
    if kind == "cpu":
        raise UnsupportedError(
            f"vLLM packs no weights on a CPU, and '{spec.alias}' asks for {spec.quantization}",
            hint="Leave quantization out, or use engine: openvino or transformers.",
        )
    if spec.quantization not in QUANTIZATIONS:
        raise UnsupportedError(
            f"vLLM packs weights as {', '.join(sorted(QUANTIZATIONS))}, and '{spec.alias}' asks for {spec.quantization}",
            hint="Ask for that, leave quantization out, or use engine: transformers.",
        )


def arguments(spec: ModelSpec, settings: ServeSettings, kind: str) -> dict[str, Any]:
    """What the options and the catalogue's entry come to as arguments of vLLM, by the names of its Python classes.

    Args:
        spec: the model's.
        settings: its options.
        kind: what the server computes on, as `hardware`.
    """
    eager = settings.enforce_eager if settings.enforce_eager is not None else kind == "cpu"
    chosen: dict[str, Any] = {
        "dtype": dtype_of(settings, kind),
        "max_model_len": settings.context_length or -1,  # what the model can do, and the KV cache holds
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "max_num_seqs": settings.max_num_seqs,
    }
    found = {name: value for name, value in chosen.items() if value is not None}
    if eager:
        found["enforce_eager"] = True
    if settings.adapters:
        found |= {"enable_lora": True, "max_lora_rank": settings.max_lora_rank}
    if settings.tool_call_parser:
        found |= {"enable_auto_tool_choice": True, "tool_call_parser": settings.tool_call_parser}
    if spec.quantization == "4bit":
        found["quantization"] = "bitsandbytes"
    if spec.trust_remote_code:
        found |= {"trust_remote_code": True, "code_revision": spec.trust_remote_code}
    pixels = {name: getattr(settings, name) for name in ("min_pixels", "max_pixels")}
    if any(pixels.values()):
        found["mm_processor_kwargs"] = {key: one for key, one in pixels.items() if one}
    return found


def _written(found: Mapping[str, Any]) -> list[str]:
    """Arguments as the command line has them."""
    line: list[str] = []
    for name, value in found.items():
        line.append("--" + name.replace("_", "-"))
        if value is not True:
            line.append(json.dumps(value) if isinstance(value, dict) else str(value))
    return line


def variables_of(settings: ServeSettings, kind: str) -> dict[str, str]:
    """The environment variables that the options come to."""
    found = {"VLLM_NO_USAGE_STATS": "1"}
    if settings.adapters:
        found["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
    if kind == "cpu":
        found["VLLM_CPU_KVCACHE_SPACE"] = str(settings.kv_cache_gb)
    return found | dict(settings.env)


def environ_of(settings: ServeSettings, environment: Environment | None, key: str) -> dict[str, str]:
    """The server's environment: its files are here, so it asks no network."""
    own = environment.environ() if environment is not None else own_environ({})
    own |= {"VLLM_API_KEY": key, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return own | variables_of(settings, hardware(environment))
