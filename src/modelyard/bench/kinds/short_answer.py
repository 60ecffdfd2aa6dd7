"""Short answer: a few words, compared with what is accepted."""

from __future__ import annotations

from typing import Any

from modelyard.bench.compare import same
from modelyard.bench.kinds.prompted import PROMPTED, PromptedTask
from modelyard.bench.outcome import Judgement
from modelyard.bench.task import Asked, Sample, cut_short, generated
from modelyard.extraction.folding import fold
from modelyard.extraction.taskfile import DataRow, TaskFile
from modelyard.llm import LLM

_KEYS = PROMPTED | {"scorer", "stop", "none"}
_ABOUT = {
    "exact": "The share of answers that are one of the accepted ones; case, white space and the full stop at the end do not count.",
    "contains": "The share of answers that have one of the accepted ones in them; case and white space do not count.",
}
_ABSENT = ("", "n/a", "na", "none", "unknown", "not given", "not reported", "i don't know")


class ShortAnswerTask(PromptedTask):
    """A few words. `answer` is the column with the accepted text, or a list of them; `scorer` is exact or contains.

    `stop` lists texts that end an answer; `none` the words that say that there is no answer.
    """

    kind = "short_answer"

    def __init__(self, file: TaskFile) -> None:
        file.only(_KEYS)
        self._scorer = file.text("scorer") or "exact"
        if self._scorer not in _ABOUT:
            raise file.error(
                f"key 'scorer' has value '{self._scorer}'", "scorer", hint=f"It is {' or '.join(_ABOUT)}."
            )
        self._stop = file.texts("stop")
        self._none = tuple(one.casefold() for one in (file.texts("none") or _ABSENT))
        super().__init__(file, about=_ABOUT[self._scorer])

    def expected(self, row: DataRow, value: Any) -> list[str]:
        accepted = value if isinstance(value, list) else [value]
        if not accepted or not all(isinstance(one, str | int | float) for one in accepted):
            raise self.file.row_error(row, f"the answer is {value!r:.80}", hint="It is a text, or several.")
        return [str(one) for one in accepted]

    async def ask(self, llm: LLM, sample: Sample, *, seed: int | None = None, exact: bool = False) -> Asked:
        stop = {"stop": list(self._stop)} if self._stop else {}
        return await generated(llm, self.prompt(sample), max_tokens=self.max_tokens, **stop, **self.how())

    def judge(self, sample: Sample, asked: Asked) -> Judgement:
        said = asked.answer.strip()
        if self._accepts(said, sample.expected):
            return Judgement("right", 1.0, said)
        if asked.finish == "length":
            return cut_short(asked)
        if said.rstrip(".").casefold() in self._none:
            return Judgement("not answered", 0.0, None, "it says that there is no answer")
        return Judgement("wrong", 0.0, said, f"none of {', '.join(sample.expected)}")

    def _accepts(self, said: str, accepted: list[str]) -> bool:
        if self._scorer == "exact":
            return any(same(said.rstrip("."), one.rstrip(".")) for one in accepted)
        return any(_folded(one) in _folded(said) for one in accepted)


def _folded(text: str) -> str:
    return " ".join(fold(text).text.casefold().split())
