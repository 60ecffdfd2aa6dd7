"""What the routes take and give, on fake models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.served import Server, ask, events

from modelyard.create import create_llm

GENERATE = "/models/gpt2/generate"
CHAT = "/v1/chat/completions"


def error_of(response: httpx2.Response) -> dict[str, Any]:
    found: dict[str, Any] = response.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return found


# -- the models' own routes --------------------------------------------------------------------------------


def test_a_models_own_route_answers_with_its_text_and_its_model(client: httpx2.Client) -> None:
    body = {"text": "Once upon a time", "generation_params": {"max_length": 200, "temperature": 0.7}}
    reply = client.post(GENERATE, json=body).json()
    assert set(reply) == {"response"}
    assert set(reply["response"]) == {"generated_text", "model_info"}
    assert reply["response"]["generated_text"]
    assert reply["response"]["model_info"] == {"model_name": "gpt2", "task": "generation"}


def test_a_translator_has_its_own_route_too(client: httpx2.Client) -> None:
    body = {"text": "translate English to German: Hello, how are you?"}
    reply = client.post("/models/t5/translate", json=body).json()["response"]
    assert reply["model_info"] == {"model_name": "t5-small", "task": "seq2seq"}


def test_contradicting_defaults_are_said_with_the_answer(client: httpx2.Client) -> None:
    reply = client.post("/models/phi2/generate", json={"text": "Write:"}).json()["response"]
    assert any("do_sample" in one for one in reply["warnings"])


def test_generation_params_win_over_the_catalogues_defaults(client: httpx2.Client) -> None:
    def tokens(**params: Any) -> int:
        text = client.post(GENERATE, json={"text": "Once", "generation_params": params}).json()
        return len(text["response"]["generated_text"].split())

    assert tokens(max_new_tokens=2) == 2
    assert tokens(temperature=0) >= 5


def test_a_misspelt_generation_parameter_is_named(client: httpx2.Client) -> None:
    reply = client.post(GENERATE, json={"text": "Once", "generation_params": {"temprature": 1}})
    assert reply.status_code == 422
    assert error_of(reply)["param"] == "generation_params.temprature"


def test_the_registry_lists_each_model_with_its_route_and_defaults(client: httpx2.Client) -> None:
    rows = {one["name"]: one for one in client.get("/registry/models").json()["models"]}
    assert rows["gpt2-model"]["endpoint"] == GENERATE
    assert rows["gpt2-model"]["generation_params"] == {"max_length": 100, "temperature": 0.7, "top_p": 0.9}
    assert rows["gpt2-model"]["description"] == "a story teller"
    assert rows["fixed"]["endpoint"] is None


def test_openapi_describes_each_models_own_route(client: httpx2.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    described = paths[GENERATE]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert described["$ref"].endswith("/GenerateBody")


# -- OpenAI's ----------------------------------------------------------------------------------------------


def test_a_chat_answers_with_its_usage(client: httpx2.Client) -> None:
    reply = client.post("/v1/chat/completions", json=ask("fixed")).json()
    assert reply["choices"][0]["message"] == {
        "role": "assistant",
        "content": "a b c d e f g h",
        "refusal": None,
    }
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert reply["usage"]["completion_tokens"] == 8
    assert reply["usage"]["total_tokens"] == 8 + reply["usage"]["prompt_tokens"]


def test_a_stream_gives_the_same_answer_piece_by_piece_and_ends_with_done(client: httpx2.Client) -> None:
    body = ask("fixed", stream=True, stream_options={"include_usage": True})
    response = client.post("/v1/chat/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.endswith("data: [DONE]\n\n")
    *found, last = events(response)
    assert found[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    pieces = [one["choices"][0]["delta"].get("content", "") for one in found]
    assert "".join(pieces) == "a b c d e f g h"
    assert sum(map(bool, pieces)) == 8
    assert found[-1]["choices"][0]["finish_reason"] == "stop"
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 8
    assert len({one["id"] for one in found}) == 1


def test_logprobs_come_with_their_tokens_bytes(client: httpx2.Client) -> None:
    reply = client.post("/v1/chat/completions", json=ask("fixed", logprobs=True)).json()
    content = reply["choices"][0]["logprobs"]["content"]
    assert "".join(one["token"] for one in content) == "a b c d e f g h"
    assert all(one["logprob"] <= 0 and bytes(one["bytes"]).decode() == one["token"] for one in content)


def test_streamed_logprobs_are_those_of_the_whole_answer(client: httpx2.Client) -> None:
    whole = client.post("/v1/chat/completions", json=ask("fixed", logprobs=True)).json()
    found = events(client.post("/v1/chat/completions", json=ask("fixed", logprobs=True, stream=True)))
    listed = [one["choices"][0]["logprobs"] for one in found if one["choices"][0]["logprobs"]]
    assert [token for one in listed for token in one["content"]] == whole["choices"][0]["logprobs"]["content"]


def test_n_answers_are_sampled_apart(client: httpx2.Client) -> None:
    body = ask("gpt2-model", n=3, seed=7, max_tokens=30)
    reply = client.post("/v1/chat/completions", json=body).json()
    assert [one["index"] for one in reply["choices"]] == [0, 1, 2]
    assert len({one["message"]["content"] for one in reply["choices"]}) > 1
    again = client.post("/v1/chat/completions", json=body).json()
    assert again["choices"] == reply["choices"]


def test_n_streams_come_in_one_each_with_its_index(client: httpx2.Client) -> None:
    body = ask("gpt2-model", n=2, seed=7, max_tokens=30)
    whole = client.post("/v1/chat/completions", json=body).json()
    texts = ["", ""]
    for one in events(client.post("/v1/chat/completions", json={**body, "stream": True})):
        for choice in one["choices"]:
            texts[choice["index"]] += choice["delta"].get("content", "")
    assert texts == [one["message"]["content"] for one in whole["choices"]]


def test_the_prompt_is_counted_once_for_n_answers(client: httpx2.Client) -> None:
    one = client.post("/v1/chat/completions", json=ask("fixed")).json()["usage"]
    three = client.post("/v1/chat/completions", json=ask("fixed", n=3)).json()["usage"]
    assert three["prompt_tokens"] == one["prompt_tokens"]
    assert three["completion_tokens"] == 3 * one["completion_tokens"]


def test_a_stop_text_ends_the_answer(client: httpx2.Client) -> None:
    reply = client.post("/v1/chat/completions", json=ask("fixed", stop=[" d"])).json()
    assert reply["choices"][0]["message"]["content"] == "a b c"


def test_a_schema_is_kept(client: httpx2.Client) -> None:
    schema = {"type": "object", "properties": {"eps": {"type": "number"}}, "required": ["eps"]}
    form = {"type": "json_schema", "json_schema": {"name": "eps", "schema": schema, "strict": True}}
    reply = client.post("/v1/chat/completions", json=ask("fixed", response_format=form)).json()
    assert isinstance(json.loads(reply["choices"][0]["message"]["content"])["eps"], int | float)


@pytest.mark.parametrize("form", [{"choices": ["yes", "no"]}, {"regex": "yes|no"}])
def test_a_form_beyond_openais_is_kept(client: httpx2.Client, form: dict[str, Any]) -> None:
    reply = client.post("/v1/chat/completions", json=ask("fixed", **form)).json()
    assert reply["choices"][0]["message"]["content"] in ("yes", "no")


def test_a_cut_answer_says_so(client: httpx2.Client) -> None:
    reply = client.post("/v1/chat/completions", json=ask("fixed", max_completion_tokens=3)).json()
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["choices"][0]["message"]["content"] == "a b c"


WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def test_a_function_that_the_model_asks_for_comes_as_a_call(client: httpx2.Client) -> None:
    reply = client.post(CHAT, json=ask("caller", tools=[WEATHER])).json()
    (choice,) = reply["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}
    turns = [
        *ask("fixed")["messages"],
        choice["message"],
        {"role": "tool", "tool_call_id": call["id"], "content": "Rain"},
    ]
    answer = client.post(CHAT, json={"model": "fixed", "messages": turns, "tools": [WEATHER]}).json()
    assert answer["choices"][0]["message"]["content"] == "a b c d e f g h"


def test_a_streamed_call_comes_whole(client: httpx2.Client) -> None:
    found = events(client.post(CHAT, json=ask("caller", tools=[WEATHER], stream=True)))
    calls = [
        one["choices"][0]["delta"]["tool_calls"]
        for one in found
        if "tool_calls" in one["choices"][0]["delta"]
    ]
    assert [(call["index"], call["function"]["name"]) for (call,) in calls] == [(0, "weather")]
    assert found[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_function_that_has_to_be_called_is(client: httpx2.Client) -> None:
    choice = {"type": "function", "function": {"name": "weather"}}
    reply = client.post(CHAT, json=ask("fixed", tools=[WEATHER], tool_choice=choice)).json()
    (call,) = reply["choices"][0]["message"]["tool_calls"]
    assert "city" in json.loads(call["function"]["arguments"])


def test_the_likeliest_tokens_come_with_each(client: httpx2.Client) -> None:
    reply = client.post(CHAT, json=ask("fixed", logprobs=True, top_logprobs=3)).json()
    for one in reply["choices"][0]["logprobs"]["content"]:
        likely = [each["logprob"] for each in one["top_logprobs"]]
        assert len(likely) == 3
        assert likely == sorted(likely, reverse=True)


def test_texts_are_continued_each_with_its_index(client: httpx2.Client) -> None:
    body = {"model": "fixed", "prompt": ["Once", "Twice"], "max_tokens": 2, "logprobs": 0}
    reply = client.post("/v1/completions", json=body).json()
    assert [one["text"] for one in reply["choices"]] == ["a b", "a b"]
    assert reply["choices"][1]["index"] == 1
    assert reply["choices"][0]["logprobs"]["tokens"] == ["a", " b"]
    assert reply["choices"][0]["logprobs"]["text_offset"] == [0, 1]


def test_echo_puts_the_prompt_in_front(client: httpx2.Client) -> None:
    body = {"model": "fixed", "prompt": "Once: ", "max_tokens": 2, "echo": True}
    assert client.post("/v1/completions", json=body).json()["choices"][0]["text"] == "Once: a b"


def test_the_models_are_listed_and_shown(client: httpx2.Client) -> None:
    assert "fixed" in [one["id"] for one in client.get("/v1/models").json()["data"]]
    assert client.get("/v1/models/fixed").json()["object"] == "model"


def test_an_extraction_gives_each_value_with_its_place(client: httpx2.Client) -> None:
    schema = {"fields": {"eps": "number"}}
    documents = [{"text": "EPS was 0.41 in 2024", "name": "a"}, {"text": "<p>EPS<br>0.41", "name": "b.html"}]
    reply = client.post(
        "/v1/extract", json={"model": "fixed", "documents": documents, "schema": schema}
    ).json()
    assert [one["document"] for one in reply["documents"]] == ["a", "b.html"]
    assert reply["documents"][1]["text"] == "EPS\n0.41"
    assert set(reply["documents"][0]["fields"]) == {"eps"}
    assert {one["voter"] for one in reply["documents"][0]["fields"]["eps"]["candidates"]} == set(
        reply["voters"]
    )
    assert reply["model"]["engine"] == "fake"


def test_an_extraction_has_the_voters_that_were_asked_for_and_no_other_model(client: httpx2.Client) -> None:
    body = {
        "model": "fixed",
        "documents": [{"text": "EPS was 0.41"}],
        "schema": {"fields": {"eps": "number"}},
    }
    assert client.post("/v1/extract", json={**body, "voters": "passages,evidence#2"}).json()["voters"] == [
        "passages",
        "evidence#2",
    ]
    for voters in ("evidence@small", "evidance", 99):
        assert client.post("/v1/extract", json={**body, "voters": voters}).status_code == 400


def test_a_model_is_loaded_with_its_progress_and_unloaded(client: httpx2.Client) -> None:
    response = client.post("/models/fixed/load", headers={"accept": "text/event-stream"})
    assert events(response)[-1]["state"] == "loaded"
    assert events(response)[-1]["model"]["state"] == "idle"
    assert client.get("/models/fixed").json()["state"] == "idle"
    assert client.post("/models/fixed/unload").json() == {"unloaded": True}
    assert client.post("/models/fixed/unload").json() == {"unloaded": False}
    assert client.get("/models/fixed").json()["state"] == "unloaded"


# -- what is refused, by name ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "param", "status"),
    [
        ({"logit_bias": {"50256": -100}}, "logit_bias", 422),
        ({"temprature": 1}, "temprature", 422),
        ({"temperature": -1}, "temperature", 422),
        ({"max_tokens": 0}, "max_tokens", 422),
        ({"max_tokens": "5"}, "max_tokens", 422),
        ({"n": 500}, "n", 422),
        ({"n": 100}, "n", 400),
        ({"store": True}, "store", 422),
        ({"top_logprobs": 3}, "top_logprobs", 400),
        ({"logprobs": True, "top_logprobs": 50}, "top_logprobs", 422),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens", 400),
        ({"model": "nobody"}, "model", 404),
        ({"model": "t5-translator"}, "model", 422),
        ({"messages": []}, "messages", 422),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages.0.role", 422),
        ({"tool_choice": "auto"}, "tool_choice", 400),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}},
         None, 400),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused_by_its_name(
    client: httpx2.Client, more: dict[str, Any], param: str | None, status: int
) -> None:
    reply = client.post("/v1/chat/completions", json={**ask("fixed"), **more})
    assert reply.status_code == status
    assert error_of(reply)["param"] == param


def test_token_ids_in_place_of_a_text_are_refused(client: httpx2.Client) -> None:
    assert client.post("/v1/completions", json={"model": "fixed", "prompt": [1, 2]}).status_code == 422


def test_an_unknown_path_is_a_404_in_the_same_form(client: httpx2.Client) -> None:
    reply = client.get("/v2/nothing")
    assert reply.status_code == 404
    assert error_of(reply)["type"] == "not_found_error"


def test_every_reply_carries_a_request_id_and_keeps_the_clients_own(
    server: Server, client: httpx2.Client
) -> None:
    reply = client.get("/v1/models", headers={"x-request-id": "mine-42"})
    assert reply.headers["x-request-id"] == "mine-42"
    assert (
        len(client.get("/v1/models", headers={"x-request-id": "no\tgood one"}).headers["x-request-id"]) == 24
    )
    assert server.log.wait_for("request", id="mine-42")["route"] == "/v1/models"


def test_metrics_count_requests_tokens_and_the_first_token(server: Server, client: httpx2.Client) -> None:
    before = server.metric("tokens_total", model="fixed", kind="completion")
    client.post("/v1/chat/completions", json=ask("fixed"))
    assert server.metric("tokens_total", model="fixed", kind="completion") == before + 8
    assert server.metric("time_to_first_token_seconds_count", model="fixed") >= 1
    assert server.metric("requests_total", route="/v1/chat/completions", status="200") >= 1
    assert server.metric("loads_total", model="fixed", outcome="loaded") >= 1
    assert server.metric("memory_bytes", model="fixed") >= 0


# -- tokens ------------------------------------------------------------------------------------------------


def test_tokens_of_a_text_and_of_a_conversation_are_those_that_an_answer_reads(client: httpx2.Client) -> None:
    ids = client.post("/tokenize", json={"model": "fixed", "prompt": "one two three"}).json()
    assert ids["count"] == len(ids["tokens"]) > 2
    messages = [{"role": "user", "content": "one two three"}]
    counted = client.post("/tokenize", json={"model": "fixed", "messages": messages}).json()
    asked = {"model": "fixed", "messages": messages, "max_tokens": 1}
    read = client.post("/v1/chat/completions", json=asked).json()["usage"]["prompt_tokens"]
    assert counted["count"] == read
    assert counted["max_model_len"] == 4096


def test_tokens_of_neither_or_both_are_refused(client: httpx2.Client) -> None:
    both = {"prompt": "a", "messages": [{"role": "user", "content": "a"}]}
    for given in ({}, both):
        reply = client.post("/tokenize", json={"model": "fixed", **given})
        assert reply.status_code == 400
        assert "either parameter 'prompt' or parameter 'messages'" in reply.json()["error"]["message"]


def test_our_own_client_counts_tokens_without_asking_for_an_answer(server: Server, tmp_path: Path) -> None:
    (tmp_path / "there.yaml").write_text(
        f"models: {{there: {{url: {server.url}/v1, options: {{model: fixed}}}}}}"
    )
    llm = create_llm("there", catalog=tmp_path / "there.yaml", top_k=3)
    llm.load()
    before = server.metric("requests_total", route="/v1/chat/completions")
    here = create_llm("fake")
    for prompt in ("one two three", "a longer text, with a comma"):
        assert llm.count_tokens(prompt) == here.count_tokens(prompt)
        assert llm.count_tokens(prompt, raw=True) == here.count_tokens(prompt, raw=True)
    assert server.metric("requests_total", route="/v1/chat/completions") == before
    assert llm.generate("Hi", max_tokens=2).warnings == ()  # top_k is sent, and honoured
    assert llm.fingerprint().precision.startswith("as modelyard ")
