"""Tools: how a chat template writes a call, and calls read out of an answer however it is cut."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard import create_llm
from modelyard.catalog.model import Model
from modelyard.catalog.spec import ModelSpec
from modelyard.engines.chat import Offer, render_chat
from modelyard.engines.fake import FakeEngine
from modelyard.engines.grammar import check_answer
from modelyard.engines.tools import CallReader, ToolForm, ToolUse, tool_form, tool_use
from modelyard.errors import InvalidArgumentError, UnsupportedError
from modelyard.llm import LLM
from modelyard.types import Chunk, Constraint, Message, Request, Token, Tool, ToolCall

CITY = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"]}
TOOL = Tool("weather", "the weather of a city", CITY)

# Templates of the field, shortened: what they say around tools is left out, how they write calls is not.
QWEN = """
{%- if tools %}{{ '<|im_start|>system\\n# Tools\\n<tools>' }}
{%- for tool in tools %}{{ '\\n' }}{{ tool | tojson }}{% endfor %}{{ '\\n</tools><|im_end|>\\n' }}{% endif %}
{%- for message in messages %}
    {%- if message.role == 'assistant' and message.tool_calls %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}{{ '\\n' + message.content }}{% endif %}
        {%- for tool_call in message.tool_calls %}
            {%- set tool_call = tool_call.function %}
            {{- '\\n<tool_call>\\n{"name": "' }}{{ tool_call.name }}{{ '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}{{ '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""
LLAMA = """
{{- bos_token }}
{%- for message in messages %}
    {%- if message.role == 'user' and loop.first and tools is not none %}
        {{- '<|start_header_id|>user<|end_header_id|>\\n\\nRespond with {"name": …, "parameters": …}.\\n\\n' }}
        {%- for t in tools %}{{ t | tojson(indent=4) }}{{ '\\n\\n' }}{% endfor %}
        {{- message.content + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if message.tool_calls | length != 1 %}{{ raise_exception('one call at a time') }}{% endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}{{ tool_call.arguments | tojson }}{{ '}<|eot_id|>' }}
    {%- elif message.role == 'tool' %}
        {{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' + message.content + '<|eot_id|>' }}
    {%- else %}
        {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}
"""
MISTRAL = """
{{- bos_token }}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {%- if tools is not none %}{{ '[AVAILABLE_TOOLS] ' }}{{ tools | tojson }}{{ '[/AVAILABLE_TOOLS]' }}{% endif %}
        {{- '[INST] ' + message.content + '[/INST]' }}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- '[TOOL_CALLS] [' }}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.id | length != 9 %}{{ raise_exception('ids have 9 characters') }}{% endif %}
            {{- (tool_call.function | tojson)[:-1] + ', "id": "' + tool_call.id + '"}' }}
            {{- ', ' if not loop.last else ']' + eos_token }}
        {%- endfor %}
    {%- elif message.role == 'tool' %}
        {{- '[TOOL_RESULTS] {"content": ' + message.content + ', "call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- ' ' + message.content + eos_token }}
    {%- endif %}
{%- endfor %}
"""
THINKING = QWEN.replace(
    "'<|im_start|>' + message.role }}", "'<|im_start|>' + message.role + '\\n<think>\\n\\n</think>\\n' }}"
)
THINKING = THINKING.replace(
    "message.role + '\\n' + message.content",
    "message.role + '\\n<think>\\n\\n</think>\\n\\n' + message.content",
)
PLAIN = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
PYTHONIC = QWEN.replace("""'\\n<tool_call>\\n{"name": "'""", "'<function='").replace(
    """'", "arguments": '""", "'>'"
)
SECTIONS = QWEN.replace("'\\n<tool_call>\\n{", "'\\n<plan></plan><action>{")
UNCALLED = "{% if tools %}{{ tools | tojson }}{% endif %}" + PLAIN
BROKEN = "{% if tools %}{{ tools.nothing.more }}{% endif %}" + PLAIN


def asking(**how: Any) -> Request:
    return Request(messages=(Message("user", "How is Paris?"),), **how)


def made(options: dict[str, Any]) -> FakeEngine:
    spec = ModelSpec.model_validate({"alias": "fake", "engine": "fake"})
    return FakeEngine(Model.builtin(spec), options)


@pytest.fixture(scope="module")
def engine() -> Iterator[FakeEngine]:
    """An engine, to name in a refusal."""
    found = made({})
    yield found
    found.close()


MARKED = ToolForm("<tool_call>\n", "name", "arguments", "\n</tool_call>")
BARE = ToolForm("", "name", "parameters", "")
LISTED = ToolForm("[TOOL_CALLS] [", "name", "arguments", "]")


@pytest.mark.parametrize(
    ("template", "form"),
    [(QWEN, MARKED), (LLAMA, BARE), (MISTRAL, LISTED), (THINKING, MARKED)],
    ids=["qwen", "llama", "mistral", "thinking"],
)
def test_the_form_of_a_call_is_found_in_the_template(template: str, form: ToolForm) -> None:
    assert tool_form(template) == form


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (None, "it has no chat template"),
        (PLAIN, "its chat template has none"),
        (UNCALLED, "in a form that is not understood"),
        (PYTHONIC, "in a form that is not understood"),
        (SECTIONS, "in a form that is not understood"),
        (BROKEN, r"fails with them \('list object' has no attribute 'nothing'\)"),
        ("{% if %}", "Expected an expression"),
    ],
    ids=["none", "plain", "uncalled", "pythonic", "sections", "broken", "no program"],
)
def test_where_the_form_cannot_be_made_out_tools_are_refused_with_the_reason(
    engine: FakeEngine, template: str | None, why: str
) -> None:
    assert tool_form(template) is None
    with pytest.raises(UnsupportedError, match=f"no tools: .*{why}"):
        tool_use(engine, asking(tools=(TOOL,)), template)
    assert tool_use(engine, asking(tools=(TOOL,), tool_choice="none"), template).form is None


