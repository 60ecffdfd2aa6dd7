"""Logprobs of given tokens, from a server that only samples: each token is forced in turn.

A bias on its logit makes the sampler take it; the logprob that is reported is the model's own, before the
bias. What has been read stays in the slot, so each token costs one step.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modelyard.engines.continuations import Pair, by_prompt
from modelyard.engines.llamacpp.sampling import NEUTRAL
from modelyard.engines.llamacpp.server import LlamaServer
from modelyard.errors import EngineCrashedError, EngineError
from modelyard.types import Score

Gone = Callable[[], bool]
Entries = Sequence[Mapping[str, Any]]
"""The likeliest tokens, as the server reports them."""
_FORCE = 1e9
_LEAST = -1e30  # llama.cpp writes the lowest float for a probability of 0
_FEW = 64


class Scorer:
    """Scores in a slot of its own, one caller at a time."""

    def __init__(self, server: LlamaServer, slot: int, vocabulary: int) -> None:
        self._server, self._slot, self._vocabulary = server, slot, vocabulary
        self._plain = server.tokenize("a", special=False)[-1]
        self._turn = threading.Lock()
        self._closing = False
        self.active = 0

    def close(self) -> None:
        """Waits until nobody scores; nobody does from then on."""
        self._closing = True
        self._turn.acquire()

    def score(self, pairs: Sequence[Pair], lora: Sequence[dict[str, Any]], gone: Gone) -> tuple[Score, ...]:
        """Scores of the continuations, in order; () when the caller has gone."""
        scores: dict[int, Score] = {}
        if not self._enter(gone):
            return ()
        try:
            for prompt, members in by_prompt(pairs).items():
                for at in members:
                    tail = pairs[at][1]
                    found = self._forced(prompt, tail, lora, gone)
                    if found is None:
                        return ()
                    logprobs = tuple(logprob for logprob, _ in found)
                    greedy = all(
                        likeliest[0]["id"] == token for token, (_, likeliest) in zip(tail, found, strict=True)
                    )
                    scores[at] = Score(sum(logprobs), logprobs, tail, greedy)
        finally:
            self._leave()
        return tuple(scores[at] for at in range(len(pairs)))

    def logprobs(
        self,
        before: Sequence[int],
        ids: Sequence[int],
        lora: Sequence[dict[str, Any]],
        gone: Gone,
        probs: int,
    ) -> list[tuple[float, Entries]] | None:
        """Logprobs of tokens after others, each with the `probs` likeliest; None when the caller has gone."""
        if not self._enter(gone):
            return None
        try:
            return self._forced(before, ids, lora, gone, probs)
        finally:
            self._leave()

    def _enter(self, gone: Gone) -> bool:
        while not self._turn.acquire(timeout=0.1):
            if self._closing:
                raise EngineCrashedError("the model was unloaded while the scoring ran")
            if gone():
                return False
        self.active = 1
        return True

    def _leave(self) -> None:
        self.active = 0
        self._turn.release()

    def _forced(
        self,
        before: Sequence[int],
        ids: Sequence[int],
        lora: Sequence[dict[str, Any]],
        gone: Gone,
        probs: int = 1,
    ) -> list[tuple[float, Entries]] | None:
        """For each token its logprob and the likeliest; None when the caller has gone."""
        found = []
        for at, token in enumerate(ids):
            one = self._force([*before, *ids[:at]], token, lora, gone, probs)
            if one is None:
                return None
            found.append(one)
        return found

    def _force(
        self, prompt: list[int], token: int, lora: Sequence[dict[str, Any]], gone: Gone, probs: int
    ) -> tuple[float, Entries] | None:
        body = NEUTRAL | {"prompt": prompt, "id_slot": self._slot, "n_predict": 1, "lora": lora}
        body |= {"temperature": 0.0, "samplers": ["temperature"]}
        entry = self._sampled(body, token, probs, gone)
        if entry is not None:
            if entry["id"] != token:
                raise EngineError(f"llama.cpp did not take token {token} where it was told to")
            return logprob_of(entry), entry["top_logprobs"]
        # A token that ends in the middle of a character is not reported: it is looked up beside one that is.
        for count in (_FEW, self._vocabulary):
            entry = None if gone() else self._sampled(body, self._plain, count, gone)
            if entry is None:
                return None
            for other in entry["top_logprobs"]:
                if other["id"] == token:
                    return logprob_of(other), entry["top_logprobs"][:probs]
        raise EngineError(f"llama.cpp gives no logprob of token {token}")

    def _sampled(self, body: dict[str, Any], token: int, count: int, gone: Gone) -> dict[str, Any] | None:
        """What is reported of a token that is forced, beside the `count` likeliest ones."""
        entries: list[dict[str, Any]] = []

        def take(message: dict[str, Any]) -> bool:
            logprobs = message["choices"][0]["logprobs"]
            if logprobs:
                entries.extend(logprobs["content"])
            return self._closing or gone()

        self._server.complete(body | {"n_probs": count, "logit_bias": [[token, _FORCE]]}, take)
        return entries[0] if entries else None


def logprob_of(entry: Mapping[str, Any]) -> float:
    """The logprob of a token as the server reports it."""
    value = float(entry["logprob"])
    return value if value > _LEAST else -math.inf
