"""The review page in a browser: everything by keyboard, quotes that light up, decisions that stay."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chromium import chromium
from tests.extraction.review.results import candidate, document_of, field_of, make_extraction, make_result

from modelyard.extraction.result import Extraction
from modelyard.extraction.review.corrections import Correction, labels_from, read_corrections
from modelyard.extraction.review.page import render_review
from modelyard.extraction.review.sheet import Sheet
from modelyard.extraction.review.truth import Truth

pytestmark = pytest.mark.slow

RESULT = make_result(6)
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Opens the page of a result; at the end nothing may have gone wrong in it."""
    problems: list[str] = []
    contexts: list[Any] = []

    def opened(
        result: dict[str, Any] = RESULT,
        *,
        width: int = 1280,
        url: str | None = None,
        page: str = "",
        **how: Any,
    ) -> Any:
        file = tmp_path / "review.html"
        if url is None:
            file.write_bytes((page or render_review(result)).encode("utf-8", "xmlcharrefreplace"))
        context = browser.new_context(viewport={"width": width, "height": 844}, **how)
        contexts.append(context)
        found = context.new_page()
        found.set_default_timeout(10_000)
        found.on("pageerror", lambda error: problems.append(str(error)))
        found.on(
            "console",
            lambda one: (
                problems.append(one.text)
                if "status of 4" not in one.text and "CONNECTION_REFUSED" not in one.text
                else None
            ),
        )
        found.on("request", lambda one: _outside(one.url, url) and problems.append(one.url))
        found.goto(url or file.as_uri())
        settled(found)
        return found

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


def _outside(asked: str, own: str | None) -> bool:
    return not asked.startswith(("file:", "blob:file:", own.partition("?")[0] if own else "file:"))


def until(page: Any, expression: str, expected: object = None) -> None:
    """Until an expression has a value, or is true. The page's policy lets playwright's own waiting not run."""
    end = time.monotonic() + 10
    while True:
        found = page.evaluate(expression + ("" if expected is not None else " ? true : false"))
        if found == (True if expected is None else expected):
            return
        assert time.monotonic() < end, f"{expression} is {found}"
        page.wait_for_timeout(10)


def settled(page: Any) -> None:
    page.wait_for_selector("html[data-ready]")
    until(page, "document.querySelector('#candidates li') || document.querySelector('#none:not([hidden])')")


def title(page: Any) -> str:
    """The field and the document that are shown."""
    return f"{page.inner_text('#detail-title bdi')} {page.inner_text('#detail-where')}"


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def at(page: Any, field: str, document: int) -> None:
    """Waits until a field is shown."""
    where = f"doc-{document:04}.txt"
    until(
        page,
        "[document.querySelector('#detail-title bdi').textContent, document.querySelector('#detail-where').textContent].join(' ')",
        f"{field} {where}",
    )


def lit(page: Any) -> str:
    """The text of the quote that is lit."""
    found: str = page.evaluate(
        "[...document.querySelectorAll('mark.lit')].map((one) => one.textContent).join('')"
    )
    return found


def wait_for_rows(path: Path, count: int) -> None:
    """Until the file has so many: each waits for the disk."""
    until = time.monotonic() + 60
    while time.monotonic() < until and (not path.exists() or len(rows_of(path)) < count):
        time.sleep(0.02)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def downloaded(page: Any, path: Path) -> list[dict[str, Any]]:
    with page.expect_download() as waiting:
        page.click("#download")
    waiting.value.save_as(path)
    return rows_of(path)


# -- what is shown -----------------------------------------------------------------------------------------


def test_the_first_field_is_shown_with_its_quote_lit_in_its_document(open_page: Open) -> None:
    page = open_page()
    assert title(page) == "eps_basic doc-0001.txt"
    assert page.inner_text("#document-name") == "doc-0001.txt"
    assert lit(page) == "Basic | 1.25"
    assert page.text_content("#text") == RESULT["documents"][0]["text"]
    assert page.inner_text("#progress-text") == "0 of 24 reviewed"


def test_every_candidate_of_a_conflict_is_shown_with_all_there_is_to_know(open_page: Open) -> None:
    page = open_page()
    press(page, "n", "n")
    at(page, "eps_basic", 3)
    assert "margin: 2 of 3 voters read it" in page.inner_text("#detail-reason")
    assert "confidence 0.60 by formula" in page.inner_text("#detail-facts")
    assert "below the threshold" in page.inner_text("#detail-facts")
    found = page.locator("#candidates li").all_inner_texts()
    assert len(found) == 3
    for word in (
        "third",
        "0.75",
        "Basic | 3.25 | 0.75",
        "quote in the text",
        "logprob −1.50 (22 %)",
        "weight 1",
        "line 1",
    ):
        assert word in found[2], word


