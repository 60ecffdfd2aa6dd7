"""Hosted models: what the Hub's client sends, where to, and with whose token."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import badserver
from tests.badserver import BadServer, status

from modelyard.catalog.model import Model
from modelyard.catalog.spec import ModelSpec
from modelyard.engines.inference_api import InferenceAPIEngine
from modelyard.errors import (
    AuthenticationError,
    DeadlineExceededError,
    InvalidArgumentError,
    ModelNotFoundError,
    ModelyardError,
    ProviderAPIError,
    RateLimitError,
)
from modelyard.params import merge
from modelyard.types import Chunk, Message, Request

CHAT = "/v1/chat/completions"


@pytest.fixture
def server() -> Iterator[BadServer]:
    with badserver.bad_server() as found:
        yield found


@pytest.fixture
def hosted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[BadServer, str]]:
    """The Hub's router, as far as a client behind a company's proxy can tell."""
    context, authority = badserver.certificate(tmp_path, "DNS:router.huggingface.co")
    with badserver.bad_server(tunnel=context) as found:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{found.port}")
        yield found, str(authority)


def engine_of(**entry: Any) -> InferenceAPIEngine:
    options = {"probe": False, "retries": 1, **entry.pop("options", {})}
    spec = ModelSpec.model_validate({"alias": "far", "engine": "inference_api", **entry})
    return InferenceAPIEngine(Model.builtin(spec), options)


HUB = {"sources": [{"kind": "hub", "repo": "org/name"}]}


def say(engine: InferenceAPIEngine, prompt: str | None = None, **how: Any) -> list[Chunk]:
    params = merge(("request", {"temperature": 0, "max_tokens": 9, **how}))[0]
    messages = (Message("user", "Hi"),) if prompt is None else None

    async def collect() -> list[Chunk]:
        return [
            one async for one in engine.generate(Request(messages=messages, prompt=prompt, params=params))
        ]

    return asyncio.run(collect())


def text_of(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def test_the_hub_chooses_a_provider_and_gets_its_token(
    hosted: tuple[BadServer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, authority = hosted
    monkeypatch.setenv("HF_TOKEN", "hf_routertoken")
    engine = engine_of(**HUB, options={"verify": authority, "bill_to": "my-org"})
    assert text_of(say(engine)) == "Hello there "
    # Imported by somebody else before us, the Hub's client asks the Hub who may be using it.
    connect, asked = (one for one in server.seen if one.path != "huggingface.co:443")
    assert connect.path == "router.huggingface.co:443" and "hf_routertoken" not in str(connect)
    assert asked.path == CHAT and asked.headers["authorization"] == "Bearer hf_routertoken"
    assert asked.headers["x-hf-bill-to"] == "my-org"
    assert (asked.body["model"], asked.body["max_tokens"], asked.body["logprobs"]) == ("org/name", 9, True)
    engine.close()


def test_a_named_provider_has_its_own_address(
    hosted: tuple[BadServer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, authority = hosted
    monkeypatch.setenv("HF_TOKEN", "hf_routertoken")
    engine = engine_of(**HUB, options={"verify": authority, "provider": "nonesuch"})
    with pytest.raises(InvalidArgumentError, match="nonesuch"):
        say(engine)
    assert server.seen == []
    engine.close()


def test_without_a_token_nothing_is_sent() -> None:
    with pytest.raises(AuthenticationError, match="token"):
        engine_of(**HUB)


def test_a_model_that_is_not_on_the_hub_needs_a_url() -> None:
    with pytest.raises(ModelNotFoundError, match="not on the Hub"):
        engine_of(sources=[{"kind": "path", "path": "/somewhere"}], options={"api_key": "hf_some00"})


def test_a_url_gets_the_key_that_was_given_for_it_and_never_the_hubs_token(
    server: BadServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    plain = engine_of(url=server.url)
    assert text_of(say(plain)) == "Hello there "
    assert [one.headers.get("authorization") for one in server.seen if one.path == CHAT] == [None]
    keyed = engine_of(url=server.url, options={"api_key": "my-own-key"})
    say(keyed)
    assert server.seen[-1].headers["authorization"] == "Bearer my-own-key"
    assert not any("hf_secretsecret" in str(one.headers) for one in server.seen)
    plain.close()
    keyed.close()


@pytest.mark.parametrize(
    ("act", "error", "times"),
    [
        (status(401), AuthenticationError, 1),
        (status(404), ModelNotFoundError, 1),
        (status(429, Retry_After="0"), RateLimitError, 2),
        (status(500), ProviderAPIError, 1),
        (badserver.cut, ProviderAPIError, 1),
        (badserver.malformed, ProviderAPIError, 1),
        (badserver.ends_early, ProviderAPIError, 1),
        (badserver.stall, DeadlineExceededError, 1),
        (badserver.silent, DeadlineExceededError, 1),
        (status(307, Location="http://127.0.0.1:1/steal"), ProviderAPIError, 1),
    ],
    ids=["401", "404", "429", "500", "cut", "malformed", "no reason", "stalls", "silent", "redirect"],
)
def test_failures_are_the_same_errors_as_an_endpoints(
    server: BadServer, act: badserver.Act, error: type[ModelyardError], times: int
) -> None:
    engine = engine_of(url=server.url, options={"timeout": 0.5, "stall_timeout": 0.4})
    server.script[CHAT] = [act] * times
    with pytest.raises(error) as caught:
        say(engine)
    assert type(caught.value) is error and len(server.asked(CHAT)) == times
    engine.close()


def test_connections_are_used_again_and_a_leaver_closes_his(server: BadServer) -> None:
    engine = engine_of(url=server.url)
    for _ in range(4):
        say(engine)
    assert len({one.connection for one in server.seen}) == 1
    server.script[CHAT] = [badserver.stall]

    async def leave() -> None:
        stream = engine.generate(Request(messages=(Message("user", "Hi"),)))
        await anext(stream)
        await stream.aclose()
        for _ in range(300):
            if server.seen[-1].connection not in server.open and not engine.active:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(server.open)

    asyncio.run(leave())
    engine.close()


def test_what_the_client_does_not_know_by_name_is_sent_too(server: BadServer) -> None:
    engine = engine_of(url=server.url, options={"dialect": "vllm"})
    say(engine, temperature=1.0, top_k=7, min_new_tokens=2)
    body = server.asked(CHAT)[-1].body
    assert (body["top_k"], body["min_tokens"], body["return_token_ids"]) == (7, 2, True)
    engine.close()


def test_a_raw_prompt_is_the_task_of_text_generation(server: BadServer) -> None:
    def stream(call: Any) -> None:
        call.begin()
        for at, text in enumerate((" brown", " fox")):
            call.event({"token": {"id": at + 5, "text": text, "logprob": -0.5, "special": False}})
        details = {"finish_reason": "length", "generated_tokens": 2, "input_length": 3}
        last = {"token": {"id": 9, "text": ".", "logprob": -0.1, "special": False}, "generated_text": "x"}
        call.event({**last, "details": details})
        call.end()

    server.script["/"] = [stream]
    engine = engine_of(url=server.url)
    chunks = say(engine, prompt="The quick", max_tokens=3)
    assert text_of(chunks) == " brown fox."
    assert [token.id for chunk in chunks for token in chunk.tokens] == [5, 6, 9]
    usage = chunks[-1].usage
    assert usage is not None and (usage.prompt_tokens, usage.completion_tokens) == (3, 2)
    assert server.asked("/")[-1].body["inputs"] == "The quick"
    assert json.dumps(server.asked("/")[-1].body["parameters"]).count("max_new_tokens") == 1
    engine.close()


def test_a_url_and_a_provider_contradict_each_other(server: BadServer) -> None:
    with pytest.raises(InvalidArgumentError, match="a url and a provider"):
        engine_of(url=server.url, options={"provider": "together"})
