"""Who gets in, and how much of everything the server takes."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.served import Server, ask, served

KEY = "correct-horse-battery-staple"
TOKEN = "hf_" + "s3cr3t" * 6
PROMPT = "the patient's name is Zebulon Quackenbush"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two keys, small limits, and a Hub token in its environment."""
    folder = tmp_path_factory.mktemp("locked")
    keys = folder / "keys"
    keys.write_text(f"# of the tests\nreports:{KEY}\nother:{KEY[::-1]}\n")
    catalog = "models:\n  small: {engine: fake, endpoint: ask/small, options: {context_length: 64}}\n"
    line = ("--api-key-file", str(keys), "--max-body", "30000000")
    with served(folder, catalog, *line, env={"HF_TOKEN": TOKEN}) as found:
        yield found


@pytest.fixture
def inside(locked: Server) -> Iterator[httpx2.Client]:
    """A client with a key."""
    with locked.client(headers={"authorization": f"Bearer {KEY}"}) as found:
        yield found


def all_routes(routes: list[Any]) -> Iterator[Any]:
    """Every route, those of included routers too."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is None:
            yield route
        else:
            yield from all_routes(inner.routes)


def refusal(reply: httpx2.Response, status: int) -> str:
    """The message of a refusal, whose status is this one."""
    assert reply.status_code == status, reply.text[:300]
    message: str = reply.json()["error"]["message"]
    return message


# -- keys --------------------------------------------------------------------------------------------------


def test_every_route_but_livez_needs_a_key(locked: Server, inside: httpx2.Client) -> None:
    from modelyard.catalog.load import load_catalog
    from modelyard.serving import create_app

    catalog = load_catalog(Path(locked.process.args[2]))  # type: ignore[index]
    app = create_app(catalog, specs=catalog.own())
    routes = [(method, route.path) for route in all_routes(app.routes) for method in route.methods]
    assert len(routes) > 15
    assert ("POST", "/ask/small") in routes
    with locked.client() as outside:
        for method, path in routes:
            reply = outside.request(method, path.replace("{name}", "small"))
            assert reply.status_code == (200 if path == "/livez" and method == "GET" else 401), (method, path)
    assert outside.is_closed
    assert inside.get("/v1/models").status_code == 200


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer  x", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Basic {KEY}", "Basic %%%", f"Token {KEY}",
     "Bearer " + "x" * 60_000],
)  # fmt: skip
def test_what_is_no_key_is_refused(locked: Server, header: str) -> None:
    with locked.client() as client:
        assert client.get("/v1/models", headers={"authorization": header}).status_code in (401, 400, 431)


def test_a_browser_is_asked_for_the_key_and_may_send_it_as_a_password(locked: Server) -> None:
    with locked.client() as client:
        assert client.get("/").headers["www-authenticate"].startswith("Basic")
        basic = base64.b64encode(f"me:{KEY}".encode()).decode()
        assert client.get("/v1/models", headers={"authorization": f"Basic {basic}"}).status_code == 200


def test_the_log_names_the_key_by_its_name(locked: Server, inside: httpx2.Client) -> None:
    inside.get("/v1/models", headers={"x-request-id": "whose"})
    assert locked.log.wait_for("request", id="whose")["client"] == "reports"


def test_no_prompt_answer_key_or_token_is_logged(locked: Server, inside: httpx2.Client) -> None:
    answer = inside.post("/v1/chat/completions", json=ask("small", PROMPT)).json()["choices"][0]["message"][
        "content"
    ]
    inside.post("/v1/chat/completions", json=ask("small", PROMPT, temprature=PROMPT))
    inside.post("/v1/chat/completions", json=ask(PROMPT, PROMPT))
    inside.post("/v1/chat/completions", json=ask("small", PROMPT, choices=[PROMPT], regex=PROMPT))
    inside.post("/v1/chat/completions", json=ask("small", PROMPT * 100))
    inside.get("/v1/models", headers={"x-request-id": "after"})
    locked.log.wait_for("request", id="after")
    said = "".join(locked.log.raw)
    assert len(answer) > 10
    for secret in (PROMPT, "Quackenbush", KEY, TOKEN, answer):
        assert secret not in said


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::"])
def test_a_public_address_without_keys_is_refused_at_the_start(
    command: Any, tmp_path: Path, host: str
) -> None:
    done = command("serve", "--host", host, "--port", "0")
    assert done.returncode == 2
    assert "--public" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_public_address_is_taken_when_told_so(tmp_path: Path) -> None:
    with served(tmp_path, "models:\n  a: {engine: fake}\n", "--host", "0.0.0.0", "--public") as found:
        port = found.url.rpartition(":")[2]
        assert httpx2.get(f"http://127.0.0.1:{port}/livez", trust_env=False).status_code == 200


@pytest.mark.parametrize(
    "line", ["short", "name:short", "has a space in it somewhere", "a:" + KEY + "\na:" + KEY]
)
def test_a_key_that_is_no_good_is_refused_at_the_start(command: Any, tmp_path: Path, line: str) -> None:
    file = tmp_path / "keys"
    file.write_text(line)
    done = command("serve", "--api-key-file", str(file), "--port", "0")
    assert done.returncode == 2
    assert "line" in done.stderr
    assert KEY not in done.stderr


# -- other sites -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"},
     {"origin": "http://127.0.0.1:1"}, {"origin": "http://[broken"}],
)  # fmt: skip
def test_another_sites_page_cannot_make_a_browser_act(client: httpx2.Client, headers: dict[str, str]) -> None:
    reply = client.post("/models/fixed/unload", headers=headers)
    assert "another site" in refusal(reply, 403)


def test_the_servers_own_page_can(server: Server, client: httpx2.Client) -> None:
    headers = {"origin": server.url, "sec-fetch-site": "same-origin"}
    assert client.post("/models/fixed/unload", headers=headers).status_code == 200


def test_no_page_of_another_site_may_read_a_reply(client: httpx2.Client) -> None:
    reply = client.get("/v1/models", headers={"origin": "https://evil.example"})
    assert not [name for name in reply.headers if name.startswith("access-control")]
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    assert client.request("OPTIONS", "/v1/models", headers=asked).status_code in (403, 405)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:5000", "127.0.0.1.evil.example", "localhost.evil", ""]
)
def test_a_name_that_was_made_to_lead_here_is_refused(client: httpx2.Client, host: str) -> None:
    refusal(client.get("/v1/models", headers={"host": host}), 421)


# -- bodies ------------------------------------------------------------------------------------------------


def test_a_body_of_100_mb_is_refused_before_it_is_read(inside: httpx2.Client) -> None:
    began = time.monotonic()
    try:
        reply = inside.post("/v1/chat/completions", content=b" " * 100_000_000, headers=JSON)
    except httpx2.WriteError:
        pass  # the server has hung up in the middle of it
    else:
        refusal(reply, 413)
    assert time.monotonic() - began < 5


def test_a_body_that_does_not_say_its_size_is_cut_off(inside: httpx2.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 1_000_000

    with contextlib.suppress(httpx2.TransportError):
        refusal(inside.post("/v1/chat/completions", content=endless(), headers=JSON), 413)


JSON = {"content-type": "application/json"}


def test_10_000_messages_are_refused_by_their_number(inside: httpx2.Client) -> None:
    body = {"model": "small", "messages": [{"role": "user", "content": "x"}] * 10_000}
    assert "10,000 messages" in refusal(inside.post("/v1/chat/completions", json=body), 400)


@pytest.mark.parametrize("levels", [200, 5_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_deep_json_is_refused(inside: httpx2.Client, levels: int, opening: str, closing: str) -> None:
    deep = opening * levels + "1" + closing * levels
    body = (
        '{"model":"small","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema",'
    )
    body += f'"json_schema":{{"name":"x","schema":{deep}}}}}}}'
    refusal(inside.post("/v1/chat/completions", content=body, headers=JSON), 400)


@pytest.mark.parametrize(
    "content",
    [b'{"model": "small", "messages": "\xff\xfe"}', b'{"model": "sm\xc0\xafall"}', b'{"model": "\\ud800"}',
     b"\x00\x01", b"{", b'{"model": NaN}', b"{'model': 'small'}", '{"model": "small"}'.encode("utf-16")],
)  # fmt: skip
def test_what_is_no_utf8_json_is_refused(inside: httpx2.Client, content: bytes) -> None:
    refusal(inside.post("/v1/chat/completions", content=content, headers=JSON), 400)


def test_a_body_of_another_type_is_refused(inside: httpx2.Client) -> None:
    body = json.dumps(ask("small"))
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        reply = inside.post("/v1/chat/completions", content=body, headers={"content-type": kind})
        assert kind.partition(";")[0] in refusal(reply, 415)


def test_a_schema_of_5_mb_is_refused_quickly_and_harms_nobody(inside: httpx2.Client) -> None:
    properties = {f"field {at} " + "x" * 40: {"type": "string", "maxLength": at + 1} for at in range(60_000)}
    schema = {"type": "object", "properties": properties}
    form = {"type": "json_schema", "json_schema": {"name": "large", "schema": schema}}
    assert len(json.dumps(schema)) > 5_000_000
    began = time.monotonic()
    refusal(inside.post("/v1/chat/completions", json=ask("small", response_format=form)), 400)
    assert time.monotonic() - began < 10
    assert inside.post("/v1/chat/completions", json=ask("small")).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {**ask("small"), "sampel": 1}),
        ("/v1/completions", {"model": "small", "prompt": "x", "sampel": 1}),
        ("/v1/embeddings", {"model": "small", "input": "x", "sampel": 1}),
        ("/v1/extract", {"model": "small", "documents": [{"text": "x"}], "schema": {}, "sampel": 1}),
        ("/ask/small", {"text": "x", "sampel": 1}),
    ],
)
def test_an_unknown_field_is_refused_by_its_name(
    inside: httpx2.Client, path: str, body: dict[str, Any]
) -> None:
    reply = inside.post(path, json=body)
    assert reply.json()["error"]["param"] == "sampel"
    refusal(reply, 422)


def test_a_prompt_one_token_too_long_is_refused_with_both_counts(inside: httpx2.Client) -> None:
    def answered(words: int) -> httpx2.Response:
        return inside.post(
            "/v1/completions", json={"model": "small", "prompt": "x " * words, "max_tokens": 1}
        )

    longest = max(words for words in range(24, 80) if answered(words).status_code == 200)
    assert "64" in refusal(answered(longest + 1), 400)
    assert answered(longest).json()["usage"]["total_tokens"] == 64


def test_more_answers_documents_or_texts_than_are_allowed_are_refused(inside: httpx2.Client) -> None:
    refusal(inside.post("/v1/completions", json={"model": "small", "prompt": ["x"] * 17}), 400)
    documents = [{"text": "x"}] * 65
    refusal(inside.post("/v1/extract", json={"model": "small", "documents": documents, "schema": {}}), 400)


def test_an_extraction_reads_no_task_file_that_a_client_names(inside: httpx2.Client, tmp_path: Path) -> None:
    file = tmp_path / "task.yaml"
    file.write_text("name: mine\nfields: {eps: number}\n")
    for name in (str(file), "../../tasks", "/etc/passwd"):
        body = {"model": "small", "documents": [{"text": "x"}], "task": name}
        assert "no shipped task" in refusal(inside.post("/v1/extract", json=body), 400)


def test_a_request_that_never_ends_is_given_up(tmp_path: Path) -> None:
    catalog = "models:\n  a: {engine: fake}\n"
    with served(tmp_path, catalog, "--body-timeout", "0.5") as found:
        host, _, port = found.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            head = "POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            connection.sendall(f"{head}content-length: 1000\r\n\r\n{{".encode())
            assert b"408" in connection.recv(4096).splitlines()[0]


# -- images ------------------------------------------------------------------------------------------------


def test_an_image_of_any_other_host_is_not_fetched(inside: httpx2.Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.3)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/a.png"
        content = [{"type": "image_url", "image_url": {"url": url}}]
        body = {"model": "small", "messages": [{"role": "user", "content": content}]}
        refusal(inside.post("/v1/chat/completions", json=body), 422)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_a_broken_image_harms_nobody_else(inside: httpx2.Client) -> None:
    bomb = b"\x89PNG\r\n\x1a\n" + b"\x00" * 64
    url = "data:image/png;base64," + base64.b64encode(bomb).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}]
    body = {"model": "small", "messages": [{"role": "user", "content": content}]}
    refusal(inside.post("/v1/chat/completions", json=body), 400)
    assert inside.post("/v1/chat/completions", json=ask("small")).status_code == 200
