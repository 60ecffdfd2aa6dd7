"""The options of a vLLM server of ours."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from modelyard.engines.base import check_option
from modelyard.engines.endpoint.settings import Settings
from modelyard.errors import InvalidArgumentError

OPTIONS = {
    "command": "a command that takes the arguments of `vllm serve`, in place of the installed environment's",
    "args": "more arguments of `vllm serve`, as a list",
    "env": "more environment variables of the server, by name",
    "dtype": "number type of the weights (on a CPU bfloat16 where it has that; else vLLM's own choice)",
    "context_length": "tokens of prompt and answer (what the model can do, and the KV cache holds)",
    "kv_cache_gb": "GB of KV cache on a CPU (2)",
    "gpu_memory_utilization": "part of a GPU's memory that may be used (vLLM's own choice)",
    "tensor_parallel_size": "GPUs that the weights are spread over (1)",
    "max_num_seqs": "requests that are answered at once (vLLM's own choice)",
    "enforce_eager": "no graph compilation: ready sooner (true on a CPU)",
    "adapters": "LoRA adapters can be chosen per request (false)",
    "max_lora_rank": "the largest rank of an adapter (64)",
    "tool_call_parser": "how the model writes tool calls, as vLLM names it; without it tools are refused",
    "min_pixels": "pixels that a small image is enlarged to",
    "max_pixels": "pixels that a large image is reduced to",
    "ready_timeout": "seconds that the server may take until it answers (900)",
}
HTTP_OPTIONS = ("connect_timeout", "timeout", "stall_timeout", "retries", "longest_wait", "max_connections")
"""Options of how the server is talked to, as of an endpoint."""
_COUNTS = (
    "context_length",
    "tensor_parallel_size",
    "max_num_seqs",
    "max_lora_rank",
    "min_pixels",
    "max_pixels",
)
_NUMBERS = ("gpu_memory_utilization", "ready_timeout")
_SWITCHES = ("adapters", "enforce_eager")
_TEXTS = ("dtype", "tool_call_parser")


@dataclass(slots=True, frozen=True)
class ServeSettings:
    """The options, checked; None leaves a choice to vLLM.

    Attributes:
        http: how the server is talked to.
    """

    command: tuple[str, ...] | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    dtype: str | None = None
    context_length: int | None = None
    kv_cache_gb: int = 2
    gpu_memory_utilization: float | None = None
    tensor_parallel_size: int | None = None
    max_num_seqs: int | None = None
    enforce_eager: bool | None = None
    adapters: bool = False
    max_lora_rank: int = 64
    tool_call_parser: str | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    ready_timeout: float = 900.0
    http: Settings = field(default_factory=Settings)

    @classmethod
    def read(cls, options: Mapping[str, Any]) -> ServeSettings:
        """Reads the options.

        Raises:
            InvalidArgumentError: one is not known, or has no such value.
        """
        for key in options:
            check_option("vllm", key, (*OPTIONS, *HTTP_OPTIONS))
        given = {key: value for key, value in options.items() if value is not None}
        own = {key: _checked(key, value) for key, value in given.items() if key in OPTIONS}
        http = Settings.read({key: given[key] for key in HTTP_OPTIONS if key in given}, engine="vllm")
        return cls(**own, http=http)

    def http_with(self, key: str) -> Settings:
        """How the server is talked to, with its key."""
        return replace(self.http, key=key)


def _checked(name: str, value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in _COUNTS and not (number and value == int(value) and 1 <= value < 2**40):
        raise _bad(name, value, "a whole number, 1 or more")
    if name in _NUMBERS and not (number and 0 < value < 1e6):
        raise _bad(name, value, "a number above 0")
    if name in _SWITCHES and not isinstance(value, bool):
        raise _bad(name, value, "true or false")
    if name in _TEXTS and not (isinstance(value, str) and value):
        raise _bad(name, value, "a text")
    if name == "env":
        return _environment(value)
    if name in ("command", "args"):
        return _words(name, value)
    if name == "dtype":
        return str(value).removeprefix("torch.")
    return value


def _words(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) and name == "command":
        value = shlex.split(value)
    if not isinstance(value, list | tuple) or not all(isinstance(one, str | int | float) for one in value):
        raise _bad(name, value, "a list of words")
    if name == "command" and not value:
        raise _bad(name, value, "a list of words, not an empty one")
    return tuple(str(one) for one in value)


def _environment(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(one, str) for one in value):
        raise InvalidArgumentError("option 'env' is no mapping of texts", hint="Write NAME: value.")
    return {name: str(one) for name, one in value.items()}


def _bad(name: str, value: Any, wanted: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"option '{name}' has value {value!r:.80}", hint=f"It has to be {wanted}.")
