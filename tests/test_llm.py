"""LLM: the calls people write, and what they get when one is wrong."""

from __future__ import annotations

import asyncio
import json
import pickle
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from modelyard.create import create_llm
from modelyard.engines.base import Capabilities
from modelyard.engines.fake import FakeEngine
from modelyard.errors import (
    DeadlineExceededError,
    EngineCrashedError,
    InvalidArgumentError,
    ModelNotFoundError,
    ModelyardError,
    PromptTooLongError,
    UnsupportedError,
)
from modelyard.llm import LLM, ModelCapability
from modelyard.pool import Pool, default_pool
from modelyard.types import Chunk, Message, Result


@pytest.fixture
def pool() -> Any:
    made = Pool()
    yield made
    made.close()


@pytest.fixture
def fake(pool: Pool) -> Any:
    return lambda reply=None, **options: create_llm(
        "fake", pool=pool, options={**options, **({"reply": reply} if reply else {})}
    )


# -- finding a model ---------------------------------------------------------------------------------------


@pytest.mark.model
@pytest.mark.parametrize("shape", ["alias", "provider", "provider and path", "path", "device_map"])
def test_every_way_to_name_a_model_finds_it(shape: str, small_gguf: Path) -> None:
    path = str(small_gguf)
    llm = {
        "alias": lambda: create_llm("smollm2-135m"),
        "provider": lambda: create_llm("huggingface", model="smollm2-135m"),
        "provider and path": lambda: create_llm("huggingface", model_path=path, model_type="gguf"),
        "path": lambda: create_llm(path),
        "device_map": lambda: create_llm("huggingface", model="smollm2-135m", device_map="auto"),
    }[shape]()
    result = llm.generate("Name the capital of France.", temperature=0, max_tokens=20)
    assert "Paris" in result.text
    assert result.fingerprint.revision.startswith("sha256:b179c952")
    assert result.fingerprint.engine == "openvino"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"name": "smolm2-135m"}, ModelNotFoundError, "Did you mean 'smollm2-135m'"),
        ({"name": "huggingface", "model": "smolm2-135m"}, ModelNotFoundError, "Did you mean 'smollm2-135m'"),
        ({"name": "huggingface"}, InvalidArgumentError, "no model is given"),
        ({"name": "huggingface", "model": "fake", "model_path": "x"}, InvalidArgumentError, "both given"),
        ({"name": "openai", "model": "fake"}, InvalidArgumentError, "'openai' is not a provider"),
        ({"name": "hf", "model_path": "no/such.gguf"}, ModelNotFoundError, "no/such.gguf"),
        ({"name": "hf", "model_path": __file__, "model_type": "gguf"}, InvalidArgumentError, "no .gguf"),
        ({"name": "hf", "model": "fake", "model_type": "onnx"}, InvalidArgumentError, "'onnx'"),
        ({"name": "./no/such.gguf"}, ModelNotFoundError, "no/such.gguf"),
        ({"name": "fake", "quantization": "5bit"}, InvalidArgumentError, "'5bit'"),
        ({"name": "fake", "engine": "opnvino"}, InvalidArgumentError, "'opnvino'"),
        ({"name": "fake", "temprature": 1}, InvalidArgumentError, "Did you mean 'temperature'"),
        ({"name": "fake", "model_kwargs": {"revision": "x"}}, InvalidArgumentError, "revision 'x'"),
    ],
    ids=str,
)
def test_a_call_that_cannot_be_meant_says_what_is_wrong(
    arguments: dict[str, Any], error: type[ModelyardError], words: str
) -> None:
    with pytest.raises(error, match=words):
        create_llm(**arguments)


def test_a_quantization_that_the_engine_cannot_load_with_is_refused(pool: Pool) -> None:
    with pytest.raises(UnsupportedError, match="quantization '4bit'"):
        create_llm("fake", quantization="4bit", pool=pool).generate("Hello")


@pytest.mark.parametrize("how", [{"device_map": "cuda:0"}, {"model_kwargs": {"torch_dtype": "auto"}}])
def test_an_argument_that_the_engine_cannot_honour_is_refused(pool: Pool, how: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"device_map|torch_dtype"):
        create_llm("fake", pool=pool, **how).generate("Hello")


