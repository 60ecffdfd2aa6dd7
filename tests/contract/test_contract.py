"""What every engine promises. A new engine joins by one line in conftest.py."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Coroutine
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from modelyard.engines.base import Engine, Memory
from modelyard.errors import (
    DeadlineExceededError,
    EngineCrashedError,
    InvalidArgumentError,
    ModelyardError,
    PromptTooLongError,
    SchemaError,
    UnsupportedError,
    conduct,
)
from modelyard.params import merge
from modelyard.pool import load_engine
from modelyard.types import Adapter, Chunk, Constraint, ImagePart, Message, Request, TextPart, Tool

if TYPE_CHECKING:
    from tests.contract.conftest import Row

behaviour = pytest.mark.behaviour
ASK = (Message("user", "Write one sentence about the sea."),)
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 30}, "age": {"type": ["integer", "null"]}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def ask(messages: tuple[Message, ...] = ASK, **how: Any) -> Request:
    names = (
        "prompt",
        "constraint",
        "logprobs",
        "top_logprobs",
        "adapter",
        "deadline",
        "tools",
        "tool_choice",
    )
    own = {key: how.pop(key) for key in names if key in how}
    if "prompt" in own:
        messages = None  # type: ignore[assignment]
    return Request(messages=messages, params=merge(("request", {"temperature": 0, **how}))[0], **own)


async def collect(engine: Engine, request: Request) -> list[Chunk]:
    return [chunk async for chunk in engine.generate(request)]


def png(colour: str) -> ImagePart:
    from PIL import Image

    buffer = BytesIO()
    Image.new("RGB", (56, 84), colour).save(buffer, "PNG")
    return ImagePart(buffer.getvalue())


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


def text_of(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def logprobs_of(chunks: list[Chunk]) -> list[float | None]:
    return [token.logprob for chunk in chunks for token in chunk.tokens]


def answer(engine: Engine, request: Request) -> list[Chunk]:
    return run(collect(engine, request))  # type: ignore[no-any-return]


async def free(engine: Engine) -> bool:
    """Whether the engine's batch is empty, within two seconds."""
    for _ in range(200):
        if engine.active == 0:
            return True
        await asyncio.sleep(0.01)
    return False


