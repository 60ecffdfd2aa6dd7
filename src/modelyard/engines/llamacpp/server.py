"""xllamacpp's server: llama.cpp's own scheduler, in this process.

Answers come through its Python interface. Tokenising is offered by its HTTP interface alone, which it opens
in any case: here on a socket in a folder that only this user can enter (on Windows, on the local host),
behind a key that is drawn for each model.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from modelyard.engines.llamacpp.files import ModelFile
from modelyard.engines.llamacpp.settings import Settings
from modelyard.errors import (
    EngineCrashedError,
    EngineError,
    InvalidArgumentError,
    ModelyardError,
    PromptTooLongError,
    SchemaError,
)

_LONGEST_SOCKET = 100  # characters of a socket's path that every system takes


class LlamaServer:
    """One loaded model.

    Args:
        file: the model.
        settings: how to load it.
        context: tokens of one sequence.
        slots: sequences that the KV cache holds.
        embedding: it embeds texts, and generates nothing.
    """

    def __init__(
        self, file: ModelFile, settings: Settings, *, context: int, slots: int, embedding: bool = False
    ) -> None:
        import xllamacpp

        self._key = secrets.token_hex(16)
        self._folder = tempfile.mkdtemp(prefix="modelyard-")  # 0700
        params = _params(file, settings, context=context, slots=slots, embedding=embedding)
        params.api_keys = [self._key]
        place = Path(self._folder, "llama.sock")
        if hasattr(socket, "AF_UNIX") and len(str(place)) < _LONGEST_SOCKET:
            params.hostnames = [str(place)]
        try:
            self._server: Any = xllamacpp.Server(params)
        except RuntimeError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise EngineError(
                f"llama.cpp cannot load {file.path.name}: the file is damaged, its architecture is unknown to "
                f"this version, an adapter does not belong to it, or memory is short",
                hint="Pull the file again, upgrade xllamacpp, or lower context_length and slots.",
            ) from error
        self._address = str(self._server.listening_address)
        self._connection: http.client.HTTPConnection | None = None
        self._connection_lock = threading.Lock()
        # A server that is closed before its loop has begun never ends: this answer comes out of the loop.
        if embedding:
            self.embed([[0]])
        else:
            self.complete({"prompt": [0], "n_predict": 1}, lambda message: False)

    def close(self) -> None:
        """Gives back the memory; nothing may run in it any more."""
        with self._connection_lock:
            if self._connection is not None:
                self._connection.close()
            self._server = None
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def closed(self) -> bool:
        return self._server is None

    def complete(self, body: dict[str, Any], take: Callable[[dict[str, Any]], bool]) -> None:
        """Runs one request in this thread; `take` gets each message and says whether to stop.

        Messages come for each token, and while the prompt is read for each step.

        Raises:
            ModelyardError: llama.cpp refused the request.
        """
        server, failures = self._server, []
        if server is None:
            raise EngineCrashedError("the model was unloaded before the request began")

        def receive(data: bytes) -> bool:
            try:
                message = json.loads(data)
                if "error" in message or "code" in message:
                    raise _refusal(message.get("error", message))
                return take(message)
            except Exception as error:  # xllamacpp swallows what a callback raises
                failures.append(error)
                return True

        always = {"stream": True, "verbose": True, "return_progress": True, "sse_ping_interval": -1}
        server.handle_completions(json.dumps(body | always).encode(), receive)
        if failures:
            raise failures[0]

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Token ids; `special` adds those that the model wants around a raw text (BOS)."""
        body = {"content": text, "add_special": special, "parse_special": True}
        tokens: list[int] = self._post("/tokenize", body)["tokens"]
        return tokens

    def embed(self, texts: Sequence[Sequence[int]]) -> list[list[float]]:
        """One vector for each text, given as token ids."""
        server = self._server
        if server is None:
            raise EngineCrashedError("the model was unloaded before the request began")
        answer = json.loads(server.handle_embeddings(json.dumps({"input": texts})))
        if "data" not in answer:
            raise _refusal(answer.get("error", answer))
        return [one["embedding"] for one in answer["data"]]

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        data = json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        with self._connection_lock:
            for again in (True, False):
                if self._server is None:
                    raise EngineCrashedError("the model was unloaded before the request began")
                if self._connection is None:
                    self._connection = _connection(self._address)
                try:
                    self._connection.request("POST", path, data, headers)
                    answer = json.loads(self._connection.getresponse().read())
                    break
                except (OSError, http.client.HTTPException) as error:
                    # The server closes a connection after a while, or after some requests.
                    self._connection.close()
                    self._connection = None
                    if not again:
                        raise EngineCrashedError(f"llama.cpp does not answer: {error}") from error
        if "error" in answer:
            raise _refusal(answer["error"])
        return answer


def _params(file: ModelFile, settings: Settings, *, context: int, slots: int, embedding: bool) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(file.path)
    params.n_parallel = slots
    params.n_ctx = cells(context) * slots
    params.n_batch = params.n_ubatch = cells(context) if embedding else settings.batch_tokens(file.weights)
    params.kv_unified = False  # one cache for all would make the numbers depend on who else is in it
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    params.ctx_shift = False
    params.fit_params = False
    params.warmup = False
    params.ui = False
    params.endpoint_slots = False
    params.use_jinja = False
    params.verbosity = -1
    params.cache_type_k = params.cache_type_v = getattr(
        xllamacpp.ggml_type, f"GGML_TYPE_{settings.kv_cache_type.upper()}"
    )
    if settings.threads is not None:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
    if settings.gpu_layers is not None:
        params.n_gpu_layers = settings.gpu_layers
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(one), 0.0) for one in settings.adapters]
    if embedding:
        params.embedding = True
        if settings.pooling is not None:
            params.pooling_type = getattr(
                xllamacpp.llama_pooling_type, f"LLAMA_POOLING_TYPE_{settings.pooling.upper()}"
            )
    return params


def _refusal(error: dict[str, Any]) -> ModelyardError:
    """llama.cpp's error as one of ours."""
    text = str(error.get("message", error))[:300]
    if error.get("type") == "exceed_context_size_error":
        return PromptTooLongError(
            f"the prompt has {error.get('n_prompt_tokens')} tokens, and the context holds {error.get('n_ctx')}"
        )
    if "grammar" in text:
        return SchemaError(f"llama.cpp refuses the grammar: {text}", hint="Make the schema simpler.")
    if error.get("type") == "invalid_request_error":
        return InvalidArgumentError(f"llama.cpp refuses the request: {text}", hint="")
    return EngineError(f"llama.cpp failed: {text}")


def cells(context: int) -> int:
    """Tokens of KV cache for a context: llama.cpp takes multiples of 256."""
    return -(-context // 256) * 256


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        with contextlib.ExitStack() as stack:
            stack.callback(self.sock.close)
            self.sock.connect(self._path)
            stack.pop_all()


def _connection(address: str) -> http.client.HTTPConnection:
    scheme, _, rest = address.partition("://")
    if sys.platform != "win32" and scheme == "unix":
        return _UnixConnection(rest)
    return http.client.HTTPConnection(rest)
