"""Number: one figure, with unit, sign and tolerance."""

from __future__ import annotations

from typing import Any

from modelyard.bench.compare import read_number, same
from modelyard.bench.kinds.prompted import PROMPTED, PromptedTask
from modelyard.bench.outcome import Judgement
from modelyard.bench.task import Asked, Sample, cut_short, generated
from modelyard.extraction.taskfile import DataRow, TaskFile
from modelyard.llm import LLM

_KEYS = PROMPTED | {"unit", "tolerance", "relative_tolerance", "stop"}


class NumberTask(PromptedTask):
    """One figure. `unit` is what it is counted in, `tolerance` how far it may be from the label.

    `relative_tolerance` is a share of the label; the larger of the two holds. A label of null says that there is
    no figure; to answer that there is none is then right. An answer with two figures is unreadable, unless one
    of them is plainly not meant (a quarter, a year, a date): nothing is picked.
    """

    kind = "number"

    def __init__(self, file: TaskFile) -> None:
        file.only(_KEYS)
        self.unit = file.text("unit") or None
        self.tolerance = file.number("tolerance", 0.0)
        self.relative = file.number("relative_tolerance", 0.0)
        self._stop = file.texts("stop")
        near = f"within {self.tolerance:g}" if self.tolerance else "equal to the label"
        near += f" or {self.relative:.3g} of it" if self.relative else ""
        super().__init__(file, about=f"The share of figures {near}, sign and unit counted.")

    def expected(self, row: DataRow, value: Any) -> float | None:
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        reading = read_number(str(value), unit=self.unit)
        if reading.value is None:
            raise self.file.row_error(row, f"the answer is {value!r:.80}", hint="It is a number, or null.")
        return float(reading.value)

    async def ask(self, llm: LLM, sample: Sample, *, seed: int | None = None, exact: bool = False) -> Asked:
        stop = {"stop": list(self._stop)} if self._stop else {}
        return await generated(llm, self.prompt(sample), max_tokens=self.max_tokens, **stop, **self.how())

    def judge(self, sample: Sample, asked: Asked) -> Judgement:
        if asked.finish == "length":
            return cut_short(asked)  # half a figure reads like a whole one
        reading = read_number(asked.answer, unit=self.unit)
        if reading.not_answered:
            none = sample.expected is None
            return Judgement(
                "right" if none else "not answered", float(none), None, "it says that there is none"
            )
        if reading.value is None:
            return Judgement("unreadable", 0.0, None, reading.problem or "")
        found = float(reading.value)
        right = same(found, sample.expected, tolerance=self.tolerance, relative=self.relative)
        reason = "" if right else f"{found:g} in place of {sample.expected}"
        return Judgement("right" if right else "wrong", float(right), found, reason)
