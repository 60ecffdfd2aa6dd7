"""Scoring: the prompt read once, its cache spread over the continuations."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from modelyard.engines.continuations import Pair, by_prompt
from modelyard.engines.transformers.net import Net
from modelyard.engines.transformers.seq2seq import padded
from modelyard.types import Score

_PIECE = 512  # tokens of a prompt read in one pass
_BUFFER = 2**28  # bytes of logits held at once


class Scorer:
    """Scores continuations with a decoder-only model, or with an encoder-decoder one.

    Args:
        net: the model.
        start: the id that begins an encoder-decoder's answer; None for a decoder-only model.
        adapter: the name of the adapter to score under.
        plain: whether the model's state is a plain KV cache, which can be spread over rows.
    """

    def __init__(self, net: Net, *, start: int | None, plain: bool, adapter: str | None = None) -> None:
        self._net = net
        self._start = start
        self._plain = plain
        self._adapter = adapter

    def score(self, pairs: Sequence[Pair]) -> tuple[Score, ...]:
        """The scores, in order; pairs with the same prompt share its reading."""
        scores: dict[int, Score] = {}
        for prompt, members in by_prompt(pairs).items():
            tails = [pairs[at][1] for at in members]
            with torch.inference_mode():
                found = (
                    self._encoded(prompt, tails) if self._start is not None else self._decoded(prompt, tails)
                )
            scores.update(zip(members, found, strict=True))
        return tuple(scores[at] for at in range(len(pairs)))

    def _rows(self, tails: Sequence[Sequence[int]]) -> int:
        """How many continuations fit the buffer at once."""
        vocabulary = self._net.model.get_output_embeddings().weight.shape[0]
        return max(1, int(_BUFFER // (4 * vocabulary * max(map(len, tails)))))

    # -- decoder-only ----------------------------------------------------------------------------------

    def _decoded(self, prompt: tuple[int, ...], tails: Sequence[tuple[int, ...]]) -> list[Score]:
        if not self._plain:
            return [self._whole(prompt, tail) for tail in tails]
        cache, first = self._read(prompt)
        rows = self._rows(tails)
        scores: list[Score] = []
        for at in range(0, len(tails), rows):
            scores += self._behind(cache, len(prompt), first, tails[at : at + rows])
        return scores

    def _read(self, prompt: tuple[int, ...]) -> tuple[Any, torch.Tensor]:
        cache, logits = DynamicCache(), torch.empty(0)
        for at in range(0, len(prompt), _PIECE):
            ids = torch.tensor([prompt[at : at + _PIECE]], device=self._net.device)
            logits = self._net([self._adapter], input_ids=ids, cache=cache).logits
        return cache, _log_softmax(logits[0, -1:])

    def _behind(
        self, cache: Any, length: int, first: torch.Tensor, tails: Sequence[tuple[int, ...]]
    ) -> list[Score]:
        # What would follow the last token is not asked: it is not read, and may stand where the context ends.
        mask, ids = padded([tail[:-1] for tail in tails], self._net.device)
        if not ids.shape[1]:
            return [_score(tail, first) for tail in tails]
        spread = copy.deepcopy(cache)
        if len(tails) == 1:
            return [self._along(spread, tails[0], first)]
        spread.batch_repeat_interleave(len(tails))
        before = torch.ones((len(tails), length), dtype=mask.dtype, device=mask.device)
        positions = torch.arange(length, length + ids.shape[1], device=mask.device).expand(len(tails), -1)
        output = self._net(
            [self._adapter] * len(tails),
            keep=0,
            input_ids=ids,
            attention_mask=torch.cat([before, mask], dim=1),
            position_ids=positions,
            cache=spread,
        )
        return [
            _score(tail, torch.cat([first, _log_softmax(output.logits[row, : len(tail) - 1])]))
            for row, tail in enumerate(tails)
        ]

    def _along(self, cache: Any, tail: tuple[int, ...], first: torch.Tensor) -> Score:
        """The score of one continuation, which may fill the context: it is read in pieces."""
        parts = [_score(tail[:1], first)]
        for at in range(1, len(tail), _PIECE):
            targets = tail[at : at + _PIECE]
            ids = torch.tensor([tail[at - 1 : at - 1 + len(targets)]], device=self._net.device)
            logits = self._net([self._adapter], keep=0, input_ids=ids, cache=cache).logits
            parts.append(_score(targets, _log_softmax(logits[0])))
        logprobs = tuple(value for part in parts for value in part.token_logprobs)
        return Score(sum(logprobs), logprobs, tail, all(part.is_greedy for part in parts))

    def _whole(self, prompt: tuple[int, ...], tail: tuple[int, ...]) -> Score:
        """Without a cache that could be spread: prompt and continuation in one pass."""
        ids = torch.tensor([prompt + tail[:-1]], device=self._net.device)
        output = self._net([self._adapter], keep=len(tail), input_ids=ids, use_cache=False)
        return _score(tail, _log_softmax(output.logits[0, -len(tail) :]))

    # -- encoder-decoder -------------------------------------------------------------------------------

    def _encoded(self, prompt: tuple[int, ...], tails: Sequence[tuple[int, ...]]) -> list[Score]:
        mask, ids = padded([prompt], self._net.device)
        encoded = self._net.encode([self._adapter], ids, mask)
        rows = self._rows(tails)
        scores: list[Score] = []
        for at in range(0, len(tails), rows):
            some = tails[at : at + rows]
            _, targets = padded([(self._start or 0, *tail[:-1]) for tail in some], self._net.device)
            spread = copy.copy(encoded)
            spread.last_hidden_state = encoded.last_hidden_state.expand(len(some), -1, -1)
            output = self._net(
                [self._adapter] * len(some),
                encoder_outputs=spread,
                attention_mask=mask.expand(len(some), -1),
                decoder_input_ids=targets,
                cache=EncoderDecoderCache(DynamicCache(), DynamicCache()),
                keep=0,
            )
            scores += [
                _score(tail, _log_softmax(output.logits[row, : len(tail)])) for row, tail in enumerate(some)
            ]
        return scores


def _log_softmax(logits: torch.Tensor) -> torch.Tensor:
    return logits.float().log_softmax(-1)


def _score(tail: Sequence[int], rows: torch.Tensor) -> Score:
    """A continuation's score from the log-probabilities `[tokens, vocabulary]` at its places."""
    ids = torch.tensor(tail, device=rows.device)
    logprobs = tuple(rows[: len(tail)].gather(1, ids[:, None])[:, 0].tolist())
    greedy = bool((rows[: len(tail)].argmax(-1) == ids).all())
    return Score(sum(logprobs), logprobs, tuple(tail), greedy)
