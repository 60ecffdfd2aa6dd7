"""Which part of the answer each token is: a server sends text and tokens side by side, in no fixed order.

A server holds text back where a stop string may begin, names half a character by a replacement sign, and
lists end tokens that are in no text. So the text goes on at once, and a token as soon as it is found there.
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from modelyard.types import LogprobOf, Token, TopLogprob

_REPLACEMENT = "\ufffd"


@dataclass(slots=True, frozen=True)
class Sent:
    """A token as a server sends it; `data` is what it stands for, as far as the server can say."""

    data: bytes
    id: int | None
    logprob: float | None
    top: tuple[TopLogprob, ...] = ()


class Spans:
    """Gives the tokens of one answer their places in its text.

    >>> spans = Spans()
    >>> [(token.text, token.start) for token in spans.push("Hi", [Sent(b"Hi", 1, None), Sent(b" you", 2, None)])]
    [('Hi', 0)]
    >>> [(token.text, token.start) for token in spans.push(" you", [])]
    [(' you', 2)]
    """

    def __init__(self, logprob_of: LogprobOf = "model") -> None:
        self._of = logprob_of
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._waiting: deque[tuple[str, Sent]] = deque()
        self._text = ""  # sent, and not yet any token's
        self._at = 0

    def push(self, text: str, sent: Iterable[Sent]) -> list[Token]:
        """Takes what the server sent, and returns the tokens whose places are certain now."""
        self._text += text
        self._waiting.extend((self._decoder.decode(one.data), one) for one in sent)
        found: list[Token] = []
        while self._waiting:
            expected, one = self._waiting[0]
            if self._text.startswith(expected) and _REPLACEMENT not in expected:
                self._waiting.popleft()
                found.append(self._token(len(expected), one))
            elif not self._bridge(found):
                break
        return found

    def finish(self) -> list[Token]:
        """The tokens that are left: what no token has claimed is the last unclear one's; the rest is no text."""
        found: list[Token] = []
        if self._text and self._waiting:
            unclear = [at for at, (expected, _) in enumerate(self._waiting) if _REPLACEMENT in expected]
            owner = unclear[-1] if unclear else 0
            for at in range(owner + 1):
                found.append(self._token(len(self._text) if at == owner else 0, self._waiting[at][1]))
        elif self._text and self._at:  # a token was taken for found too early: its own is not known any more
            found.append(self._token(len(self._text), Sent(b"", None, None)))
        self._waiting.clear()
        return found

    def _bridge(self, found: list[Token]) -> bool:
        """Passes over tokens that are not in the text as named, once one behind them is found there."""
        unclear = 0
        for expected, _ in self._waiting:
            # What is unclear stands for a character at least.
            place = self._text.find(expected, 1) if expected and _REPLACEMENT not in expected else -1
            if place >= 0 and unclear:
                break
            if not self._text or (expected and expected.startswith(self._text)):
                return False  # its text is still to come
            unclear += 1
        else:
            return False
        for left in range(unclear, 0, -1):
            _, one = self._waiting.popleft()
            found.append(self._token(place if left == 1 else 0, one))
        return True

    def _token(self, length: int, one: Sent) -> Token:
        text, self._text = self._text[:length], self._text[length:]
        start, self._at = self._at, self._at + length
        return Token(text, one.id, one.logprob, start, self._at, self._of, one.top)
