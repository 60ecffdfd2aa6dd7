"""A model behind a URL, in front of a server that speaks the protocol badly, and of one that speaks it well."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import badserver
from tests.badserver import USAGE, Act, BadServer, answer, delta, status

from modelyard import create_llm
from modelyard.catalog.model import Model
from modelyard.catalog.spec import ModelSpec
from modelyard.engines.endpoint import EndpointEngine
from modelyard.errors import (
    AuthenticationError,
    DeadlineExceededError,
    EngineCrashedError,
    GatedModelError,
    InvalidArgumentError,
    ModelNotFoundError,
    ModelyardError,
    PromptTooLongError,
    ProviderAPIError,
    RateLimitError,
    SchemaError,
    UnsupportedError,
    conduct,
)
from modelyard.params import merge
from modelyard.types import Chunk, Constraint, ImagePart, Message, Request, TextPart, Tool

CHAT = "/v1/chat/completions"


@pytest.fixture
def server() -> Iterator[BadServer]:
    with badserver.bad_server() as found:
        yield found


Connect = Callable[..., EndpointEngine]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes engines, and closes them."""
    made: list[EndpointEngine] = []

    def make(server: BadServer, **options: Any) -> EndpointEngine:
        spec = ModelSpec.model_validate({"alias": "far", "url": server.url, "engine": "endpoint"})
        made.append(EndpointEngine(Model.builtin(spec), {"probe": False, "retries": 2, **options}))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def ask(text: str = "Hi", *, deadline: float | None = None, **how: Any) -> Request:
    names = ("constraint", "tools", "tool_choice", "logprobs", "top_logprobs")
    own = {key: how.pop(key) for key in names if key in how}
    params = merge(("request", {"temperature": 0, "max_tokens": 20, **how}))[0]
    return Request(messages=(Message("user", text),), params=params, deadline=deadline, **own)


async def collect(engine: EndpointEngine, request: Request) -> list[Chunk]:
    return [chunk async for chunk in engine.generate(request)]


def say(engine: EndpointEngine, request: Request | None = None) -> list[Chunk]:
    return asyncio.run(collect(engine, request or ask()))


