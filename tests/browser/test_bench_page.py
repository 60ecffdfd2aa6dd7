"""The page of a benchmark in a browser: its samples are filtered, opened and compared, and it opens at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.bench.results import ABSTRACTS, EARNINGS, MODELS, make_result
from tests.chromium import chromium

from modelyard.bench.outcome import OUTCOMES
from modelyard.bench.report.page import render_page

pytestmark = pytest.mark.slow

RESULT = make_result(samples=150, failed=["broken-7b"])
Open = Callable[..., Any]
NAMES = {model["alias"]: model["display_name"] for model in RESULT["models"]}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Opens the page of a result; at the end nothing may have gone wrong in it."""
    problems: list[str] = []
    contexts: list[Any] = []

    def opened(result: dict[str, Any] = RESULT, *, width: int = 1280, **how: Any) -> Any:
        file = tmp_path / "report.html"
        file.write_text(render_page(result), "utf-8")
        context = browser.new_context(viewport={"width": width, "height": 844}, **how)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text))
        page.on("request", lambda one: one.url.startswith("file:") or problems.append(one.url))
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready]")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


def rows(
    model: str | None = None, task: str | None = None, outcome: str | None = None
) -> list[dict[str, Any]]:
    asked = {"model": model, "task": task, "outcome": outcome}
    return [row for row in RESULT["samples"] if all(row[key] == one for key, one in asked.items() if one)]


def samples(found: list[dict[str, Any]]) -> int:
    return len({(row["task"], row["sample"]) for row in found})


def count(page: Any) -> int:
    return int(page.inner_text("#count").split()[0].replace(",", ""))


def check(page: Any, name: str, *, on: bool = True) -> None:
    page.get_by_role("search").get_by_label(name).set_checked(on)


def names_shown(page: Any) -> list[str]:
    return [one.split()[0] for one in page.locator(".row .sample bdi").all_inner_texts()]


def select(page: Any, at: int) -> None:
    """Opens the row at a place, and waits for its texts."""
    page.locator(f"#row-{at}").click()
    page.locator("#detail .card").first.wait_for()


# -- the filter --------------------------------------------------------------------------------------------


def test_all_samples_are_listed_at_first(open_page: Open) -> None:
    page = open_page()
    assert page.inner_text("#count") == "300 samples"
    assert names_shown(page)[0] == "eps-0000"
    assert page.locator("#reset").is_hidden()


def test_an_outcome_filters_the_samples_and_each_outcome_says_how_many_there_are(open_page: Open) -> None:
    page = open_page()
    counts = dict(zip(OUTCOMES, page.locator(".chip .count").all_inner_texts(), strict=True))
    assert counts == {one: str(len(rows(outcome=one))) for one in OUTCOMES}
    check(page, "wrong")
    assert count(page) == samples(rows(outcome="wrong"))
    check(page, "unreadable")
    assert count(page) == samples(rows(outcome="wrong") + rows(outcome="unreadable"))
    page.get_by_role("button", name="Show all").click()
    assert count(page) == 300


def test_a_task_and_models_filter_too(open_page: Open) -> None:
    page = open_page()
    page.select_option("#task", label="PubMedQA")
    assert count(page) == 150
    for model in MODELS[1:]:
        check(page, NAMES[model], on=False)
    check(page, "failed")
    assert count(page) == samples(rows(MODELS[0], ABSTRACTS, "failed"))
    assert page.locator("#columns .cell").count() == 1


def test_without_a_model_there_is_nothing_and_that_is_said(open_page: Open) -> None:
    page = open_page()
    for model in MODELS:
        check(page, NAMES[model], on=False)
    assert page.inner_text("#count") == "Choose at least one model."
    assert page.locator(".row").count() == 0


def test_models_disagree_where_their_outcomes_differ(open_page: Open) -> None:
    page = open_page()
    page.select_option("#task", label="PubMedQA")
    check(page, "models disagree")
    ends: dict[str, set[str]] = {}
    for row in rows(task=ABSTRACTS):
        ends.setdefault(row["sample"], set()).add(row["outcome"])
    assert count(page) == sum(len(one) > 1 for one in ends.values())


def test_the_search_finds_what_stands_only_in_a_prompt(open_page: Open) -> None:
    result = make_result(samples=150)
    name = result["samples"][600]["sample"]
    for row in result["samples"]:
        row["prompt"] += " Zebrafish" if row["sample"] == name else ""
    page = open_page(result)
    page.keyboard.press("/")
    page.keyboard.type("zebraFISH")
    page.locator("#count", has_text="1 of 300 samples").wait_for()
    assert names_shown(page) == [name]
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.locator("#detail .card").first.wait_for()
    assert page.inner_text("#detail-prompt").endswith("Zebrafish")


