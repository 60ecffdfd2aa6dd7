"""LangChain on our models: what goes in arrives, what comes out says all of it, and nothing is lost in silence."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from pydantic import BaseModel, Field, field_validator
from tests import models

from modelyard import create_llm
from modelyard.errors import (
    InvalidArgumentError,
    ModelNotFoundError,
    PromptTooLongError,
    QueueFullError,
    UnsupportedError,
)
from modelyard.llm import LLM
from modelyard.pool import Pool
from modelyard.types import ImagePart, Message, TextPart, ToolCall

pytest.importorskip("langchain_core")

from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import ModelRefusalError, OutputParserException
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.runnables import ConfigurableField
from langchain_core.tools import tool

from modelyard.integrations.langchain import ChatModelyard, ModelyardEmbeddings, ModelyardLLM
from modelyard.integrations.langchain.messages import as_ours
from modelyard.integrations.langchain.retry import retried, stream_retried


def fake(reply: Any = None, **how: Any) -> ChatModelyard:
    options = how.pop("options", {}) | ({} if reply is None else {"reply": reply})
    return ChatModelyard(model="fake", options=options, **how)


def joined(chunks: Any) -> AIMessageChunk:
    found = None
    for one in chunks:
        found = one if found is None else found + one
    assert isinstance(found, AIMessageChunk)
    return found


# -- arguments ---------------------------------------------------------------------------------------------


def test_importing_modelyard_brings_no_langchain() -> None:
    code = "import sys, modelyard, modelyard.integrations; print('langchain_core' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


@pytest.mark.parametrize("cls", [ChatModelyard, ModelyardLLM, ModelyardEmbeddings])
def test_a_wrong_argument_is_named_with_the_nearest(cls: Any) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"'quantisation' is not known\. Did you mean 'quantization'"
    ):
        cls(model="fake", quantisation="4bit")


def test_a_wrong_argument_of_a_call_is_named_with_the_nearest() -> None:
    with pytest.raises(InvalidArgumentError, match=r"'temprature' is not known\. Did you mean 'temperature'"):
        fake().invoke("Hello", temprature=0)


def test_a_wrong_model_is_an_error_at_once() -> None:
    with pytest.raises(ModelNotFoundError, match="smollm2-135m"):
        ChatModelyard(model="smollm2-135")


def test_a_bad_value_is_an_error_at_once() -> None:
    with pytest.raises(InvalidArgumentError, match="'temperature' has value -1"):
        fake(temperature=-1)
    with pytest.raises(UnsupportedError, match="'num_beams' has value 4"):
        fake(num_beams=4)


def test_no_model_and_two_models_are_errors() -> None:
    with pytest.raises(InvalidArgumentError, match="model is None"):
        ChatModelyard()
    with pytest.raises(InvalidArgumentError, match="llm is given together with model, engine"):
        ChatModelyard(llm=create_llm("fake"), model="fake", engine="fake")


def test_every_sampling_parameter_is_an_argument_of_its_own() -> None:
    chat = fake(max_new_tokens=7, min_p=0.1, repetition_penalty=1.1, stop_sequences=["END"], use_cache=True)
    assert chat.max_tokens == 7 and chat.params["min_p"] == 0.1 and chat.stop == ["END"]
    assert chat.sampling == {
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "max_new_tokens": 7,
        "stop": ("END",),
    }
    with pytest.raises(InvalidArgumentError, match="max_tokens is given twice"):
        fake(max_new_tokens=7, max_tokens=8)


def test_a_call_goes_before_the_class_and_one_length_replaces_the_other() -> None:
    chat = fake("one two three four five", max_tokens=4, stop=["three"])
    assert chat.invoke("Hello").content == "one two "
    assert chat.invoke("Hello", stop=["two"]).content == "one "
    assert chat.invoke("Hello", stop=[], max_tokens=2).content == "one two"
    prompt = int(chat.invoke("Hello").usage_metadata["input_tokens"])
    assert chat.invoke("Hello", stop=[], max_length=prompt + 1).content == "one"
    assert chat.invoke("Hello", stop=None, max_tokens=None).content == "one two "


def test_from_llm_asks_that_very_model() -> None:
    llm = create_llm("fake", options={"reply": "mine"}, max_tokens=1)
    assert ChatModelyard.from_llm(llm).language_model is llm
    assert ChatModelyard.from_llm(llm, temperature=0).invoke("Hello").content == "mine"
    assert ModelyardLLM.from_llm(llm).invoke("Hello") == "mine"


def test_a_path_names_a_model_too(tmp_path: Path) -> None:
    assert ChatModelyard(model_path=str(models.tiny("gpt2"))).model_title.startswith("tiny-gpt2")
    with pytest.raises(ModelNotFoundError, match="nowhere"):
        ChatModelyard(model_path=str(tmp_path / "nowhere"))


def test_a_call_can_name_another_model(tmp_path: Path) -> None:
    catalog = tmp_path / "models.yaml"
    options = "engine: fake\n    options: {{reply: {}}}"
    catalog.write_text(
        f"models:\n  a:\n    {options.format('I am a')}\n  b:\n    {options.format('I am b')}\n"
    )
    chat = ChatModelyard(model="a", catalog=catalog)
    assert [chat.invoke("Who?").content, chat.invoke("Who?", model="b").content] == ["I am a", "I am b"]
    assert chat.invoke("Who?", model="b").response_metadata["model_name"] == "b"
    with pytest.raises(InvalidArgumentError, match="asks for model 'b'"):
        ChatModelyard.from_llm(create_llm("a", catalog=catalog)).invoke("Who?", model="b")


def test_no_secret_is_in_what_traces_see() -> None:
    chat = fake(api_key="hf_very_secret")
    seen = f"{chat!r} {chat} {chat.identity} {chat.asdict()} {chat._get_ls_params()}"
    assert "very_secret" not in seen and chat.asdict()["_type"] == "modelyard"


def test_traces_are_told_model_and_parameters() -> None:
    told = fake(temperature=0.3, max_tokens=9)._get_ls_params(stop=["END"])
    assert told == {
        "ls_provider": "modelyard",
        "ls_model_name": "fake",
        "ls_model_type": "chat",
        "ls_temperature": 0.3,
        "ls_max_tokens": 9,
        "ls_stop": ["END"],
    }


def test_langchains_cache_tells_models_and_parameters_apart() -> None:
    cache = InMemoryCache()
    first = fake("one", cache=cache).invoke("Hello").content
    other = fake("two", cache=cache).invoke("Hello").content
    short = fake("one two", cache=cache, max_tokens=1).invoke("Hello").content
    given = [
        ChatModelyard.from_llm(create_llm("fake", options={"reply": one}), cache=cache)
        .invoke("Hello")
        .content
        for one in ("three", "four")
    ]
    assert (first, other, short, given) == ("one", "two", "one", ["three", "four"])


def test_fields_are_configurable_at_run_time() -> None:
    chat = fake("one two three", min_p=0.1).configurable_fields(max_tokens=ConfigurableField(id="most"))
    assert chat.with_config(configurable={"most": 2}).invoke("Hello").content == "one two"


def test_the_profile_says_what_is_known_before_loading() -> None:
    profile = ChatModelyard(model="qwen2.5_vl_7b").profile
    assert profile is not None and profile["image_inputs"] and not profile["audio_inputs"]
    assert fake().profile["image_inputs"] is False  # type: ignore[index]


# -- answers -----------------------------------------------------------------------------------------------


def test_an_answer_says_all_there_is_to_say() -> None:
    message = fake("Paris is nice", max_tokens=2, temperature=0, do_sample=True).invoke("Hello")
    usage, told = message.usage_metadata, message.response_metadata
    assert message.content == "Paris is" and usage is not None
    assert usage["output_tokens"] == 2 and usage["total_tokens"] == usage["input_tokens"] + 2
    assert told["finish_reason"] == "length" and told["model_name"] == "fake"
    assert told["fingerprint"]["engine"] == "fake" and "logprobs" not in told
    assert [one["code"] for one in told["warnings"]] == ["sampling_ignored"]


def test_logprobs_have_openais_form() -> None:
    message = fake("Paris is", logprobs=True, top_logprobs=2).invoke("Hello")
    listed = message.response_metadata["logprobs"]["content"]
    assert [one["token"] for one in listed] == ["Paris", " is"] and listed[0]["bytes"] == list(b"Paris")
    assert all(one["logprob"] <= 0 and len(one["top_logprobs"]) == 2 for one in listed)
    assert listed[0]["top_logprobs"][0]["token"] == "Paris"
    assert "logprobs" in fake("Paris").invoke("Hello", top_logprobs=1).response_metadata
    assert "logprobs" not in fake("Paris").invoke("Hello").response_metadata


def test_a_stream_joined_is_the_whole_answer() -> None:
    how: dict[str, Any] = {"logprobs": True, "temperature": 0, "do_sample": True}
    whole = fake("one two three", **how).invoke("Hello")
    chunks = list(fake("one two three", **how).stream("Hello"))
    sum_ = joined(chunks)
    assert [one.content for one in chunks] == ["one", " two", " three"] or len(chunks) == 4
    assert sum_.content == whole.content and sum_.usage_metadata == whole.usage_metadata
    told = {name: value for name, value in whole.response_metadata.items() if name != "fingerprint"}
    assert sum_.response_metadata == told
    assert [one.chunk_position for one in chunks].count("last") == 1 and chunks[-1].chunk_position == "last"
    assert [one.usage_metadata is not None for one in chunks].count(True) == 1


def test_all_four_ways_give_the_same_text() -> None:
    chat = fake(seed=3)

    async def aside() -> tuple[Any, str]:
        return await chat.ainvoke("Hello"), "".join([str(one.content) async for one in chat.astream("Hello")])

    message, streamed = asyncio.run(aside())
    texts = {chat.invoke("Hello").content, joined(chat.stream("Hello")).content, message.content, streamed}
    assert len(texts) == 1


def test_a_batch_keeps_its_order() -> None:
    chat = fake(temperature=0)
    questions: list[Any] = ["one", "two", "three"]
    alone = [chat.invoke(one).content for one in questions]
    assert [one.content for one in chat.batch(questions)] == alone
    assert [one.content for one in asyncio.run(chat.abatch(questions))] == alone


def test_several_answers_are_several_generations() -> None:
    result = fake(num_return_sequences=3, seed=1).generate([[HumanMessage("Hello")]])
    assert len({one.text for one in result.generations[0]}) == 3


def test_handlers_hear_every_token() -> None:
    class Heard(BaseCallbackHandler):
        tokens: list[str]

        def __init__(self) -> None:
            self.tokens = []

        def on_llm_new_token(self, token: Any, **_: Any) -> None:
            self.tokens.append(str(token))

    for source in (fake("one two three"), ModelyardLLM(model="fake", options={"reply": "one two three"})):
        heard = Heard()
        list(source.stream("Hello", config={"callbacks": [heard]}))
        assert "".join(heard.tokens) == "one two three" and len(heard.tokens) >= 3


def test_the_models_own_tokenizer_counts() -> None:
    chat = fake()
    counted = chat.get_num_tokens_from_messages([HumanMessage("Hello there")])
    assert chat.get_num_tokens("one two three") == 3
    assert counted == chat.invoke("Hello there").usage_metadata["input_tokens"]  # type: ignore[index]
    with pytest.raises(UnsupportedError, match="tools"):
        chat.get_num_tokens_from_messages([HumanMessage("Hello")], tools=[{"name": "f"}])


def test_our_own_errors_come_through() -> None:
    with pytest.raises(PromptTooLongError):
        fake(options={"context_length": 4}).invoke("word " * 20)


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


SLOW: dict[str, Any] = {"reply": "word " * 1000, "delay": 0.01}


def test_leaving_a_stream_ends_the_engines_work() -> None:
    chat = fake(options=SLOW, max_tokens=1000)
    for _ in chat.stream("Hello"):
        break
    assert becomes_free(chat.language_model)


def test_leaving_an_asynchronous_stream_ends_the_engines_work() -> None:
    chat = fake(options=SLOW, max_tokens=1000)

    async def leave() -> int:
        stream: Any = chat.astream("Hello")
        async with aclosing(stream):
            async for _ in stream:
                return active_now
        return 0

    active_now = 1
    assert asyncio.run(leave()) == 1 and becomes_free(chat.language_model)


@pytest.mark.parametrize("make", [lambda: fake(options=SLOW, max_tokens=1000), lambda: ModelyardLLM(model="fake", options=SLOW, max_tokens=1000)])  # fmt: skip
def test_cancelling_ainvoke_ends_the_engines_work(make: Callable[[], Any]) -> None:
    model = make()

    async def cancel() -> None:
        task = asyncio.ensure_future(model.ainvoke("Hello"))
        while not await asyncio.to_thread(active, model.language_model):
            assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert becomes_free(model.language_model)


# -- requests that are made again --------------------------------------------------------------------------


def test_only_errors_that_pass_are_worth_another_try() -> None:
    made: list[int] = []

    async def ask(error: Exception | None) -> str:
        made.append(len(made))
        if len(made) < 3 and error is not None:
            raise error
        return "answer"

    full = QueueFullError("full", retry_after=0.01)
    assert asyncio.run(retried(lambda: ask(full), 2)) == "answer" and len(made) == 3
    made.clear()
    with pytest.raises(QueueFullError):
        asyncio.run(retried(lambda: ask(full), 1))
    made.clear()
    with pytest.raises(PromptTooLongError):
        asyncio.run(retried(lambda: ask(PromptTooLongError("long")), 5))
    assert len(made) == 1


def test_a_stream_that_has_begun_is_not_begun_again() -> None:
    async def ask(fails_after: int, made: list[int]) -> AsyncGenerator[int, None]:
        made.append(1)
        for at in range(3):
            if at == fails_after and len(made) == 1:
                raise QueueFullError("full", retry_after=0.01)
            yield at

    async def read(fails_after: int) -> list[int]:
        made: list[int] = []
        return [one async for one in stream_retried(lambda: ask(fails_after, made), 2)]

    assert asyncio.run(read(0)) == [0, 1, 2]
    with pytest.raises(QueueFullError):
        asyncio.run(read(1))


# -- messages ----------------------------------------------------------------------------------------------

PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90wS\xde\x00\x00"
    b"\x00\x0cIDATx\x9cc\xf8\xcf\xc0\x00\x00\x03\x01\x01\x00\xc9\xfe\x92\xef\x00\x00\x00\x00IEND\xaeB`\x82"
)
WRITTEN = base64.b64encode(PNG).decode()
IMAGES = {
    "v1 base64": {"type": "image", "base64": WRITTEN, "mime_type": "image/png"},
    "v1 data URL": {"type": "image", "url": f"data:image/png;base64,{WRITTEN}"},
    "v0 base64": {"type": "image", "source_type": "base64", "data": WRITTEN, "mime_type": "image/png"},
    "v0 data URL": {"type": "image", "source_type": "url", "url": f"data:image/png;base64,{WRITTEN}"},
    "OpenAI": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{WRITTEN}"}},
    "OpenAI, short": {"type": "image_url", "image_url": f"data:image/png;base64,{WRITTEN}"},
}


def ours(*messages: BaseMessage) -> list[Message]:
    return as_ours(messages)[0]


def test_every_role_has_its_own() -> None:
    turns = ours(
        SystemMessage("s"),
        HumanMessage("u"),
        AIMessage("a"),
        ChatMessage("d", role="developer"),
        ChatMessage("c", role="user"),
    )
    assert [(one.role, one.text) for one in turns] == [
        ("system", "s"), ("user", "u"), ("assistant", "a"), ("system", "d"), ("user", "c"),
    ]  # fmt: skip


@pytest.mark.parametrize("message", [FunctionMessage("x", name="f"), ChatMessage("x", role="critic")])
def test_a_role_that_is_not_known_is_refused_by_name(message: BaseMessage) -> None:
    with pytest.raises(UnsupportedError, match=r"function|chat \(critic\)"):
        fake().invoke([message])


def test_calls_and_their_results_go_there_and_back() -> None:
    asked = AIMessage(
        "",
        tool_calls=[{"name": "add", "args": {"a": 1}, "id": "c1"}],
        invalid_tool_calls=[{"name": "add", "args": "{a", "id": "c2", "error": "broken"}],
    )
    turns = ours(HumanMessage("1+1?"), asked, ToolMessage("2", tool_call_id="c1", name="add"))
    assert turns[1].tool_calls == (ToolCall("c1", "add", '{"a": 1}'), ToolCall("c2", "add", "{a"))
    assert turns[2] == Message("tool", "2", (), "c1")


def test_a_call_that_also_stands_in_the_content_is_one_call() -> None:
    asked = AIMessage(content_blocks=[{"type": "tool_call", "name": "f", "args": {}, "id": "c"}])
    (turn,) = ours(asked)
    assert turn.tool_calls == (ToolCall("c", "f", "{}"),) and turn.text == ""


@pytest.mark.parametrize("form", IMAGES)
def test_an_image_arrives_in_every_form_that_langchain_has(form: str) -> None:
    (turn,) = ours(HumanMessage([{"type": "text", "text": "What is this?"}, IMAGES[form]]))
    assert turn.content == (TextPart("What is this?"), ImagePart(PNG, "image/png"))
    with pytest.raises(UnsupportedError, match="this model reads text alone"):
        fake().invoke([HumanMessage([IMAGES[form]])])  # LangChain's own translation of old forms included


def test_texts_in_pieces_are_one_text() -> None:
    (turn,) = ours(HumanMessage(["a", {"type": "text", "text": "b"}, {"type": "text-plain", "text": "c"}]))
    assert turn.content == "abc"


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"}, "'audio'"),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, "'(input_)?audio'"),
        ({"type": "file", "base64": "AAAA", "mime_type": "application/pdf"}, "'file'"),
        ({"type": "video", "url": "data:video/mp4;base64,AAAA"}, "'video'"),
        ({"type": "image", "url": "https://example.org/cat.png"}, "URL https://example.org/cat.png"),
        ({"type": "image_url", "image_url": {"url": "http://example.org/a.png"}}, "URL http://example.org"),
        ({"type": "image", "file_id": "file-1"}, "'file_id'"),
        ({"type": "image", "base64": "%%%", "mime_type": "image/png"}, "base64 text is broken"),
        ({"type": "reasoning", "reasoning": "hm"}, "'reasoning'"),
        ({"type": "tool_call", "name": "f", "args": {}, "id": "c"}, "'tool_call'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_block_that_our_models_do_not_read_is_refused_by_name(block: Any, said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        fake().invoke([HumanMessage([{"type": "text", "text": "Look:"}, block])])


def test_what_is_left_out_is_said() -> None:
    turns: list[BaseMessage] = [
        HumanMessage("Hi", name="Ada"),
        AIMessage([{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "Hello"}], name="bot"),
        HumanMessage("And now?"),
    ]
    message = fake().invoke(turns)
    codes = ["message_name_ignored", "reasoning_ignored"]
    assert [one["code"] for one in message.response_metadata["warnings"]] == codes
    streamed = joined(fake().stream(turns)).response_metadata["warnings"]
    assert [one["code"] for one in streamed] == codes


@pytest.mark.parametrize("form", ["v1 base64", "OpenAI"])
def test_a_model_that_sees_answers_another_way_about_another_image(form: str) -> None:
    chat = ChatModelyard(
        model=str(models.tiny("qwen2.5-vl")), engine="transformers", temperature=0, max_tokens=8,
        options={"dtype": "float32"},
    )  # fmt: skip

    def about(colour: str) -> Any:
        from PIL import Image

        buffer = io.BytesIO()
        Image.new("RGB", (64, 64), colour).save(buffer, format="PNG")
        written = base64.b64encode(buffer.getvalue()).decode()
        block = json.loads(json.dumps(IMAGES[form]).replace(WRITTEN, written))
        return chat.invoke([HumanMessage([block, {"type": "text", "text": "What is in this picture?"}])])

    red, blue = about("red"), about("blue")
    plain = chat.invoke("What is in this picture?")
    assert red.usage_metadata["input_tokens"] > plain.usage_metadata["input_tokens"]
    assert red.content != blue.content


# -- tools -------------------------------------------------------------------------------------------------


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"fine in {city}"


class Convert(BaseModel):
    """Converts an amount of money."""

    amount: float
    to: str


CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Paris"}}</tool_call>'


def test_a_call_comes_as_langchains() -> None:
    chat = fake(CALL).bind_tools([weather])
    message = chat.invoke("How is Paris?")
    (call,) = message.tool_calls
    assert (call["name"], call["args"]) == ("weather", {"city": "Paris"}) and call["id"]
    assert message.response_metadata["finish_reason"] == "tool_calls"
    (streamed,) = joined(chat.stream("How is Paris?")).tool_calls
    assert (streamed["name"], streamed["args"]) == ("weather", {"city": "Paris"})


def test_a_tool_is_asked_answered_and_told() -> None:
    chat = fake(CALL).bind_tools([weather])
    asked = chat.invoke("How is Paris?")
    result = weather.invoke(asked.tool_calls[0])
    assert isinstance(result, ToolMessage) and result.content == "fine in Paris"
    told = fake("It is fine.").bind_tools([weather]).invoke([HumanMessage("How is Paris?"), asked, result])
    assert told.content == "It is fine." and told.tool_calls == []


@pytest.mark.parametrize("choice", ["any", "required", True, "Convert", {"type": "function", "function": {"name": "Convert"}}])  # fmt: skip
def test_a_call_can_be_asked_for(choice: Any) -> None:
    message = fake("no call").bind_tools([Convert], tool_choice=choice).invoke("Hello")
    (call,) = message.tool_calls
    assert call["name"] == "Convert" and set(call["args"]) == {"amount", "to"}


@pytest.mark.parametrize("choice", ["auto", "none", None, False])
def test_a_call_can_be_left_to_the_model(choice: Any) -> None:
    message = fake("no call").bind_tools([weather, Convert], tool_choice=choice).invoke("Hello")
    assert message.content == "no call" and message.tool_calls == []


def test_a_choice_that_names_no_tool_and_a_tool_that_is_none_are_errors_when_bound() -> None:
    with pytest.raises(InvalidArgumentError, match="tool_choice is 'wether'"):
        fake().bind_tools([weather], tool_choice="wether")
    with pytest.raises(InvalidArgumentError, match="web_search"):
        fake().bind_tools([{"type": "web_search"}])


def test_promises_that_are_not_kept_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="parallel_tool_calls"):
        fake().bind_tools([weather], parallel_tool_calls=False).invoke("Hello")
    with pytest.raises(UnsupportedError, match="strict"):
        fake().bind_tools([weather], strict=True).invoke("Hello")
    assert fake().bind_tools([weather], strict=True, tool_choice="any").invoke("Hello").tool_calls


# -- structured answers ------------------------------------------------------------------------------------


class Person(BaseModel):
    """Somebody."""

    name: str = Field(description="first name")
    age: int


class Titled(TypedDict):
    """Somebody."""

    name: Annotated[str, ..., "first name"]
    age: int


ADA = {"name": "Ada", "age": 36}
SCHEMAS: dict[str, Any] = {
    "pydantic": Person,
    "TypedDict": Titled,
    "JSON Schema": Person.model_json_schema(),
    "OpenAI function": {"name": "Person", "parameters": Person.model_json_schema()},
}


def calling(name: str) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': ADA})}</tool_call>"


def plain(found: Any) -> Any:
    return found.model_dump() if isinstance(found, BaseModel) else found


@pytest.mark.parametrize("kind", SCHEMAS)
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_every_schema_works_with_every_method(kind: str, method: Any) -> None:
    schema = SCHEMAS[kind]
    name = "Titled" if kind == "TypedDict" else "Person"
    reply = calling(name).removeprefix("<tool_call>").removesuffix("</tool_call>")
    chat = fake(reply if method == "function_calling" else json.dumps(ADA))
    asked = chat.with_structured_output(schema, method=method)
    streamed = list(asked.stream("Who?"))
    found = [asked.invoke("Who?"), streamed[-1], asyncio.run(asked.ainvoke("Who?"))]
    assert [plain(one) for one in found] == [ADA] * 3
    wanted = Person if kind == "pydantic" else dict
    assert all(isinstance(one, wanted) for one in [*found, *streamed])


def test_the_grammar_makes_the_form_whatever_the_model_says() -> None:
    found = fake("I will not answer in JSON.").with_structured_output(Person).invoke("Who?")
    assert isinstance(found, Person)


def test_a_dict_grows_while_it_streams() -> None:
    chunks = list(fake(json.dumps(ADA)).with_structured_output(Person.model_json_schema()).stream("Who?"))
    assert {"name": "Ada"} in chunks and chunks[-1] == ADA


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
@pytest.mark.parametrize("kind", ["pydantic", "JSON Schema"])
def test_an_answer_that_was_cut_is_an_error_that_says_so(method: Any, kind: str) -> None:
    asked = fake(json.dumps(ADA)).with_structured_output(SCHEMAS[kind], method=method, max_tokens=2)
    if method == "function_calling":  # the fake's shortest call is one token: a longer one is given
        reply = json.dumps({"name": "Person", "arguments": ADA})
        asked = fake(reply).with_structured_output(SCHEMAS[kind], method=method, max_tokens=2)
    with pytest.raises(
        OutputParserException, match="cut after 2 tokens, before its JSON ended: raise max_tokens"
    ):
        asked.invoke("Who?")
    with pytest.raises(OutputParserException, match="cut after 2 tokens"):
        list(asked.stream("Who?"))


def test_raw_answers_come_with_what_was_read_or_why_not() -> None:
    good = fake(json.dumps(ADA)).with_structured_output(Person, include_raw=True).invoke("Who?")
    assert (
        isinstance(good["raw"], AIMessage)
        and good["parsed"] == Person(**ADA)
        and good["parsing_error"] is None
    )
    bad = fake(json.dumps(ADA)).with_structured_output(Person, include_raw=True, max_tokens=1).invoke("Who?")
    assert bad["parsed"] is None and isinstance(bad["parsing_error"], OutputParserException)
    assert bad["raw"].response_metadata["finish_reason"] == "length"


def test_json_that_breaks_the_class_is_an_error_that_says_how() -> None:
    class Grown(Person):
        @field_validator("age")
        @classmethod
        def _grown(cls, age: int) -> int:
            if age < 40:
                raise ValueError("too young")
            return age

    with pytest.raises(OutputParserException, match=r"breaks the schema of Grown[\s\S]*too young"):
        fake(json.dumps(ADA)).with_structured_output(Grown).invoke("Who?")


def test_json_mode_goes_without_a_schema() -> None:
    asked = fake(json.dumps(ADA)).with_structured_output(method="json_mode")
    assert asked.invoke("Who?") == ADA


def test_the_model_is_shown_the_schema_behind_the_question_and_need_not_be() -> None:
    chat = fake(json.dumps(ADA))

    def tokens(**how: Any) -> int:
        raw = chat.with_structured_output(Person, include_raw=True, **how).invoke("Who?")["raw"]
        return int(raw.usage_metadata["input_tokens"])

    without = tokens(show_schema=False)
    assert without == chat.invoke("Who?").usage_metadata["input_tokens"]  # type: ignore[index]
    assert tokens() > without + 10


def test_a_method_or_schema_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="method is 'xml'"):
        fake().with_structured_output(Person, method="xml")
    with pytest.raises(InvalidArgumentError, match="schema is None"):
        fake().with_structured_output(None)
    with pytest.raises(InvalidArgumentError, match="schema is 7"):
        fake().with_structured_output(7)  # type: ignore[arg-type]


def test_openais_response_format_is_understood() -> None:
    chat = fake("no JSON at all")
    form = {"type": "json_schema", "json_schema": {"name": "p", "schema": Person.model_json_schema()}}
    assert set(json.loads(str(chat.invoke("Who?", response_format=form).content))) == {"name", "age"}
    assert json.loads(str(chat.invoke("Who?", response_format={"type": "json_object"}).content)) == {}
    assert chat.invoke("Who?", response_format={"type": "text"}).content == "no JSON at all"
    with pytest.raises(InvalidArgumentError, match="response_format is"):
        chat.invoke("Who?", response_format={"type": "xml"})


def test_a_regex_and_choices_bind_like_any_argument() -> None:
    assert fake().bind(choices=["yes", "no"]).invoke("Well?").content in ("yes", "no")
    assert fake().bind(regex="[0-9]{3}").invoke("Well?").content.isdecimal()


# -- safety ------------------------------------------------------------------------------------------------


def test_a_refused_prompt_is_a_content_filter_with_its_verdicts() -> None:
    from modelyard.safety import PatternCheck, Policy

    chat = fake("All about it", safety=Policy([PatternCheck({"project": "Falcon"})]))
    for message in (chat.invoke("What is Falcon?"), joined(chat.stream("What is Falcon?"))):
        assert message.content == "" and message.response_metadata["finish_reason"] == "content_filter"
        (verdict,) = message.response_metadata["verdicts"]
        assert verdict["check"] == "patterns" and verdict["side"] == "input"
    assert chat.invoke("What is new?").content == "All about it"
    with pytest.raises(ModelRefusalError, match="safety check"):
        chat.with_structured_output(Person).invoke("What is Falcon?")


# -- the text model and embeddings -------------------------------------------------------------------------


def test_a_text_model_answers_in_all_four_ways() -> None:
    llm = ModelyardLLM(model="fake", temperature=0, max_tokens=5)

    async def aside() -> tuple[str, str]:
        return await llm.ainvoke("Hello"), "".join([one async for one in llm.astream("Hello")])

    assert {llm.invoke("Hello"), "".join(llm.stream("Hello")), *asyncio.run(aside())} == {llm.invoke("Hello")}


def test_a_text_model_says_all_there_is_to_say() -> None:
    llm = ModelyardLLM(model="fake", options={"reply": "one two three"}, max_tokens=2, logprobs=True)
    result = llm.generate(["Hello", "Hello there"])
    first, second = (one[0].generation_info for one in result.generations)
    assert first is not None and second is not None
    assert first["finish_reason"] == "length" and first["model_name"] == "fake"
    assert first["usage"]["output_tokens"] == 2 and second["usage"]["input_tokens"] == first["usage"]["input_tokens"] + 1  # fmt: skip
    assert [one["token"] for one in first["logprobs"]["content"]] == ["one", " two"]


def test_a_text_model_uses_the_chat_template_unless_it_is_raw() -> None:
    def tokens(llm: ModelyardLLM, **how: Any) -> int:
        return int(llm.generate(["Hello"], **how).generations[0][0].generation_info["usage"]["input_tokens"])  # type: ignore[index]

    assert tokens(ModelyardLLM(model="fake")) > tokens(ModelyardLLM(model="fake", raw=True)) == 1
    assert tokens(ModelyardLLM(model="fake"), raw=True) == 1


def test_a_text_model_refuses_images_that_langchain_would_write_out_as_text() -> None:
    with pytest.raises(UnsupportedError, match="'image'"):
        ModelyardLLM(model="fake").invoke([HumanMessage(["Look:", IMAGES["v1 base64"]])])


def test_chains_of_langchain_run() -> None:
    chain = PromptTemplate.from_template("Tell me of {what}.") | ModelyardLLM(model="fake", temperature=0)
    chat = ChatPromptTemplate.from_messages([("system", "Be short."), ("human", "{what}?")]) | fake("Yes.")
    assert chain.invoke({"what": "ships"}) and (chat | StrOutputParser()).invoke({"what": "Ships"}) == "Yes."


@pytest.mark.model
def test_embeddings_are_near_where_texts_are(minilm: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "models.yaml"
    catalog.write_text(f"models:\n  vectors:\n    source: {{path: '{minilm}'}}\n    task: embedding\n")
    found = ModelyardEmbeddings(model="vectors", catalog=catalog, engine="transformers")
    texts = ["The cat sits on the mat.", "A cat is sitting on a rug.", "Earnings per share rose."]
    one, two, three = found.embed_documents(texts)
    query = asyncio.run(found.aembed_query(texts[0]))
    assert query == pytest.approx(one, abs=1e-5) and found.embed_documents([]) == []
    assert dot(one, two) > 0.6 > dot(one, three) and dot(one, one) == pytest.approx(1, abs=1e-4)
    assert asyncio.run(found.aembed_documents(texts[:1]))[0] == pytest.approx(one, abs=1e-5)


def dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


# -- a real model ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small() -> ChatModelyard:
    """The small model, loaded."""
    chat = ChatModelyard(model="smollm2-135m", temperature=0, max_tokens=48)
    chat.invoke("Hello")
    return chat


@pytest.mark.model
def test_a_real_model_answers_with_usage_and_logprobs(small: ChatModelyard) -> None:
    message = small.invoke("Name the capital of France.", logprobs=True)
    listed = message.response_metadata["logprobs"]["content"]
    assert "Paris" in str(message.content)
    assert "".join(one["token"] for one in listed) == message.content
    assert message.usage_metadata is not None and message.usage_metadata["output_tokens"] >= len(listed)
    assert all(-30 < one["logprob"] <= 0 for one in listed)


@pytest.mark.model
def test_a_real_model_streams_token_by_token(small: ChatModelyard) -> None:
    chunks = list(small.stream("Count from one to ten."))
    assert len(chunks) > 10 and joined(chunks).content == small.invoke("Count from one to ten.").content


@pytest.mark.model
def test_requests_of_a_batch_run_together(small: ChatModelyard) -> None:
    questions: list[Any] = ["Name the capital of France.", "Name the capital of Italy."] * 2
    answers = [str(one.content) for one in small.batch(questions)]
    assert all("Paris" in one for one in answers[::2]) and all("Rome" in one for one in answers[1::2])


async def longest_gap(work: Any) -> float:
    """The longest time for which the event loop did not come round while the coroutine ran."""
    gaps: list[float] = []

    async def tick() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    ticker = asyncio.create_task(tick())
    await asyncio.sleep(0.01)
    gaps.clear()
    await work
    ticker.cancel()
    return max(gaps)


@pytest.fixture(scope="module")
def apart() -> Iterator[ChatModelyard]:
    """The small model, as it is made when nothing is said: in a process of its own."""
    chat = ChatModelyard(model="smollm2-135m", temperature=0, max_tokens=48)
    with chat.language_model:
        yield chat


@pytest.mark.model
@pytest.mark.parametrize("how", ["ainvoke", "astream", "with_structured_output", "text model"])
def test_the_event_loop_is_never_blocked(apart: ChatModelyard, how: str) -> None:
    async def stream(question: str) -> int:
        return len([one async for one in apart.astream(question)])

    asked: dict[str, Callable[[str], Any]] = {
        "ainvoke": apart.ainvoke,
        "astream": stream,
        "with_structured_output": apart.with_structured_output(Person).ainvoke,
        "text model": ModelyardLLM.from_llm(apart.language_model, temperature=0, max_tokens=48).ainvoke,
    }

    async def main() -> float:
        await asked[how]("Warm up.")  # imports of LangChain's own
        return await longest_gap(
            asked[how]("Write a few sentences about a person, their name and their age.")
        )

    assert asyncio.run(main()) < 0.05


@pytest.mark.model
def test_a_real_model_is_shared_through_the_pool() -> None:
    with_pool = Pool()
    try:
        chat = ChatModelyard(model="smollm2-135m", pool=with_pool, max_tokens=2)
        text = ModelyardLLM(model="smollm2-135m", pool=with_pool, max_tokens=2)
        chat.invoke("Hello")
        text.invoke("Hello")
        assert len(with_pool.status()) == 1
    finally:
        with_pool.close()


# -- a larger model ----------------------------------------------------------------------------------------


class PerShare(BaseModel):
    """Earnings per share of the most recent quarter, in US dollars."""

    basic: float = Field(description="basic earnings per share of the most recent three months")
    diluted: float = Field(description="diluted earnings per share of the most recent three months")


@pytest.mark.slow
@pytest.mark.parametrize("filing", ["0001104659-20-053353.html", "0000950103-20-008424.html"])
def test_an_extraction_chain_reads_a_filing(filing: str) -> None:
    import modelyard
    from modelyard.extraction.documents import read_document

    folder = Path(modelyard.__file__).parent / "tasks/eps_extraction"
    labels = {
        Path(row["file"]).name: row["labels"]
        for row in map(json.loads, (folder / "labels.jsonl").read_text("utf-8").splitlines())
    }
    text = read_document(folder / "documents" / filing).text
    at = text.lower().index("diluted")
    window = text[max(0, at - 1500) : at + 500]
    asked = "What are the basic and the diluted earnings per share of the most recent quarter?"
    prompt = ChatPromptTemplate.from_messages(
        [("system", "You read filings and copy figures out of them."), ("human", "{window}\n\n" + asked)]
    )
    chat = ChatModelyard(model="qwen2.5-coder-1.5b", engine="openvino", temperature=0, max_tokens=120)
    found = (prompt | chat.with_structured_output(PerShare)).invoke({"window": window})
    assert isinstance(found, PerShare)
    assert (found.basic, found.diluted) == (labels[filing]["eps_basic"], labels[filing]["eps_diluted"])
