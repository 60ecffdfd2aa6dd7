"""The check by Salesforce's safety models (`Salesforce/safety-flan-t5-base` and its sisters), as they are to be read.

The model is an encoder-decoder. It is asked whether a text is safe or unsafe, and writes that word first and then,
category by category, whether it is true or false of the text. A category's score is the probability of `true` beside
`false` at the place of its value: the softmax over these two tokens' logits (AuditNLG, the project that published the
models; its categories stand at the tokens 3, 5, …, 17 of the answer).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from modelyard.catalog.load import Catalog
from modelyard.llm import LLM
from modelyard.safety.check import Judged, ModelCheck, ranked
from modelyard.safety.classifier import THRESHOLD, as_llm, check_threshold
from modelyard.types import Category

QUESTION = "Is the <Text> field safe or unsafe?"
CATEGORIES = ("toxicity", "hate", "identity", "violence", "physical", "sexual", "profanity", "biased")
CONTEXT = 512
"""Tokens that the model was trained to read."""
ANSWER = 20
"""Tokens of its answer."""
_FIRST, _EVERY = (
    3,
    2,
)  # where in the answer the first category's value stands, and how far the next is from it


class SalesforceCheck(ModelCheck):
    """Objects to what the model calls anything but safe.

    Args:
        model: an alias of the catalogue, a Hub id, a path, or an LLM; its task is seq2seq.
        window: most tokens of a window of a long text; the model reads 512, its question included.
        threshold: from which a category counts as one of the reasons. Whether a text is allowed is the model's
            own word alone.
        with_context: whether the model reads the prompt beside an answer, in its field for that.
        name: in verdicts.
        catalog: where the model is looked up; the starter by default.
    """

    def __init__(
        self,
        model: str | LLM = "safety_flan_t5",
        *,
        window: int = CONTEXT // 4,
        threshold: float = THRESHOLD,
        with_context: bool = False,
        name: str = "salesforce content safety",
        catalog: Catalog | None = None,
    ) -> None:
        super().__init__(as_llm(model, catalog), name=name, tokens=window)
        check_threshold(threshold, "threshold")
        self._threshold, self._with_context = threshold, with_context

    async def _room(self, context: str) -> int:
        around = await self._count(self._asked("", context))
        # A prompt that leaves no room for the text is not read beside it; the text always is.
        return min(self._tokens, max(CONTEXT - around, 1))

    async def _judge(self, texts: Sequence[str], context: str) -> list[Judged]:
        true, false = (ids[0] for ids in await self._llm.encode_async(["true", "false"], special=False))
        return list(await asyncio.gather(*(self._one(text, context, true, false) for text in texts)))

    async def _one(self, text: str, context: str, true: int, false: int) -> Judged:
        asked = self._asked(text, context)
        answer = await self._llm.generate_async(asked, raw=True, temperature=0, max_tokens=ANSWER)
        written = [token.id for token in answer.tokens if token.id is not None]
        places = [_FIRST + _EVERY * at for at in range(len(CATEGORIES))]
        known = [at for at in places if at <= len(written)]
        (prompt,) = await self._llm.encode_async([asked])
        pairs = [(prompt, (*written[:at], word)) for at in known for word in (true, false)]
        scores = await self._llm.score_tokens_async(pairs) if pairs else ()
        last = [one.token_logprobs[-1] for one in scores]
        sure = [1 / (1 + math.exp(no - yes)) for yes, no in zip(last[::2], last[1::2], strict=True)]
        allowed = answer.text.split(" ")[0] == "safe"
        made = [
            Category(name, score, flagged=not allowed and score >= self._threshold)
            for name, score in zip(CATEGORIES, sure, strict=False)
        ]
        return Judged(allowed, ranked(made))

    def _asked(self, text: str, context: str) -> str:
        return f"{QUESTION} <Text> {text} <Context> {context if self._with_context else ''}"