def test_the_search_finds_what_only_one_model_wrote_or_was_given(open_page: Open) -> None:
    result = make_result(samples=150)
    result["samples"][10]["prompt"] = "Axolotl"
    result["samples"][310]["answer"] = "an axolotl, too"
    page = open_page(result)
    page.fill("#words", "axolotl")
    page.locator("#count", has_text="2 of 300 samples").wait_for()
    assert names_shown(page) == [result["samples"][at]["sample"] for at in (10, 310)]


def test_a_count_in_the_leaderboard_leads_to_its_samples(open_page: Open) -> None:
    page = open_page()
    page.locator("section.task").first.locator("a.count-of.wrong").first.click()
    assert count(page) == samples(rows(MODELS[0], EARNINGS, "wrong"))
    assert page.evaluate("document.activeElement.id") == "list"
    assert page.locator("#list").bounding_box()["y"] < 844


def test_a_comparison_leads_to_the_samples_in_which_the_two_disagree(open_page: Open) -> None:
    page = open_page()
    page.locator("section.task table.pairs").first.locator("a").first.click()
    first, second = ({row["sample"]: row["outcome"] for row in rows(model, EARNINGS)} for model in MODELS[:2])
    assert count(page) == sum(first[one] != second[one] for one in first)
    assert page.locator("#columns .cell").count() == 2


# -- a sample ----------------------------------------------------------------------------------------------


def test_an_opened_sample_shows_all_there_is_to_know(open_page: Open) -> None:
    page = open_page()
    check(page, "cut short")
    select(page, 0)
    name = page.inner_text("#detail-title")
    mine = [row for row in RESULT["samples"] if row["sample"] == name]
    assert page.evaluate("document.getElementById('detail-prompt').textContent") == mine[0]["prompt"]
    assert mine[0]["document"] in page.inner_text("#detail-where")
    assert page.locator(".card h4").all_inner_texts() == [NAMES[row["model"]] for row in mine]
    for card, row in zip(page.locator(".card").all(), mine, strict=True):
        assert row["outcome"] in card.locator("header").inner_text()
        assert row["reason"] in card.inner_text()
        assert all(warning in card.inner_text() for warning in row["warnings"])
        if row["answer"]:
            assert card.locator(".answer").inner_text() == row["answer"]


def test_the_models_stand_side_by_side_on_a_desk_and_below_each_other_on_a_phone(open_page: Open) -> None:
    for width, columns in ((1280, 3), (390, 1)):
        page = open_page(width=width)
        select(page, 0)
        assert len({card.bounding_box()["x"] for card in page.locator(".card").all()}) == columns


def test_a_token_says_its_probability_under_the_pointer_and_the_keyboard(open_page: Open) -> None:
    page = open_page()
    check(page, "right")
    select(page, 0)
    token = page.locator(".card").first.locator(".t").nth(1)
    token.hover()
    assert " % · logprob −" in page.inner_text("#tip")
    page.mouse.move(1, 1)
    assert page.locator("#tip").is_hidden()
    page.locator(".card").first.locator(".t").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#tip").is_visible()
    assert token.get_attribute("aria-describedby") == "tip"


def test_a_choice_shows_how_likely_each_choice_was(open_page: Open) -> None:
    page = open_page()
    page.select_option("#task", label="PubMedQA")
    check(page, "right")
    select(page, 0)
    choices = page.locator(".card").first.locator(".choices li")
    shares = [float(text.split()[-2]) for text in choices.all_inner_texts()]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert shares == sorted(shares, reverse=True)


def test_each_asking_can_be_looked_at(open_page: Open) -> None:
    result = make_result(samples=3, repeats=2)
    for row in result["samples"]:
        row["reason"] = f"of asking {row['repeat']}"
    page = open_page(result)
    select(page, 0)
    assert "of asking 0" in page.locator(".card").first.inner_text()
    page.get_by_role("button", name="2", exact=True).click()
    assert page.locator(".card .reason").all_inner_texts() == ["of asking 1"] * 3
    assert page.evaluate("document.activeElement.textContent") == "2"


ODD = "\0 \ud83d half, \U0001f600, </script><img src=x onerror=alert(1)> <!-- \u202e &amp;"


def test_hostile_and_broken_text_is_only_ever_text(open_page: Open) -> None:
    result = make_result(samples=2)
    result["run"]["name"] = result["models"][0]["display_name"] = ODD
    for row in result["samples"]:
        row.update(
            sample=ODD + row["sample"], prompt=ODD, answer=ODD, found=ODD, reason=ODD, tokens=[[ODD, -1.0]]
        )
        row.update(expected=ODD, document=ODD, warnings=[ODD], parts={ODD: "right"})
    page = open_page(result)
    select(page, 0)
    assert page.locator("img").count() == 0
    units = "one => [...Array(one.length).keys()].map(at => one.charCodeAt(at))"
    expected = [int.from_bytes(pair, "little") for pair in pairs(ODD.encode("utf-16-le", "surrogatepass"))]
    for place in ("#detail-prompt", ".card .answer", ".card .reason", "#detail-expected"):
        assert page.evaluate(f"({units})(document.querySelector('{place}').textContent)") == expected


