"""A model's tokens as lm-eval counts them: what texts begin with, how much is read, where a text is cut."""

from __future__ import annotations

import functools
from collections.abc import Sequence, Set

from modelyard.errors import InvalidArgumentError, UnsupportedError
from modelyard.llm import LLM
from modelyard.types import Result, TokenizerInfo

Pair = tuple[tuple[int, ...], tuple[int, ...]]
_ADDED = 8  # most tokens that a tokenizer adds around a text


class Tokens:
    """The tokens of one model.

    Args:
        llm: the model.
        max_length: tokens of context that are used; all that the model has where None.
        prefix: what an empty context stands for; the BOS token where None, else the EOS token.
    """

    def __init__(self, llm: LLM, *, max_length: int | None, prefix: int | None) -> None:
        self._llm = llm
        self._max_length = max_length
        self._prefix = prefix
        self.encode = functools.lru_cache(maxsize=4096)(self._encode)

    def _encode(self, text: str, special: bool) -> tuple[int, ...]:
        return self._llm.encode([text], special=special)[0]

    @functools.cached_property
    def info(self) -> TokenizerInfo:
        """What the engine tells.

        Raises:
            UnsupportedError: it tells nothing of tokens.
        """
        return self._llm.tokenizer_info()

    @property
    def eos(self) -> int:
        """The token that ends a text."""
        if self.info.eos is None:
            raise UnsupportedError(
                f"nobody says which tokens begin and end a text of '{self._llm.spec.alias}'",
                hint="Give the one that stands for an empty context: prefix_token_id=…",
            )
        return self.info.eos

    @property
    def prefix(self) -> int:
        """What an empty context stands for."""
        if self._prefix is not None:
            return self._prefix
        return self.info.bos if self.info.bos is not None else self.eos

    @functools.cached_property
    def most(self) -> int:
        """Tokens that are read at most; one more can be scored behind them."""
        longest = self.info.longest
        fits = longest if self.info.encoder_decoder else longest - 1
        if not longest and self._max_length is None:
            raise UnsupportedError(
                f"nobody says how much '{self._llm.spec.alias}' can read", hint="Give it: max_length=…"
            )
        if longest and self._max_length is not None and self._max_length > fits:
            raise InvalidArgumentError(
                f"max_length is {self._max_length}, and '{self._llm.spec.alias}' reads {fits} tokens here",
                hint="Lower it, or leave it out.",
            )
        return fits if self._max_length is None else self._max_length

    def of(self, text: str) -> tuple[int, ...]:
        """A raw text's tokens; one that begins with a special token already gets none in front."""
        start = self.info.bos_text or self.info.eos_text
        return self.encode(text, not (start and text.startswith(start)))

    # -- scoring ---------------------------------------------------------------------------------------

    def fitting(self, before: list[int], after: list[int], title: str) -> Pair:
        """A context and a continuation as they are scored: what is too long loses its beginning, as with `hf`.

        Raises:
            InvalidArgumentError: the continuation is empty, or alone too long; `title` says which it is.
        """
        if not before or not 0 < len(after) <= self.most:
            raise InvalidArgumentError(
                f"{title}: {len(before)} and {len(after)} tokens; a continuation has 1 to {self.most}",
                hint="The task has a choice that is empty, or longer than the context: mend it there.",
            )
        room = self.most if self.info.encoder_decoder else self.most + 1 - len(after)
        return tuple(before[-room:]), tuple(after)

    # -- answers ---------------------------------------------------------------------------------------

    def prompt(self, context: str, budget: int) -> tuple[str, bool]:
        """A raw prompt that leaves room for an answer, and whether it has lost its beginning."""
        try:
            whole = context.removeprefix(self.info.bos_text) if self._adds_bos else context
            end = self._end_of(whole, self._room_before(budget))
        except UnsupportedError:  # nobody tells tokens or limits: the server refuses what is too long
            return context, False
        return end, len(end) < len(whole)

    @functools.cached_property
    def _adds_bos(self) -> bool:
        """Whether a raw prompt gets a BOS token, and would have two where it is written out already."""
        bos = self.info.bos
        return bos is not None and self.encode("a", True)[0] == bos != self.encode("a", False)[0]

    def _room_before(self, budget: int) -> int:
        if self.info.encoder_decoder:
            return self.most
        if budget >= self.most:
            raise InvalidArgumentError(
                f"an answer of {budget} tokens is asked for, and the context holds {self.most}",
                hint="Lower it: --gen_kwargs max_gen_toks=…",
            )
        return self.most - budget

    def _end_of(self, text: str, most: int) -> str:
        """The end of a text, as much of it as has no more tokens than that."""

        def fits(start: int) -> bool:
            part = text[start:]  # no token stands for less than a byte
            return len(part.encode()) + _ADDED <= most or len(self._encode(part, True)) <= most

        if fits(0):
            return text
        low, high = 0, len(text)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if fits(middle) else (middle, high)
        return text[high:]

    def answer(self, result: Result, stop: Sequence[str]) -> str:
        """The text of an answer up to a stop string that is a special token: that has no text, and ended nothing."""
        try:
            ids = [self.encode(one, False) for one in stop]
        except UnsupportedError:  # then the server looks for special tokens in stop strings itself
            return result.text
        return up_to(result, {one[0] for one in ids if len(one) == 1})


def up_to(result: Result, marks: Set[int]) -> str:
    """The text of an answer that goes before the first of some tokens."""
    at = next((token.start for token in result.tokens if token.id in marks), len(result.text))
    return result.text[:at]
