"""Tokens to text: exact spans, whole characters, stop strings that begin in one token and end in another."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from modelyard.engines.detokenize import TextStream
from modelyard.types import Token


def streamed(pieces: list[bytes], stops: list[str], together: int = 1) -> tuple[list[list[Token]], bool]:
    """What each push gives, and finish last."""
    stream = TextStream(dict(enumerate(pieces)).__getitem__, stops)
    given = []
    for at in range(0, len(pieces), together):
        ids = list(range(len(pieces)))[at : at + together]
        given.append(stream.push(ids, [-float(one) for one in ids]))
    given.append(stream.finish())
    return given, stream.stopped


def until_stop(text: str, stops: list[str]) -> str:
    """The text up to the beginning of the stop string that is complete first."""
    found = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    return text[: min(found)[1]] if found else text


ALPHABET = st.text(alphabet="ab cé日😀\n", max_size=30)
STOPS = st.lists(st.text(alphabet="abcé日😀\ufffd", min_size=1, max_size=4), max_size=3)


@st.composite
def cut_texts(draw: st.DrawFn, source: st.SearchStrategy[bytes]) -> list[bytes]:
    data = draw(source)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=20)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


WHOLE = cut_texts(ALPHABET.map(str.encode))
BROKEN = cut_texts(st.one_of(st.binary(max_size=20), ALPHABET.map(lambda text: text.encode()[:-1])))


@given(WHOLE | BROKEN, STOPS, st.integers(1, 4))
@example([b"a\xc3"], ["aa"], 1)
@example([b"abc"], ["abc", "b"], 1)
def test_the_texts_joined_are_the_text_up_to_the_first_complete_stop(
    pieces: list[bytes], stops: list[str], together: int
) -> None:
    whole = b"".join(pieces).decode("utf-8", "replace")
    given, stopped = streamed(pieces, stops, together)
    tokens = [token for some in given for token in some]
    assert "".join(token.text for token in tokens) == until_stop(whole, stops)
    assert stopped == any(stop in whole for stop in stops)


@given(WHOLE | BROKEN, STOPS, st.integers(1, 4))
def test_every_span_is_exactly_its_text_and_they_follow_each_other(
    pieces: list[bytes], stops: list[str], together: int
) -> None:
    given, _ = streamed(pieces, stops, together)
    tokens = [token for some in given for token in some]
    text = "".join(token.text for token in tokens)
    assert all(text[token.start : token.end] == token.text for token in tokens)
    assert [token.start for token in tokens] == [0, *(token.end for token in tokens)][: len(tokens)]


@given(WHOLE | BROKEN, STOPS)
def test_tokens_keep_their_order_ids_and_logprobs(pieces: list[bytes], stops: list[str]) -> None:
    given, stopped = streamed(pieces, stops)
    tokens = [token for some in given for token in some]
    assert [token.id for token in tokens] == list(range(len(tokens)))
    assert [token.logprob for token in tokens] == [-float(at) for at in range(len(tokens))]
    assert stopped or len(tokens) == len(pieces)


@given(WHOLE, STOPS)
def test_nothing_that_was_given_out_is_ever_part_of_a_stop(pieces: list[bytes], stops: list[str]) -> None:
    given, _ = streamed(pieces, stops)
    text = ""
    for some in given:
        text += "".join(token.text for token in some)
        assert not any(stop in text for stop in stops)


@given(ALPHABET)
def test_without_stops_a_character_appears_with_the_byte_that_completes_it(text: str) -> None:
    stream = TextStream(lambda byte: bytes([byte]))
    shown = ""
    for character in text:
        data = character.encode()
        texts = [token.text for byte in data for token in stream.push([byte], [None])]
        assert texts == [""] * (len(data) - 1) + [character]
        shown += character
    assert stream.finish() == [] and shown == text


def test_what_could_become_a_stop_waits_and_comes_when_it_does_not() -> None:
    given, stopped = streamed([b"x", b"EN", b"E"], ["END"])
    assert [[token.text for token in some] for some in given] == [["x"], [], ["EN"], ["E"]]
    assert not stopped


def test_a_stop_over_three_tokens_is_cut_out_of_the_first() -> None:
    given, stopped = streamed([b"one S", b"TO", b"P two"], ["STOP"])
    assert [token for some in given for token in some] == [Token("one ", 0, 0.0, 0, 4)]
    assert stopped


def test_tokens_after_a_stop_are_not_read() -> None:
    stream = TextStream({1: b"STOP", 2: b"more"}.__getitem__, ["STOP"])
    assert (
        stream.push([1, 2], [None, None]) == [] and stream.push([2], [None]) == [] and stream.finish() == []
    )
