"""vLLM: its command line here, and in `make slow` the real server, ours and somebody else's."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from modelyard import create_llm
from modelyard.catalog.model import Model
from modelyard.catalog.spec import ModelSpec
from modelyard.engines.base import Engine
from modelyard.engines.vllm import VLLMEngine
from modelyard.engines.vllm.command import command_of, environ_of
from modelyard.engines.vllm.settings import ServeSettings
from modelyard.engines.vllm.turns import Turns
from modelyard.errors import (
    EngineCrashedError,
    EngineError,
    EngineNotInstalledError,
    InvalidArgumentError,
    UnsupportedError,
    conduct,
)
from modelyard.params import merge
from modelyard.pool import load_engine
from modelyard.types import Constraint, Message, Request


def spec_of(path: Path, **more: Any) -> ModelSpec:
    source = {"kind": "path", "path": str(path)}
    return ModelSpec.model_validate({"alias": "small", "sources": [source], "engine": "vllm", **more})


def model_of(folder: Path, **more: Any) -> Model:
    (folder / "config.json").write_text("{}")
    return Model(spec_of(folder, **more), folder, "rev", "here")


def line_of(model: Model, **options: Any) -> list[str]:
    settings = ServeSettings.read({"command": "vllm", **options})
    return command_of(model, settings, None, port=7, names=["a"], template=None)


# -- without a server ---------------------------------------------------------------------------------------


def test_the_options_become_arguments(tmp_path: Path) -> None:
    line = line_of(
        model_of(tmp_path), context_length=512, dtype="torch.float16", tensor_parallel_size=2, adapters=True,
        tool_call_parser="hermes", max_pixels=99, args=["--seed", 3],
    )  # fmt: skip
    assert line[:3] == ["vllm", "serve", str(tmp_path)]
    for name, value in (
        ("--host", "127.0.0.1"), ("--port", "7"), ("--max-model-len", "512"), ("--dtype", "float16"),
        ("--tensor-parallel-size", "2"), ("--max-lora-rank", "64"), ("--tool-call-parser", "hermes"),
        ("--mm-processor-kwargs", '{"max_pixels": 99}'), ("--seed", "3"),
    ):  # fmt: skip
        assert line[line.index(name) + 1] == value
    assert "--enable-lora" in line and "--trust-remote-code" not in line


def test_the_key_stands_in_the_environment_alone(tmp_path: Path) -> None:
    settings = ServeSettings.read({"command": ["python", "-m", "server"], "env": {"X": 1}})
    line = command_of(model_of(tmp_path), settings, None, port=7, names=["a"], template=None)
    assert line[:5] == ["python", "-m", "server", "--model", str(tmp_path)]
    environ = environ_of(settings, None, "the-key")
    assert environ["VLLM_API_KEY"] == "the-key" and "the-key" not in " ".join(line)
    assert (environ["X"], environ["HF_HUB_OFFLINE"]) == ("1", "1")


def test_files_that_vllm_does_not_read_are_refused_with_the_way_out(small_gguf: Path) -> None:
    with pytest.raises(UnsupportedError, match="safetensors") as caught:
        load_engine(spec_of(small_gguf), {"command": "vllm"})
    assert "llamacpp" in caught.value.hint


def test_without_an_environment_it_says_how_to_get_one(
    smollm2: Path, monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODELYARD_DATA", str(tmp_path))
    with pytest.raises(EngineNotInstalledError, match="modelyard engines install vllm"):
        load_engine(spec_of(smollm2), {})


def test_quantisation_on_a_cpu_is_refused(smollm2: Path) -> None:
    with pytest.raises(UnsupportedError, match="packs no weights on a CPU"):
        VLLMEngine(Model(spec_of(smollm2, quantization="4bit"), smollm2, "r", "s"), {"command": "vllm"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dtype", 3),
        ("context_length", 0),
        ("adapters", "yes"),
        ("env", ["A=1"]),
        ("args", "--x"),
        ("port", 80),
    ],
)
def test_a_bad_option_is_named(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=name):
        ServeSettings.read({name: value})


def test_a_command_that_ends_gives_its_last_words(smollm2: Path) -> None:
    code = "import sys; print('the dog ate my weights', file=sys.stderr); sys.exit(3)"
    with pytest.raises(EngineError, match="dog ate my weights"):
        load_engine(spec_of(smollm2), {"command": [sys.executable, "-c", code]})


@given(some.lists(some.tuples(some.sampled_from("abc"), some.integers(0, 3), some.booleans()), max_size=25))
def test_turns_never_mix_and_nobody_waits_for_ever(clients: list[tuple[str, int, bool]]) -> None:
    inside: list[str] = []
    served: list[int] = []

    async def one(turns: Turns, at: int, key: str, steps: int) -> None:
        async with turns.turn(key):
            inside.append(key)
            assert set(inside) == {key}
            for _ in range(steps):
                await asyncio.sleep(0)
            assert set(inside) == {key}
            inside.remove(key)
            served.append(at)

    async def crowd() -> None:
        turns = Turns()
        tasks = [
            asyncio.ensure_future(one(turns, at, key, steps)) for at, (key, steps, _) in enumerate(clients)
        ]
        await asyncio.sleep(0)
        for task, (_, _, leaves) in zip(tasks, clients, strict=True):
            if leaves:
                task.cancel()
        inside.clear()  # who is cancelled inside does not come to take his name out
        done = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
        assert all(
            one is None or isinstance(one, asyncio.CancelledError | AssertionError | ValueError)
            for one in done
        )
        async with turns.turn("z"):
            pass

    asyncio.run(asyncio.wait_for(crowd(), 10))


# -- with one -----------------------------------------------------------------------------------------------

SCHEMA = Constraint(
    schema={
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
)
PROMPTS = ("What is the capital of France?", "Name three colours.", "Why is the sky blue?")


@pytest.fixture(scope="module")
def their_url(vllm_environment: Any, smollm2: Path) -> Iterator[str]:
    """A vLLM server that somebody else has started."""
    from tests.servers import vllm_server

    with vllm_server(vllm_environment.python, smollm2, "org/small") as url:
        yield url


async def answered(engine: Engine, text: str, **how: Any) -> Any:
    own = {key: how.pop(key) for key in ("constraint", "tools", "tool_choice") if key in how}
    params = merge(("request", {"temperature": 0, "max_new_tokens": 32, **how}))[0]
    return [
        chunk
        async for chunk in engine.generate(Request(messages=(Message("user", text),), params=params, **own))
    ]


def text_of(chunks: Any) -> str:
    return "".join(chunk.text for chunk in chunks)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["endpoint", "inference_api"])
def test_a_server_of_somebody_else_streams_keeps_schemas_and_gives_logprobs(
    kind: str, their_url: str, smollm2: Path
) -> None:
    import transformers

    engine = load_engine(ModelSpec.model_validate({"alias": "far", "url": their_url, "engine": kind}), {})
    found = engine.capabilities
    assert found.streaming and found.schema and found.regex and found.choices and found.logprobs
    assert found.context_length == 2048 and not found.images
    chunks = asyncio.run(answered(engine, PROMPTS[0]))
    tokens = [token for chunk in chunks for token in chunk.tokens]
    assert len(chunks) > 5 and "".join(token.text for token in tokens) == text_of(chunks)
    assert all(token.logprob is not None and token.logprob_of == "model" for token in tokens)
    data = json.loads(
        text_of(asyncio.run(answered(engine, "Ada is 36.", constraint=SCHEMA, max_new_tokens=60)))
    )
    assert set(data) == {"name", "age"}
    # Greedy, it is the same model as in process.
    local = load_engine(
        ModelSpec.model_validate(
            {"alias": "near", "sources": [{"kind": "path", "path": str(smollm2)}], "engine": "transformers"}
        ),
        {"dtype": "float32"},
    )
    for prompt in PROMPTS:
        here, there = (asyncio.run(answered(one, prompt)) for one in (local, engine))
        assert text_of(here)[:20] == text_of(there)[:20], prompt
    del transformers
    local.close()
    engine.close()


@pytest.mark.slow
def test_a_required_tool_is_called_and_arguments_that_break_its_schema_are_said(their_url: str) -> None:
    llm = create_llm("far", engine="endpoint", catalog=_catalogue(their_url))
    tool = {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "maxLength": 12}},
                "required": ["city"],
            },
        },
    }
    with llm:
        result = llm.generate(
            "What is the weather in Paris?",
            tools=[tool],
            tool_choice="required",
            max_tokens=80,
            temperature=0,
        )
    assert next(one.name for one in result.tool_calls) == "weather"
    # The server does not hold the arguments to their schema, and that is said.
    wrong = "city" not in json.loads(result.tool_calls[0].arguments)
    assert wrong == ("tool_call_invalid" in [one.code for one in result.warnings])


@pytest.mark.slow
def test_a_server_that_is_killed_fails_its_requests_at_once_and_the_next_finds_another(
    vllm_environment: Any, smollm2: Path
) -> None:
    engine = load_engine(spec_of(smollm2), {"dtype": "float32", "context_length": 1024, "kv_cache_gb": 1})
    assert isinstance(engine, VLLMEngine)

    async def fall() -> tuple[list[Any], float]:
        tasks = [
            asyncio.ensure_future(answered(engine, f"Story {at}", max_new_tokens=400, min_new_tokens=400))
            for at in range(8)
        ]
        await asyncio.sleep(2)
        assert engine.active == 8
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        began = time.monotonic()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        return found, time.monotonic() - began

    first = set(_processes())
    errors, seconds = asyncio.run(fall())
    assert {type(one) for one in errors} == {EngineCrashedError} and all(
        conduct(one).retryable for one in errors
    )
    assert "SIGKILL" in errors[0].message and seconds < 2
    assert text_of(asyncio.run(answered(engine, "Hello")))
    assert not first & set(_processes())  # those of the first server are gone
    engine.close()
    assert _processes() == []


@pytest.mark.slow
def test_nothing_is_left_when_we_are_killed(vllm_environment: Any, smollm2: Path) -> None:
    code = f"""
import sys
from modelyard import create_llm
llm = create_llm({str(smollm2)!r}, engine="vllm", options={{"context_length": 512, "kv_cache_gb": 1}})
print(llm.generate("Hi", max_tokens=3), flush=True)
print("ready", flush=True)
sys.stdin.read()
"""
    for ending in ("kill", "exit"):
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdin is not None and process.stdout is not None
        while "ready" not in process.stdout.readline():
            assert process.poll() is None
        assert len(_processes()) >= 2
        if ending == "kill":
            process.kill()
        process.stdin.close()
        process.wait(30)
        process.stdout.close()
        end = time.monotonic() + 5
        while _processes():
            assert time.monotonic() < end, _processes()
            time.sleep(0.05)


def _processes() -> list[int]:
    """The processes of vLLM servers that serve a model called `small` or that path, of all this machine."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            mark = b"MODELYARD_SERVER=" in (folder / "environ").read_bytes()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if mark and state != "Z":
            found.append(int(folder.name))
    return found


def _catalogue(url: str) -> Path:
    import tempfile

    file = Path(tempfile.mkdtemp()) / "models.yaml"
    file.write_text(f"models:\n  far:\n    engine: endpoint\n    url: {url}\n")
    return file