def test_choosing_a_candidate_lights_its_quote(open_page: Open) -> None:
    page = open_page()
    press(page, "n", "n")
    at(page, "eps_basic", 3)
    assert lit(page) == "Basic | 3.25"
    press(page, "3")
    until(page, "document.querySelectorAll('mark.lit').length === 2")
    assert lit(page) == "Basic | 3.25 | 0.75"
    assert page.locator("button.candidate[aria-pressed=true]").inner_text().startswith("3 third")
    page.locator("button.candidate").first.click()
    until(page, "document.querySelectorAll('mark.lit').length === 1")
    assert lit(page) == "Basic | 3.25"


def test_a_candidate_of_another_document_brings_that_document(open_page: Open) -> None:
    page = open_page(make_result(3, record=True))
    assert title(page) == "eps_basic both"
    assert page.locator("#tabs button").all_inner_texts() == ["doc-0001.txt", "doc-0002.txt"]
    press(page, "4")
    page.locator("#document-name", has_text="doc-0002.txt").wait_for()
    until(page, "document.querySelector('mark.lit')")
    assert lit(page) == "Basic | 2.25"
    page.locator("#tabs button").first.click()
    page.locator("#document-name", has_text="doc-0001.txt").wait_for()


def test_what_was_read_is_marked_and_the_rest_is_grey(open_page: Open) -> None:
    page = open_page()
    assert page.locator("#read-key").is_visible()
    text = RESULT["documents"][0]["text"]
    grey = page.evaluate(
        "[...document.querySelectorAll('#text .unread')].map((one) => one.textContent).join('')"
    )
    shown = page.evaluate(
        "[...document.querySelectorAll('#text .part.seen')].map((one) => one.textContent).join('')"
    )
    assert text.startswith(shown) and text.endswith(grey.splitlines()[-1] + "\n")
    assert 60 <= len(shown) < 100


def test_rows_of_a_table_are_monospace_and_prose_is_not(open_page: Open) -> None:
    page = open_page()
    rows = page.evaluate(
        "[...document.querySelectorAll('#text .rows')].map((one) => one.textContent).join('')"
    )
    assert rows.splitlines()[0] == " | 2023 | 2022"
    assert "accompanying" not in rows


ODD = (
    "\0 \ud83d half, \U0001f600 \u202eabc </script><img src=x onerror=alert(1)> <!-- &amp; \u05d0\u05d1\u05d2"
)


def test_hostile_and_broken_text_is_only_ever_text(open_page: Open) -> None:
    text = f"one\n{ODD} | 2\nthree"
    read = [candidate(ODD, ODD, text, ODD, ODD), candidate("other", ODD, text, "three", "three")]
    fields = {ODD: field_of(read, 0.5, strategy=ODD, reason=ODD)}
    result = Extraction(ODD, (document_of(ODD, text, fields, warnings=(ODD,)),), None, None, (), (ODD,))
    page = open_page(result.to_dict(text=True))
    assert page.locator("img").count() == 0
    units = "one => [...Array(one.length).keys()].map(at => one.charCodeAt(at))"
    data = ODD.encode("utf-16-le", "surrogatepass")
    expected = [int.from_bytes(data[place : place + 2], "little") for place in range(0, len(data), 2)]
    for place in ("mark.lit", "#detail-value", "#detail-title bdi", ".candidate .quote", "#notes-list li"):
        assert page.evaluate(f"({units})(document.querySelector('{place}').textContent)") == expected, place


# -- the list ----------------------------------------------------------------------------------------------


def names_shown(page: Any) -> list[str]:
    found = page.locator(".row").all()
    return [f"{one.locator('.name').inner_text()} {one.locator('.from').inner_text()}" for one in found]


