"""Guides: which tokens may come next, so that an answer obeys its grammar.

llguidance reads the grammar and says for each step which tokens of the vocabulary go on with it, as a row of
bits. One `Guides` belongs to one tokenizer and may be used from several threads; a `Guide` belongs to one
answer.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch

from modelyard.engines.grammar import Grammar
from modelyard.engines.grammar.lark import behind_a_space
from modelyard.engines.transformers.pieces import Pieces
from modelyard.errors import EngineError, SchemaError, UnsupportedError

REMEMBERED = 64
"""Most grammars kept compiled."""
MAX_ITEMS = 50_000
"""Most parser items at one place of the text: an object with 2,000 optional properties has about 6,000."""
_HINT = "Use fewer properties, shorter enums, or smaller counts."


class Guides:
    """The grammars of one tokenizer.

    Args:
        tokenizer: of transformers, fast or slow.
        vocab_size: how many logits the model gives for a token; may differ from the tokenizer's own count.
        eos_ids: the tokens that end an answer. They are allowed exactly where the grammar may end.
        strips_space: whether one space at the start of an answer is not part of its text, as where a
            sentencepiece tokenizer writes it before every first word.

    Raises:
        UnsupportedError: nobody knows which bytes the tokenizer's tokens stand for.
    """

    def __init__(
        self, tokenizer: Any, vocab_size: int, eos_ids: Sequence[int], *, strips_space: bool = False
    ) -> None:
        from llguidance import LLParserLimits

        self._size = max(vocab_size, len(tokenizer))
        self._tokenizer = _read(tokenizer, self._size, list(eos_ids))
        self._strips_space = strips_space
        self._limits = LLParserLimits(
            max_items_in_row=MAX_ITEMS, step_max_items=10 * MAX_ITEMS, verbose_errors=False
        )
        self._compiled: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, grammar: Grammar) -> Guide:
        """A guide at the start of an answer.

        Raises:
            SchemaError: llguidance refuses the grammar.
        """
        text = grammar.lark
        with self._lock:
            matcher = self._compiled.get(text)
        if matcher is None:
            matcher = self._compile(text)
        with self._lock:
            self._compiled[text] = matcher
            self._compiled.move_to_end(text)
            if len(self._compiled) > REMEMBERED:
                self._compiled.popitem(last=False)
            return Guide(matcher.deep_copy(), self._size)

    def _compile(self, text: str) -> Any:
        from llguidance import LLMatcher

        text = behind_a_space(text) if self._strips_space else text
        text += '%llguidance {"no_forcing": true}\n'  # else it allows one way alone to write what has to come
        matcher = LLMatcher(self._tokenizer, text, log_level=0, limits=self._limits)
        if matcher.is_error():
            raise SchemaError(f"the constraint cannot be enforced: {_said(matcher)}", hint=_HINT)
        return matcher


class Guide:
    """The grammar's place in one answer.

    A grammar that turns out to be too involved at some place of the text sets `error`; from there on the
    guide allows nothing but the end.
    """

    def __init__(self, matcher: Any, size: int) -> None:
        self._matcher, self.size = matcher, size

    @property
    def finished(self) -> bool:
        """Whether nothing can follow: the grammar is complete, or a token that ends the answer was accepted."""
        return bool(self._matcher.is_stopped())

    @property
    def allows_end(self) -> bool:
        """Whether the text so far is a whole answer."""
        return bool(self._matcher.is_accepting())

    @property
    def error(self) -> SchemaError | None:
        """Why the grammar cannot be followed any more."""
        if not self._matcher.is_error():
            return None
        return SchemaError(f"the constraint cannot be enforced here: {_said(self._matcher)}", hint=_HINT)

    def mask(self, row: torch.Tensor) -> None:
        """Sets the bits of the tokens that may come next, in a row of `bits`, and clears the others."""
        self._matcher.unsafe_compute_mask_ptr(row.data_ptr(), row.numel() * row.element_size())

    def accept(self, token_id: int) -> None:
        """Goes on behind a token.

        Raises:
            EngineError: the token is not one that the grammar allows.
        """
        if not self._matcher.consume_token(token_id):
            raise EngineError(f"token {token_id} does not follow the grammar of the answer")


def bits(count: int, size: int) -> torch.Tensor:
    """So many rows of bits (int32, 32 tokens each) for a vocabulary, all set."""
    return torch.full((count, (size + 31) // 32), -1, dtype=torch.int32)


def apply(scores: torch.Tensor, rows: torch.Tensor) -> None:
    """Sets the scores, `[rows, vocabulary]`, of the tokens whose bits are cleared to minus infinity, in place."""
    # The smaller of two numbers is ten times faster than masked_fill on a CPU.
    octets = rows.view(torch.uint8).flatten().int().to(scores.device)
    most = _table(scores.device, scores.dtype).index_select(0, octets).view(len(rows), -1)
    torch.minimum(scores, most[:, : scores.shape[1]], out=scores)


def allow(scores: torch.Tensor, at: Sequence[int], guides: Sequence[Guide]) -> None:
    """Keeps the scores, `[rows, vocabulary]`, of some rows to what their guides allow, in place.

    Args:
        scores: of the next token.
        at: the rows that have a guide.
        guides: theirs, in the same order.
    """
    rows = bits(len(guides), guides[0].size)
    for row, guide in zip(rows, guides, strict=True):
        guide.mask(row)
    if len(at) == len(scores):
        apply(scores, rows)
    else:
        chosen = scores[list(at)]
        apply(chosen, rows)
        scores[list(at)] = chosen


@cache
def _table(device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """For each byte the most that its eight tokens may score, the lowest bit first: no limit where it is set."""
    kept = (torch.arange(256)[:, None] >> torch.arange(8) & 1).bool()
    return torch.where(kept, torch.inf, -torch.inf).to(device, dtype)


def _read(tokenizer: Any, size: int, eos_ids: list[int]) -> Any:
    """llguidance's own view of a tokenizer: the bytes of its tokens, as the answer's text is made of them."""
    from llguidance import LLTokenizer, TokenizerWrapper

    if not eos_ids:
        raise UnsupportedError(
            "the model names no token that ends an answer, so that none can be held to a grammar",
            hint="Name its eos_token_id in generation_config.json.",
        )
    if not any(hasattr(tokenizer, name) for name in ("backend_tokenizer", "sp_model", "spm_target")):
        raise UnsupportedError(
            f"a {type(tokenizer).__name__} cannot be held to a grammar: nothing says what bytes its tokens are",
            hint="Ask without a schema, regex or choices, or take a model with a tokenizer.json.",
        )
    return LLTokenizer(TokenizerWrapper(_Vocabulary(tokenizer, size, eos_ids)), eos_token=eos_ids)


class _Vocabulary:
    """A tokenizer as llguidance asks for one."""

    def __init__(self, tokenizer: Any, size: int, eos_ids: list[int]) -> None:
        pieces, count = Pieces(tokenizer), len(tokenizer)
        self._tokenizer = tokenizer
        self.eos_token_id, self.bos_token_id = eos_ids[0], tokenizer.bos_token_id
        self.tokens = [pieces(at) if at < count else b"" for at in range(size)]
        self.special_token_ids = [at for at, piece in enumerate(self.tokens) if not piece]
        for at in self.special_token_ids:
            self.tokens[at] = f"<{at}>".encode()  # a name, which never appears in a text

    def __call__(self, text: str) -> list[int]:
        found: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return found


def _said(matcher: Any) -> str:
    return str(matcher.get_error()).splitlines()[0]
