"""Counting tokens and scoring texts on a server: what its own routes tell of its tokenizer and its logits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from modelyard.engines.continuations import Pair, check_pairs, cut
from modelyard.engines.endpoint.http import Http
from modelyard.engines.endpoint.payload import wire_messages
from modelyard.engines.endpoint.probe import Found, Wire
from modelyard.errors import UnsupportedError
from modelyard.types import Message, Score, TokenizerInfo


class Tokens:
    """The tokenizer and the logits of one model on a server.

    Args:
        http: to the server.
        wire: the same, for answers.
        found: what it can do.
        title: of the model and its server, for messages.
    """

    def __init__(self, http: Http, wire: Wire, found: Found, title: str) -> None:
        self._http, self._wire, self._found, self._title = http, wire, found, title

    async def count(self, prompt: str | Sequence[Message]) -> int:
        """How many tokens the prompt has; where no route tells, by a request for one token.

        Raises:
            UnsupportedError: the server does not tell.
        """
        if isinstance(prompt, str):
            if self._found.dialect.tokenizer:
                return len(await self._tokenize(prompt, special=True))
            pieces = self._wire.complete({**self._smallest(), "prompt": prompt})
        else:
            messages = wire_messages(prompt, self._found)
            if self._found.dialect.tokenizer == "vllm" and not any(one.images for one in prompt):
                asked = {"model": self._found.model, "messages": messages, "add_generation_prompt": True}
                return int((await self._http.ask("POST", f"{self._http.root}/tokenize", asked))["count"])
            if self._found.dialect.tokenizer == "llamacpp" and not any(one.images for one in prompt):
                applied = await self._http.ask(
                    "POST", f"{self._http.root}/apply-template", {"messages": messages}
                )
                return len(await self._tokenize(applied["prompt"], special=True))
            pieces = self._wire.chat({**self._smallest(), "messages": messages})
        return await self._told(pieces)

    async def score(
        self, model: str, prompt: str | Sequence[Message], texts: tuple[str, ...]
    ) -> tuple[Score, ...]:
        """As `Engine.score`; `model` is the model's name on the server, or an adapter's.

        Raises:
            UnsupportedError: the server gives no logprobs of a prompt, or no token ids.
        """
        self._check_scores()
        text = prompt if isinstance(prompt, str) else await self._written(prompt)
        pairs = await self._pairs(text, texts, special=isinstance(prompt, str))
        return await self._score_all(model, pairs)

    async def score_tokens(self, model: str, pairs: Sequence[Pair]) -> tuple[Score, ...]:
        """As `Engine.score_tokens`; `model` as for `score`.

        Raises:
            UnsupportedError: the server gives no logprobs of a prompt, or no token ids.
        """
        self._check_scores()
        return await self._score_all(model, check_pairs(pairs, self.info))

    async def encode(self, texts: Sequence[str], *, special: bool) -> tuple[tuple[int, ...], ...]:
        """As `Engine.encode`.

        Raises:
            UnsupportedError: the server tells no token ids.
        """
        if not self._found.dialect.tokenizer:
            raise UnsupportedError(
                f"{self._title} tells no token ids", hint="Use vLLM, or an engine in process."
            )
        found = await asyncio.gather(*(self._tokenize(one, special=special) for one in texts))
        return tuple(tuple(one) for one in found)

    @property
    def info(self) -> TokenizerInfo:
        """As far as servers tell it: they keep their special tokens and templates to themselves."""
        # Each score is asked for with one more token of answer, which needs a place.
        return TokenizerInfo(longest=max(0, self._found.context - 1))

    async def _score_all(self, model: str, pairs: Sequence[Pair]) -> tuple[Score, ...]:
        return tuple(await asyncio.gather(*(self._score_pair(model, one) for one in pairs)))

    def _check_scores(self) -> None:
        found = self._found
        if not found.score or not found.dialect.tokenizer:
            why = found.why.get("score", "it tells no token ids")
            raise UnsupportedError(
                f"{self._title} scores no text: {why}", hint="Use vLLM, or an engine in process."
            )

    def _smallest(self) -> dict[str, Any]:
        return {"model": self._found.model, "max_tokens": 1, "temperature": 0, "stream": False}

    async def _told(self, pieces: AsyncGenerator[dict[str, Any], None]) -> int:
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                if piece.get("usage"):
                    return int(piece["usage"]["prompt_tokens"])
        raise UnsupportedError(f"{self._title} does not count tokens", hint="")

    async def _tokenize(self, text: str, *, special: bool) -> list[int]:
        if self._found.dialect.tokenizer == "vllm":
            asked = {"model": self._found.model, "prompt": text, "add_special_tokens": special}
        else:
            asked = {"content": text, "add_special": special, "parse_special": True}
        found: list[int] = (await self._http.ask("POST", f"{self._http.root}/tokenize", asked))["tokens"]
        return found

    async def _written(self, messages: Sequence[Message]) -> str:
        """The messages as the server's chat template writes them."""
        written = wire_messages(messages, self._found)
        asked = {"model": self._found.model, "messages": written, "add_generation_prompt": True}
        ids = (await self._http.ask("POST", f"{self._http.root}/tokenize", asked))["tokens"]
        back = {"model": self._found.model, "tokens": ids}
        return str((await self._http.ask("POST", f"{self._http.root}/detokenize", back))["prompt"])

    async def _pairs(self, prompt: str, texts: tuple[str, ...], *, special: bool) -> list[Pair]:
        """Cut as everywhere; the pieces that the rule asks for are tokenised beforehand."""
        wanted: list[str] = []

        def note(text: str) -> list[int]:
            wanted.append(text)
            return [0, 0]

        cut(prompt, texts, note, context=2)
        ids = await asyncio.gather(*(self._tokenize(one, special=special) for one in wanted))
        known = dict(zip(wanted, ids, strict=True))
        return cut(prompt, texts, known.__getitem__, self._found.context or 2**31)

    async def _score_pair(self, model: str, pair: Pair) -> Score:
        before, after = pair
        body = {
            "model": model,
            "prompt": [*before, *after],
            "max_tokens": 1,
            "temperature": 0,
            "echo": True,
            "logprobs": 1,
            "stream": False,
            "return_tokens_as_token_ids": True,
        }
        listed: Mapping[str, Any] = {}
        async with contextlib.aclosing(self._wire.complete(body)) as pieces:
            async for piece in pieces:
                listed = piece["choices"][0].get("logprobs") or {}
        start, end = len(before), len(before) + len(after)
        values = tuple(min(0.0, float(one)) for one in listed["token_logprobs"][start:end])
        best = listed["top_logprobs"][start:end]
        greedy = all(value >= max(top.values()) - 1e-6 for value, top in zip(values, best, strict=True))
        return Score(sum(values), values, tuple(after), greedy)
