"""The page: nothing of a document runs, no character is lost, and every quote can be reached."""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.chromium import chromium

from modelyard.extraction.page import Labels, PageRun, Quote, parts, pieces, render_page
from modelyard.extraction.result import DocumentResult, Extraction, FieldResult
from modelyard.extraction.schema import read_schema
from modelyard.types import Fingerprint

NOT_FOUND = FieldResult(None, None, None, None, "not_found")


def found(value: Any, text: str, quote: str) -> FieldResult:
    start = text.index(quote)
    return FieldResult(value, quote, start, start + len(quote), "found", "exact", "line 1")


def result(text: str, fields: dict[str, FieldResult], name: str = "note.txt", **more: Any) -> DocumentResult:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    given = {"warnings": (), "seconds": 1.0, **more}
    return DocumentResult(document=name, text_sha256=digest, fields=fields, text=text, **given)


def run_of(
    *documents: DocumentResult, model: str = "small", verdicts: Sequence[dict[str, Any]] = ()
) -> PageRun:
    fingerprint = Fingerprint(model, "package", "abc123", "fake", "1", "Q4_1")
    return PageRun(model, Extraction("eps", documents, fingerprint), 1.25, tuple(verdicts))


class Reader(HTMLParser):
    """Reads the page as a browser would: the texts of the documents, its elements and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.parts: list[str] = []
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.elements.append((tag, given))
        if tag == "div" and given.get("class") == "part":
            self._depth = 1
            self.parts.append("")
        elif tag == "div" and self._depth:
            self._depth += 1

    def handle_endtag(self, tag: str) -> None:
        if tag == "div" and self._depth:
            self._depth -= 1

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._depth:
            self.parts[-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


HOSTILE = '</div></script><script>alert(1)</script><img src=x onerror="alert(2)">{{ 7*7 }} & "quotes" \'too\''


def test_nothing_hostile_becomes_an_element() -> None:
    fields = {
        HOSTILE: found(HOSTILE, HOSTILE, "<script>"),
        "lost": FieldResult(HOSTILE, HOSTILE, None, None, "ungrounded"),
    }
    one = result(HOSTILE, fields, name=HOSTILE, warnings=(HOSTILE,), error=HOSTILE)
    page = render_page(
        HOSTILE, [run_of(one, model=HOSTILE)], about=HOSTILE, labels=[Labels({HOSTILE: HOSTILE}, HOSTILE)]
    )
    reader = read(page)
    assert len(reader.all("script")) == 1
    assert not reader.all("img")
    assert not [key for _, attributes in reader.elements for key in attributes if key.startswith("on")]
    assert reader.parts == [HOSTILE]
    assert "49" not in reader.text


def test_the_page_asks_for_nothing_outside_and_runs_only_its_own_script() -> None:
    reader = read(render_page("t", [run_of(result("EPS 1", {"eps": found(1, "EPS 1", "EPS 1")}))]))
    policy = next(
        m["content"] for m in reader.all("meta") if m.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[\w+/]{43}='", policy)
    assert not [v for _, attributes in reader.elements for k, v in attributes.items() if k == "src"]
    assert all((link["href"] or "").startswith("#") for link in reader.all("a"))
    assert not reader.all("link")


def test_every_link_to_a_quote_has_its_target() -> None:
    text = "Basic 1.20\nDiluted 1.10\n"
    fields = {"basic": found(1.2, text, "Basic 1.20"), "diluted": found(1.1, text, text.strip())}
    reader = read(
        render_page("t", [run_of(result(text, fields)), run_of(result(text, fields), model="large")])
    )
    targets = {attributes["id"] for _, attributes in reader.elements if "id" in attributes}
    links = [link["href"] for link in reader.all("a") if link.get("data-quote")]
    assert len(links) == 4
    assert {str(link).removeprefix("#") for link in links} <= targets


@st.composite
def texts_and_quotes(draw: st.DrawFn) -> tuple[str, list[Quote]]:
    alphabet = st.sampled_from("ab <>&\"'\n\t{}é€—")
    text = draw(st.text(alphabet, min_size=1, max_size=80)) * draw(st.sampled_from((1, 1, 200)))
    spans = draw(st.lists(st.tuples(st.integers(0, len(text) - 1), st.integers(1, 60)), max_size=8))
    runs = draw(st.lists(st.integers(0, 7), min_size=len(spans), max_size=len(spans)))
    quotes = [
        Quote(at, run, start, min(start + length, len(text)), "title")
        for at, (run, (start, length)) in enumerate(zip(runs, spans, strict=True), 1)
    ]
    return text, quotes


@given(texts_and_quotes())
def test_overlapping_quotes_never_change_the_text(given_: tuple[str, list[Quote]]) -> None:
    text, quotes = given_
    found_parts = parts(text, quotes)
    cut = [piece for part in found_parts for piece in part.pieces]
    assert "".join(piece.text for piece in cut) == text
    for quote in quotes:
        assert "".join(piece.text for piece in cut if quote in piece.quotes) == text[quote.start : quote.end]
        assert sum(quote.id in piece.opens for piece in cut) == 1
    shown = "".join(piece.text for part in found_parts if part.shown for piece in part.pieces)
    assert all(text[quote.start : quote.end] in shown for quote in quotes)


@given(texts_and_quotes())
def test_the_rendered_text_without_its_tags_is_the_document(given_: tuple[str, list[Quote]]) -> None:
    text, quotes = given_
    fields = {
        f"field{one.id}": FieldResult(one.id, text[one.start : one.end], one.start, one.end, "found")
        for one in quotes
    }
    assert "".join(read(render_page("t", [run_of(result(text, fields))])).parts) == text


def test_pieces_of_nothing_are_none() -> None:
    assert pieces("", 0, 0, []) == ()


def test_a_short_document_is_shown_whole() -> None:
    assert [part.shown for part in parts("one\ntwo\n", [])] == [True]


def test_of_a_long_document_the_lines_around_the_quotes_are_shown() -> None:
    text = "".join(f"line {number}\n" for number in range(1000))
    at = text.index("line 500\n")
    before, window, after = parts(text, [Quote(1, 0, at, at + 8, "")])
    assert (before.shown, window.shown, after.shown) == (False, True, False)
    assert (before.lines, window.lines, after.lines) == (488, 25, 487)


def test_without_quotes_the_beginning_is_shown() -> None:
    head, rest = parts("word\n" * 2000, [])
    assert head.shown and not rest.shown
    assert head.lines == 13


def test_two_quotes_close_together_share_one_window() -> None:
    text = "some words\n" * 1000
    shown = [
        part for part in parts(text, [Quote(1, 0, 5500, 5510, ""), Quote(2, 1, 5700, 5720, "")]) if part.shown
    ]
    assert len(shown) == 1


def test_one_endless_line_is_cut_around_its_quote() -> None:
    text = "x" * 100_000
    shown = [part for part in parts(text, [Quote(1, 0, 50_000, 50_010, "")]) if part.shown]
    assert sum(len(piece.text) for piece in shown[0].pieces) == 6010


def test_the_words_of_a_badge_say_what_its_colour_says() -> None:
    text = "EPS 1.20"
    fields = {
        "basic": found(1.2, text, "EPS 1.20"),
        "diluted": FieldResult(1.2, "EPS of 1.20", None, None, "ungrounded"),
        "revenue": NOT_FOUND,
    }
    verdicts = [{"basic": "right", "diluted": "wrong", "revenue": "not found"}]
    page = render_page(
        "t", [run_of(result(text, fields), verdicts=verdicts)], labels=[Labels({"basic": 1.2})]
    )
    words = " ".join(read(page).text.split())
    assert "1.2 ✓ right line 1" in words
    assert "1.2 ✗ wrong ! quote not in the text" in words
    assert "– – not found" in words


def test_without_labels_the_statuses_are_counted() -> None:
    fields = {"a": found(1, "a 1", "a 1"), "b": FieldResult(2, "b", None, None, "ungrounded"), "c": NOT_FOUND}
    words = " ".join(read(render_page("t", [run_of(result("a 1", fields))])).text.split())
    assert (
        "Model found quote not in the text not found unreadable seconds a document small 1 1 1 0 1.2" in words
    )
    assert "Label" not in words


def test_a_span_of_another_text_is_not_marked() -> None:
    first, second = "EPS 1.20 of the first", "EPS 1.20 of the second"
    reader = read(
        render_page(
            "t",
            [
                run_of(result(first, {"eps": found(1.2, first, "EPS 1.20")})),
                run_of(result(second, {"eps": found(1.2, second, "second")}), model="large"),
            ],
        )
    )
    assert len(reader.all("mark")) == 1


def test_a_document_that_failed_says_why() -> None:
    failed = result("", {"eps": FieldResult(None, None, None, None, "failed")}, error="note.pdf: a scan")
    words = read(render_page("t", [run_of(failed)])).text
    assert "note.pdf: a scan" in words
    assert "no text to show" in words
    assert "unreadable" in words


def test_the_schema_gives_order_and_units() -> None:
    schema = read_schema({"fields": {"b": {"type": "number", "unit": "USD"}, "a": "number"}})
    one = result("1 2", {"a": found(1, "1 2", "1"), "b": found(2, "1 2", "2")})
    words = " ".join(read(render_page("t", [run_of(one)], schema=schema)).text.split())
    assert words.index("bUSD") < words.index("a 1 ✓")


def test_the_footer_says_what_read_and_when() -> None:
    page = render_page("t", [run_of(result("x", {}))], made=datetime.date(2026, 3, 1))
    words = " ".join(read(page).text.split())
    assert "1 March 2026" in words
    assert "Revision abc123 Engine fake 1 Precision Q4_1" in words


# -- in a browser ------------------------------------------------------------------------------------------


@pytest.fixture
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def page_file(tmp_path: Path) -> Path:
    text = "".join(
        f"A line of the filing, number {number}, with some words in it.\n" for number in range(600)
    )
    text += "unbroken" * 200
    quotes = [f"number {number}, with some words" for number in (40, 300, 420)]
    fields = {f"earnings_per_share_{at}": found(at, text, quote) for at, quote in enumerate(quotes)}
    long = {**fields, "lost": FieldResult("words" * 40, "x" * 300, None, None, "ungrounded")}
    verdicts = [dict.fromkeys(long, "unreadable")]
    runs = [
        run_of(result(text, long, name="n" * 120), model=f"a-model-{at}", verdicts=verdicts)
        for at in range(4)
    ]
    file = tmp_path / "page.html"
    file.write_text(render_page("A title", runs), "utf-8")
    return file


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_only_downwards(browser: Any, page_file: Path, scheme: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page.goto(page_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


SEEN = """id => {
  const mark = document.querySelector(`mark[data-quotes~="${id}"]`).getBoundingClientRect();
  const box = document.querySelector(".text").getBoundingClientRect();
  return mark.top >= Math.max(0, box.top) && mark.bottom <= Math.min(innerHeight, box.bottom);
}"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_choosing_a_value_brings_its_quote_into_view(browser: Any, page_file: Path, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 844}, reduced_motion="reduce")
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(page_file.as_uri())
    link = page.locator("a[data-quote]").nth(8)
    quote = link.get_attribute("data-quote")
    assert not page.evaluate(SEEN, quote)
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_function(SEEN, arg=quote)
    assert page.locator("mark.flash").count() >= 1
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.quote") == quote
    assert problems == []


@pytest.mark.slow
def test_without_scripts_a_value_still_leads_to_its_quote(browser: Any, page_file: Path) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(page_file.as_uri())
    page.locator("a[data-quote]").nth(8).click()
    mark = page.locator(f"mark:has(#{page.url.partition('#')[2]})").bounding_box()
    box = page.locator(".text").bounding_box()
    assert box["y"] <= mark["y"] <= box["y"] + box["height"]


@pytest.mark.slow
def test_the_button_shows_the_whole_document_and_hides_it_again(browser: Any, page_file: Path) -> None:
    page = browser.new_page()
    page.goto(page_file.as_uri())
    rest = page.locator(".rest .part").first
    assert not rest.is_visible()
    page.get_by_role("button", name="Show the whole document").click()
    assert rest.is_visible()
    page.get_by_role("button", name="Show the parts around the quotes").click()
    assert not rest.is_visible()