def test_the_filters_show_what_needs_a_look(open_page: Open) -> None:
    page = open_page()
    counts = page.locator("#filter [data-flag] .count").all_inner_texts()
    assert counts == ["3", "1", "1", "2"]
    page.check("input[value=conflict]")
    assert page.inner_text("#count") == "3 of 24 fields"
    assert names_shown(page) == [f"eps_basic doc-000{one}.txt" for one in (3, 4, 6)]
    page.check("input[value=ungrounded]")
    assert page.inner_text("#count") == "4 of 24 fields"
    page.uncheck("input[value=conflict]")
    page.uncheck("input[value=ungrounded]")
    page.check("#below-on")
    page.fill("#below", "0.5")
    assert names_shown(page) == ["eps_basic doc-0004.txt", "shares doc-0005.txt"]


def test_the_least_sure_come_first_where_that_is_asked_for(open_page: Open) -> None:
    page = open_page()
    page.select_option("#sort", "low")
    assert names_shown(page)[:4] == [
        "eps_basic doc-0004.txt",
        "shares doc-0005.txt",
        "eps_basic doc-0003.txt",
        "eps_basic doc-0006.txt",
    ]
    page.select_option("#sort", "high")
    assert names_shown(page)[0] == "shares doc-0001.txt"


def test_the_search_finds_names_values_and_quotes(open_page: Open) -> None:
    page = open_page()
    for words, count in (("DOC-0002", 4), ("1003", 1), ("accompanying", 6), ("zebra", 0)):
        press(page, "Escape", "/")
        page.fill("#words", words)
        assert page.inner_text("#count") == f"{count} of 24 fields", words
    assert page.locator("#none").is_visible()


def test_not_reviewed_leaves_out_what_is_decided(open_page: Open) -> None:
    page = open_page()
    press(page, "a")
    page.check("#open-only")
    assert page.inner_text("#count") == "23 of 24 fields"


# -- deciding ----------------------------------------------------------------------------------------------