@behaviour("generate")
def test_the_last_chunk_and_only_the_last_says_why_it_ended_and_what_it_cost(engine: Engine) -> None:
    chunks = answer(engine, ask(max_new_tokens=12))
    assert [chunk.finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    last = chunks[-1]
    assert last.finish_reason in ("stop", "length")
    assert last.usage is not None and last.usage.prompt_tokens > 0 and 1 <= last.usage.completion_tokens <= 12
    assert last.timings is not None and last.timings.first_token is not None
    assert 0 <= last.timings.queued <= last.timings.first_token <= last.timings.total


@behaviour("stream")
def test_an_answer_comes_in_pieces_as_it_is_made(engine: Engine) -> None:
    chunks = answer(engine, ask(max_new_tokens=8, min_new_tokens=8))
    assert len([chunk for chunk in chunks if chunk.tokens]) >= 6


@behaviour("generate", "logprobs")
def test_the_texts_of_the_tokens_joined_are_the_answer_and_their_spans_point_into_it(engine: Engine) -> None:
    request = ask((Message("user", "Repeat exactly: naïve café, 日本, 😀 — “quoted”."),), max_new_tokens=40)
    chunks = answer(engine, request)
    text = text_of(chunks)
    tokens = [token for chunk in chunks for token in chunk.tokens]
    assert "".join(token.text for token in tokens) == text
    assert all(text[token.start : token.end] == token.text for token in tokens)
    assert all(token.logprob is not None and token.logprob <= 0 for token in tokens)


@behaviour("generate")
def test_greedy_answers_repeat(engine: Engine) -> None:
    assert text_of(answer(engine, ask(max_new_tokens=16))) == text_of(answer(engine, ask(max_new_tokens=16)))


@behaviour("seed")
def test_a_seed_repeats_a_sample_alone_and_in_a_crowd_and_no_seed_does_not(
    engine: Engine, noise: float
) -> None:
    # From the tail of the distribution a draw would land elsewhere when a logprob moves by a ten-thousandth.
    how = {"temperature": 1.2, "top_k": 10, "max_new_tokens": 16, "min_new_tokens": 16}

    async def crowd() -> list[str]:
        seeds = [7, 1, 2, 7, None, None]
        found = await asyncio.gather(*(collect(engine, ask(seed=seed, **how)) for seed in seeds))
        return [text_of(chunks) for chunks in found]

    alone = text_of(answer(engine, ask(seed=7, **how)))
    first, second, third, again, loose, other = run(crowd())
    if noise < 0.1:
        assert first == again == alone
    else:
        assert first[:3] == again[:3] == alone[:3]
    assert len({first, second, third}) == 3
    assert loose != other


@behaviour("generate")
def test_length_limits_hold_and_say_so(engine: Engine) -> None:
    chunks = answer(engine, ask(max_new_tokens=5, min_new_tokens=5))
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 5
    assert chunks[-1].finish_reason == "length"


@behaviour("generate")
def test_max_length_counts_the_prompt(engine: Engine) -> None:
    count = run(engine.count_tokens(ASK))
    chunks = answer(engine, ask(max_length=count + 3, min_length=count + 3))
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (count, 3)
    with pytest.raises(PromptTooLongError, match=str(count)):
        answer(engine, ask(max_length=count - 1))


@behaviour("stop")
def test_a_stop_string_ends_the_answer_and_is_not_in_it(engine: Engine) -> None:
    whole = text_of(answer(engine, ask(max_new_tokens=24)))
    stop = whole[len(whole) // 2 : len(whole) // 2 + 4]
    chunks = answer(engine, ask(max_new_tokens=24, stop=[stop, "never-in-any-answer"]))
    assert text_of(chunks) == whole[: whole.index(stop)]
    assert chunks[-1].finish_reason == "stop"
    assert "".join(token.text for chunk in chunks for token in chunk.tokens) == text_of(chunks)


@pytest.mark.parametrize(
    "constraint",
    [
        pytest.param(Constraint(schema=SCHEMA), id="schema", marks=behaviour("schema")),
        pytest.param(Constraint(regex=r"[a-c]{3}-\d{2}(\.\d)?"), id="regex", marks=behaviour("regex")),
        pytest.param(Constraint(choices=("yes", "no", "maybe so")), id="choices", marks=behaviour("choices")),
    ],
)
def test_a_constraint_is_kept(engine: Engine, constraint: Constraint) -> None:
    from modelyard.engines.grammar import check_answer

    request = ask((Message("user", "Tell me about Ada, aged 36."),), constraint=constraint, max_new_tokens=60)
    chunks = answer(engine, request)
    assert chunks[-1].finish_reason == "stop"
    assert check_answer(constraint, text_of(chunks)) is None
    assert text_of(chunks) == text_of(chunks).strip()


@behaviour("schema")
def test_sampling_keeps_a_constraint_too(engine: Engine) -> None:
    request = ask(constraint=Constraint(schema=SCHEMA), temperature=1.5, seed=3, max_new_tokens=80)
    data = json.loads(text_of(answer(engine, request)))
    assert set(data) == {"name", "age"}


RECURSIVE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "v": {"type": "integer"},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["v", "next"],
        }
    },
}
BAD = {
    "malformed": Constraint(schema={"type": 12}),
    "unknown keyword": Constraint(schema={"type": "object", "propertis": {}}),
    "huge": Constraint(schema={"enum": ["x" * 100 + str(at) for at in range(60_000)]}),
    "deep": Constraint(schema=__import__("functools").reduce(lambda s, _: {"items": s}, range(3000), {})),
    "endless": Constraint(schema={"$ref": "#"}),
    "regex": Constraint(regex="(unclosed["),
    "no choices": Constraint(choices=()),
}


