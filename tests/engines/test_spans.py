"""Tokens of a server's answer find their places, however text and tokens are cut and however late either comes."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as some

from modelyard.engines.endpoint.spans import Sent, Spans
from modelyard.types import Token

TEXTS = some.text(alphabet=some.sampled_from("ab é日😀\n<"), min_size=1, max_size=24)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % len(data) for place in places} - {0})
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


def tell(tokens: list[bytes], *, whole: bool) -> list[Sent]:
    """As llama.cpp tells them (their own bytes), or as vLLM does (decoded one by one)."""
    return [
        Sent(one if whole else one.decode("utf-8", "replace").encode(), at, -1.0)
        for at, one in enumerate(tokens)
    ]


@given(TEXTS, some.lists(some.integers(0, 99), max_size=12), some.booleans(), some.lists(some.integers(0, 3)))
@example("日a", [1], False, [])
@example("é", [1], False, [2])
@example("<😀<<<<<<<<<éé日😀😀<", [2, 29], False, [])
def test_the_tokens_joined_are_the_text(text: str, places: list[int], whole: bool, lags: list[int]) -> None:
    tokens = cut(text.encode(), places)
    sent = tell(tokens, whole=whole)
    spans = Spans()
    found: list[Token] = []
    done = 0
    for at, one in enumerate(sent):
        # The text comes with its token, or some characters later.
        lag = lags[at] if at < len(lags) else 0
        ready = len(b"".join(tokens[: at + 1]).decode("utf-8", "ignore"))
        until = max(done, ready - lag)
        found += spans.push(text[done:until], [one])
        done = until
    found += spans.push(text[done:], [])
    found += spans.finish()
    assert "".join(token.text for token in found) == text
    known = [token.id for token in found if token.id is not None]
    assert known == sorted(known)
    assert all(text[token.start : token.end] == token.text for token in found)
    if whole:
        assert len(found) == len(tokens)


@given(TEXTS, some.lists(some.integers(0, 99), max_size=12))
def test_end_tokens_that_are_in_no_text_get_none(text: str, places: list[int]) -> None:
    sent = [*tell(cut(text.encode(), places), whole=True), Sent(b"<|im_end|>", 99, -0.1)]
    spans = Spans()
    found = [*spans.push(text, sent), *spans.finish()]
    assert "".join(token.text for token in found) == text
    assert all(not token.text for token in found if token.id == 99)


def test_tokens_of_a_stop_string_are_cut_where_the_text_is() -> None:
    spans = Spans()
    sent = [Sent(b"one", 1, -1.0), Sent(b" sto", 2, -1.0), Sent(b"p", 3, -1.0)]
    found = [*spans.push("one", sent), *spans.push(" ", []), *spans.finish()]
    assert [(token.id, token.text) for token in found] == [(1, "one"), (2, " ")]


def test_a_text_without_tokens_leaves_none() -> None:
    spans = Spans()
    assert [*spans.push("no tokens at all", []), *spans.finish()] == []