def test_the_settings_can_be_read_back() -> None:
    llm = create_llm("huggingface", model="fake", temperature=0.3)
    assert llm.config_manager.get_param("use_inference_api") is False
    assert llm.config_manager.get_param("temperature") == 0.3
    assert llm.config_manager.get_param("no_such", "default") == "default"


def test_a_key_is_in_no_setting_and_no_repr() -> None:
    llm = create_llm("fake", api_key="hf_secretsecret")
    assert llm.config_manager.get_param("api_key") is None
    assert "secret" not in repr(llm) + repr(vars(llm.config_manager))


def test_capabilities_are_told_by_name(fake: Any) -> None:
    found = fake(context_length=77).get_capabilities()
    assert found.get(ModelCapability.STREAMING) is True
    assert found[ModelCapability.CONTEXT_LENGTH] == 77
    assert set(found) == set(ModelCapability)


# -- answers -----------------------------------------------------------------------------------------------


def test_a_stream_joined_is_the_answer(fake: Any) -> None:
    llm = fake()
    whole = llm.generate("Hello", temperature=0)
    chunks = list(llm.stream("Hello", temperature=0))
    assert len(chunks) > 2 and "".join(chunk.text for chunk in chunks) == whole.text
    assert chunks[-1].usage == whole.usage


def test_the_async_answers_are_the_same_as_the_sync_ones(fake: Any) -> None:
    llm = fake()

    async def main() -> tuple[Result, str]:
        streamed = [chunk.text async for chunk in llm.stream_async("Hello", temperature=0)]
        return await llm.generate_async("Hello", temperature=0), "".join(streamed)

    result, streamed = asyncio.run(main())
    assert result.text == streamed == llm.generate("Hello", temperature=0).text


def test_several_gathered_are_each_answered(fake: Any) -> None:
    llm = fake()

    async def main() -> list[Result]:
        return await asyncio.gather(*(llm.generate_async(f"Say {at}", temperature=0) for at in range(20)))

    assert [str(one) for one in asyncio.run(main())] == [
        str(llm.generate(f"Say {at}", temperature=0)) for at in range(20)
    ]


def test_a_sync_call_inside_a_running_event_loop_works(fake: Any) -> None:
    llm = fake("fine")

    async def main() -> tuple[str, str]:
        return str(llm.generate("Hello")), "".join(chunk.text for chunk in llm.stream("Hello"))

    assert asyncio.run(main()) == ("fine", "fine")


def test_a_sync_call_from_inside_modelyards_own_loop_is_refused_and_not_waited_for_ever(fake: Any) -> None:
    from modelyard import portal

    llm = fake("fine")

    async def inside() -> list[str]:
        found = []
        for call in (lambda: llm.generate("Hello"), lambda: list(llm.stream("Hello"))):
            with pytest.raises(InvalidArgumentError, match="synchronous") as caught:
                call()
            found.append(caught.value.hint)
        return found

    assert all("generate_async" in hint for hint in portal.run(inside()))


def test_sync_calls_of_many_threads_share_the_model(fake: Any) -> None:
    llm = fake("fine")
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(str(llm.generate("Hello")))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["fine"] * 8


def test_several_answers_are_alternatives_that_differ_and_repeat_with_their_seed(fake: Any) -> None:
    llm = fake()
    how = {"n": 3, "seed": 5, "temperature": 1}
    first, again = llm.generate("Hello", **how), llm.generate("Hello", **how)
    texts = [str(one) for one in (first, *first.alternatives)]
    assert len(set(texts)) == 3
    assert texts == [str(one) for one in (again, *again.alternatives)]
    assert texts[1] == str(llm.generate("Hello", seed=6, temperature=1))


def test_the_largest_seed_does_for_several_answers_too(fake: Any) -> None:
    assert len(fake().generate("Hello", n=3, seed=2**64 - 1).alternatives) == 2


def test_a_stream_of_several_answers_is_refused(fake: Any) -> None:
    with pytest.raises(UnsupportedError, match="one answer"):
        list(fake().stream("Hello", n=2))