@behaviour("bad schema")
@pytest.mark.parametrize("name", BAD)
def test_a_bad_schema_fails_alone_while_others_run_on(engine: Engine, noise: float, name: str) -> None:
    expected = text_of(answer(engine, ask(max_new_tokens=24)))

    async def together() -> tuple[list[Any], str]:
        good = [asyncio.ensure_future(collect(engine, ask(max_new_tokens=24))) for _ in range(3)]
        await asyncio.sleep(0)
        bad = asyncio.ensure_future(collect(engine, ask(constraint=BAD[name])))
        (error,) = await asyncio.gather(bad, return_exceptions=True)
        return [text_of(await one) for one in good], error  # type: ignore[return-value]

    texts, error = run(together())
    assert isinstance(error, SchemaError), error
    assert all(text[:8] == expected[:8] for text in texts)
    if noise < 0.1:
        assert texts == [expected] * 3


@behaviour("schema")
def test_a_recursive_schema_is_kept(engine: Engine) -> None:
    constraint = Constraint(schema=RECURSIVE)
    chunks = answer(engine, ask(constraint=constraint, max_new_tokens=60))
    if chunks[-1].finish_reason == "stop":
        assert "v" in json.loads(text_of(chunks))
    assert text_of(chunks).startswith('{"v":')


@pytest.fixture
def no_score(engine: Engine, record_property: Any) -> bool:
    """Whether the engine gives no scores of this model; then it has to say so."""
    if engine.capabilities.score:
        return False
    with pytest.raises(UnsupportedError, match="scores no text"):
        run(engine.score("The capital of France is", [" Paris"]))
    record_property("refused", True)
    return True


@behaviour("score")
def test_score_adds_up_and_prefers_what_greedy_decoding_says(engine: Engine, no_score: bool) -> None:
    if no_score:
        return
    (one, two) = run(engine.score("The capital of France is", [" Paris, of course", " zebra 17 qq"]))
    assert one.total == pytest.approx(sum(one.token_logprobs))
    assert len(one.token_ids) == len(one.token_logprobs) > 0
    assert all(value <= 0 for value in (*one.token_logprobs, *two.token_logprobs))
    if engine.name != "fake":
        assert one.total > two.total


@behaviour("score")
def test_score_is_the_same_whatever_is_scored_beside_it(
    engine: Engine, score_noise: float, no_score: bool
) -> None:
    if no_score:
        return
    prompt = "The quick brown fox jumps over the lazy dog, and " * 3
    tails = [" runs", " sleeps for a very long time indeed", " eats"]
    together = run(engine.score(prompt, tails))
    again = run(engine.score(prompt, tails))
    alone = [run(engine.score(prompt, [tail]))[0] for tail in tails]
    for one, two, three in zip(together, again, alone, strict=True):
        assert one.total == pytest.approx(two.total, abs=1e-4)
        assert one.total == pytest.approx(three.total, abs=score_noise * len(one.token_ids))


@behaviour("score", "logprobs")
def test_score_agrees_with_generation(engine: Engine, noise: float, no_score: bool) -> None:
    if no_score:
        return
    prompt = "The quick brown fox jumps over"
    chunks = answer(engine, ask(prompt=prompt, max_new_tokens=6, min_new_tokens=6))
    tokens = [token for chunk in chunks for token in chunk.tokens]
    (score,) = run(engine.score(prompt, [text_of(chunks)]))
    assert list(score.token_ids) == [token.id for token in tokens]
    for token, scored in zip(tokens, score.token_logprobs, strict=True):
        assert token.logprob == pytest.approx(scored, abs=noise)


@behaviour("score")
@pytest.mark.parametrize("tails", [[], [""]], ids=["none", "empty"])
def test_score_wants_continuations(engine: Engine, tails: list[str]) -> None:
    with pytest.raises(InvalidArgumentError, match="continuations"):
        run(engine.score("A prompt", tails))


