"""A check by a generative safety model: Llama Guard and models that answer as it does.

Such a model reads a conversation through its own chat template, which holds its policy, and writes `safe`, or `unsafe`
and on the next line the codes of what is wrong with the last turn (Inan et al. 2023, Llama Guard; the codes are those
of Llama Guard 3 unless others are given).
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping, Sequence

from modelyard.catalog.load import Catalog
from modelyard.errors import EngineError
from modelyard.llm import LLM
from modelyard.safety.check import Judged, ModelCheck
from modelyard.safety.classifier import as_llm
from modelyard.types import Category, Message, Result

LLAMA_GUARD_3 = {
    "S1": "violent crimes", "S2": "non-violent crimes", "S3": "sex-related crimes", "S4": "child sexual exploitation",
    "S5": "defamation", "S6": "specialized advice", "S7": "privacy", "S8": "intellectual property",
    "S9": "indiscriminate weapons", "S10": "hate", "S11": "suicide and self-harm", "S12": "sexual content",
    "S13": "elections", "S14": "code interpreter abuse",
}  # fmt: skip
LLAMA_GUARD_1 = {
    "O1": "violence and hate", "O2": "sexual content", "O3": "criminal planning", "O4": "guns and illegal weapons",
    "O5": "regulated or controlled substances", "O6": "self-harm",
}  # fmt: skip
ANSWER = 100
"""Most tokens of its answer."""


class GuardCheck(ModelCheck):
    """Objects to what a Llama-Guard-style model calls unsafe.

    A prompt is judged as a user's turn, an answer as the assistant's turn behind it.

    Args:
        model: an alias of the catalogue, a Hub id, a path, or an LLM.
        categories: what each code stands for.
        block: the codes or names to object to; all by default.
        window: most tokens of a window of a long text.
        name: in verdicts; the model's alias by default.
        catalog: where the model is looked up; the starter by default.
    """

    def __init__(
        self,
        model: str | LLM,
        *,
        categories: Mapping[str, str] = LLAMA_GUARD_3,
        block: Sequence[str] | None = None,
        window: int = 512,
        name: str | None = None,
        catalog: Catalog | None = None,
    ) -> None:
        llm = as_llm(model, catalog)
        super().__init__(llm, name=name or llm.spec.alias, tokens=window)
        self._categories = dict(categories)
        self._block = None if block is None else frozenset(block)

    async def _judge(self, texts: Sequence[str], context: str) -> list[Judged]:
        return list(await asyncio.gather(*(self._one(text, context) for text in texts)))

    async def _one(self, text: str, context: str) -> Judged:
        turns = [Message("user", context), Message("assistant", text)] if context else [Message("user", text)]
        result = await self._llm.generate_async(turns, temperature=0, max_tokens=ANSWER)
        lines = [line.strip() for line in result.text.split("\n") if line.strip()]
        word = lines[0].lower() if lines else ""
        if word not in ("safe", "unsafe"):
            raise EngineError(
                f"check '{self.name}': '{self.model}' answered {result.text!r:.80}, neither safe nor unsafe",
                hint="It is to be a model that answers as Llama Guard does, with its own chat template.",
            )
        if word == "safe":
            return Judged(True, ())
        sure = _probability(result, word)
        codes = [one for one in re.split(r"[,\s]+", " ".join(lines[1:])) if one]
        made = [self._category(code, sure) for code in dict.fromkeys(codes)] or [
            Category("unsafe", sure, True)
        ]
        return Judged(not any(one.flagged for one in made), tuple(made))

    def _category(self, code: str, score: float | None) -> Category:
        name = self._categories.get(code, code)
        return Category(name, score, flagged=self._block is None or bool(self._block & {code, name}))


def _probability(result: Result, word: str) -> float | None:
    """How sure the model was of the word that it wrote first; None where there are no logprobs."""
    start = result.text.index(word) if word in result.text else 0
    made = [one.logprob for one in result.tokens if one.end > start and one.start < start + len(word)]
    known = [one for one in made if one is not None]
    return math.exp(sum(known)) if made and len(known) == len(made) else None