def text_of(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


# -- refusals, each as the one right error, sent again only where the server has not begun ------------------


@pytest.mark.parametrize(
    ("act", "error", "times"),
    [
        pytest.param(status(401, "bad key"), AuthenticationError, 1, id="401"),
        pytest.param(status(403, "forbidden"), AuthenticationError, 1, id="403"),
        pytest.param(status(403, "accept the licence first"), GatedModelError, 1, id="403 gated"),
        pytest.param(status(404, "no model"), ModelNotFoundError, 1, id="404"),
        pytest.param(status(429, "slow down"), RateLimitError, 3, id="429"),
        pytest.param(status(429, "slow down", Retry_After="0"), RateLimitError, 3, id="429 Retry-After"),
        pytest.param(status(429, "tomorrow", Retry_After="86400"), RateLimitError, 1, id="429 too long"),
        pytest.param(status(500, "oops"), ProviderAPIError, 1, id="500"),
        pytest.param(status(502, "gateway"), ProviderAPIError, 1, id="502"),
        pytest.param(status(503, "busy"), ProviderAPIError, 3, id="503"),
        pytest.param(status(400, "temperature is bad"), InvalidArgumentError, 1, id="400"),
        pytest.param(status(400, "maximum context length is 99"), PromptTooLongError, 1, id="400 too long"),
        pytest.param(status(400, "the grammar is bad"), SchemaError, 1, id="400 grammar"),
        pytest.param(badserver.cut, ProviderAPIError, 1, id="cut in the middle"),
        pytest.param(badserver.ends_early, ProviderAPIError, 1, id="ends without a reason"),
        pytest.param(badserver.malformed, ProviderAPIError, 1, id="malformed JSON"),
        pytest.param(badserver.web_page, ProviderAPIError, 1, id="a web page"),
        pytest.param(badserver.hang_up, ProviderAPIError, 1, id="hangs up"),
        pytest.param(badserver.stall, DeadlineExceededError, 1, id="stalls"),
        pytest.param(badserver.silent, DeadlineExceededError, 1, id="silent"),
    ],
)
def test_each_failure_is_its_own_error_and_no_work_is_repeated(
    connect: Connect,
    server: BadServer,
    act: Act,
    error: type[ModelyardError],
    times: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("modelyard.engines.endpoint.http.FIRST_PAUSE", 0.01)
    engine = connect(server, timeout=0.5, stall_timeout=0.4)
    server.script[CHAT] = [act] * times
    with pytest.raises(error) as caught:
        say(engine)
    assert type(caught.value) is error
    assert len(server.asked(CHAT)) == times
    assert "far" in caught.value.message
    engine.close()


def test_a_retry_waits_as_long_as_the_server_says_and_then_succeeds(
    connect: Connect, server: BadServer
) -> None:
    engine = connect(server)
    server.script[CHAT] = [status(429, Retry_After="1"), status(503, Retry_After="0")]
    began = time.monotonic()
    assert text_of(say(engine)) == "Hello there "
    assert 1 <= time.monotonic() - began < 4
    assert len(server.asked(CHAT)) == 3


def test_a_wait_that_passes_the_deadline_is_not_begun(connect: Connect, server: BadServer) -> None:
    engine = connect(server)
    server.script[CHAT] = [status(429, Retry_After="30")]
    began = time.monotonic()
    with pytest.raises(RateLimitError, match="429"):
        say(engine, ask(deadline=time.monotonic() + 5))
    assert time.monotonic() - began < 3


def test_a_slow_first_byte_is_waited_for(connect: Connect, server: BadServer) -> None:
    server.script[CHAT] = [badserver.slow(0.6)]
    engine = connect(server, stall_timeout=0.3)
    assert text_of(say(engine)) == "late but whole "


def test_a_deadline_ends_an_answer_and_its_connection(connect: Connect, server: BadServer) -> None:
    server.script[CHAT] = [badserver.stall]
    engine = connect(server)
    with pytest.raises(DeadlineExceededError, match="after 1 piece"):
        say(engine, ask(deadline=time.monotonic() + 0.4))
    _until(lambda: len(server.open) == 0)


def test_nobody_there_is_an_error_that_names_the_url_after_some_tries() -> None:
    with badserver.bad_server() as gone:
        url = gone.url
    spec = ModelSpec.model_validate({"alias": "far", "url": url, "engine": "endpoint"})
    with pytest.raises(ProviderAPIError, match="cannot be reached") as caught:
        EndpointEngine(Model.builtin(spec), {"retries": 1})
    assert conduct(caught.value).retryable


def test_a_server_that_comes_back_while_it_is_tried_again_answers(connect: Connect) -> None:
    with badserver.bad_server() as server:
        engine = connect(server, retries=4)
    _until(lambda: not _listens(server.port))

    async def later() -> str:
        waiting = asyncio.ensure_future(collect(engine, ask()))
        await asyncio.sleep(0.3)
        with badserver.bad_server(port=server.port):
            return text_of(await waiting)

    assert asyncio.run(later()) == "Hello there "


# -- secrets ------------------------------------------------------------------------------------------------


def test_a_redirect_is_not_followed_and_the_key_stays_here(connect: Connect, server: BadServer) -> None:
    with badserver.bad_server() as other:
        engine = connect(server, api_key="secret-key-1")
        server.script[CHAT] = [status(307, Location=f"{other.url}/chat/completions")]
        with pytest.raises(ProviderAPIError, match="points to") as caught:
            say(engine)
        assert other.seen == []
        assert "secret-key-1" not in str(caught.value)
    assert server.seen[-1].headers["authorization"] == "Bearer secret-key-1"


def test_a_hub_token_is_not_sent_to_a_server_of_somebody_else(
    connect: Connect, server: BadServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    say(connect(server))
    assert all("authorization" not in one.headers for one in server.seen)


def test_a_key_comes_from_the_variable_that_the_catalogue_names(
    connect: Connect, server: BadServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret-key-2")
    say(connect(server, api_key_env="MY_KEY"))
    assert {one.headers.get("authorization") for one in server.seen} == {"Bearer secret-key-2"}
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(AuthenticationError, match="MY_KEY"):
        connect(server, api_key_env="MY_KEY")


def test_a_key_that_the_server_repeats_is_not_shown(connect: Connect, server: BadServer) -> None:
    engine = connect(server, api_key="sk-0123456789abcdef")
    server.script[CHAT] = [status(401, "wrong key: Bearer sk-0123456789abcdef")]
    with pytest.raises(AuthenticationError) as caught:
        say(engine)
    assert "0123456789" not in str(caught.value)
    assert "0123456789" not in repr(engine.fingerprint) + repr(vars(engine))


def test_a_certificate_that_nobody_vouches_for_is_refused_and_one_that_is_named_is_taken(
    connect: Connect,
    tmp_path: Path,
) -> None:
    context, authority = badserver.certificate(tmp_path, "IP:127.0.0.1")
    with badserver.bad_server(context) as server:
        spec = ModelSpec.model_validate({"alias": "far", "url": server.url, "engine": "endpoint"})
        began = time.monotonic()
        with pytest.raises(ProviderAPIError, match="certificate"):
            EndpointEngine(Model.builtin(spec), {"probe": False, "retries": 3})
        assert time.monotonic() - began < 2  # it was not tried again
        assert server.seen == []
        assert text_of(say(connect(server, verify=str(authority)))) == "Hello there "


# -- what is sent and what comes back -----------------------------------------------------------------------


def test_tokens_lie_where_their_text_is_and_usage_is_the_servers(connect: Connect, server: BadServer) -> None:
    chunks = say(connect(server))
    tokens = [token for chunk in chunks for token in chunk.tokens]
    assert [(one.text, one.start, one.end, one.logprob) for one in tokens] == [
        ("Hello ", 0, 6, -0.5),
        ("there ", 6, 12, -0.5),
    ]
    usage = chunks[-1].usage
    assert usage is not None and (usage.prompt_tokens, usage.completion_tokens) == (7, 2)
    assert chunks[-1].finish_reason == "stop"


def test_what_the_protocol_does_not_have_is_refused_by_name(connect: Connect, server: BadServer) -> None:
    engine = connect(server)
    for name, value in (("top_k", 5), ("min_p", 0.1), ("repetition_penalty", 1.2), ("min_new_tokens", 3)):
        with pytest.raises(UnsupportedError, match=name):
            say(engine, ask(temperature=1, **{name: value}))
    assert server.asked(CHAT) == []


def test_a_named_dialect_takes_more(connect: Connect, server: BadServer) -> None:
    engine = connect(server, dialect="vllm")
    say(
        engine,
        ask(temperature=1, top_k=5, min_p=0.1, repetition_penalty=1.2, min_new_tokens=3, seed=4, stop="x"),
    )
    body = server.asked(CHAT)[-1].body
    assert (body["top_k"], body["min_p"], body["repetition_penalty"], body["min_tokens"]) == (5, 0.1, 1.2, 3)
    assert (body["seed"], body["stop"], body["temperature"], body["max_tokens"]) == (4, ["x"], 1, 20)


def test_tools_go_through_and_calls_come_back_whole(connect: Connect, server: BadServer) -> None:
    def calls(call: Any) -> None:
        call.begin()
        for part in (
            {"index": 0, "id": "c1", "function": {"name": "weather", "arguments": '{"ci'}},
            {"index": 0, "function": {"arguments": 'ty": "Paris"}'}},
            {"index": 1, "id": "c2", "function": {"name": "weather", "arguments": "{}"}},
        ):
            call.event({"choices": [{"index": 0, "delta": {"tool_calls": [part]}}]})
        call.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
        call.event(USAGE)
        call.event("[DONE]")
        call.end()

    server.script[CHAT] = [calls]
    tool = Tool("weather", "the weather", {"type": "object", "properties": {"city": {"type": "string"}}})
    chunks = say(connect(server), ask(tools=(tool,), tool_choice="weather"))
    assert [(one.id, one.name, one.arguments) for one in chunks[-1].tool_calls] == [
        ("c1", "weather", '{"city": "Paris"}'),
        ("c2", "weather", "{}"),
    ]
    body = server.asked(CHAT)[-1].body
    assert body["tools"][0]["function"]["name"] == "weather"
    assert body["tool_choice"] == {"type": "function", "function": {"name": "weather"}}


def test_a_conversation_with_tool_results_is_sent_as_it_was(server: BadServer) -> None:
    llm = create_llm("far", engine="endpoint", options={"probe": False}, catalog=_catalogue(server))
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "2", "tool_call_id": "c1"},
    ]
    with llm:
        llm.generate(messages, tools=[{"type": "function", "function": {"name": "add"}}])
    sent = server.asked(CHAT)[-1].body["messages"]
    assert sent[1]["tool_calls"] == [call] and sent[1]["content"] is None
    assert sent[2] == {"role": "tool", "content": "2", "tool_call_id": "c1"}


def test_the_likeliest_tokens_are_asked_for_and_read_as_many_and_in_order(
    connect: Connect, server: BadServer
) -> None:
    listed = [("no", -3.0), ("yes", -0.1), ("\u00e9\ufffd", -1.5)]

    def act(call: Any) -> None:
        call.begin()
        piece = delta("no", "stop")
        piece["choices"][0]["logprobs"]["content"][0]["top_logprobs"] = [
            {"token": text, "logprob": logprob, "bytes": [0xC3] if "\ufffd" in text else None}
            for text, logprob in listed
        ]
        call.event(piece)
        call.event("[DONE]")
        call.end()

    server.script[CHAT] = [act, act]
    for dialect, asked in (("openai", 2), ("vllm", 3)):
        engine = connect(server, dialect=dialect)
        (token,) = (token for chunk in say(engine, ask(top_logprobs=2)) for token in chunk.tokens)
        assert [(one.text, one.logprob) for one in token.top] == [("yes", -0.1), ("\ufffd", -1.5)]
        assert server.asked(CHAT)[-1].body["top_logprobs"] == asked
        assert engine.capabilities.top_logprobs == 20


def test_the_likeliest_tokens_of_a_completion_are_listed_by_their_texts(
    connect: Connect, server: BadServer
) -> None:
    def act(call: Any) -> None:
        call.begin()
        logprobs = {
            "tokens": ["a"],
            "token_logprobs": [-2.0],
            "top_logprobs": [{"a": -2.0, "b": -0.2, "c": -5}],
        }
        call.event({"choices": [{"text": "a", "logprobs": logprobs, "finish_reason": "stop"}]})
        call.event("[DONE]")
        call.end()

    server.script["/v1/completions"] = [act]
    (chunk, _) = say(connect(server), Request(prompt="Hi", top_logprobs=2))
    assert [(one.text, one.logprob) for one in chunk.tokens[0].top] == [("b", -0.2), ("a", -2.0)]


def test_images_are_sent_as_data(connect: Connect, server: BadServer) -> None:
    engine = connect(server)
    engine._found = engine._found.__class__(engine.dialect, "tiny", images=True)
    parts = (ImagePart(b"png", "image/png"), TextPart("What?"))
    request = Request(messages=(Message("user", parts),), params=merge(("r", {"temperature": 0}))[0])
    say(engine, request)
    content = server.asked(CHAT)[-1].body["messages"][0]["content"]
    assert content[0]["image_url"]["url"] == "data:image/png;base64,cG5n"
    assert content[1] == {"type": "text", "text": "What?"}


def test_a_server_that_does_not_stream_is_understood(connect: Connect, server: BadServer) -> None:
    whole = {
        "choices": [{"message": {"content": "All at once"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4},
    }
    server.script[CHAT] = [lambda call: call.reply(200, json.dumps(whole).encode())]
    chunks = say(connect(server))
    assert text_of(chunks) == "All at once" and chunks[-1].finish_reason == "length"
    assert [one.code for one in chunks[-1].warnings] == ["logprobs_missing"]


def test_a_servers_own_filter_is_a_finish_reason(connect: Connect, server: BadServer) -> None:
    def filtered(call: Any) -> None:
        call.begin()
        call.event(delta("I", "content_filter"))
        call.event(USAGE)
        call.event("[DONE]")
        call.end()

    server.script[CHAT] = [filtered]
    assert say(connect(server))[-1].finish_reason == "content_filter"


def test_a_server_that_ends_for_a_reason_of_its_own_is_said(connect: Connect, server: BadServer) -> None:
    def ended(call: Any) -> None:
        call.begin()
        call.event(delta("I", "moderation_hold"))
        call.event(USAGE)
        call.event("[DONE]")
        call.end()

    server.script[CHAT] = [ended]
    chunks = say(connect(server))
    assert chunks[-1].finish_reason == "error"
    assert "moderation_hold" in chunks[-1].warnings[0].message


def test_an_error_inside_a_stream_is_an_error(connect: Connect, server: BadServer) -> None:
    def fails(call: Any) -> None:
        call.begin()
        call.event(delta("Half"))
        call.event({"error": {"message": "out of memory", "code": 500}})
        call.end()

    server.script[CHAT] = [fails]
    with pytest.raises(ProviderAPIError, match="out of memory"):
        say(connect(server))


def test_the_url_names_the_model_when_the_server_has_several(connect: Connect, server: BadServer) -> None:
    listed = b'{"data": [{"id": "a"}, {"id": "b"}]}'
    server.script["/v1/models"] = [lambda call: call.reply(200, listed)] * 3
    with pytest.raises(ModelNotFoundError, match=r"has 2 models") as caught:
        connect(server)
    assert "a, b" in caught.value.hint
    with pytest.raises(ModelNotFoundError, match="no model 'c'"):
        connect(server, model="c")
    assert connect(server, model="b").fingerprint.revision == "remote: b"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", 0),
        ("retries", -1),
        ("verify", "/no/such/file"),
        ("probe", "yes"),
        ("dialect", "klingon"),
        ("modle", "x"),
    ],
)
def test_a_bad_option_is_named(connect: Connect, server: BadServer, name: str, value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=name):
        connect(server, **{name: value})


# -- the probe ----------------------------------------------------------------------------------------------


def test_a_server_that_ignores_schemas_and_images_is_found_out(connect: Connect, server: BadServer) -> None:
    engine = connect(server, probe=True)
    found = engine.capabilities
    assert found.chat and found.logprobs and not found.top_logprobs
    assert not (found.schema or found.regex or found.choices or found.images or found.score)
    with pytest.raises(UnsupportedError, match="Hello there"):
        say(engine, ask(constraint=Constraint(choices=("yes", "no"))))
    with pytest.raises(UnsupportedError, match="left it out"):
        say(engine, Request(messages=(Message("user", (ImagePart(b"x"),)),)))
    with pytest.raises(UnsupportedError, match="no tools: it was sent one, and left it out"):
        say(engine, ask(tools=(Tool("add"),)))


def test_a_server_without_logprobs_answers_with_a_word_about_it(connect: Connect, server: BadServer) -> None:
    def plain(call: Any) -> None:
        if "logprobs" in call.seen.body:
            call.reply(400, b'{"error": {"message": "logprobs is not supported"}}')
        else:
            answer("fine")(call)

    server.script[CHAT] = [plain] * 9
    engine = connect(server, probe=True)
    assert not engine.capabilities.logprobs
    chunks = say(engine)
    assert "logprobs is not supported" in chunks[-1].warnings[0].message
    assert "logprobs" not in server.asked(CHAT)[-1].body


def test_a_wrong_key_is_said_at_once_and_not_taken_for_a_lack(connect: Connect, server: BadServer) -> None:
    server.script["/v1/models"] = [status(401, "wrong key")]
    with pytest.raises(AuthenticationError, match="wrong key"):
        connect(server, probe=True)


def test_an_embedding_model_gives_vectors_of_length_1_in_the_order_of_the_texts(server: BadServer) -> None:
    def vectors(call: Any) -> None:
        found = [{"index": at, "embedding": [3.0 * (at + 1), 4.0 * (at + 1)]} for at in (1, 0)]
        call.reply(200, json.dumps({"data": found}).encode())

    server.script["/v1/embeddings"] = [vectors]
    spec = ModelSpec.model_validate(
        {"alias": "far", "url": server.url, "engine": "endpoint", "task": "embedding"}
    )
    engine = EndpointEngine(Model.builtin(spec), {})
    assert engine.capabilities.embeddings and not engine.capabilities.chat
    assert asyncio.run(engine.embed(["a", "b"])) == ((0.6, 0.8), (0.6, 0.8))
    assert server.asked("/v1/embeddings")[-1].body["input"] == ["a", "b"]
    with pytest.raises(UnsupportedError, match="gives embeddings"):
        say(engine)
    engine.close()


# -- connections --------------------------------------------------------------------------------------------


def test_connections_are_used_again_also_from_another_event_loop(connect: Connect, server: BadServer) -> None:
    engine = connect(server)
    for _ in range(5):
        say(engine)
    assert len({one.connection for one in server.seen}) == 1
    engine.close()
    _until(lambda: len(server.open) == 0)


def test_who_leaves_closes_the_connection_also_before_the_first_byte(
    connect: Connect, server: BadServer
) -> None:
    engine = connect(server)
    server.script[CHAT] = [badserver.stall, badserver.silent]

    async def leave() -> None:
        stream = engine.generate(ask())
        await anext(stream)
        await stream.aclose()
        task = asyncio.ensure_future(collect(engine, ask()))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(leave())
    _until(lambda: len(server.open) == 0)
    assert engine.active == 0
    assert text_of(say(engine)) == "Hello there "


def test_closing_ends_who_waits_with_an_error_and_all_connections(
    connect: Connect, server: BadServer
) -> None:
    engine = connect(server)
    server.script[CHAT] = [badserver.stall] * 3

    async def crowd() -> list[Any]:
        tasks = [asyncio.ensure_future(collect(engine, ask())) for _ in range(3)]
        await asyncio.sleep(0.2)
        await asyncio.to_thread(engine.close)
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert {type(one) for one in asyncio.run(crowd())} == {EngineCrashedError}
    _until(lambda: len(server.open) == 0)


def test_a_thousand_requests_leave_no_connection_and_no_memory(connect: Connect, server: BadServer) -> None:
    engine = connect(server, max_connections=32)

    async def many(count: int) -> None:
        gate = asyncio.Semaphore(64)

        async def one(at: int) -> None:
            async with gate:
                if at % 5 == 0:
                    stream = engine.generate(ask())
                    await anext(stream)
                    await stream.aclose()
                else:
                    assert text_of(await collect(engine, ask())) == "Hello there "

        await asyncio.gather(*(one(at) for at in range(count)))

    asyncio.run(many(200))
    gc.collect()
    files, memory = _files(), _resident()
    asyncio.run(many(1000))
    gc.collect()
    assert _files() <= files + 32
    assert _resident() - memory < 20 * 2**20
    engine.close()
    _until(lambda: len(server.open) == 0)
    gc.collect()
    assert _files() <= files


def _files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _until(met: Any, seconds: float = 3) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def _listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _catalogue(server: BadServer) -> Path:
    import tempfile

    file = Path(tempfile.mkdtemp()) / "models.yaml"
    file.write_text(f"models:\n  far:\n    engine: endpoint\n    url: {server.url}\n")
    return file