@behaviour("concurrent")
def test_requests_with_different_parameters_share_a_batch_unharmed(engine: Engine, noise: float) -> None:
    requests = [
        ask(max_new_tokens=20),
        ask(max_new_tokens=9, temperature=0.8, seed=11),
        ask(max_new_tokens=15, constraint=Constraint(choices=("alpha", "beta"))),
        ask(max_new_tokens=20, stop=["a"]),
        ask((Message("user", "Count to ten."),), max_new_tokens=14, logprobs=False),
    ]
    alone = [text_of(answer(engine, request)) for request in requests]

    async def together() -> list[str]:
        return [
            text_of(chunks) for chunks in await asyncio.gather(*(collect(engine, one) for one in requests))
        ]

    crowd = run(together())
    assert crowd[2] == alone[2] and "a" not in crowd[3]
    if noise < 0.1:
        assert crowd == alone


@behaviour("logprobs")
def test_logprobs_can_be_left_out(engine: Engine) -> None:
    chunks = answer(engine, ask(max_new_tokens=4, logprobs=False))
    assert {token.logprob for chunk in chunks for token in chunk.tokens} <= {None}


@behaviour("top_logprobs")
def test_the_likeliest_tokens_at_each_place_are_given_or_refused(
    engine: Engine, record_property: Any
) -> None:
    most = engine.capabilities.top_logprobs
    with pytest.raises(UnsupportedError, match=f"top_logprobs is {most + 1}"):
        engine.check_top_logprobs(ask(top_logprobs=most + 1))
    if not most:
        record_property("refused", True)
        return
    request = ask(max_new_tokens=6, top_logprobs=5)
    engine.check_top_logprobs(request)
    tokens = [token for chunk in answer(engine, request) for token in chunk.tokens]
    assert tokens
    for token in tokens:
        logprobs = [one.logprob for one in token.top]
        assert len(logprobs) == 5 and logprobs == sorted(logprobs, reverse=True)
        assert logprobs[0] == pytest.approx(token.logprob, abs=1e-3)  # greedy
        first = [one for one in token.top if one.logprob == logprobs[0]]  # in half precision several may be
        assert any(one.id in (token.id, None) and one.text == token.text for one in first)


TOOL = Tool(
    "weather",
    "the weather of a city",
    {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "days": {"$ref": "#/$defs/days"}},
        "required": ["city", "days"],
        "$defs": {"days": {"enum": [1, 7]}},
    },
)


@behaviour("tools")
def test_a_tool_is_called_with_arguments_that_fit_or_tools_are_refused(
    engine: Engine, tooled: Engine, record_property: Any
) -> None:
    from modelyard.engines.grammar import check_answer

    request = ask(
        (Message("user", "How is Paris?"),), tools=(TOOL,), tool_choice="required", max_new_tokens=80
    )
    if not engine.capabilities.tools:
        with pytest.raises(UnsupportedError, match="no tools"):
            answer(engine, request)
    if not tooled.capabilities.tools:
        record_property("refused", True)
        return
    chunks = answer(tooled, request)
    (call,) = chunks[-1].tool_calls
    assert call.name == "weather" and call.id and text_of(chunks) == ""
    assert check_answer(Constraint(schema=TOOL.parameters), call.arguments) is None
    assert chunks[-1].finish_reason == "stop"
    assert {one.code for one in chunks[-1].warnings} <= {"logprobs_missing"}
    turns = (
        *(request.messages or ()),
        Message("assistant", "", (call,)),
        Message("tool", "18 degrees", tool_call_id=call.id),
    )
    told = answer(tooled, ask(turns, tools=(TOOL,), tool_choice="none", max_new_tokens=8))
    assert text_of(told) and told[-1].tool_calls == ()


@behaviour("over-long prompt")
def test_a_prompt_longer_than_the_context_is_refused_with_both_counts(engine: Engine) -> None:
    context = engine.capabilities.context_length
    long = (Message("user", "word " * (context + 50)),)
    count = run(engine.count_tokens(long))
    with pytest.raises(PromptTooLongError) as caught:
        answer(engine, ask(long))
    assert str(count) in caught.value.message and str(context) in caught.value.message