# -- the prompt --------------------------------------------------------------------------------------------

CALLED = (
    Message("user", "How is Paris?"),
    Message("assistant", "", (ToolCall("call_abc", "weather", '{"city": "Paris"}'),)),
    Message("tool", "18 degrees", tool_call_id="call_abc"),
)


def test_a_conversation_with_calls_is_given_to_the_template_as_transformers_gives_it() -> None:
    text, _ = render_chat("{{ messages | tojson }}{{ tools | tojson }}", CALLED, offer=Offer((TOOL,)))
    turns, end = json.JSONDecoder().raw_decode(text)
    function = {"name": "weather", "arguments": {"city": "Paris"}}
    assert turns[1]["tool_calls"] == [{"id": "call_abc", "type": "function", "function": function}]
    assert turns[2] == {
        "role": "tool", "content": "18 degrees", "tool_call_id": "call_abc", "name": "weather",
    }  # fmt: skip
    described = {"name": "weather", "description": "the weather of a city", "parameters": CITY}
    assert json.loads(text[end:]) == [{"type": "function", "function": described}]


def test_arguments_that_are_no_json_are_given_as_they_were_written() -> None:
    turn = Message("assistant", "", (ToolCall("c", "weather", "{broken"),))
    text, _ = render_chat("{{ messages[0].tool_calls[0].function.arguments }}", [turn])
    assert text == "{broken"


def test_a_template_that_wants_ids_of_nine_characters_gets_them_the_same_for_a_call_and_its_result() -> None:
    text, _ = render_chat(MISTRAL, CALLED, eos="</s>")
    calls, _, results = text.partition("[TOOL_CALLS] ")[2].partition("</s>[TOOL_RESULTS] ")
    assert json.loads(calls)[0]["id"] in results and len(json.loads(calls)[0]["id"]) == 9


