"""vLLM's server as an engine: started, watched, started again when it has died, and gone with us.

Beyond that it is an endpoint like any other. It runs in an environment of its own (`modelyard engines install
vllm`), because it pins other versions of our requirements; nothing of it is imported here.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import http.client
import json
import secrets
import shutil
import tempfile
import threading
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from modelyard.catalog.model import Model
from modelyard.engines import environments
from modelyard.engines.base import Capabilities, Engine, Memory
from modelyard.engines.continuations import Pair
from modelyard.engines.endpoint.engine import EndpointEngine
from modelyard.engines.endpoint.probe import Found
from modelyard.engines.progress import load_progress
from modelyard.engines.supervised import Server, free_port
from modelyard.engines.vllm.command import (
    QUANTIZATIONS,
    check_quantization,
    command_of,
    dtype_of,
    environ_of,
    hardware,
)
from modelyard.engines.vllm.settings import OPTIONS, ServeSettings
from modelyard.engines.vllm.turns import Turns
from modelyard.errors import (
    EngineCrashedError,
    EngineError,
    ModelyardError,
    ProviderAPIError,
    UnsupportedError,
)
from modelyard.types import Adapter, Chunk, Fingerprint, Message, Request, Score

_PORTS = 3  # tries to find one that nobody takes between the look and the start
_STAGES = {
    "Loading weights took": "weights loaded",
    "Starting to load model": "loading weights",
    "init engine": "warmed up",
    "Capturing CUDA graph": "capturing graphs",
    "Started server process": "starting to answer",
}


class VLLMEngine(EndpointEngine):
    """A vLLM server of our own."""

    name = "vllm"
    OPTIONS: ClassVar[Mapping[str, str]] = OPTIONS
    QUANTIZATIONS: ClassVar[frozenset[str]] = QUANTIZATIONS
    heals = True

    def __init__(self, model: Model, options: Mapping[str, Any]) -> None:
        Engine.__init__(self, model, options)
        self._serve = ServeSettings.read(options)
        self._environment = None if self._serve.command else environments.find("vllm")
        check_quantization(model.spec, hardware(self._environment))
        self._title_of_server = f"the vLLM server of '{model.spec.alias}'"
        self._key = secrets.token_hex(16)
        self._folder = Path(tempfile.mkdtemp(prefix="modelyard-vllm-"))
        self._starting = threading.Lock()
        self._adapters: dict[str, str] = {}
        self._alone = self._serve.adapters and hardware(self._environment) == "cpu"
        self._may_score = not self._alone
        self._turns = Turns()
        self._closed = False
        self._memory = Memory(0, 0)
        try:
            self._server, base = self._start()
            self._open(base, self._serve.http_with(self._key))
        except BaseException:
            self.close()
            raise

    # -- the server ------------------------------------------------------------------------------------

    def _start(self) -> tuple[Server, str]:
        """Starts a server on a free port. Blocks until it answers."""
        for left in range(_PORTS - 1, -1, -1):
            port = free_port()
            mark = f"modelyard-{secrets.token_hex(8)}"
            template = self._template()
            line = command_of(
                self.model, self._serve, self._environment, port=port,
                names=[self.model.spec.alias, mark], template=template,
            )  # fmt: skip
            server = self._server = Server(
                self._title_of_server,
                line,
                env=environ_of(self._serve, self._environment, self._key),
                cwd=self._folder,
                ready=functools.partial(_answers, port, self._key, mark),
                ready_timeout=self._serve.ready_timeout,
                on_line=_Stages(self.model.spec.alias),
            )
            try:
                server.start()
            except EngineError as error:
                if left and "address already in use" in error.message.lower():
                    continue
                raise
            self._memory = self._measured(server)
            return server, f"http://127.0.0.1:{port}/v1"
        raise AssertionError("the last try returns or raises")

    def _template(self) -> Path | None:
        given = self.model.spec.chat_template
        if given is None:
            return None
        file = self._folder / "template.jinja"
        file.write_text(given, "utf-8")
        return file

    def _measured(self, server: Server) -> Memory:
        weights = sum(one.stat().st_size for one in self.model.path.glob("*.safetensors"))
        cache = int(self._serve.kv_cache_gb * 2**30) if hardware(self._environment) == "cpu" else 0
        return Memory(weights, cache, server.memory())

    def _again(self) -> None:
        """A fresh server in place of one that has ended. Blocks."""
        with self._starting:
            if self._closed:
                raise EngineCrashedError("the model was unloaded before the request began")
            if self._server.alive:
                return
            self._http.close(f"{self._title_of_server} {self._server.ended}")
            self._server.close()
            self._adapters.clear()
            self._server, base = self._start()
            try:
                self._open(base, self._serve.http_with(self._key))
            except BaseException:
                self._server.close()  # so that the next request tries it with a fresh one
                raise

    async def _awake(self) -> None:
        if self._closed or not self._server.alive:
            await asyncio.to_thread(self._again)

    # -- the engine ------------------------------------------------------------------------------------

    async def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        if self._serve.tool_call_parser is None:
            self.refuse_tools(request, "the server was started without the option tool_call_parser")
        await self._awake()
        async with contextlib.aclosing(super().generate(request)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """As an endpoint does; with adapters on a CPU, those of another adapter wait.

        vLLM 0.32 computes the rows without an adapter with that of their neighbours there.
        """
        if not self._alone:
            async with contextlib.aclosing(super()._generate(request)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        patience, adapter = self._http.patience, request.adapter

        async def wait(place: Awaitable[None]) -> None:
            await patience.wait(
                place, self._serve.http.timeout, "was busy with another adapter", request.deadline
            )

        async with (
            self._turns.turn(adapter.path if adapter else "", wait),
            contextlib.aclosing(super()._generate(request)) as chunks,
        ):
            async for chunk in chunks:
                yield chunk

    async def _probe(self) -> Found:
        found = await super()._probe()
        if not self._alone:
            return found
        why = "on a CPU vLLM 0.32 dies of it when it was started with adapters"
        return replace(found, score=False, why={**found.why, "score": why})

    async def score(
        self,
        prompt: str | Sequence[Message],
        continuations: Sequence[str],
        adapter: Adapter | None = None,
        *,
        exact: bool = True,
    ) -> tuple[Score, ...]:
        await self._awake()
        return await super().score(prompt, continuations, adapter, exact=exact)

    async def encode(self, texts: Sequence[str], *, special: bool = True) -> tuple[tuple[int, ...], ...]:
        await self._awake()
        return await super().encode(texts, special=special)

    async def score_tokens(
        self, pairs: Sequence[Pair], adapter: Adapter | None = None, *, exact: bool = True
    ) -> tuple[Score, ...]:
        await self._awake()
        return await super().score_tokens(pairs, adapter, exact=exact)

    async def count_tokens(self, prompt: str | Sequence[Message]) -> int:
        await self._awake()
        return await super().count_tokens(prompt)

    async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        await self._awake()
        return await super().embed(texts)

    async def _lost(self, error: ModelyardError) -> ModelyardError:
        """A server of ours that stops talking has died, or is about to."""
        if not isinstance(error, ProviderAPIError) or self._closed:
            return error
        for _ in range(20):
            if not self._server.alive:
                return EngineCrashedError(f"{self._title_of_server} {self._server.ended}")
            await asyncio.sleep(0.05)
        return error

    async def _served(self, adapter: Adapter) -> str:
        """The adapter's name on the server, which reads its files on the first use."""
        if not self._serve.adapters:
            raise UnsupportedError(
                f"engine vllm cannot use the adapter '{adapter.name}': it was started without adapters",
                hint="Set option adapters: true.",
            )
        known = self._adapters.get(adapter.path)
        if known is not None:
            return known
        name = f"{adapter.name}-{hashlib.sha256(adapter.path.encode()).hexdigest()[:8]}"
        body = {"lora_name": name, "lora_path": adapter.path}
        try:
            async with self._http.opened("POST", f"{self._http.base}/load_lora_adapter", body, None):
                pass
        except ModelyardError as error:
            if "already been loaded" not in error.message:
                raise UnsupportedError(
                    f"vLLM cannot use the adapter '{adapter.name}': {error.message}",
                    hint="Its rank has to be at most max_lora_rank, and its base this model.",
                ) from error
        self._adapters[adapter.path] = name
        return name

    def _wanted(self) -> str | None:
        return self.model.spec.alias

    @classmethod
    def missing(cls) -> str | None:
        if environments.find("vllm") is None:
            return "it is not installed: modelyard engines install vllm"
        return None

    @classmethod
    def missing_with(cls, options: Mapping[str, Any]) -> str | None:
        return None if options.get("command") else cls.missing()

    @classmethod
    def version(cls) -> str:
        found = environments.find("vllm")
        return found.version if found is not None else "of the given command"

    @property
    def capabilities(self) -> Capabilities:
        found = super().capabilities
        return replace(found, adapters=self._serve.adapters, tools=self._serve.tool_call_parser is not None)

    @property
    def precision(self) -> str:
        kind = hardware(self._environment)
        return f"{dtype_of(self._serve, kind) or 'auto'}, {kind}"

    @property
    def fingerprint(self) -> Fingerprint:
        model, version = self.model, self._found.version or self.version()
        return Fingerprint(model.spec.alias, model.source, model.revision, self.name, version, self.precision)

    @property
    def memory(self) -> Memory:
        return self._memory

    @property
    def pid(self) -> int | None:
        return self._server.pid

    def close(self) -> None:
        self._closed = True
        if hasattr(self, "_http"):
            self._http.close()
        if hasattr(self, "_server"):
            self._server.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._memory = Memory(0, 0)


class _Stages:
    """Tells whoever waits for the load what the server's log says of it."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._progress = load_progress()
        self._said: set[str] = set()

    def __call__(self, line: str) -> None:
        for sign, stage in _STAGES.items():
            if sign in line and stage not in self._said:
                self._said.add(stage)
                self._progress.note(f"vLLM ({self._alias}): {stage}")


def _answers(port: int, key: str, mark: str) -> bool:
    """Whether it is our server that answers: it alone knows the mark."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        if answer.status != 200:
            return False
        return mark in [one["id"] for one in json.loads(answer.read())["data"]]