@behaviour("over-long prompt")
def test_an_answer_that_the_context_shortens_is_said(engine: Engine) -> None:
    context = engine.capabilities.context_length
    chunks = answer(engine, ask(max_new_tokens=context, constraint=Constraint(choices=("yes",))))
    assert [warning.code for warning in chunks[-1].warnings] == ["answer_shortened"]


def test_an_empty_prompt_is_refused(engine: Engine) -> None:
    with pytest.raises(InvalidArgumentError, match="empty"):
        answer(engine, ask(prompt=""))


@behaviour("images")
def test_images_are_seen_or_refused(
    engine: Engine, row: Row, vision: Callable[[], Engine], record_property: Any
) -> None:
    looks = [(Message("user", (png(colour), TextPart("What is it?"))),) for colour in ("red", "blue")]
    with pytest.raises(UnsupportedError, match="image"):
        answer(engine, ask(looks[0]))
    if not row.vision:
        record_property("refused", True)
        return
    sees = vision()
    red, blue = (text_of(answer(sees, ask(one, max_new_tokens=8))) for one in looks)
    assert red != blue and red == text_of(answer(sees, ask(looks[0], max_new_tokens=8)))
    sees.close()


@behaviour("adapters")
def test_adapters_are_chosen_per_request_or_refused(
    engine: Engine, row: Row, noise: float, adapter: Adapter | None, record_property: Any
) -> None:
    if adapter is None:
        with pytest.raises(UnsupportedError, match="adapter"):
            answer(engine, ask(adapter=Adapter("some-adapter", "/nowhere")))
        record_property("refused", True)
        return

    requests = [ask(max_new_tokens=12), ask(max_new_tokens=12, adapter=adapter)]
    base, changed = (answer(engine, one) for one in requests)

    async def together() -> list[list[Chunk]]:
        return await asyncio.gather(*(collect(engine, one) for one in requests * 2))

    crowd = run(together())
    assert logprobs_of(base)[0] != pytest.approx(logprobs_of(changed)[0], abs=0.01)
    for alone, found in zip([base, changed] * 2, crowd, strict=True):
        assert logprobs_of(found)[0] == pytest.approx(logprobs_of(alone)[0], abs=noise)
        if noise < 0.1:
            assert text_of(found) == text_of(alone)


@behaviour("unknown parameter")
def test_what_is_not_known_is_refused_by_its_name_with_the_nearest(engine: Engine, row: Row) -> None:
    with pytest.raises(InvalidArgumentError, match=r"'temprature' is not known.*'temperature'"):
        ask(temprature=1)
    option = next(iter(engine.OPTIONS))
    with pytest.raises(InvalidArgumentError, match=f"'{option}x' is not known"):
        load_engine(engine.model.spec, {**row.options, f"{option}x": 1})


@behaviour("crash")
def test_who_is_in_flight_when_the_engine_goes_is_told_and_the_next_is_answered(
    fresh: Callable[[], Engine], row: Row
) -> None:
    engine = fresh()

    async def fall() -> list[Any]:
        requests = [ask(LONG, max_new_tokens=300, min_new_tokens=300) for _ in range(8)]
        tasks = [asyncio.ensure_future(collect(engine, one)) for one in requests]
        await asyncio.sleep(0.3)
        if engine.pid is not None:
            os.kill(engine.pid, signal.SIGKILL)
        else:
            await asyncio.to_thread(engine.close)
        return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)

    errors = run(fall())
    assert {type(one) for one in errors} == {EngineCrashedError}
    assert all(conduct(one).retryable for one in errors)
    another = engine if engine.heals else fresh()
    assert text_of(answer(another, ask(max_new_tokens=4)))
    another.close()
    engine.close()


@behaviour("adapters")
def test_an_adapter_that_is_not_there_is_an_error_that_names_it(engine: Engine) -> None:
    with pytest.raises(ModelyardError, match="some-adapter"):
        answer(engine, ask(adapter=Adapter("some-adapter", "/nowhere")))