def pairs(data: bytes) -> list[bytes]:
    return [data[at : at + 2] for at in range(0, len(data), 2)]


# -- the keyboard ------------------------------------------------------------------------------------------


def test_the_samples_can_be_gone_through_by_keyboard_alone(open_page: Open) -> None:
    page = open_page()
    page.focus("#list")
    chosen = page.locator(".row[aria-selected=true]")
    for key, at in (
        ("j", 0),
        ("ArrowDown", 1),
        ("j", 2),
        ("k", 1),
        ("End", 299),
        ("ArrowUp", 298),
        ("Home", 0),
    ):
        page.keyboard.press(key)
        assert chosen.get_attribute("id") == f"row-{at}"
        assert page.locator("#list").get_attribute("aria-activedescendant") == f"row-{at}"
    assert page.locator("#detail").is_hidden()
    page.keyboard.press("Enter")
    page.locator("#detail .card").first.wait_for()
    assert page.evaluate("document.activeElement.id") == "detail-title"
    page.keyboard.press("j")
    page.locator("#detail-title", has_text="eps-0001").wait_for()
    page.keyboard.press("Escape")
    assert page.locator("#detail").is_hidden()
    assert page.evaluate("document.activeElement.id") == "list"


IN_VIEW = """() => {
  const box = (one) => document.querySelector(one).getBoundingClientRect();
  const row = box(".row[aria-selected=true]");
  return row.top >= box("#columns").bottom - 1 && row.bottom <= box("#list").bottom + 1;
}"""


def test_the_chosen_row_is_always_in_view(open_page: Open) -> None:
    page = open_page()
    page.focus("#list")
    for key in ("End", "PageUp", "PageUp", "k", "Home", "PageDown", "j"):
        page.keyboard.press(key)
        assert page.evaluate(IN_VIEW), key


# -- how it looks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("models", [1, 3, 12])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_only_downwards(open_page: Open, models: int, scheme: str) -> None:
    result = make_result(
        [f"a-rather-long-name-of-a-model-{at}" for at in range(models)], samples=5, failed=["broken"]
    )
    result["run"]["description"] = "unbroken" * 40
    result["samples"][0]["prompt"] = "x" * 500
    page = open_page(result, width=390, color_scheme=scheme)
    select(page, 0)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_in_the_dark_the_page_is_dark_and_can_be_read(open_page: Open) -> None:
    def shades(page: Any) -> list[float]:
        of = "one => getComputedStyle(document.body)[one].match(/[\\d.]+/g).slice(0, 3).map(Number)"
        return [sum(page.evaluate(of, one)) / 3 for one in ("backgroundColor", "color")]

    paper, ink = shades(open_page(color_scheme="dark"))
    assert (paper < 40, ink > 200) == (True, True)
    paper, ink = shades(open_page(color_scheme="light"))
    assert (paper > 240, ink < 60) == (True, True)


def test_without_scripts_the_tables_stand_and_the_rest_is_explained(
    open_page: Open, browser: Any, tmp_path: Path
) -> None:
    file = tmp_path / "plain.html"
    file.write_text(render_page(RESULT), "utf-8")
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(file.as_uri())
    assert page.locator("table.board").first.is_visible()
    assert "where JavaScript is allowed" in page.inner_text("#samples")
    assert page.locator("#explorer").is_hidden()


# -- ten thousand samples ----------------------------------------------------------------------------------


def test_ten_thousand_samples_open_in_under_two_seconds(browser: Any, tmp_path: Path) -> None:
    result = make_result(["a", "b"], samples=5000, prompt=1500)  # each of two tasks, so 20,000 answers
    file = tmp_path / "large.html"
    file.write_text(render_page(result), "utf-8")
    page = browser.new_page(viewport={"width": 1280, "height": 844})
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready]")
    ready = page.evaluate("performance.getEntriesByName('ready')[0].startTime")
    began = time.monotonic()
    page.locator("#row-3").click()
    page.locator("#detail .card").first.wait_for()
    opened = time.monotonic() - began
    drawn = page.locator(".row").count()
    print(
        f"{file.stat().st_size / 1e6:.1f} MB: a list after {ready:.0f} ms, a sample {1000 * opened:.0f} ms after"
    )
    assert ready < 2000
    assert opened < 1
    assert drawn < 60
    assert page.inner_text("#count") == "10,000 samples"


def test_of_ten_thousand_samples_a_word_is_found_while_the_texts_are_read(
    browser: Any, tmp_path: Path
) -> None:
    result = make_result(["a", "b", "c", "d"], samples=1250, prompt=1500, tokens=False)
    result["samples"][-1]["answer"] = "Zebrafish"
    file = tmp_path / "large.html"
    file.write_text(render_page(result), "utf-8")
    page = browser.new_page(viewport={"width": 1280, "height": 844})
    page.goto(file.as_uri())
    page.fill("#words", "zebrafish")
    page.locator("#count", has_text="1 of 2,500").wait_for()
    assert names_shown(page) == [result["samples"][-1]["sample"]]
