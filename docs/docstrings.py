"""Docstrings as the reference needs them: doctests in fences, and one name a line where several share one."""

from __future__ import annotations

import re
from typing import Any

import griffe

# Markdown takes `>>>` for a quotation in a quotation in a quotation.
_DOCTEST = re.compile(r"^>>> .*(?:\n+(?=>>> )|\n(?!\s*$)|.)*", re.MULTILINE)
_SHARED = re.compile(r"^( +)(\w+(?:,\s+\w+)+)(:.*(?:\n\1 +.*)*)", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Changes each docstring before it is parsed."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = one_name_a_line(fenced(obj.docstring.value))


def fenced(text: str) -> str:
    """A docstring with its doctests in fences."""
    return _DOCTEST.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", text).rstrip()


def one_name_a_line(text: str) -> str:
    """A docstring in which names that share a line have one each.

    >>> print(one_name_a_line("  a, b: numbers."))
      a: numbers.
      b: numbers.
    """
    return _SHARED.sub(
        lambda found: "\n".join(found[1] + one + found[3] for one in re.split(r",\s+", found[2])), text
    )