def test_a_review_by_keyboard_alone(open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    press(page, "a")
    at(page, "shares", 1)
    press(page, "c")
    page.keyboard.type("1,077")
    press(page, "Enter")
    at(page, "audited", 1)
    press(page, "c")
    assert page.evaluate("document.activeElement.tagName") == "SELECT"
    press(page, "ArrowDown", "Escape")
    press(page, "j")
    at(page, "note", 1)
    press(page, "r")
    at(page, "eps_basic", 2)
    assert page.inner_text("#progress-text") == "3 of 24 reviewed"
    press(page, "k")
    at(page, "note", 1)
    assert page.inner_text("#decision") == "✗ rejected"
    press(page, "n", "p", "ArrowDown", "ArrowUp")
    at(page, "eps_basic", 1)
    rows = downloaded(page, tmp_path / "c.jsonl")
    assert [(one["field"], one["action"], one["value"], one["previous"]) for one in rows] == [
        ("eps_basic", "accept", 1.25, 1.25),
        ("shares", "correct", 1077, 1001),
        ("note", "reject", None, "notes"),
    ]
    found = labels_from(read_corrections(tmp_path / "c.jsonl"), RESULT)
    assert (len(found.known), len(found.wrong), len(found.unknown)) == (2, 1, 0)


@pytest.mark.parametrize(
    ("field", "written", "expected"),
    [
        ("eps_basic", "$ (1,234.50)", -1234.5),
        ("eps_basic", "-.41", -0.41),
        ("eps_basic", "1.2.3", "That is no number."),
        ("eps_basic", "", "Write a value, or say that the document does not give it."),
        ("shares", "12345678901234567890", 12345678901234567890),
        ("shares", "1.5", "That is no whole number."),
        ("note", '"quoted" \\ é', '"quoted" \\ é'),
    ],
)
def test_what_is_written_is_checked_by_type(
    open_page: Open, tmp_path: Path, field: str, written: str, expected: Any
) -> None:
    page = open_page()
    press(page, *["j"] * ["eps_basic", "shares", "audited", "note"].index(field))
    at(page, field, 1)
    press(page, "c")
    page.fill("#written", written)
    press(page, "Enter")
    if isinstance(expected, str) and expected.endswith((".", "it.")):
        assert page.inner_text("#written-problem") == expected
        assert page.get_attribute("#written", "aria-invalid") == "true"
        assert page.inner_text("#progress-text").startswith("0 of")
        return
    (row,) = downloaded(page, tmp_path / "c.jsonl")
    assert (row["action"], row["value"]) == ("correct", expected)


def test_that_a_document_does_not_give_it_is_a_correction_to_null(open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    press(page, "c", "Tab", "Space")
    until(page, "document.getElementById('written').disabled")
    page.click("#save")
    (row,) = downloaded(page, tmp_path / "c.jsonl")
    assert (row["action"], row["value"], row["previous"]) == ("correct", None, 1.25)


def test_an_unresolved_field_has_nothing_to_accept_but_a_candidate_can_be_taken(
    open_page: Open, tmp_path: Path
) -> None:
    page = open_page()
    press(page, "n", "n", "n")
    at(page, "eps_basic", 4)
    press(page, "a")
    page.wait_for_selector("#correcting:not([hidden])")
    press(page, "Escape")
    page.get_by_role("button", name="This value is right").first.click()
    (row,) = downloaded(page, tmp_path / "c.jsonl")
    assert (row["action"], row["value"], row["previous"]) == ("correct", 4.25, None)


def test_undo_takes_back_one_decision_after_the_other(open_page: Open) -> None:
    page = open_page()
    press(page, "a", "r", "u")
    at(page, "shares", 1)
    assert page.inner_text("#decision") == "not reviewed"
    assert page.inner_text("#progress-text") == "1 of 24 reviewed"
    press(page, "u")
    at(page, "eps_basic", 1)
    assert page.inner_text("#progress-text") == "0 of 24 reviewed"
    assert page.locator("#download").is_disabled()


def test_a_reload_shows_what_was_decided_and_another_result_does_not(open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    press(page, "a", "r")
    page.reload()
    settled(page)
    assert page.inner_text("#progress-text") == "2 of 24 reviewed"
    (tmp_path / "review.html").write_text(render_review(make_result(5)))
    page.reload()
    settled(page)
    assert page.inner_text("#progress-text") == "0 of 20 reviewed"


def test_decisions_that_came_with_the_page_can_be_changed(open_page: Open, tmp_path: Path) -> None:
    one = Correction(
        "doc-0001.txt", None, "eps_basic", "reject", None, 1.25, "eve", "2026-05-01T09:30:00+00:00"
    )
    page = open_page(page=render_review(RESULT, decisions={one.key: one}))
    assert page.inner_text("#decision") == "✗ rejected"
    press(page, "u")
    page.reload()
    settled(page)
    assert page.inner_text("#decision") == "not reviewed"
    assert [row["action"] for row in downloaded(page, tmp_path / "c.jsonl")] == ["withdraw"]


def test_keys_do_nothing_while_something_is_written(open_page: Open) -> None:
    page = open_page()
    press(page, "/")
    page.keyboard.type("narrow")
    assert page.inner_text("#progress-text") == "0 of 24 reviewed"
    page.fill("#words", "")
    press(page, "Escape", "?")
    assert page.locator("#help").is_visible()
    press(page, "a", "Escape")
    assert page.inner_text("#progress-text") == "0 of 24 reviewed"


def test_every_control_has_a_name_and_the_focus_is_seen(open_page: Open) -> None:
    page = open_page()
    nameless = "[...document.querySelectorAll('button, input, select')].filter((one) => !(one.textContent.trim() || one.ariaLabel || one.labels?.length)).length"
    assert page.evaluate(nameless) == 0
    press(page, "j")
    page.focus("#list")
    assert page.get_attribute("#list", "aria-activedescendant") == "row-1"
    seen = set()
    for _ in range(25):
        press(page, "Tab")
        seen.add(page.evaluate("document.activeElement.id"))
        assert page.evaluate(
            "(one => one === document.body || getComputedStyle(one).outlineStyle !== 'none' || one.closest('.chip') !== null)(document.activeElement)"
        )
    assert {"accept", "correct", "reject", "text"} <= seen


# -- live --------------------------------------------------------------------------------------------------

SERVE = """
import sys
from pathlib import Path
from modelyard.extraction.review.journal import Journal
from modelyard.extraction.review.serve import ReviewServer
from modelyard.extraction.review.sheet import read_result
server = ReviewServer(read_result(Path(sys.argv[1])), Journal(Path(sys.argv[2])), reviewer="eve")
server.run(lambda url: print(url, flush=True))
"""


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    """A server in a process: the process, its address, its corrections file."""
    (tmp_path / "r.json").write_text(json.dumps(RESULT))
    file = tmp_path / "c.jsonl"
    command = [sys.executable, "-c", SERVE, str(tmp_path / "r.json"), str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip(), file
        process.kill()


def test_live_decisions_are_in_the_file_at_once_and_a_reload_shows_them(open_page: Open, live: Any) -> None:
    _, url, file = live
    page = open_page(url=url)
    assert page.locator("#download").is_hidden()
    with page.expect_response("**/decisions*"):
        press(page, "a")
    with page.expect_response("**/decisions*"):
        press(page, "r")
    assert [(one["field"], one["action"], one["reviewer"]) for one in rows_of(file)] == [
        ("eps_basic", "accept", "eve"),
        ("shares", "reject", "eve"),
    ]
    with page.expect_response("**/decisions*"):
        press(page, "u")
    assert rows_of(file)[-1]["action"] == "withdraw"
    page.reload()
    settled(page)
    assert page.inner_text("#progress-text") == "1 of 24 reviewed"
    assert page.locator("figure").count() == 2, "what was decided is a label"


def test_live_a_quick_hand_loses_nothing(open_page: Open, live: Any) -> None:
    _, url, file = live
    page = open_page(url=url)
    for _ in range(12):
        press(page, "r")
        page.wait_for_timeout(15)
    until(page, "document.querySelector('#progress-text').textContent.startsWith('12 of')")
    wait_for_rows(file, 12)
    assert [one["action"] for one in rows_of(file)] == ["reject"] * 12
    assert len({(one["document"], one["field"]) for one in rows_of(file)}) == 12


def test_live_a_server_that_has_gone_is_said_and_nothing_is_taken_for_decided(
    open_page: Open, live: Any
) -> None:
    process, url, _ = live
    page = open_page(url=url)
    process.kill()
    process.wait()
    press(page, "a")
    page.wait_for_selector("#notice:not([hidden])")
    assert "Not kept: eps_basic, doc-0001.txt" in page.inner_text("#notice")
    assert page.inner_text("#progress-text") == "0 of 24 reviewed"


# -- how it looks, and how quick it is ---------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_only_downwards(open_page: Open, scheme: str) -> None:
    result = make_result(3, record=True)
    result["records"][0]["name"] = "unbroken" * 40
    result["documents"][2]["fields"]["note"]["value"] = "unbroken" * 40
    truth = Truth({("doc-0003.txt", "eps_basic"): 3.25})
    page = open_page(page=render_review(result, truth=truth), width=390, color_scheme=scheme)
    for _ in range(5):
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        press(page, "j")


def test_the_curves_are_drawn_where_labels_are(open_page: Open) -> None:
    truth = Truth(
        {(one["document"], "eps_basic"): one["fields"]["eps_basic"]["value"] for one in RESULT["documents"]}
    )
    page = open_page(page=render_review(RESULT, truth=truth))
    assert page.locator("figure svg").count() == 2
    assert page.locator("figure").last.inner_text().count("labelled values") == 1


def test_without_scripts_it_is_said(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "p.html").write_text(render_review(RESULT))
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto((tmp_path / "p.html").as_uri())
    assert "where JavaScript is allowed" in page.inner_text("body")


def test_a_thousand_documents_and_a_long_one_stay_quick(open_page: Open) -> None:
    result = make_extraction(1000).to_dict(text=True)
    long = result["documents"][1]
    long["text"] += "".join(f"Line {one} of a long filing with | a number | {one}\n\n" for one in range(4000))
    assert len(long["text"]) > 200_000
    end = long["text"].rindex("Line 3999")
    note = long["fields"]["note"]["candidates"][0]
    note |= {"quote": long["text"][end : end + 9], "start": end, "end": end + 9}
    assert Sheet(result).items
    page = open_page(result)
    opened = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    assert opened < 2000
    press(page, "n", "j", "j")
    script = """async () => {
      const began = performance.now();
      document.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true }));
      while (document.querySelector("mark.lit")?.textContent !== "Line 3999") await new Promise(requestAnimationFrame);
      return performance.now() - began;
    }"""
    at(page, "audited", 2)
    assert page.evaluate(script.replace("document.dispatchEvent", "document.body.dispatchEvent")) < 500
    seen = page.evaluate(
        "(() => { const box = document.getElementById('text').getBoundingClientRect(), it = document.querySelector('mark.lit').getBoundingClientRect(); return it.top >= box.top && it.bottom <= box.bottom; })()"
    )
    assert seen
    began = "(() => { const began = performance.now(); document.getElementById('words').value = '0999'; document.getElementById('words').dispatchEvent(new Event('input', { bubbles: true })); return performance.now() - began; })()"
    assert page.evaluate(began) < 500
    assert page.inner_text("#count") == "4 of 4,000 fields"
