"""The command line and environment of a vLLM server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from modelyard.catalog.memory.device import has_bfloat16
from modelyard.catalog.model import Model
from modelyard.engines.environments import Environment, hardware_here
from modelyard.engines.environments.environment import own_environ
from modelyard.engines.vllm.settings import ServeSettings
from modelyard.errors import EngineNotInstalledError, UnsupportedError

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
    line += _choices(model, settings, hardware(environment))
    if template is not None:
        line += ["--chat-template", str(template)]
    return [*line, *settings.args]


def _choices(model: Model, settings: ServeSettings, kind: str) -> list[str]:
    line: list[str] = []
    eager = settings.enforce_eager if settings.enforce_eager is not None else kind == "cpu"
    for name, value in (
        ("--dtype", dtype_of(settings, kind)),
        ("--max-model-len", settings.context_length or "auto"),
        ("--gpu-memory-utilization", settings.gpu_memory_utilization),
        ("--tensor-parallel-size", settings.tensor_parallel_size),
        ("--max-num-seqs", settings.max_num_seqs),
    ):
        line += [name, str(value)] if value is not None else []
    line += ["--enforce-eager"] if eager else []
    if settings.adapters:
        line += ["--enable-lora", "--max-lora-rank", str(settings.max_lora_rank)]
    if settings.tool_call_parser:
        line += ["--enable-auto-tool-choice", "--tool-call-parser", settings.tool_call_parser]
    if model.spec.quantization == "4bit":
        line += ["--quantization", "bitsandbytes"]
    if model.spec.trust_remote_code:
        line += ["--trust-remote-code", "--code-revision", model.spec.trust_remote_code]
    pixels = {name: getattr(settings, name) for name in ("min_pixels", "max_pixels")}
    if any(pixels.values()):
        line += ["--mm-processor-kwargs", json.dumps({key: one for key, one in pixels.items() if one})]
    return line


def environ_of(settings: ServeSettings, environment: Environment | None, key: str) -> dict[str, str]:
    """The server's environment: its files are here, so it asks no network."""
    own = environment.environ() if environment is not None else own_environ({})
    own |= {
        "VLLM_API_KEY": key,
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }
    if settings.adapters:
        own["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
    if hardware(environment) == "cpu":
        own["VLLM_CPU_KVCACHE_SPACE"] = str(settings.kv_cache_gb)
    return own | dict(settings.env)
