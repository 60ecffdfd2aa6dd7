"""Marks: what a reply itself calls its answer, by a word, a box, an equals sign, or a line of its own.

>>> marked_answers(plain("Half of 3 is what we need.\\n**Answer:** 1.5, roughly. Sure."))
['1.5, roughly']
"""

from __future__ import annotations

import re
from itertools import islice

from modelyard.bench.compare.asides import without_asides
from modelyard.bench.compare.nothing import no_answer, says_nothing
from modelyard.bench.compare.values import whole_number
from modelyard.extraction.numbers import numbers

_BOXED = re.compile(r"\\(?:boxed|fbox)\s?\{([^{}\n]*)\}")
_BRACKETS = re.compile(r"\\[()\[\]]")
_EMPHASIS = re.compile(r"(?<!\w)([*_]{1,3})(?=\S)([^\n]{1,300}?)(?<=\S)\1(?!\w)")
_BULLET = re.compile(r"^[ \t]*[-*•–—][ \t]+", re.MULTILINE)
_ANSWER = re.compile(r"(?:\banswer\s*(?:is\b|:|=|→|->)\s*:?|####)\s*", re.IGNORECASE)
_EQUALS = re.compile(r"(?<![<>=!:])=(?![=>])\s*")
_STATISTIC = re.compile(r"(?<![^\W\d_])[^\W\d_]\s*\Z")
_END = re.compile(r"[.;!?](?=\s|\Z)|\s\(")
_WORD = re.compile(r"\w")
_MOST = 20


def plain(reply: str) -> str:
    """The reply without the marks of Markdown and LaTeX; where there are several lines, without bullets.

    >>> plain(r"So it is **1.45**: \\boxed{1.45}")
    'So it is 1.45: \\nAnswer: 1.45'
    """
    text = _BOXED.sub(r"\nAnswer: \1\n", reply).replace("\\$", "$").replace("`", "")
    text = _EMPHASIS.sub(r"\2", _BRACKETS.sub(" ", text)).strip()
    return _BULLET.sub("", text) if "\n" in text else text


def marked_answers(text: str) -> list[str]:
    """What follows `Answer:`, `the answer is` and the like, where it gives a number or says that there is none."""
    return [part for part in _segments(_ANSWER, text) if _says_something(part)]


def equated(text: str) -> list[str]:
    """What follows the equals signs of calculations; those of statistics such as `n = 12` are none.

    >>> equated("EPS = 100 / 50 = 2 (n = 50)")
    ['100 / 50 = 2', '2']
    """
    return _segments(_EQUALS, text)


def last_line(text: str) -> str | None:
    """The last line where it is a number by itself, the only such line, and no heading goes before it.

    >>> last_line("Let me add 1 and 2.\\n3"), last_line("1\\n3"), last_line("basic: 2\\ndiluted:\\n3")
    ('3', None, None)
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    alone = [whole_number(line.rstrip(".!")) is not None for line in lines[-_MOST:]]
    if len(lines) < 2 or not alone[-1] or any(alone[:-1]) or lines[-2].endswith(":"):
        return None
    return lines[-1]


def _segments(mark: re.Pattern[str], text: str) -> list[str]:
    """What follows each mark, up to the first end of a sentence or remark in brackets behind the answer itself."""
    found = []
    for match in list(mark.finditer(text))[-_MOST:]:
        if mark is _EQUALS and _is_a_remark(text[: match.start()]):
            continue
        line = text[match.end() :].partition("\n")[0]
        ends = [line[: end.start()] for end in islice(_END.finditer(line), _MOST)]
        found.append(next((part for part in ends if _says_something(part)), line))
    return found


def _is_a_remark(before: str) -> bool:
    """Whether the equals sign behind this text stands in brackets or gives a statistic, such as `n = 12`."""
    line = before.rpartition("\n")[2]
    return line.count("(") > line.count(")") or bool(_STATISTIC.search(line))


def _says_something(text: str) -> bool:
    if any(numbers(without_asides(text))):
        return True
    return bool(_WORD.search(text)) and (no_answer(text) or says_nothing(text) is not None)
