"""Results as plain data."""

from __future__ import annotations

import json
from dataclasses import fields, replace

from modelyard.types import (
    Fingerprint,
    ImagePart,
    Message,
    Result,
    TextPart,
    Timings,
    Token,
    Usage,
    Warning,
)

RESULT = Result(
    text="Hi",
    tokens=(Token("Hi", 5, -0.5, 0, 2),),
    finish_reason="stop",
    usage=Usage(3, 1),
    timings=Timings(0.1, 0.2, 0.3),
    warnings=(Warning("code", "words"),),
    fingerprint=Fingerprint("m", "s", "r", "e", "v", "p"),
)


def test_a_result_becomes_json_with_every_field() -> None:
    data = json.loads(json.dumps(RESULT.to_dict()))
    assert set(data) == {field.name for field in fields(Result)}
    assert data["tokens"] == [
        {"text": "Hi", "id": 5, "logprob": -0.5, "start": 0, "end": 2, "logprob_of": "model", "top": []}
    ]
    assert data["warnings"] == [{"code": "code", "message": "words"}]
    assert data["fingerprint"]["revision"] == "r"


def test_the_total_is_counted_in_the_result_and_in_its_alternatives() -> None:
    data = replace(RESULT, alternatives=(RESULT, RESULT)).to_dict()
    assert [one["usage"]["total_tokens"] for one in (data, *data["alternatives"])] == [4, 4, 4]


def test_a_result_reads_as_its_text() -> None:
    assert str(RESULT) == "Hi"


def test_more_warnings_come_after_those_there_were() -> None:
    more = RESULT.with_warnings([Warning("new", "words")])
    assert [one.code for one in more.warnings] == ["code", "new"]


def test_a_message_gives_its_text_without_its_images_and_its_images_without_its_text() -> None:
    message = Message("user", (TextPart("a"), ImagePart(b"x"), TextPart("b")))
    assert message.text == "ab" and message.images == (ImagePart(b"x"),)


def test_the_bytes_of_an_image_are_not_shown() -> None:
    assert "secret" not in repr(ImagePart(b"secret"))
