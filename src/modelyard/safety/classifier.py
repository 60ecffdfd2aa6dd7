"""A check by a sequence classifier: any of the Hub, and ONNX ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelyard.catalog.load import Catalog, load_catalog
from modelyard.errors import InvalidArgumentError, UnsupportedError, nearest
from modelyard.llm import LLM
from modelyard.safety.check import Judged, ModelCheck, ranked
from modelyard.safety.windows import Window, each_sentence, windows
from modelyard.types import Category

WINDOW = 96
"""Tokens of a window: two to four sentences."""
LEAST = 8
"""Tokens of a sentence that is judged alone; shorter ones are judged with the next: of one word a classifier knows
nothing."""
THRESHOLD = 0.5


class ClassifierCheck(ModelCheck):
    """Objects to what a classifier gives one of certain labels.

    Of a longer text every sentence is judged alone, and every window of a few sentences: a classifier overlooks one
    bad sentence among good ones, and a threat that is spread over two.

    Args:
        model: an alias of the catalogue, a Hub id, a path, or an LLM; its task is classification.
        block: the labels to object to; a mapping gives each its threshold.
        threshold: of probability, for the labels without one of their own.
        window: most tokens of a window of a long text.
        name: in verdicts; the model's alias by default.
        catalog: where the model is looked up; the starter by default.
    """

    def __init__(
        self,
        model: str | LLM,
        block: Sequence[str] | Mapping[str, float] | str,
        *,
        threshold: float = THRESHOLD,
        window: int = WINDOW,
        name: str | None = None,
        catalog: Catalog | None = None,
    ) -> None:
        llm = as_llm(model, catalog)
        if llm.spec.task != "classification":
            raise InvalidArgumentError(
                f"'{llm.spec.alias}' has task {llm.spec.task}, and a classifier check needs a classifier",
                hint="Write task: classification in the catalogue, where it is one.",
            )
        super().__init__(llm, name=name or llm.spec.alias, tokens=window)
        names = [block] if isinstance(block, str) else block
        given = names if isinstance(names, Mapping) else dict.fromkeys(names, threshold)
        if not given:
            raise InvalidArgumentError(
                f"check '{self.name}' objects to no label", hint="Name at least one: block=['toxic']."
            )
        for label, least in given.items():
            check_threshold(least, f"the threshold of '{label}'")
        self._block = {str(label): float(least) for label, least in given.items()}

    async def _room(self, context: str) -> int:
        # Special tokens are counted with each sentence, so that the window never exceeds the context.
        found = await self._llm.load_async()
        unknown = [label for label in self._block if label not in found.labels]
        if unknown:
            raise UnsupportedError(
                f"check '{self.name}': '{self.model}' has no label '{unknown[0]}'."
                f"{nearest(unknown[0], found.labels)}",
                hint=f"Its labels: {', '.join(found.labels)}.",
            )
        return min(self._tokens, found.context_length)

    async def _parts(self, text: str, most: int) -> list[Window]:
        wide = await windows(text, most, self._count)
        narrow = await each_sentence(text, LEAST, most, self._count)
        return list(dict.fromkeys([*narrow, *wide]))

    async def _judge(self, texts: Sequence[str], context: str) -> list[Judged]:
        return [self._judged(one) for one in await self._llm.classify_async(texts)]

    def _judged(self, scores: Mapping[str, float]) -> Judged:
        made = [
            Category(label, score, flagged=score >= self._block.get(label, 2.0))
            for label, score in scores.items()
        ]
        return Judged(not any(one.flagged for one in made), ranked(made))


def as_llm(model: str | LLM, catalog: Catalog | None = None) -> LLM:
    """The LLM of a name; one that is given is used as it is."""
    if isinstance(model, LLM):
        return model
    found = catalog or load_catalog(None)
    return LLM(found.resolve(model), catalog=found)


def check_threshold(value: object, what: str) -> None:
    """Refuses what is no probability.

    Raises:
        InvalidArgumentError: says what it was for.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise InvalidArgumentError(f"{what} is {value!r}", hint="It is a probability, above 0 and at most 1.")