LONG = (Message("user", "The quick brown fox jumps over the lazy dog. " * 120),)


@behaviour("cancel")
@pytest.mark.parametrize("when", ["in the prompt", "in the answer"])
def test_leaving_frees_the_slot(engine: Engine, when: str) -> None:
    async def leave() -> tuple[bool, float]:
        stream = engine.generate(
            ask(LONG if when == "in the prompt" else ASK, max_new_tokens=400, min_new_tokens=400)
        )
        if when == "in the prompt":
            task = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0.05)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        else:
            # Pieces join while nobody reads, so a quick engine may be through before the third.
            for _ in range(3):
                await anext(stream, None)
        await stream.aclose()  # type: ignore[attr-defined]
        began = time.monotonic()
        return await free(engine), time.monotonic() - began

    freed, waited = run(leave())
    assert freed and waited < 1.5


@behaviour("cancel")
def test_a_deadline_ends_the_answer_with_its_own_error(engine: Engine) -> None:
    async def late() -> bool:
        with pytest.raises(DeadlineExceededError):
            await collect(engine, ask(deadline=time.monotonic() - 1))
        return await free(engine)

    assert run(late())


@behaviour("cancel", "concurrent")
def test_many_leave_at_random_and_the_others_are_right(engine: Engine, noise: float) -> None:
    expected = text_of(answer(engine, ask(max_new_tokens=12)))

    async def client(at: int) -> str | None:
        if at % 3:
            return text_of(await collect(engine, ask(max_new_tokens=12)))
        stream = engine.generate(ask(LONG if at % 2 else ASK, max_new_tokens=200))
        task = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.01 * (at % 7))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await stream.aclose()  # type: ignore[attr-defined]
        return None

    async def crowd() -> tuple[list[str | None], bool]:
        return await asyncio.gather(*(client(at) for at in range(24))), await free(engine)

    texts, freed = run(crowd())
    assert freed
    whole = [text for text in texts if text is not None]
    assert all(text[:8] == expected[:8] for text in whole)
    if noise < 0.1:
        assert whole == [expected] * len(whole)


@behaviour("concurrent")
def test_many_long_and_constrained_prompts_at_once_all_get_their_answer(engine: Engine) -> None:
    messages = [(Message("user", f"{at} " + "word " * 150),) for at in range(16)]
    requests = [ask(one, max_new_tokens=3, constraint=Constraint(choices=("yes", "no"))) for one in messages]
    requests += [ask((Message("user", f"{at} " + "ab " * 20000),)) for at in range(4)]

    async def crowd() -> list[Any]:
        return await asyncio.gather(*(collect(engine, one) for one in requests), return_exceptions=True)

    found = run(crowd())
    assert {text_of(chunks) for chunks in found[:16]} <= {"yes", "no"}
    assert all(isinstance(one, PromptTooLongError) for one in found[16:])


def test_the_fingerprint_names_model_engine_and_revision(engine: Engine) -> None:
    found = engine.fingerprint
    assert (
        found.engine == engine.name
        and found.engine_version
        and found.model
        and found.revision
        and found.precision
    )


def test_memory_is_counted(engine: Engine) -> None:
    async def during() -> Memory:
        async with contextlib.aclosing(engine.generate(ask(max_new_tokens=40, min_new_tokens=40))) as chunks:
            await anext(chunks)
            return engine.memory

    found = run(during())
    if engine.model.spec.elsewhere:
        assert (found.weights, found.kv_cache) == (0, 0)
    else:
        assert found.weights > 50_000_000 and found.kv_cache > 0


@pytest.mark.parametrize("close_first", [False, True])
def test_a_closed_engine_refuses_and_closing_twice_is_harmless(
    fresh: Callable[[], Engine], close_first: bool
) -> None:
    engine = fresh()
    if not close_first:
        answer(engine, ask(max_new_tokens=2))
    engine.close()
    engine.close()
    with pytest.raises(ModelyardError):
        answer(engine, ask(max_new_tokens=2))
