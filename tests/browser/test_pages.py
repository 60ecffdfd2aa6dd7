"""The page in a browser, on a real server: what it shows, and what it does when it is used."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chromium import chromium
from tests.served import Server, served

pytestmark = pytest.mark.slow

HOSTILE = "<img src=x onerror=alert(1)>\u202e'\"</script>"
CATALOG = {
    "alpha": {
        "engine": "fake",
        "display_name": "Alpha Instruct",
        "licence": "MIT",
        "options": {"delay": 0.02},
    },
    "beta": {"engine": "fake", "options": {"reply": "a fixed answer of beta", "delay": 0.02}},
    "broken": {"engine": "openvino", "source": {"path": "/nowhere/at/all"}},
    "hostile": {
        "engine": "fake",
        "display_name": HOSTILE,
        "description": "word" * 60,
        "options": {"reply": HOSTILE},
    },
    "long": {"engine": "fake", "options": {"reply": "one two three four " * 400, "delay": 0.02}},
    "spare": {"engine": "fake"},
    "translator": {"engine": "fake", "task": "seq2seq"},
    "vectors": {"engine": "fake", "task": "embedding"},
    "sight": {"engine": "fake", "task": "vision"},
}
KEY = "a-key-of-sixteen-or-more"
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("page"), json.dumps({"models": CATALOG})) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def open_page(browser: Any, server: Server) -> Iterator[Open]:
    """Opens the page once its models are listed; at the end nothing may have gone wrong in it."""
    problems: list[str] = []
    contexts: list[Any] = []

    def opened(width: int = 1280, *, script: str = "", url: str = server.url, **how: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 844}, **how)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda one: problems.append(one.text) if "Failed to load resource" not in one.text else None,
        )
        if script:
            page.add_init_script(script)
        page.goto(url)
        page.wait_for_selector("tbody")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


def choose(page: Any, *models: str) -> None:
    page.set_checked("#compare", len(models) > 1)
    for at, name in enumerate(models):
        page.select_option(f"#model-{at}", name)


def ask(page: Any, text: str, *models: str) -> None:
    """Sends a message and waits for the end of the answers."""
    choose(page, *models)
    page.fill("#prompt", text)
    page.click("#send")
    page.wait_for_selector("#send[aria-disabled=false]")


def figures(page: Any, at: int = -1) -> dict[str, str]:
    answer = page.locator(".answer").all()[at]
    return dict(
        zip(answer.locator("dt").all_inner_texts(), answer.locator("dd").all_inner_texts(), strict=True)
    )


def row(page: Any, name: str) -> Any:
    return page.locator(f"[data-model={name}]")


def stream(*said: dict[str, Any]) -> str:
    return "".join(f"data: {json.dumps(one)}\n\n" for one in said)


def piece(text: str, logprob: float | None = None, **more: Any) -> dict[str, Any]:
    listed = {"content": [{"token": text, "logprob": logprob, "bytes": None, "top_logprobs": []}]}
    given = {"index": 0, "delta": {"content": text}, "finish_reason": None, **more}
    return {"choices": [{**given, "logprobs": None if logprob is None else listed}]}


# -- models ------------------------------------------------------------------------------------------------


def test_each_model_is_listed_with_what_it_is_at(open_page: Open) -> None:
    page = open_page()
    assert page.locator("tbody").count() == len(CATALOG)
    words = row(page, "alpha").inner_text().split()
    assert words[:3] == ["Alpha", "Instruct", "alpha"]
    assert {"generation", "MIT"} <= set(words)
    assert " of " in page.inner_text("#budget")


def test_a_model_is_loaded_and_unloaded_where_it_is_listed(open_page: Open) -> None:
    page = open_page()
    page.evaluate("""() => {
      window.seen = [];
      const look = () => document.querySelector(".progress") && seen.push(document.querySelector(".progress").innerText);
      new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
    }""")
    page.get_by_role("button", name="Load: spare", exact=True).click()
    unload = page.get_by_role("button", name="Unload: spare", exact=True)
    unload.wait_for()
    assert row(page, "spare").locator(".badge").inner_text() == "idle"
    assert row(page, "spare").locator(".memory").inner_text().strip().endswith("MB")
    assert row(page, "spare").locator(".engine").inner_text() == "fake"
    assert page.evaluate("seen.length") > 0
    assert page.locator(".progress").count() == 0
    assert unload.evaluate("one => one === document.activeElement")
    unload.click()
    page.get_by_role("button", name="Load: spare", exact=True).wait_for()
    assert row(page, "spare").locator(".badge").inner_text() == "unloaded"


LOADS_FOR_EVER = """
const real = window.fetch;
window.fetch = (url, how) => {
  if (!String(url).endsWith("/load")) return real(url, how);
  const event = { state: "fetching", label: "a.gguf", done: 41e6, total: 82e6, notes: ["closing beta"], seconds: 1 };
  const text = `: waiting\\n\\ndata: ${JSON.stringify(event)}\\n\\n`;
  const start = (stream) => [...text].forEach((one) => stream.enqueue(new TextEncoder().encode(one)));
  return Promise.resolve(new Response(new ReadableStream({ start })));
};
"""


def test_a_load_shows_how_far_it_is_and_what_there_is_to_know(open_page: Open) -> None:
    page = open_page(script=LOADS_FOR_EVER)
    page.get_by_role("button", name="Load: broken", exact=True).click()
    page.wait_for_selector(".progress li")
    words = page.inner_text(".progress").split()
    assert words[:7] == ["fetching", "a.gguf", "41.0", "MB", "of", "82.0", "MB"]
    assert words[-2:] == ["closing", "beta"]
    assert page.locator(".progress .bar > span").evaluate("one => one.style.width") == "max(2px, 50%)"


def test_a_load_that_fails_says_why_and_what_to_do_until_it_is_dismissed(open_page: Open) -> None:
    page = open_page()
    page.get_by_role("button", name="Load: broken", exact=True).click()
    notice = row(page, "broken").get_by_role("alert")
    notice.wait_for()
    assert notice.locator("p").all_inner_texts() == [
        "'broken' cannot be loaded: model 'broken': there is no file or folder /nowhere/at/all",
        "Check 'path' in the catalogue.",
    ]
    row(page, "broken").locator(".badge.bad", has_text="failed").wait_for()
    page.get_by_role("button", name="Dismiss this error").click()
    assert notice.count() == 0
    assert page.evaluate("document.activeElement.ariaLabel") == "Load: broken"


def test_the_models_are_looked_at_every_two_seconds_while_the_page_is_seen(open_page: Open) -> None:
    page = open_page()
    page.clock.install()
    page.reload()
    page.wait_for_selector("tbody")
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url) if one.url.endswith("/models") else None)
    with page.expect_response("**/models"):
        page.clock.run_for(2100)
    page.evaluate(
        "Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true })"
    )
    page.clock.run_for(2100)  # the last look that was due
    page.wait_for_load_state("networkidle")
    count = len(asked)
    page.clock.run_for(20_000)
    assert len(asked) == count
    with page.expect_response("**/models"):
        page.evaluate(
            "delete document.visibilityState; document.dispatchEvent(new Event('visibilitychange'))"
        )


def test_a_server_that_is_gone_is_said_and_so_is_its_return(open_page: Open) -> None:
    page = open_page()
    page.route("**/models", lambda route: route.abort())
    page.wait_for_selector("#connection:not([hidden])")
    assert page.inner_text("#connection") == "The server cannot be reached."
    page.unroute("**/models")
    page.wait_for_selector("#connection", state="hidden")
    assert page.locator("tbody").count() == len(CATALOG)


# -- the playground ----------------------------------------------------------------------------------------


def test_an_answer_grows_as_it_comes_and_ends_with_its_figures(open_page: Open) -> None:
    page = open_page()
    page.evaluate("""() => {
      window.lengths = new Set();
      const look = () => lengths.add(document.querySelector(".answer .text")?.textContent.length ?? 0);
      new MutationObserver(look).observe(document.body, { subtree: true, childList: true });
    }""")
    ask(page, "Tell me", "beta")
    assert page.inner_text(".answer .text") == "a fixed answer of beta"
    assert page.evaluate("lengths.size") >= 4
    found = figures(page)
    assert found["Tokens"].startswith("5, ") and found["Tokens"].endswith(" read")
    assert found["Speed"].endswith(" tokens/s")
    assert found["First token"].endswith(" s")
    assert found["Finish"] == "stop"
    assert page.locator(".answer .text").get_attribute("aria-live") == "polite"


def test_a_token_under_the_pointer_shows_its_probability_and_its_alternatives(open_page: Open) -> None:
    page = open_page()
    ask(page, "Tell me", "beta")
    token = page.locator(".answer .t").nth(2)
    token.hover()
    tip = page.locator("#tip")
    lines = tip.inner_text().splitlines()
    assert lines[0].startswith("␣answer ") and lines[0].endswith(" %")
    assert tip.locator("li").count() == 4
    assert tip.locator("li.made").inner_text().split()[0] == "␣answer"
    share = float(lines[0].removesuffix(" %").split()[-1])
    assert token.get_attribute("class") == f"t d{round(10 - share / 10)}"
    page.mouse.move(1, 1)
    assert not tip.is_visible()


def test_the_arrow_keys_go_through_the_tokens(open_page: Open) -> None:
    page = open_page(390)
    choose(page, "long")
    page.fill("#max_tokens", "60")
    ask(page, "Tell me", "long")
    page.locator(".answer .t").first.focus()
    seen = []
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp", "End", "Home"):
        page.keyboard.press(key)
        seen.append(
            page.evaluate(
                "[...document.activeElement.parentElement.children].indexOf(document.activeElement)"
            )
        )
        assert page.locator("#tip").is_visible()
        assert page.evaluate("document.activeElement.getAttribute('aria-describedby')") == "tip"
    assert seen[:3] == [1, 2, 1]
    assert seen[3] > 4
    assert seen[4] in (0, 1, 2)
    assert seen[5:] == [59, 0]
    assert page.locator(".answer .t[tabindex='0']").count() == 1
    page.keyboard.press("Escape")
    assert not page.locator("#tip").is_visible()


@pytest.mark.parametrize("how", ["Escape", "button"])
def test_stopping_ends_the_answer_here_and_on_the_server(open_page: Open, server: Server, how: str) -> None:
    page = open_page()
    choose(page, "long")
    before = server.metric("cancelled_total", model="long")
    page.fill("#prompt", "Tell me")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".answer .t:nth-child(5)")
    if how == "Escape":
        page.keyboard.press("Escape")
    else:
        page.click("#abort")
    page.wait_for_selector("#send[aria-disabled=false]")
    assert figures(page)["Finish"] == "stopped by you"
    assert page.inner_text(".answer .text").startswith("one two three four")
    assert page.locator(".answer .notice").count() == 0
    row(page, "long").locator(".badge", has_text="idle").wait_for()  # long before the answer would have ended
    assert server.metric("cancelled_total", model="long") == before + 1


def test_the_next_turn_takes_the_conversation_along(open_page: Open) -> None:
    page = open_page()
    page.fill("#system", "Be brief.")
    page.fill("#temperature", "0")
    page.fill("#stop", "END\n\\n\\n")
    ask(page, "First", "beta")
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page, "Second", "beta")
    body = sent.value.post_data_json
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "First"},
        {"role": "assistant", "content": "a fixed answer of beta"},
        {"role": "user", "content": "Second"},
    ]
    assert (body["temperature"], body["stop"], body["stream"]) == (0, ["END", "\n\n"], True)
    assert not {"max_tokens", "top_p", "seed"} & set(body)
    page.click("#fresh")
    assert page.locator(".turn").count() == 0


def test_two_models_answer_side_by_side_each_in_its_own_conversation(open_page: Open) -> None:
    page = open_page()
    ask(page, "First", "alpha", "beta")
    left, right = page.locator(".answer").all()
    assert left.locator(".t").count() >= 5
    assert right.locator(".text").inner_text() == "a fixed answer of beta"
    assert figures(page, 0)["Finish"] == figures(page, 1)["Finish"] == "stop"
    assert left.bounding_box()["y"] == right.bounding_box()["y"]
    sent: dict[str, Any] = {}
    page.on(
        "request",
        lambda one: sent.update({(body := one.post_data_json)["model"]: body}) if one.post_data else None,
    )
    ask(page, "Second", "alpha", "beta")
    said = {name: body["messages"][1]["content"] for name, body in sent.items()}
    assert said == {"alpha": left.locator(".text").inner_text(), "beta": "a fixed answer of beta"}


def test_on_a_phone_the_two_answers_stand_one_under_the_other(open_page: Open) -> None:
    page = open_page(390)
    ask(page, "First", "alpha", "beta")
    left, right = (one.bounding_box() for one in page.locator(".answer").all())
    assert right["y"] >= left["y"] + left["height"]
    assert right["x"] == left["x"]


def test_a_model_that_cannot_answer_says_so_in_its_place_beside_the_other(open_page: Open) -> None:
    page = open_page()
    ask(page, "Tell me", "beta", "broken")
    notice = page.locator(".answer[data-column='1']").get_by_role("alert")
    assert "there is no file or folder /nowhere/at/all" in notice.inner_text()
    assert notice.locator(".hint").count() == 1
    assert page.locator(".answer[data-column='0'] .text").inner_text() == "a fixed answer of beta"


def test_a_message_that_nobody_answered_is_given_back(open_page: Open) -> None:
    page = open_page()
    ask(page, "Tell me", "broken")
    assert page.input_value("#prompt") == "Tell me"


def test_an_error_in_mid_stream_keeps_what_came(open_page: Open) -> None:
    page = open_page()
    broken = {
        "error": {
            "message": "the model crashed\nAsk again.",
            "type": "server_error",
            "param": None,
            "code": "x",
        }
    }
    body = stream(piece("Half", -0.1), piece(" of it", -0.2), broken)
    page.route(
        "**/v1/chat/completions", lambda route: route.fulfill(body=body, content_type="text/event-stream")
    )
    ask(page, "Tell me", "beta")
    assert page.inner_text(".answer .text") == "Half of it"
    assert page.locator(".answer .notice p").all_inner_texts() == ["the model crashed", "Ask again."]
    assert figures(page)["Finish"] == "error"


def test_a_stream_that_breaks_off_is_no_answer_that_ended(open_page: Open) -> None:
    page = open_page()
    body = stream(piece("Half", -0.1))
    page.route(
        "**/v1/chat/completions", lambda route: route.fulfill(body=body, content_type="text/event-stream")
    )
    ask(page, "Tell me", "beta")
    assert page.inner_text(".answer .text") == "Half"
    assert "broke before" in page.inner_text(".answer .notice")


def test_a_model_without_logprobs_is_asked_again_without_them(open_page: Open) -> None:
    page = open_page()
    asked: list[dict[str, Any]] = []

    def refuse(route: Any) -> None:
        body = route.request.post_data_json
        asked.append(body)
        if "top_logprobs" in body or "logprobs" in body:
            name = "top_logprobs" if len(asked) == 1 else "logprobs"
            error = {
                "message": f"parameter '{name}' is not supported",
                "type": "x",
                "param": name,
                "code": "x",
            }
            route.fulfill(status=422, json={"error": error})
        else:
            route.continue_()

    page.route("**/v1/chat/completions", refuse)
    ask(page, "Tell me", "beta")
    assert [(one.get("logprobs"), one.get("top_logprobs")) for one in asked] == [
        (True, 4),
        (True, None),
        (None, None),
    ]
    assert page.inner_text(".answer .text") == "a fixed answer of beta"
    assert "no probabilities" in page.inner_text(".answer .notice")
    page.locator(".answer .t").first.hover()
    assert "probability not known" in page.inner_text("#tip")


def test_a_logprob_of_minus_9999_is_one_that_is_not_known(open_page: Open) -> None:
    page = open_page()
    warned = {"choices": [], "warnings": [{"code": "x", "message": "top_k was left out"}]}
    body = stream(piece("Yes", -9999.0), piece("", finish_reason="length"), warned) + "data: [DONE]\n\n"
    page.route(
        "**/v1/chat/completions", lambda route: route.fulfill(body=body, content_type="text/event-stream")
    )
    ask(page, "Tell me", "beta")
    assert page.locator(".answer .t").get_attribute("class") == "t"
    page.locator(".answer .t").hover()
    assert "probability not known" in page.inner_text("#tip")
    assert figures(page)["Finish"] == "length"
    assert page.inner_text(".answer .notice.warn") == "top_k was left out"


def test_a_seq2seq_model_is_asked_by_the_route_that_it_has(open_page: Open) -> None:
    page = open_page()
    with page.expect_request("**/v1/completions") as sent:
        ask(page, "Translate", "translator")
    assert sent.value.post_data_json["prompt"] == "Translate"
    assert page.locator(".answer .t").count() >= 5
    page.locator(".answer .t").first.hover()
    assert page.locator("#tip li").count() == 4
    assert page.is_visible("#seq2seq-note")


def test_an_image_goes_to_a_vision_model_with_the_message(open_page: Open) -> None:
    page = open_page()
    choose(page, "beta")
    assert not page.is_visible("#image-box")
    choose(page, "sight")
    page.set_input_files(
        "#image", {"name": "dot.png", "mimeType": "image/png", "buffer": b"not much of an image"}
    )
    page.wait_for_selector("#image-name:not(:empty)")
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page, "What is it?", "sight")
    url = f"data:image/png;base64,{base64.b64encode(b'not much of an image').decode()}"
    assert sent.value.post_data_json["messages"][-1]["content"] == [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": "What is it?"},
    ]
    assert "data:image/png;base64,…" in page.inner_text("#code")
    assert page.is_visible("#code-note")


def test_nothing_that_a_model_or_catalogue_says_becomes_an_element(open_page: Open) -> None:
    page = open_page()
    ask(page, HOSTILE, "hostile")
    assert page.inner_text(".answer .text") == HOSTILE
    assert row(page, "hostile").locator(".title").inner_text() == HOSTILE
    page.locator(".answer .t").first.hover()
    assert page.locator("img, script:not([src])").count() == 0
    assert "\u202e" not in page.inner_text("#code")


# -- as code -----------------------------------------------------------------------------------------------

NASTY = "It's a \"test\" of $HOME, `id`, $(id), \\n, \\' and !!\nof two lines, é 😀 \u202e\u2028 'x'"


def sent_and_shown(page: Any, text: str, *models: str) -> tuple[dict[str, Any], str]:
    page.fill("#temperature", "0")
    with page.expect_request("**/*completions") as sent:
        ask(page, text, *models)
    body = sent.value.post_data_json
    return {k: v for k, v in body.items() if "logprobs" not in k and "stream" not in k}, page.inner_text(
        "#code"
    )


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_the_curl_line_sends_what_the_page_sent(open_page: Open, tmp_path: Path, shell: str) -> None:
    page = open_page()
    page.fill("#system", "It's me")
    body, line = sent_and_shown(page, NASTY, "alpha")
    assert body["messages"][-1]["content"] == NASTY
    assert not {"\u202e", "\u2028"} & set(line)
    stand_in = 'curl() { for one in "$@"; do printf \'%s\\0\' "$one"; done; }\n'
    given = subprocess.run(
        [shell, "-c", stand_in + line], capture_output=True, check=True, cwd=tmp_path
    ).stdout
    *_, data, _ = given.decode().split("\0")
    assert json.loads(data) == body
    reply = json.loads(subprocess.run([shell, "-c", line], capture_output=True, check=True).stdout)
    assert reply["choices"][0]["message"]["content"] == page.inner_text(".answer .text")


def test_the_python_code_gives_the_same_answer(open_page: Open) -> None:
    pytest.importorskip("openai", reason="openai is not installed")
    page = open_page()
    _, _ = sent_and_shown(page, NASTY, "alpha")
    page.get_by_role("tab", name="curl").focus()
    page.keyboard.press("ArrowRight")
    for stream_it in (False, True):
        page.set_checked("#code-stream", stream_it)
        line = page.inner_text("#code")
        assert ("stream=True" in line) == stream_it
        said = subprocess.run([sys.executable, "-c", line], capture_output=True, check=True, text=True).stdout
        assert said.strip() == page.inner_text(".answer .text")


def test_the_code_of_a_seq2seq_model_is_for_its_route(open_page: Open) -> None:
    page = open_page()
    body, line = sent_and_shown(page, "It's", "translator")
    reply = json.loads(subprocess.run(["sh", "-c", line], capture_output=True, check=True).stdout)
    assert reply["choices"][0]["text"] == page.inner_text(".answer .text")
    page.click("#tab-python")
    compile(page.inner_text("#code"), "snippet", "exec")
    assert "client.completions.create(" in page.inner_text("#code")
    assert body["prompt"] == "It's"


def test_of_two_models_each_has_its_code_and_it_can_be_copied(open_page: Open) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    ask(page, "Tell me", "alpha", "beta")
    page.select_option("#code-model", "1")
    assert '"model": "beta"' in page.inner_text("#code")
    page.click("#copy")
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.inner_text("#code")


def test_where_the_server_has_keys_the_code_takes_one_from_the_environment(
    open_page: Open, tmp_path: Path
) -> None:
    catalog = json.dumps({"models": {"beta": CATALOG["beta"]}})
    with served(tmp_path, catalog, env={"MODELYARD_API_KEYS": KEY}) as locked:
        page = open_page(url=locked.url, http_credentials={"username": "me", "password": KEY})
        ask(page, "It's", "beta")
        assert page.inner_text(".answer .text") == "a fixed answer of beta"
        line = page.inner_text("#code")
        assert '-H "Authorization: Bearer $MODELYARD_API_KEY"' in line
        environment = {**os.environ, "MODELYARD_API_KEY": KEY}
        said = subprocess.run(["sh", "-c", line], capture_output=True, check=True, env=environment).stdout
        assert json.loads(said)["choices"][0]["message"]["content"] == "a fixed answer of beta"
        page.click("#tab-python")
        assert 'api_key=os.environ["MODELYARD_API_KEY"]' in page.inner_text("#code")


def test_without_keys_the_code_has_none(open_page: Open) -> None:
    page = open_page()
    ask(page, "Tell me", "beta")
    assert "Authorization" not in page.inner_text("#code")


# -- keyboard and layout -----------------------------------------------------------------------------------


def test_everything_can_be_done_without_a_pointer(open_page: Open) -> None:
    page = open_page()
    reached: list[str] = []

    def tab_to(wanted: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            found = page.evaluate("""() => {
              const one = document.activeElement;
              const outline = getComputedStyle(one).outlineStyle;
              return [one.id || one.ariaLabel || one.textContent, outline];
            }""")
            reached.append(found[0])
            assert found[1] != "none", found[0]
            if found[0] == wanted:
                return
        raise AssertionError(f"{wanted} is not reached: {reached}")

    tab_to("Load: vectors")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Unload: vectors", exact=True).wait_for()
    tab_to("model-0")
    page.keyboard.type("beta")
    tab_to("prompt")
    page.keyboard.type("Tell me?")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#send[aria-disabled=false]")
    assert page.inner_text(".answer .text") == "a fixed answer of beta"
    assert page.evaluate("document.activeElement.id") == "prompt"
    page.keyboard.press("Shift+Tab")
    assert page.inner_text("#tip").startswith("a ")
    tab_to("send")
    assert not page.locator("#help").is_visible()
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()
    assert page.evaluate("document.activeElement.id") == "send"
    tab_to("tab-curl")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#code").startswith("from openai")


def test_enter_in_a_field_sends_nothing_and_a_wrong_value_is_refused_there(open_page: Open) -> None:
    page = open_page()
    choose(page, "beta")
    page.fill("#prompt", "Tell me")
    page.fill("#top_p", "7")
    page.keyboard.press("Enter")
    page.keyboard.press("Control+Enter")
    assert page.locator(".turn").count() == 0
    assert page.evaluate("document.activeElement.id") == "top_p"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_scrolls_only_downwards(open_page: Open, width: int, scheme: str) -> None:
    page = open_page(width, color_scheme=scheme, reduced_motion="reduce")
    page.get_by_role("button", name="Load: broken", exact=True).click()
    ask(page, "unbroken" * 60, "hostile", "broken")
    page.click("#tab-python")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 28)"
    assert dark == (scheme == "dark")


def test_a_reader_who_wants_no_motion_gets_none(open_page: Open) -> None:
    page = open_page(script=LOADS_FOR_EVER.replace("total: 82e6", "total: null"), reduced_motion="reduce")
    page.get_by_role("button", name="Load: broken", exact=True).click()
    page.wait_for_selector(".progress li")
    assert page.evaluate("document.getAnimations().length") == 0
