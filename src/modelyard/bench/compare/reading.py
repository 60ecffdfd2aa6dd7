"""Reading: the one number that a reply in free words gives, or why there is none; nothing is guessed.

>>> read_number("Q3 EPS was $0.45.").value, read_number("**Answer:** (0.23)").value
(Decimal('0.45'), Decimal('-0.23'))
>>> read_number("1.45 basic, 1.42 diluted").problem
'two numbers: 1.45 and 1.42'
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from modelyard.bench.compare.asides import without_asides, without_times
from modelyard.bench.compare.marks import equated, last_line, marked_answers, plain
from modelyard.bench.compare.nothing import no_answer, says_nothing
from modelyard.bench.compare.unit import NumberReading, Unit, has_currency
from modelyard.bench.compare.values import whole_number
from modelyard.extraction.numbers import Number, figures, numbers, parse_number

_DASH_BEFORE = re.compile(r"\A\s*[-−–‐‑—]\s*(?=[$€£¥(.0-9])")
_CUT_OFF = re.compile(r"[0-9],\s*\Z")
_EXPONENT = re.compile(r"(?<![\w.])[0-9.]+[eE][+-]?[0-9]+\b")
_NAN = re.compile(r"[-+]?(?:\b(?:nan|inf|infinity)\b|∞)", re.IGNORECASE)
_LEAD = re.compile(
    r"(?:\W|\b(?:the|final|answer|it|that|this|value|is|was|of|approximately|approx|about|around|roughly)\b)*",
    re.IGNORECASE,
)
_TAIL = (
    r"(?:\W|(?:USD|EUR|GBP|CHF|JPY|CAD|AUD|dollars?|euros?|percent|per|common|diluted|basic|share{unit})\b)*"
)
_COUNTS = ("no", "one", "two", "three", "four", "five", "six")


def read_number(reply: str, *, unit: str | None = None, longest_look: int = 4000) -> NumberReading:
    """The one number that a reply gives, in the unit that is wanted.

    A reply that is one number is that number. Of several, those are left out that something beside them names:
    dates, quarters, years, `3 months`, `10-Q`, list numbers; percentages beside plain numbers where the unit
    is not `%`, and the other way round where it is. What then still differs is read only where one is marked:
    after `Answer:`, after the `=` of a calculation, in a box, or alone on the last line. Brackets are a minus;
    `million` and `cents` are counted in, or are the unit's own; a percentage is not turned into a share.
    Whether a reply was cut short is known to its caller, from the finish reason: `$1.` may be a whole sentence.

    Args:
        reply: what the model wrote; Markdown and LaTeX do not matter.
        unit: what the number counts, such as `USD per share`, `million EUR`, `%` or `months`; None where
            that is not known.
        longest_look: of a longer reply only so many characters at its end are read, and only for a marked
            answer.

    >>> read_number("27 cents", unit="USD per share").value, read_number("12%", unit="USD").problem
    (Decimal('0.27'), "'12%' is a percentage, and USD is wanted")
    >>> read_number("The filing does not report it.").not_answered
    True
    """
    wanted = Unit.of(unit)
    longer = len(reply) > longest_look
    text = plain(reply[-longest_look:].partition(" ")[2] if longer else reply)
    marked = _marked(text, wanted)
    if marked is not None:
        return marked
    if longer:
        return NumberReading(
            None, f"a reply of {len(reply)} characters that marks no answer in its last {longest_look}"
        )
    return _read(text, wanted)


def _marked(text: str, wanted: Unit) -> NumberReading | None:
    """What the reply itself calls its answer; None where it marks none."""
    answers = [_read(one, wanted) for one in marked_answers(text)]
    if answers:
        return _agreed(answers)
    results = [one for one in (_read(part, wanted) for part in equated(text)) if one.value is not None]
    if results:
        return _agreed(results)
    line = last_line(text)
    return None if line is None else _read(line, wanted)


def _agreed(readings: Sequence[NumberReading]) -> NumberReading:
    """The reading that all marked answers share; what is wrong where they contradict each other."""
    values = [one for one in readings if one.value is not None]
    if values:
        return _one_of(values, "marked answer")
    return next((one for one in readings if one.problem), readings[0])


def _read(text: str, wanted: Unit) -> NumberReading:
    """The one number of a stretch of text in which nothing is marked."""
    text = _DASH_BEFORE.sub("-", text)
    if no_answer(text):
        return NumberReading(None)
    if _CUT_OFF.search(text):
        return NumberReading(None, f"it ends inside a number: {_shown(text)}")
    if _EXPONENT.search(text):
        exact = whole_number(text)
        return NumberReading(exact, None if exact is not None else _odd(_EXPONENT.findall(text)[0]))
    alone = _alone(text, wanted)
    return _among(text, wanted) if alone is None else wanted.read(alone, text)


def _alone(text: str, wanted: Unit) -> Number | None:
    """The number of a text that has one, and beside it no more than its unit and words such as `the answer is`."""
    only = next(numbers(text), None)
    if only is None or len(figures(text)) != 1 or not _LEAD.fullmatch(text, 0, only.outer_start):
        return None
    unit = "|" + "|".join(re.escape(word) for word in wanted.name.split()) if wanted.name else ""
    tail = re.compile(_TAIL.format(unit=unit), re.IGNORECASE)
    return only if tail.fullmatch(text, only.outer_end) else None


def _among(text: str, wanted: Unit) -> NumberReading:
    """The number that is left when all are put aside of which something says that they are another thing."""
    kept = without_asides(text)
    odd = next((one for one in figures(kept) if parse_number(one) is None), None)
    if odd is not None:
        return NumberReading(None, _odd(odd))
    nothing = says_nothing(text)
    found = _candidates(kept, wanted, times=nothing is None)
    if not found:
        return NumberReading(None, None if nothing else _without_number(text))
    reading = _one_of([wanted.read(one, kept) for one in found], "number")
    if nothing and reading.value is not None:
        return NumberReading(None, f"it gives {reading.value}, and says {nothing!r}", (reading.value,))
    return reading


def _candidates(text: str, wanted: Unit, *, times: bool) -> list[Number]:
    """The numbers that may be the answer; a year or a duration only if it may be meant and there is no other."""
    amounts = wanted.money or wanted.percent or has_currency(text)
    found = list(numbers(without_times(text, amounts=amounts, unit=wanted.name)))
    if not found and times and not amounts:
        found = list(numbers(text))
    return wanted.choose(found, text)


def _one_of(readings: Sequence[NumberReading], noun: str) -> NumberReading:
    """The reading on which all agree."""
    values = {one.value: one for one in readings if one.value is not None}
    if len(values) == 1:
        return next(iter(values.values()))
    if not values:
        return readings[0]
    count = _COUNTS[len(values)] if len(values) < len(_COUNTS) else str(len(values))
    *most, last = [f"{value:f}" for value in values][: len(_COUNTS)]
    tail = f" and {last}" if len(values) <= len(_COUNTS) else f", {last}, …"
    return NumberReading(None, f"{count} {noun}s: {', '.join(most)}{tail}", tuple(values))


def _without_number(text: str) -> str:
    word = _NAN.search(text)
    return f"{word[0]!r} is no number" if word else f"no number in {_shown(text)}"


def _odd(figure: str) -> str:
    return f"a number in a form that is not read: {_shown(figure)}"


def _shown(text: str) -> str:
    short = " ".join(text.split())
    return repr(short if len(short) <= 60 else f"{short[:59]}…")
