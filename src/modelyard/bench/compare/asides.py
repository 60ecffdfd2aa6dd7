"""Asides: figures of a reply that are no answer, because what stands around them says what they are.

>>> without_asides("In Q2 2023 (see page 5 of the 10-Q filed July 28) it was 0.45")
'In         (see        of the      filed        ) it was 0.45'
"""

from __future__ import annotations

import re

from modelyard.extraction.dates import MONTH

_A_YEAR = r"(?:19|20)[0-9]{2}(?![0-9]|[.,][0-9]|\s?%)"
_ALONE = r"(?<![\w.,$€£¥-])"
_DAY = r"(?:3[01]|[12][0-9]|0?[1-9])(?:st|nd|rd|th)?"
_YEARS = rf"(?:{_A_YEAR}\s?[-–/]\s?)?{_A_YEAR}(?:[-–/][0-9]{{2}}\b)?"
_CERTAIN = re.compile(
    "|".join(
        (
            # dates, whole or in part
            rf"\b{MONTH}\s{_DAY}\b(?![.,]?[0-9])(?:,?\s{_A_YEAR})?",
            rf"(?:{_ALONE}{_DAY}[\s-](?:of\s)?|\b){MONTH}(?:,?[\s-]{_A_YEAR})",
            rf"{_ALONE}{_DAY}\s(?:of\s)?{MONTH}",
            r"\b[0-9]{4}([-/.])[0-9]{1,2}\1[0-9]{1,2}\b",
            r"\b[0-9]{1,2}([-/.])[0-9]{1,2}\2(?:[0-9]{4}|[0-9]{2})\b",
            # quarters and fiscal years
            rf"\b[QqHh][1-4]\b(?:[\s/-]?(?:FY)?\s?(?:{_A_YEAR}|['’][0-9]{{2}}\b))?",
            rf"\b[1-4][QqHh]\b(?:\s?{_A_YEAR})?|\b[1-4][QqHh][0-9]{{2}}\b",
            rf"\b(?i:(?:[1-4](?:st|nd|rd|th)|first|second|third|fourth)[\s-](?:fiscal\s)?quarter)\b"
            rf"(?:\s(?:of\s)?(?:the\s)?(?:fiscal\s)?(?:year\s)?{_A_YEAR})?",
            r"\b(?i:quarter)\s[1-4]\b(?![.,]?[0-9])",
            rf"\b(?i:FY|fiscal(?:\syear)?)\s?(?:{_A_YEAR}|['’]?[0-9]{{2}}\b(?![.,][0-9]))",
            # the names of forms
            r"\b(?:10|20|40|8|6)[-‐‑](?:[KQF]T?)\b",
            # places in a text or a list
            r"(?m:^[ \t]*[0-9]{1,2}[.)][ \t]+(?=\S))",
            r"\[[0-9]{1,3}\](?!\()",
            r"(?<!\w)#[0-9]+\b",
            r"\b(?i:page|footnote|note|section|table|chapter|exhibit|column|row|line|step)\s[0-9]+\b(?![.,]?[0-9])",
            # ordinals
            r"\b[0-9]+(?:st|nd|rd|th)\b",
        )
    )
)
_TIMES = r"(?:months?|weeks?|quarters?|years?|days?|hours?|minutes?|seconds)"
_DURATION = re.compile(rf"{_ALONE}[0-9]+(?:,[0-9]{{3}})*[\s-]?{_TIMES}\b", re.IGNORECASE)
_TIME_UNIT = re.compile(rf"\s*(?:calendar\s)?{_TIMES}\b", re.IGNORECASE)
_BARE_YEAR = re.compile(rf"{_ALONE}{_YEARS}")
_YEAR_BY_ITS_PLACE = re.compile(
    rf"(?<=\()(?:{_YEARS})(?=\))"
    rf"|(?m:^[ \t]*)(?:{_YEARS})(?=:)"
    rf"|\b(?i:(?:in|for|between|since|during|through|until|by|ended|ending|end\sof|year|years|vs\.?|versus|from))\s"
    rf"(?:the\syear\s)?{_YEARS}(?!\s[a-z]+s\b)(?:\s(?:and|to)\s{_YEARS})?"
)


def without_asides(text: str) -> str:
    """The text with each figure blanked that is part of a date, a quarter, a form's name, or numbers a place."""
    return _CERTAIN.sub(_blank, text)


def without_times(text: str, *, amounts: bool, unit: str | None) -> str:
    """The text with durations and years blanked, unless the wanted unit is one of time.

    Args:
        text: one whose other asides are blanked already.
        amounts: whether the answer is an amount of money or a share, which a bare `2023` never is; otherwise
            a year has to be one by what stands beside it, as in `in 2023`.
        unit: the name of the wanted unit.

    >>> without_times("3 months of 2023: $1.45", amounts=True, unit="USD")
    '         of     : $1.45'
    >>> without_times("2015 patients for 3 months", amounts=False, unit="months")
    '2015 patients for 3 months'
    """
    if unit is not None and _TIME_UNIT.match(unit):
        return text
    years = _BARE_YEAR if amounts else _YEAR_BY_ITS_PLACE
    return years.sub(_blank, _DURATION.sub(_blank, text))


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])
