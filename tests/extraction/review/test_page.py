"""The page as a file: nothing of a document or a model is markup, and the spans are those of the text."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.extraction.review.results import SCHEMA, candidate, document_of, field_of, make_result

from modelyard.extraction.result import Extraction
from modelyard.extraction.review.corrections import Correction
from modelyard.extraction.review.pack import pack
from modelyard.extraction.review.page import render_review
from modelyard.extraction.review.sheet import Sheet
from modelyard.extraction.review.truth import Truth

HOSTILE = "</script><script>alert(1)</script><!--\u202e <img src=x onerror=alert(2)> \"'&amp; {{ 7*7 }} \ud83d \U0001f600"


class Reader(HTMLParser):
    """The page's elements and the text of each."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.texts.append("")
        self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.texts[-1] += data

    def all(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        pairs = zip(self.elements, self.texts, strict=True)
        return [(attributes, text) for (name, attributes), text in pairs if name == tag]


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def unpack(block: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(block)))


def hostile_result() -> dict[str, Any]:
    text = f"before {HOSTILE} after"
    read_ = [candidate(HOSTILE, HOSTILE, text, HOSTILE, HOSTILE)]
    one = document_of(
        HOSTILE, text, {HOSTILE: field_of(read_, 0.5, strategy=HOSTILE, reason=HOSTILE)}, warnings=(HOSTILE,)
    )
    return Extraction(HOSTILE, (one,), None, None, (), (HOSTILE,)).to_dict(text=True)


def test_nothing_hostile_becomes_an_element() -> None:
    hostile = Correction(HOSTILE, None, HOSTILE, "correct", HOSTILE, HOSTILE)
    harmless = Correction("doc-0001.txt", None, "note", "correct", "notes", "notes")
    plain = read(render_review(make_result(1), decisions={harmless.key: harmless}))
    reader = read(render_review(hostile_result(), decisions={hostile.key: hostile}))
    assert [tag for tag, _ in reader.elements] == [tag for tag, _ in plain.elements]
    assert not reader.all("img")
    assert not [key for _, given_ in reader.elements for key in given_ if key.startswith("on")]


def test_the_page_asks_for_nothing_outside_and_runs_only_its_own_script() -> None:
    reader = read(render_review(make_result(2)))
    policy = next(
        m["content"] for m, _ in reader.all("meta") if m.get("http-equiv") == "Content-Security-Policy"
    )
    assert (
        policy is not None
        and "default-src 'none'" in policy
        and "unsafe" not in policy
        and "connect" not in policy
    )
    for tag, kind in (("style", "style"), ("script", "script")):
        text = reader.all(tag)[-1][1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert not [value for _, given_ in reader.elements for key, value in given_.items() if key == "src"]
    assert not [given_ for _, given_ in reader.elements if "style" in given_]
    assert [link["href"] for link, _ in reader.all("link")] == ["data:,"]


def test_the_index_and_the_blocks_hold_everything() -> None:
    result = make_result(4)
    packed = pack(Sheet(result))
    index = json.loads(packed.index)
    assert index["documents"] == [one["document"] for one in result["documents"]]
    assert [unpack(one)["text"] for one in packed.texts] == [one["text"] for one in result["documents"]]
    assert index["items"]["flags"] == [0, 0, 0, 0, 0, 0, 0, 0, 1 | 8, 0, 0, 0, 1 | 2, 0, 0, 0]
    basic = unpack(packed.units[2])[0]
    assert (basic["strategy"], basic["reason"]) == ("margin", "2 of 3 voters read it")
    last = basic["candidates"][2]
    assert {key: last[key] for key in ("voter", "value", "logprob", "weight", "group", "status")} == {
        "voter": "third", "value": "0.75", "logprob": -1.5, "weight": 1.0, "group": 1, "status": "found",
    }  # fmt: skip


WIDE = st.text(st.sampled_from("ab\n |\u05d0\u202e\U0001f600\ud83d"), min_size=1, max_size=60)


@given(WIDE, st.data())
def test_spans_are_the_same_in_utf_16(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    result = make_result(1)
    one = result["documents"][0]
    one["text"] = text
    field = one["fields"]["note"]
    field["candidates"] = [{**field["candidates"][0], "quote": text[start:end], "start": start, "end": end}]
    packed = pack(Sheet(result))
    units = unpack(packed.texts[0])["text"].encode("utf-16-le", "surrogatepass")
    left, right = unpack(packed.units[0])[3]["candidates"][0]["span"]
    assert units[2 * left : 2 * right] == text[start:end].encode("utf-16-le", "surrogatepass")


def test_a_span_that_is_not_the_quote_is_no_span_and_that_is_said() -> None:
    result = make_result(1)
    result["documents"][0]["fields"]["note"]["candidates"][0]["start"] = 0
    found = unpack(pack(Sheet(result)).units[0])[3]["candidates"][0]
    assert found["span"] is None
    assert found["problems"] == ["its span is not its quote in this text"]


def test_documents_of_the_same_name_keep_their_own_texts() -> None:
    result = make_result(2)
    result["documents"][1]["document"] = "doc-0001.txt"
    for field in result["documents"][1]["fields"].values():
        for one in field["candidates"]:
            one["document"] = "doc-0001.txt"
    packed = pack(Sheet(result))
    assert [unit["documents"] for unit in json.loads(packed.index)["units"]] == [[0], [1]]
    second = unpack(packed.units[1])[0]["candidates"][0]
    assert second["document"] == 1 and second["span"] is not None


def test_a_value_that_javascript_would_round_is_handed_on_as_text() -> None:
    result = make_result(1)
    result["documents"][0]["fields"]["shares"]["value"] = 2**64 + 1
    assert unpack(pack(Sheet(result)).units[0])[1]["json"] == str(2**64 + 1)


def test_the_curves_are_there_where_labels_are() -> None:
    result = make_result(6)
    truth = Truth({(one["document"], "eps_basic"): 3.25 for one in result["documents"]})
    assert "<svg" not in render_review(result)
    page = render_review(result, truth=truth)
    titles = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert titles == ["Coverage and accuracy", "Reliability"]
    assert "5 labelled values" in page


def test_decisions_are_labels_too() -> None:
    one = Correction("doc-0001.txt", None, "shares", "reject", None, 1001)
    assert "1 labelled value" in render_review(make_result(1), decisions={one.key: one})


@pytest.mark.parametrize("documents", [0, 1])
def test_a_result_with_next_to_nothing_in_it_is_a_page(documents: int) -> None:
    result = Extraction("eps", (), None, SCHEMA).to_dict(text=True) if not documents else make_result(1)
    for one in result["documents"]:
        one.pop("text")
    assert render_review(result).startswith("<!doctype html>")


def test_the_same_result_is_the_same_page() -> None:
    assert render_review(make_result(3)) == render_review(make_result(3))