def test_the_full_text_is_prompt_and_answer_and_its_spans_hold(fake: Any) -> None:
    result = fake("the answer").generate("The prompt: ", return_full_text=True)
    assert result.text == "The prompt: the answer"
    assert all(result.text[token.start : token.end] == token.text for token in result.tokens)
    assert "".join(chunk.text for chunk in fake("the answer").stream("Ask: ", return_full_text=True)) == (
        "Ask: the answer"
    )


def test_parameters_of_the_llm_stand_under_those_of_the_request(pool: Pool) -> None:
    llm = create_llm("fake", pool=pool, max_tokens=3)
    assert llm.generate("Hello").usage.completion_tokens == 3
    assert llm.generate("Hello", max_tokens=2).usage.completion_tokens == 2


def test_warnings_come_with_the_result_and_with_the_last_chunk(fake: Any) -> None:
    how = {"temperature": 0, "do_sample": True}
    result = fake().generate("Hello", **how)
    assert [one.code for one in result.warnings] == ["sampling_ignored"]
    last: Chunk = list(fake().stream("Hello", **how))[-1]
    assert [one.code for one in last.warnings] == ["sampling_ignored"]


def test_a_form_that_was_cut_is_said(fake: Any) -> None:
    result = fake().generate("Hello", choices=["one two three four", "five six seven eight"], max_tokens=2)
    assert result.finish_reason == "length"
    assert [one.code for one in result.warnings] == ["constraint_not_met"]


class Person(BaseModel):
    name: str
    age: int


def test_a_pydantic_class_is_a_schema(fake: Any) -> None:
    result = fake().generate("Who?", schema=Person)
    assert Person.model_validate_json(result.text)


def test_a_json_schema_is_kept(fake: Any) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    assert isinstance(json.loads(fake().generate("Who?", schema=schema).text)["ok"], bool)


def test_messages_of_every_usual_form_are_read(fake: Any) -> None:
    llm = fake()
    plain = llm.count_tokens([Message("system", "Be brief."), Message("user", "Hi")])
    parts = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
    ]
    assert llm.count_tokens(parts) == plain
    assert llm.generate("Hi", system_prompt="Be brief.").usage.prompt_tokens == plain


def test_a_raw_prompt_is_given_as_it_stands(fake: Any) -> None:
    assert fake().generate("one two three", raw=True).usage.prompt_tokens == 3
    assert fake().count_tokens("one two three", raw=True) == 3


def test_scores_are_given_in_the_order_of_the_continuations(fake: Any) -> None:
    llm = fake()
    both = llm.score("The capital is", [" Paris", " Rome"])
    assert both == (*llm.score("The capital is", [" Paris"]), *llm.score("The capital is", [" Rome"]))


BAD: list[tuple[dict[str, Any], str]] = [
    ({"temprature": 0}, "Did you mean 'temperature'"),
    ({"shema": {}}, "Did you mean .*'schema'"),
    ({"system_promt": "x"}, "Did you mean .*'system_prompt'"),
    ({"time_out": 5}, "Did you mean .*'timeout'"),
    ({"schema": {}, "regex": "a"}, "schema and regex are given together"),
    ({"regex": "a", "choices": ["b"]}, "regex and choices are given together"),
    ({"schema": 5}, "schema is 5"),
    ({"regex": 5}, "regex is 5"),
    ({"regex": "(["}, "regex"),
    ({"choices": "yes"}, "choices is 'yes'"),
    ({"choices": 5}, "choices is 5"),
    ({"choices": [1, 2]}, r"choices is \[1, 2\]"),
    ({"choices": []}, "empty"),
    ({"timeout": 0}, "timeout is 0"),
    ({"timeout": "5"}, "timeout is '5'"),
    ({"timeout": True}, "timeout is True"),
    ({"timeout": float("nan")}, "timeout is nan"),
    ({"raw": "yes"}, "raw is 'yes'"),
    ({"logprobs": 5}, "logprobs is 5"),
    ({"system_prompt": 5}, "system_prompt is 5"),
    ({"raw": True, "system_prompt": "x"}, "raw prompt takes no system_prompt"),
    ({"adapter": 3}, "adapter is 3"),
    ({"temperature": 0, "n": 2}, "greedy"),
    ({"min_new_tokens": 600}, "600 tokens at least"),
    ({"max_length": 20, "min_new_tokens": 30}, "30 tokens at least"),
]


