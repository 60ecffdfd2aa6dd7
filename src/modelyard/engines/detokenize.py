"""Token ids to text as they come: every token with its exact span, and stop strings held back.

A token may end in the middle of a character (byte-level BPE), and a stop string may begin in one token
and end in another. So text is decided here, once, for every engine: characters appear when they are
complete, and whatever could still become a stop string waits.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from dataclasses import replace

from modelyard.types import Token

Piece = Callable[[int], bytes]
"""The bytes that a token stands for; empty for a special token."""


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

    def push(self, ids: Sequence[int], logprobs: Sequence[float | None]) -> list[Token]:
        """Takes new tokens and returns those that are certain now, in order."""
        for token_id, logprob in zip(ids, logprobs, strict=True):
            if self.stopped:
                break
            text = self._decoder.decode(self._piece(token_id))
            self._add(Token(text, token_id, logprob, self._length, self._length + len(text)))
        return self._release()

    def finish(self) -> list[Token]:
        """Ends the answer and returns what was held back: an unfinished character, the start of a stop string."""
        if not self.stopped:
            rest = self._decoder.decode(b"", final=True)
            if rest and self._held:
                last = self._held.pop()
                self._length -= len(last.text)
                self._tail = self._tail[: max(0, len(self._tail) - len(last.text))]
                self._add(replace(last, text=last.text + rest, end=last.end + len(rest)))
            elif rest:
                self._add(Token(rest, -1, None, self._length, self._length + len(rest)))
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
        if self.stopped or not self._stop:
            # A character may still be unfinished in the decoder; its bytes' tokens have empty texts and can go.
            ready, self._held = self._held, []
            return ready
        certain = self._length - self._undecided()
        count = sum(1 for token in self._held if token.end <= certain)
        ready, self._held = self._held[:count], self._held[count:]
        self._tail = self._tail[max(0, len(self._tail) - max(map(len, self._stop)) + 1) :]
        return ready

    def _undecided(self) -> int:
        """How many characters at the end could be the beginning of a stop string."""
        longest = 0
        for stop in self._stop:
            for size in range(min(len(stop) - 1, len(self._tail)), longest, -1):
                if self._tail.endswith(stop[:size]):
                    longest = size
                    break
        return longest
