"""Extraction of documents, on the fake engine: replies read, quotes located, failures kept apart."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from modelyard import create_llm, extract, extract_async
from modelyard.errors import InvalidArgumentError, ModelNotFoundError
from modelyard.extraction.ask import locate_documents
from modelyard.extraction.documents import read_text
from modelyard.extraction.result import DocumentResult

SCHEMA = {"fields": {"eps": {"type": "number", "description": "earnings per share"}, "firm": "string"}}
TEXT = "Acme\n\nBasic loss per share | $(0.41) | $0.34\nRevenue | 1,200 | 1,100\n"


def replying(reply: Any) -> Any:
    text = reply if isinstance(reply, str) else json.dumps(reply, separators=(",", ":"))
    return create_llm("fake", options={"reply": text})


def read(reply: Any, text: str = TEXT, **how: Any) -> DocumentResult:
    """What the passages' voter alone comes to."""
    how = {"voters": 1, **how}
    (found,) = extract(read_text(text, "a.txt"), schema=SCHEMA, model=replying(reply), **how).documents
    return found


def cell(quote: str | None, value: Any) -> dict[str, Any]:
    return {"quote": quote, "value": value}


def test_a_value_comes_with_its_quote_and_the_place_of_the_quote() -> None:
    found = read({"eps": cell("Basic loss per share | $(0.41)", -0.41), "firm": cell("Acme", "Acme")})
    eps = found.fields["eps"]
    assert (eps.value, eps.status, eps.method) == (-0.41, "found", "exact")
    assert TEXT[eps.start : eps.end] == eps.quote == "Basic loss per share | $(0.41)"
    assert eps.where == "line 3"
    assert found.warnings == ()


def test_the_hash_is_that_of_the_text_that_the_spans_point_into() -> None:
    found = read({"eps": cell(None, None), "firm": cell(None, None)})
    assert found.text_sha256 == hashlib.sha256(found.text.encode()).hexdigest()


def test_brackets_in_the_quote_give_a_lost_sign_back_and_it_is_said() -> None:
    found = read({"eps": cell("Basic loss per share | $(0.41)", 0.41), "firm": cell(None, None)})
    assert found.fields["eps"].value == -0.41
    assert any("sign" in warning for warning in found.warnings)


def test_a_number_that_is_not_in_its_quote_is_said() -> None:
    found = read({"eps": cell("Basic loss per share | $(0.41)", 7.5), "firm": cell(None, None)})
    assert any("7.5 is not in its quote" in warning for warning in found.warnings)


def test_a_quote_that_the_document_does_not_hold_makes_the_value_ungrounded() -> None:
    found = read({"eps": cell("Diluted profit of 9.99 a share", 9.99), "firm": cell(None, None)})
    eps = found.fields["eps"]
    assert (eps.status, eps.value, eps.start, eps.end) == ("ungrounded", 9.99, None, None)
    assert any("not in the document" in warning for warning in found.warnings)


def test_null_is_not_found_and_no_warning() -> None:
    found = read({"eps": cell(None, None), "firm": cell(None, None)})
    assert [one.status for one in found.fields.values()] == ["not_found", "not_found"]
    assert found.warnings == ()


def test_a_document_that_cannot_be_read_fails_alone(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.txt", tmp_path / "bad.pdf"
    good.write_text(TEXT)
    bad.write_bytes(b"%PDF-1.4 broken")
    nothing = replying({"eps": cell(None, None), "firm": cell(None, None)})
    found = extract([bad, good, tmp_path / "none.txt"], schema=SCHEMA, model=nothing)
    first, second, third = found.documents
    assert first.error and third.error and second.error is None
    assert {one.status for one in first.fields.values()} == {"failed"}
    assert second.fields["eps"].status == "not_found"


def test_a_long_document_is_read_in_passages_and_what_was_left_out_is_counted() -> None:
    text = "Nothing to see here at all.\n" * 3000 + "eps were 1.25 this year\n"
    found = read({"eps": cell("eps were 1.25", 1.25), "firm": cell(None, None)}, text)
    assert found.fields["eps"].status == "found"
    assert any(warning.startswith("read ") and "characters" in warning for warning in found.warnings)


def test_results_keep_the_order_of_the_documents_and_are_told_as_they_come() -> None:
    seen: list[str] = []
    documents = [read_text(f"Document {at}", f"{at}.txt") for at in range(12)]
    found = extract(
        documents, schema=SCHEMA, model=create_llm("fake"), on_result=lambda one: seen.append(one.document)
    )
    assert [one.document for one in found.documents] == [f"{at}.txt" for at in range(12)]
    assert sorted(seen) == sorted(one.document for one in found.documents)


def test_the_whole_is_plain_data() -> None:
    found = extract(read_text(TEXT, "a.txt"), schema=SCHEMA, model=create_llm("fake"))
    data = json.loads(json.dumps(found.to_dict()))
    (document,) = data["documents"]
    assert set(document) >= {"document", "text_sha256", "fields", "warnings"}
    assert set(document["fields"]["eps"]) >= {"value", "quote", "start", "end", "status"}


def test_either_a_task_or_a_schema_is_given() -> None:
    for how in ({}, {"task": "eps_extraction", "schema": SCHEMA}):
        with pytest.raises(InvalidArgumentError, match="task or a schema"):
            extract(read_text(TEXT), model=create_llm("fake"), **how)


def test_an_unknown_task_offers_the_nearest() -> None:
    with pytest.raises(InvalidArgumentError, match="Did you mean 'eps_extraction'"):
        extract(read_text(TEXT), model=create_llm("fake"), task="eps_extracton")


def test_what_is_wrong_with_the_model_ends_the_run_once(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        extract(read_text(TEXT), model="no-such-model", schema=SCHEMA)
    with pytest.raises(ModelNotFoundError):
        extract(read_text(TEXT), model=str(tmp_path / "missing.gguf"), schema=SCHEMA)


def test_a_pydantic_class_is_a_schema() -> None:
    from pydantic import BaseModel

    class Report(BaseModel):
        eps: float | None
        firm: str | None

    async def run() -> Any:
        return await extract_async(read_text(TEXT), model=create_llm("fake"), schema=Report)

    assert list(asyncio.run(run()).documents[0].fields) == ["eps", "firm"]


def test_folders_are_opened_and_what_is_not_there_is_named(tmp_path: Path) -> None:
    from modelyard.errors import DocumentError

    (tmp_path / "in").mkdir()
    for name in ("b.txt", "a.html", "c.bin"):
        (tmp_path / "in" / name).write_text("x")
    assert [one.name for one in locate_documents([tmp_path / "in"])] == ["a.html", "b.txt"]
    with pytest.raises(DocumentError, match="nowhere"):
        locate_documents([tmp_path / "nowhere"])


@pytest.mark.parametrize("how", [{"max_tokens_read": 0}, {"together": 0}])
def test_limits_that_let_nothing_through_are_refused(how: dict[str, int]) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(how))):
        extract(read_text(TEXT), schema=SCHEMA, model=create_llm("fake"), **how)