def test_the_opening_of_a_call_that_has_to_come_stands_in_the_prompt(engine: FakeEngine) -> None:
    use = tool_use(engine, asking(tools=(TOOL,), tool_choice="required"), QWEN)
    text, _ = render_chat(QWEN, use.request.messages or (), offer=use.offer)
    assert text.endswith("<|im_start|>assistant\n<tool_call>\n")


# -- the grammar of a call ---------------------------------------------------------------------------------

NODE = {
    "type": "object",
    "properties": {"tree": {"$ref": "#/$defs/node"}},
    "required": ["tree"],
    "$defs": {"node": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("choice", "call", "fits"),
    [
        ("required", {"name": "weather", "arguments": {"city": "Rome"}}, True),
        ("required", {"name": "now", "arguments": {}}, True),
        ("required", {"name": "walk", "arguments": {"tree": {"next": {"next": None}}}}, True),
        ("required", {"name": "walk", "arguments": {"tree": {"next": 1}}}, False),
        ("required", {"name": "now", "arguments": {"more": 1}}, False),
        ("required", {"name": "weather", "arguments": {}}, False),
        ("required", {"name": "other", "arguments": {}}, False),
        ("now", {"name": "weather", "arguments": {"city": "Rome"}}, False),
        ("now", {"name": "now", "arguments": {}}, True),
    ],
)
def test_a_call_that_has_to_come_is_one_of_the_tools_with_its_arguments(
    engine: FakeEngine, choice: str, call: Any, fits: bool
) -> None:
    from modelyard.engines.grammar import compile_constraint

    tools = (TOOL, Tool("now"), Tool("walk", parameters=NODE))
    use = tool_use(engine, asking(tools=tools, tool_choice=choice), QWEN)
    assert use.request.constraint is not None
    assert compile_constraint(use.request.constraint).relaxed == ()
    assert (check_answer(use.request.constraint, json.dumps(call)) is None) == fits


def test_tools_go_with_no_other_form_of_the_answer_and_no_raw_prompt(engine: FakeEngine) -> None:
    constraint = Constraint(choices=("yes",))
    with pytest.raises(InvalidArgumentError, match="together with a schema"):
        tool_use(engine, asking(tools=(TOOL,), constraint=constraint), QWEN)
    use = tool_use(engine, asking(tools=(TOOL,), constraint=constraint, tool_choice="none"), QWEN)
    assert use.request.constraint is constraint and use.offer.tools == ()
    with pytest.raises(InvalidArgumentError, match="raw prompt"):
        tool_use(engine, Request(prompt="Hi", tools=(TOOL,)), QWEN)


def test_special_tokens_that_calls_are_written_with_are_shown_and_no_others() -> None:
    use = ToolUse(asking(), form=LISTED)
    special = {1: b"[TOOL_CALLS]", 2: b"[INST]", 3: b""}
    piece = use.pieces({0: b"a", 1: b"", 2: b"", 3: b""}.__getitem__, special)
    assert [piece(at) for at in range(4)] == [b"a", b"[TOOL_CALLS]", b"", b""]


# -- the answer --------------------------------------------------------------------------------------------


def read(
    form: ToolForm, pieces: list[str], *, begun: bool = False
) -> tuple[str, list[tuple[str, str]], list[str]]:
    """Text, calls and warnings of an answer that comes in these pieces; what must hold in any case is checked."""
    reader = CallReader(form, (TOOL, Tool("now")), begun=begun)
    found: list[Token] = []
    for at, piece in enumerate(pieces):
        found += reader.push([Token(piece, at, -0.5, 0, 0)], last=at + 1 == len(pieces))
    text = "".join(token.text for token in found)
    assert all(text[token.start : token.end] == token.text for token in found)
    ids = [token.id or 0 for token in found]
    assert ids == sorted(ids if reader.calls else set(ids))
    assert reader.calls or text == "".join(pieces)
    return (
        text,
        [(call.name, call.arguments) for call in reader.calls],
        [one.message for one in reader.warnings],
    )


PARIS = '{"name": "weather", "arguments": {"city": "Paris {}\\" }"}}'
GIVEN = ("weather", '{"city": "Paris {}\\" }"}')
LLAMA_PARIS = PARIS.replace("arguments", "parameters")


@pytest.mark.parametrize(
    ("form", "answer", "text", "calls"),
    [
        (MARKED, "Nothing to call.", "Nothing to call.", 0),
        (MARKED, f"<tool_call>\n{PARIS}\n</tool_call>", "", 1),
        (MARKED, f"\n<tool_call>{PARIS}</tool_call>\n", "", 1),
        (MARKED, f"Let me see.\n<tool_call>\n{PARIS}\n</tool_call>\nDone.", "Let me see.Done.", 1),
        (MARKED, f"<tool_call>\n{PARIS}\n</tool_call>\n<tool_call>\n{PARIS}\n</tool_call>", "", 2),
        (MARKED, f"<tool_call>\n{PARIS}\n{PARIS}\n</tool_call>", "", 2),
        (MARKED, f"<tool_call>{PARIS}", "", 1),
        (MARKED, f"<tool_call>{PARIS}</tool_", "", 1),
        (MARKED, "a <tool_ b", "a <tool_ b", 0),
        (MARKED, f"See: {PARIS}", f"See: {PARIS}", 0),
        (MARKED, f"{PARIS}\n</tool_call>", "", 1),  # without its mark, as small models write it
        (MARKED, f"```json\n{PARIS}\n```\nThat is all.", "That is all.", 1),
        (MARKED, "```python\n{}\n```", "```python\n{}\n```", 0),
        (MARKED, '{"age": 7}', '{"age": 7}', 0),
        (LISTED, f"[TOOL_CALLS] [{PARIS}]", "", 1),
        (LISTED, f"[TOOL_CALLS][{PARIS}, {PARIS[:-1]}, \"id\": \"123456789\"}}]", "", 2),
        (BARE, LLAMA_PARIS, "", 1),
        (BARE, f"\n{LLAMA_PARIS}; {LLAMA_PARIS}", "", 2),
        (BARE, f"See: {LLAMA_PARIS}", f"See: {LLAMA_PARIS}", 0),
        (BARE, '{"age": 7}', '{"age": 7}', 0),
        (BARE, '{"age": ', '{"age": ', 0),
    ],
)  # fmt: skip
def test_calls_are_taken_out_of_the_text(form: ToolForm, answer: str, text: str, calls: int) -> None:
    assert read(form, [answer]) == (text, [GIVEN] * calls, [])


@pytest.mark.parametrize(
    ("form", "answer", "problem"),
    [
        (MARKED, '<tool_call>\n{"name": "weather", "argum', "does not end"),
        (MARKED, '<tool_call>\n{"name": "weather" "arguments": {}}\n</tool_call>', "JSON is broken"),
        (MARKED, '<tool_call>{"name": "weather", "arguments": {"city": NaN}}', "no JSON number"),
        (MARKED, '<tool_call>{"name": "fly", "arguments": {}}</tool_call>', "'fly' is none of the tools"),
        (MARKED, '<tool_call>{"arguments": {}}</tool_call>', "None is none of the tools"),
        (MARKED, '<tool_call>{"name": "weather", "arguments": [1]}</tool_call>', "no JSON object"),
        (MARKED, "<tool_call>weather(Paris)</tool_call>", "no JSON follows"),
        (BARE, '{"name": "fly", "parameters": {}}', "'fly' is none of the tools"),
    ],
)
def test_what_is_no_whole_call_of_a_tool_stays_in_the_text_and_is_said(
    form: ToolForm, answer: str, problem: str
) -> None:
    text, calls, (warning,) = read(form, [answer])
    assert (text, calls) == (answer, []) and problem in warning


def test_a_call_without_arguments_has_none_and_a_broken_one_does_not_hide_the_next() -> None:
    answer = (
        f'<tool_call>oh</tool_call><tool_call>{{"name": "now"}}</tool_call> <tool_call>{PARIS}</tool_call>'
    )
    text, calls, warnings = read(MARKED, [answer])
    assert (text, calls, len(warnings)) == ("<tool_call>oh</tool_call>", [("now", "{}"), GIVEN], 1)


def test_arguments_that_break_the_schema_are_said_and_the_call_stays() -> None:
    text, calls, (warning,) = read(MARKED, ['<tool_call>{"name": "weather", "arguments": {"town": "Rome"}}'])
    assert (text, calls) == ("", [("weather", '{"town": "Rome"}')]) and "'city' is a required" in warning


def test_text_comes_as_soon_as_it_cannot_be_a_call() -> None:
    reader = CallReader(MARKED, (TOOL,))
    pieces = ["Let", " me", " see", " <", "b", "> <tool_", "call>", '{"name"']
    assert ["".join(token.text for token in reader.push([Token(one, 0, None, 0, 0)])) for one in pieces] == [
        "Let",
        " me",
        " see",
        "",
        " <b",
        "",
        "",
        "",
    ]
    assert [token.text for token in reader.push([], last=True)] == ["> <tool_", "call>", '{"name"']


FRAGMENTS = [
    "Hi", " ", "\n", "<", "<tool", "_call>", "<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[", "]", "{", "}",
    '"', "\\", ",", ";", PARIS, LLAMA_PARIS, '{"name": "now"}', '{"name": "fly", "parameters": {}}', "é", "```json", "``",
]  # fmt: skip


@given(
    form=st.sampled_from([MARKED, BARE, LISTED]),
    begun=st.booleans(),
    parts=st.lists(st.sampled_from(FRAGMENTS), max_size=10),
    cuts=st.lists(st.integers(1, 9), min_size=1, max_size=20),
)
def test_however_the_text_is_cut_the_same_text_and_calls_come_out(
    form: ToolForm, begun: bool, parts: list[str], cuts: list[int]
) -> None:
    answer = "".join(parts)
    pieces, at = [], 0
    while at < len(answer):
        size = cuts[len(pieces) % len(cuts)]
        pieces.append(answer[at : at + size])
        at += size
    assert read(form, [*pieces, ""], begun=begun) == read(form, [answer], begun=begun)


# -- the fake engine, which goes the whole way -------------------------------------------------------------


@pytest.fixture
def fake() -> Iterator[Callable[..., LLM]]:
    made: list[LLM] = []

    def make(reply: str | None = None) -> LLM:
        made.append(create_llm("fake", options={} if reply is None else {"reply": reply}))
        return made[-1]

    yield make
    for one in made:
        one.close()


REPLY = f"I look. <tool_call>{PARIS}</tool_call>"


def test_a_call_comes_on_the_last_chunk_and_none_of_it_is_text(fake: Callable[..., LLM]) -> None:
    chunks = list(fake(REPLY).stream("How is Paris?", tools=[TOOL]))
    assert "".join(chunk.text for chunk in chunks) == "I look."
    assert [bool(chunk.tool_calls) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    (call,) = chunks[-1].tool_calls
    assert (call.name, call.arguments) == GIVEN and len(call.id) == 29 and call.id.startswith("call_")
    assert (chunks[-1].finish_reason, chunks[-1].warnings) == ("stop", ())
    result = fake(REPLY).generate("How is Paris?", tools=[TOOL])
    assert "".join(token.text for token in result.tokens) == result.text == "I look."
    assert result.usage.completion_tokens > len(result.tokens)
    assert result.to_dict()["tool_calls"][0]["name"] == "weather"


def test_tools_that_may_not_be_called_are_not_offered(fake: Callable[..., LLM]) -> None:
    llm = fake(REPLY)
    plain = llm.generate("How is Paris?")
    result = llm.generate("How is Paris?", tools=[TOOL], tool_choice="none")
    assert (result.text, result.tool_calls) == (REPLY, ())
    assert result.usage == plain.usage
    assert llm.generate("How is Paris?", tools=[TOOL]).usage.prompt_tokens > plain.usage.prompt_tokens


@pytest.mark.parametrize("choice", ["required", "now", "weather"])
@pytest.mark.parametrize("reply", [None, REPLY, f"<tool_call>{PARIS}</tool_call>"])
def test_a_call_that_is_asked_for_comes(fake: Callable[..., LLM], choice: str, reply: str | None) -> None:
    result = fake(reply).generate("How is Paris?", tools=[TOOL, Tool("now")], tool_choice=choice)
    (call,) = result.tool_calls
    assert choice in ("required", call.name) and result.text == "" and result.warnings == ()
    if call.name == "weather" and reply == f"<tool_call>{PARIS}</tool_call>":
        assert call.arguments == GIVEN[1]


def test_a_call_that_is_cut_is_text_and_that_is_said(fake: Callable[..., LLM]) -> None:
    result = fake(REPLY).generate("How is Paris?", tools=[TOOL], max_tokens=4)
    assert result.text.startswith("I look. <tool_call>") and result.tool_calls == ()
    assert [one.code for one in result.warnings] == ["tool_call_invalid"]


def test_the_result_of_a_call_goes_into_the_next_prompt(fake: Callable[..., LLM]) -> None:
    llm = fake("It is mild.")
    result = llm.generate(CALLED, tools=[TOOL])
    assert (result.text, result.tool_calls) == ("It is mild.", ())
    assert llm.generate(CALLED).text == "It is mild."
    assert llm.count_tokens(CALLED) > llm.count_tokens(CALLED[:1])


def test_leaving_an_answer_with_tools_frees_its_place() -> None:
    async def leave(engine: FakeEngine) -> tuple[Chunk, int]:
        stream = engine.generate(asking(tools=(TOOL,)))
        first = await anext(stream)
        await stream.aclose()
        await asyncio.sleep(0.05)
        return first, engine.active

    slow = made({"reply": "word " * 500, "delay": 0.005})
    first, active = asyncio.run(leave(slow))
    slow.close()
    assert first.text and active == 0


# -- a real model ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["openvino", "llamacpp"])
def coder(request: pytest.FixtureRequest) -> Iterator[LLM]:
    """A small model whose template has tools."""
    with create_llm("qwen2.5-coder-1.5b", engine=request.param) as llm:
        yield llm


@pytest.mark.slow
def test_a_real_model_calls_a_tool_and_answers_with_its_result(coder: LLM) -> None:
    how: dict[str, Any] = {"tools": [TOOL], "temperature": 0, "max_tokens": 80}
    turns = [Message("user", "What is the weather in Paris now?")]
    asked = coder.generate(turns, **how)
    (call,) = asked.tool_calls
    assert call.name == "weather" and json.loads(call.arguments) == {"city": "Paris"}
    assert asked.text == "" and asked.warnings == ()
    turns += [
        Message("assistant", asked.text, asked.tool_calls),
        Message("tool", '{"temperature": 18, "sky": "cloudy"}', tool_call_id=call.id),
        Message("user", "Tell me in one sentence how warm it is."),
    ]
    told = coder.generate(turns, **how)
    assert "18" in told.text and told.tool_calls == ()


@pytest.mark.slow
@pytest.mark.parametrize("choice", ["required", "convert"])
def test_a_real_model_calls_what_it_has_to_with_arguments_that_fit(coder: LLM, choice: str) -> None:
    schema = {
        "type": "object",
        "properties": {"amount": {"type": "number"}, "to": {"enum": ["EUR", "USD"]}},
        "required": ["amount", "to"],
    }
    tools = [TOOL, Tool("convert", "converts an amount of money", schema)]
    result = coder.generate(
        "Tell me a joke about 20 dollars.", tools=tools, tool_choice=choice, temperature=0, max_tokens=80
    )
    (call,) = result.tool_calls
    schemas = {one.name: one.parameters for one in tools}
    assert choice in ("required", call.name) and result.text == "" and result.finish_reason == "stop"
    assert check_answer(Constraint(schema=schemas[call.name]), call.arguments) is None
