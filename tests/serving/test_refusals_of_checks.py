"""Safety checks of the catalogue over HTTP: a refusal is a finish reason, and says which check, never which text."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from tests.served import ask, events, served

LONG = "This sentence has nothing in it that anybody could mind, and it goes on. " * 3
CATALOG = f"""
models:
  guarded:
    engine: fake
    endpoint: models/guarded/generate
    options: {{reply: "{LONG}The name is Falcon. {LONG}"}}
    safety:
      - {{check: patterns, patterns: {{project: Falcon}}, name: projects}}
  masked:
    engine: fake
    options: {{reply: "Write to bob@example.org today."}}
    safety:
      - {{check: personal_data, action: mask, block: [email]}}
  clean: {{engine: fake, options: {{reply: Fine.}}, safety: [personal_data]}}
"""
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with served(tmp_path_factory.mktemp("served"), CATALOG) as server, server.client() as found:
        yield found


def test_a_refused_answer_has_its_finish_reason_and_no_text(client: httpx2.Client) -> None:
    reply = client.post(CHAT, json=ask("guarded")).json()
    (choice,) = reply["choices"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("content_filter", "")
    (notice,) = reply["safety"]
    assert notice == {
        "check": "projects", "model": None, "side": "output", "action": "block",
        "categories": [{"name": "project", "score": None}],
    }  # fmt: skip


def test_a_refused_prompt_is_told_from_a_refused_answer(client: httpx2.Client) -> None:
    reply = client.post(CHAT, json=ask("guarded", "Falcon?")).json()
    assert reply["choices"][0]["finish_reason"] == "content_filter"
    assert reply["safety"][0]["side"] == "input"
    assert reply["usage"]["completion_tokens"] == 0


def test_a_refused_stream_shows_nothing_of_it_and_ends_with_the_verdict(client: httpx2.Client) -> None:
    told = events(client.post(CHAT, json=ask("guarded", stream=True)))
    text = "".join(one["choices"][0]["delta"].get("content") or "" for one in told if one["choices"])
    assert text and LONG.startswith(text)
    assert [one["choices"][0]["finish_reason"] for one in told if one["choices"]][-1] == "content_filter"
    assert told[-1]["safety"][0]["check"] == "projects"


def test_a_masked_answer_says_so(client: httpx2.Client) -> None:
    reply = client.post(CHAT, json=ask("masked")).json()
    assert reply["choices"][0]["message"]["content"] == "Write to [removed] today."
    assert [one["code"] for one in reply["warnings"]] == ["safety_mask"]
    assert reply["safety"][0]["action"] == "mask"


def test_a_clean_answer_says_nothing_of_safety(client: httpx2.Client) -> None:
    reply = client.post(CHAT, json=ask("clean")).json()
    assert reply["choices"][0]["message"]["content"] == "Fine."
    assert "safety" not in reply and "warnings" not in reply


def test_a_models_own_route_has_the_finish_reason_of_a_refusal(client: httpx2.Client) -> None:
    reply = client.post("/models/guarded/generate", json={"text": "Hello"}).json()["response"]
    assert (reply["generated_text"], reply["finish_reason"]) == ("", "content_filter")


def test_a_completion_is_checked_too(client: httpx2.Client) -> None:
    reply = client.post("/v1/completions", json={"model": "guarded", "prompt": "Hello"}).json()
    assert reply["choices"][0]["finish_reason"] == "content_filter"
