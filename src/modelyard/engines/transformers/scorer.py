"""Scoring: each prompt read once, short ones together, and its cache spread over the continuations."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from modelyard.engines.continuations import Pair, by_prompt, passes
from modelyard.engines.transformers.net import Net
from modelyard.engines.transformers.seq2seq import padded
from modelyard.types import Score

TOGETHER = 256
"""Tokens of a pass over several prompts on a CPU: above, padding and its mask cost more than the pass saves."""
_PIECE = 512  # tokens of a continuation read in one pass
_ALONE = 1024
"""Tokens of one prompt read in a pass: behind a cache, attention is slower than over a whole prompt."""
_BUFFER = 2**28  # bytes of logits held at once
_SPREAD = 2**14  # tokens of cache that the continuations of one pass may hold together


@dataclass(slots=True)
class _Read:
    """Prompts that were read side by side, padded on the left.

    Attributes:
        prompts: their ids.
        cache: keys and values, a row a prompt.
        first: log-probabilities of the token behind each, `[prompts, vocabulary]`.
    """

    prompts: Sequence[tuple[int, ...]]
    cache: Any
    first: torch.Tensor

    @property
    def width(self) -> int:
        return max(map(len, self.prompts))


class Scorer:
    """Scores continuations with a decoder-only model, or with an encoder-decoder one.

    Args:
        net: the model.
        start: the id that begins an encoder-decoder's answer; None for a decoder-only model.
        adapter: the name of the adapter to score under.
        plain: whether the model's state is a plain KV cache, which can be spread over rows.
        tokens: of several prompts read in one pass, padding included.
    """

    def __init__(
        self, net: Net, *, start: int | None, plain: bool, adapter: str | None = None, tokens: int = TOGETHER
    ) -> None:
        self._net = net
        self._start = start
        self._plain = plain
        self._adapter = adapter
        self._tokens = tokens

    def score(self, pairs: Sequence[Pair], *, together: bool = False) -> tuple[Score, ...]:
        """The scores, in order; pairs with the same prompt share its reading.

        Args:
            pairs: to score.
            together: whether short prompts may be read in one pass, which moves their scores by roundings.
        """
        groups = by_prompt(pairs)
        scores: dict[int, Score] = {}
        for prompts in passes(groups, self._tokens if together and self._plain else 0):
            places = [at for prompt in prompts for at in groups[prompt]]
            rows = [(row, pairs[at][1]) for row, prompt in enumerate(prompts) for at in groups[prompt]]
            with torch.inference_mode():
                if self._start is not None:
                    found = self._encoded(prompts[0], [tail for _, tail in rows])
                else:
                    found = self._decoded(prompts, rows)
            scores.update(zip(places, found, strict=True))
        return tuple(scores[at] for at in range(len(pairs)))

    def _rows(self, tails: Sequence[Sequence[int]], before: int = 0) -> int:
        """How many continuations, behind so many tokens of prompt, fit the buffers at once."""
        vocabulary: int = self._net.model.get_output_embeddings().weight.shape[0]
        longest = max(map(len, tails))
        return max(1, min(_BUFFER // (4 * vocabulary * longest), _SPREAD // (before + longest)))

    # -- decoder-only ----------------------------------------------------------------------------------

    def _decoded(
        self, prompts: Sequence[tuple[int, ...]], rows: Sequence[tuple[int, tuple[int, ...]]]
    ) -> list[Score]:
        if not self._plain:
            return [self._whole(prompts[row], tail) for row, tail in rows]
        read = self._alone(prompts[0]) if len(prompts) == 1 else self._beside(prompts)
        # Of a single token all is known already; the others are read behind their prompts.
        scores = {
            at: _score(tail, read.first[row, None]) for at, (row, tail) in enumerate(rows) if len(tail) == 1
        }
        longer = [at for at in range(len(rows)) if at not in scores]
        if longer:
            most = self._rows([rows[at][1] for at in longer], read.width)
            for begin in range(0, len(longer), most):
                some = longer[begin : begin + most]
                scores.update(zip(some, self._behind(read, [rows[at] for at in some]), strict=True))
        return [scores[at] for at in range(len(rows))]

    def _alone(self, prompt: tuple[int, ...]) -> _Read:
        cache, logits = DynamicCache(), torch.empty(0)
        for at in range(0, len(prompt), _ALONE):
            ids = torch.tensor([prompt[at : at + _ALONE]], device=self._net.device)
            logits = self._net([self._adapter], input_ids=ids, cache=cache).logits
        return _Read([prompt], cache, _log_softmax(logits[:, -1]))

    def _beside(self, prompts: Sequence[tuple[int, ...]]) -> _Read:
        mask, ids = padded([one[::-1] for one in prompts], self._net.device)
        mask, ids = mask.flip(1), ids.flip(1)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        cache = DynamicCache()
        names = [self._adapter] * len(prompts)
        output = self._net(names, input_ids=ids, attention_mask=mask, position_ids=positions, cache=cache)
        return _Read(prompts, cache, _log_softmax(output.logits[:, -1]))

    def _behind(self, read: _Read, rows: Sequence[tuple[int, tuple[int, ...]]]) -> Iterator[Score]:
        cache = copy.deepcopy(read.cache)
        if len(read.prompts) == len(rows) == 1:
            yield self._along(cache, rows[0][1], read.first)
            return
        # What would follow the last token is not asked: it is not read, and may stand where the context ends.
        mask, ids = padded([tail[:-1] for _, tail in rows], self._net.device)
        chosen = torch.tensor([row for row, _ in rows], device=mask.device)
        cache.batch_select_indices(chosen)
        lengths = torch.tensor([len(read.prompts[row]) for row, _ in rows], device=mask.device)
        columns = torch.arange(read.width, device=mask.device)
        before = (columns[None, :] >= read.width - lengths[:, None]).to(mask.dtype)
        output = self._net(
            [self._adapter] * len(rows),
            keep=0,
            input_ids=ids,
            attention_mask=torch.cat([before, mask], dim=1),
            position_ids=lengths[:, None] + torch.arange(ids.shape[1], device=mask.device),
            cache=cache,
        )
        for at, (row, tail) in enumerate(rows):
            later = _log_softmax(output.logits[at, : len(tail) - 1])
            yield _score(tail, torch.cat([read.first[row, None], later]))

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
