"""Token ids to text as they come: every token with its exact span, and stop strings held back.

A token may end in the middle of a character (byte-level BPE), and a stop string may begin in one token
and end in another. So text is decided here, once, for every engine: characters appear when they are
complete, and whatever could still become a stop string waits.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from modelyard.types import Token, TopLogprob

Piece = Callable[[int], bytes]
"""The bytes that a token stands for; empty for a special token."""


def overlap(text: str, word: str) -> int:
    """How many characters at the end of a text could be the beginning of a word, which is not in it yet.

    >>> overlap("to the E", "END")
    1
    """
    sizes = range(min(len(word) - 1, len(text)), 0, -1)
    return next((size for size in sizes if text.endswith(word[:size])), 0)


def top_tokens(likeliest: Iterable[tuple[int, float]], piece: Piece) -> tuple[TopLogprob, ...]:
    """The likeliest tokens at a place, from their ids and logprobs.

    >>> top_tokens([(2, -0.1), (1, -2.5)], {1: b"caf", 2: b"\\xc3"}.__getitem__)[0].text
    '�'
    """
    return tuple(
        TopLogprob(piece(token).decode("utf-8", "replace"), token, logprob) for token, logprob in likeliest
    )


class TextStream:
    """Turns the tokens of one answer into text with spans.

    Args:
        piece: the bytes of a token id.
        stop: strings that end the answer; they never appear in it.

    >>> stream = TextStream({1: b"caf", 2: b"\\xc3", 3: b"\\xa9 END"}.__getitem__, stop=("END",))
    >>> [token.text for token in stream.push([1, 2, 3], [None, None, None])], stream.stopped
    (['caf', '', 'é '], True)
    """

    def __init__(self, piece: Piece, stop: Sequence[str] = ()) -> None:
        self._piece = piece
        self._stop = tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held: list[Token] = []
        self._length = 0
        self._tail = ""
        self.stopped = False

    def push(
        self,
        ids: Sequence[int],
        logprobs: Sequence[float | None],
        tops: Sequence[tuple[TopLogprob, ...]] = (),
    ) -> list[Token]:
        """Takes new tokens and returns those that are certain now, in order; `tops` where they were asked for."""
        for at, (token_id, logprob) in enumerate(zip(ids, logprobs, strict=True)):
            if self.stopped:
                break
            text = self._decoder.decode(self._piece(token_id))
            top = tops[at] if tops else ()
            self._add(Token(text, token_id, logprob, self._length, self._length + len(text), top=top))
        return self._release()

    def finish(self) -> list[Token]:
        """Ends the answer and returns what was held back: an unfinished character, the start of a stop string."""
        if not self.stopped:
            rest = self._decoder.decode(b"", final=True)
            if rest:
                last = self._held.pop()
                self._length -= len(last.text)
                self._tail = self._tail[: max(0, len(self._tail) - len(last.text))]
                self._add(replace(last, text=last.text + rest, end=last.end + len(rest)))
        held, self._held = self._held, []
        return held

    def _add(self, token: Token) -> None:
        self._held.append(token)
        self._length += len(token.text)
        if self._stop:
            self._tail += token.text
            # The stop string that is complete first ends the answer, however the tokens cut the text.
            found = [(at + len(stop), at) for stop in self._stop if (at := self._tail.find(stop)) >= 0]
            if found:
                self._cut(self._length - len(self._tail) + min(found)[1])

    def _cut(self, end: int) -> None:
        kept = [token for token in self._held if token.start < end or (token.start == end and not token.text)]
        while kept and not kept[-1].text and kept[-1].start == end:
            kept.pop()
        if kept and kept[-1].end > end:
            last = kept.pop()
            kept.append(replace(last, text=last.text[: end - last.start], end=end))
        self._held = kept
        self.stopped = True

    def _release(self) -> list[Token]:
        count = len(self._held)
        if self._stop and not self.stopped:
            certain = self._length - self._undecided()
            count = sum(1 for token in self._held if token.end <= certain)
            self._tail = self._tail[max(0, len(self._tail) - max(map(len, self._stop)) + 1) :]
        if count == len(self._held) and self._decoder.getstate()[0] and not self.stopped:
            count -= 1  # should the answer end inside this character, what there is of it is the last token's
        ready, self._held = self._held[:count], self._held[count:]
        return ready

    def _undecided(self) -> int:
        """How many characters at the end could be the beginning of a stop string."""
        return max(overlap(self._tail, stop) for stop in self._stop)