@pytest.mark.parametrize(("how", "words"), BAD, ids=[str(how)[:40] for how, _ in BAD])
def test_an_argument_that_cannot_be_used_is_named(fake: Any, how: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        fake().generate("Hello", **how)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("", "empty"),
        ("  \n\t", "empty"),
        ([], "empty"),
        ([{"role": "user", "content": ""}], "empty"),
        (None, "prompt is None"),
        (5, "prompt is 5"),
        (b"bytes", "prompt is b'bytes'"),
        ({"role": "user", "content": "x"}, "prompt is {'role'"),
        ([None], "message is None"),
        (["text"], "message is 'text'"),
        ([{"role": "king", "content": "x"}], "role 'king'"),
        ([{"role": ["user"], "content": "x"}], "role"),
        ([{"role": "user"}], "'role'"),
        ([{"role": "user", "content": "x", "name": "y"}], "'name'"),
        ([{"role": "user", "content": 5}], "content 5"),
        ([{"role": "user", "content": b"x"}], "content b'x'"),
        ([{"role": "user", "content": [{"type": "video"}]}], "part"),
        ("half \ud83d here", "half of a surrogate pair.* at character 5"),
    ],
    ids=lambda one: ascii(one)[:30],
)
def test_a_prompt_that_cannot_be_read_is_named(fake: Any, prompt: Any, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        fake().generate(prompt)


@pytest.mark.parametrize("given", ["text", 5, None, [], [""], [5], ["\ud800"]], ids=ascii)
def test_continuations_that_cannot_be_scored_are_named(fake: Any, given: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        fake().score("The capital is", given)


@pytest.mark.parametrize(
    "options",
    [{"dellay": 1}, {"delay": "long"}, {"delay": -1}, {"context_length": 0}, {"context_length": "x"}],
    ids=str,
)
def test_an_option_that_the_engine_does_not_take_is_named(pool: Pool, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(options))):
        create_llm("fake", pool=pool, options=options).generate("Hello")


def test_one_bad_answer_of_several_is_one_error(fake: Any) -> None:
    with pytest.raises(PromptTooLongError):
        fake(context_length=10).generate("word " * 20, n=4)


# -- leaving early -----------------------------------------------------------------------------------------


def active(llm: LLM) -> int:
    async def look() -> int:
        async with llm._lease() as engine:
            return engine._loop.active  # type: ignore[attr-defined, no-any-return]

    return asyncio.run(look())


def becomes_free(llm: LLM) -> bool:
    until = time.monotonic() + 5
    while active(llm) and time.monotonic() < until:
        time.sleep(0.01)
    return active(llm) == 0


def test_a_timeout_is_a_deadline_error_and_frees_the_slot(fake: Any) -> None:
    llm = fake("word " * 1000, delay=0.01)
    with pytest.raises(DeadlineExceededError, match="tokens"):
        llm.generate("Hello", timeout=0.05, max_tokens=1000)
    assert becomes_free(llm)


def test_a_stream_left_early_frees_its_slot(fake: Any) -> None:
    llm = fake("word " * 1000, delay=0.01)
    for _ in llm.stream("Hello", max_tokens=1000):
        break
    assert becomes_free(llm)


def test_a_stream_that_nobody_reads_on_stops_at_what_was_read(fake: Any) -> None:
    llm = fake("word " * 50)
    stream = llm.stream("Hello")
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert next(iter(stream), None) is None and becomes_free(llm)


def test_cancelling_a_task_frees_its_slot(fake: Any) -> None:
    llm = fake("word " * 1000, delay=0.01)

    async def main() -> None:
        task = asyncio.ensure_future(llm.generate_async("Hello", max_tokens=1000, n=1))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert becomes_free(llm)


def test_leaving_the_context_unloads_the_model(pool: Pool) -> None:
    with create_llm("fake", pool=pool) as llm:
        llm.generate("Hello")
        assert pool.loaded() == ("fake",)
    assert pool.loaded() == ()


def test_closing_during_an_answer_lets_it_end(fake: Any) -> None:
    llm = fake("one two three", delay=0.02)
    stream = llm.stream("Hello")
    first = next(stream)
    llm.close()
    assert first.text + "".join(chunk.text for chunk in stream) == "one two three"


def test_an_answer_whose_pool_is_closed_is_a_typed_error(pool: Pool, fake: Any) -> None:
    stream = fake("word " * 1000, delay=0.01).stream("Hello", max_tokens=1000)
    next(stream)
    pool.close()
    with pytest.raises(EngineCrashedError):
        list(stream)


# -- the likeliest tokens ----------------------------------------------------------------------------------


def test_the_likeliest_tokens_come_with_each_token_and_as_plain_data(fake: Any) -> None:
    result = fake("yes no").generate("Hi", top_logprobs=2)
    tops = [[(one.text, one.logprob) for one in token.top] for token in result.tokens]
    assert [top[0] for top in tops] == [(token.text, token.logprob) for token in result.tokens]
    assert all(len(top) == 2 and top[0][1] > top[1][1] for top in tops)
    shown = json.loads(json.dumps(result.to_dict()))["tokens"][0]["top"]
    assert shown[0] == {"text": "yes", "id": result.tokens[0].id, "logprob": result.tokens[0].logprob}
    assert all(token.top == () for token in fake("yes no").generate("Hi").tokens)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"top_logprobs": 21}, "top_logprobs is 21"),
        ({"top_logprobs": -1}, "top_logprobs is -1"),
        ({"top_logprobs": True}, "top_logprobs is True"),
        ({"top_logprobs": 2.0}, "top_logprobs is 2.0"),
        ({"top_logprobs": 2, "logprobs": False}, "top_logprobs is 2, and logprobs is False"),
        ({"top_logprob": 2}, "Did you mean 'top_logprobs'"),
    ],
)
def test_a_mistake_in_top_logprobs_is_named(fake: Any, how: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        fake().generate("Hi", **how)


def test_more_of_the_likeliest_tokens_than_the_engine_gives_are_refused_before_it_is_asked(
    fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = Capabilities(top_logprobs=5, context_length=4096)
    monkeypatch.setattr(FakeEngine, "capabilities", property(lambda self: few))
    llm = fake()
    assert llm.generate("Hi", top_logprobs=5).tokens[0].top
    with pytest.raises(UnsupportedError, match="engine fake gives at most 5 of 'fake'"):
        llm.generate("Hi", top_logprobs=6)
    with pytest.raises(UnsupportedError, match="engine fake gives at most 5 of 'fake'"):
        next(llm.stream("Hi", top_logprobs=6))


# -- tools -------------------------------------------------------------------------------------------------

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


def test_a_tool_is_called_and_its_result_goes_back(fake: Any) -> None:
    llm = fake('<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>')
    result = llm.generate("1 + 1?", tools=[TOOL])
    (call,) = result.to_dict()["tool_calls"]
    assert (result.text, call["name"], call["arguments"]) == ("", "add", '{"a": 1}')
    turns = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "tool_calls": result.tool_calls}]
    turns += [{"role": "tool", "content": "2", "tool_call_id": call["id"]}]
    assert llm.count_tokens(turns) > llm.count_tokens(turns[:1])
    assert llm.generate(turns, tools=[TOOL], tool_choice="required").tool_calls[0].name == "add"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"tools": []}, "tools is"),
        ({"tools": [{"type": "function"}]}, "a tool is"),
        ({"tools": [TOOL], "tool_choice": "subtract"}, "tool_choice is 'subtract'"),
        ({"tool_choice": "auto"}, "no tools"),
        ({"tools": [{"function": {"name": "x", "parameters": "none"}}]}, "parameters"),
        ({"tools": [TOOL], "raw": True}, "raw prompt"),
        ({"tools": [TOOL], "choices": ["yes"]}, "together with a schema, regex or choices"),
    ],
)
def test_a_mistake_in_tools_is_named(fake: Any, how: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        fake().generate("Hi", **how)


def test_an_llm_that_travels_answers_from_the_pool_where_it_arrives() -> None:
    llm = create_llm("fake", temperature=0, max_tokens=3)
    there = pickle.loads(pickle.dumps(llm))
    assert there.params == llm.params
    assert there.pool is default_pool()
    assert there.generate("Hello").text == llm.generate("Hello").text
