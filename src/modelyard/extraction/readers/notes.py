"""Notes: whether a raised sign is the mark of a note, which has to stay apart from the number before it."""

from __future__ import annotations

import re

_NUMBER_ENDS = re.compile(r"[\d)%]\Z")
_MARK = re.compile(r"\d{1,3}(?:\s?[,&–-]\s?\d{1,3})*|[a-z]")
_ORDINAL = frozenset(("st", "nd", "rd", "th"))


def is_mark(before: str, raised: str) -> bool:
    """Whether a raised text is to be written with `^`, given what stands before it on its line.

    Behind a number everything is: 1.20 with note 1 is not 1.201, and with note (1) it is no loss. Behind
    words only bare figures and letters are.

    >>> [is_mark("EPS 1.20", "1"), is_mark("EPS 1.20", "(1)"), is_mark("Net income", "2")]
    [True, True, True]
    >>> [is_mark("Net income", "(2)"), is_mark("Acme", "®"), is_mark("the 1", "st"), is_mark("", "1")]
    [False, False, False, False]
    """
    before, raised = before.rstrip(" \xa0"), raised.strip()
    if not raised or not before.rstrip("\n-") or before.endswith("\n") or raised.lower() in _ORDINAL:
        return False
    return _NUMBER_ENDS.search(before) is not None or _MARK.fullmatch(raised) is not None
