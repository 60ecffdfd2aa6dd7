"""Markdown: the text as it is; only which of its lines are rows of pipe tables is worked out.

>>> table_rows("# EPS\\n\\n| a | b |\\n|---|--:|\\n| 1 | 2 |\\n\\ntext | more")
{3: 'table 1, row 1', 4: 'table 1', 5: 'table 1, row 2'}
"""

from __future__ import annotations

import re

_DELIMITER = re.compile(r" {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_BLOCK = re.compile(r" {0,3}(?:#{1,6}[ \t]|>|[-*+][ \t]|\d{1,9}[.)][ \t]|`{3,}|~{3,})")
_ESCAPED = re.compile(r"\\[\\|]")
_LINE = re.compile(r"\r\n|\r|\n")


def table_rows(text: str) -> dict[int, str]:
    """For each line of a pipe table its place in the table, by the line's number, from 1.

    A table is a line with pipes, a line of dashes with as many cells, and the lines after it up to a blank
    one or another block (https://github.github.com/gfm/#tables-extension-). What stands between fences or
    in the front matter is none.
    """
    lines = _LINE.split(text)
    found: dict[int, str] = {}
    fence = ""
    tables = 0
    at = _front_matter(lines)
    while at < len(lines):
        opened = _FENCE.match(lines[at])
        if opened and (not fence or opened[1].startswith(fence)):
            fence = "" if fence else opened[1]
        elif not fence and _heads_table(lines, at):
            tables += 1
            at = _take(lines, at, f"table {tables}", found)
            continue
        at += 1
    return found


def _front_matter(lines: list[str]) -> int:
    """The first line after the front matter."""
    if lines[0].rstrip() != "---":
        return 0
    ends = (at for at, line in enumerate(lines[1:], 1) if line.rstrip() in ("---", "..."))
    return next(ends, -1) + 1


def _heads_table(lines: list[str], at: int) -> bool:
    if "|" not in lines[at] or at + 1 >= len(lines) or _BLOCK.match(lines[at]):
        return False
    dashes = lines[at + 1]
    return _DELIMITER.fullmatch(dashes) is not None and _cells(dashes) == _cells(lines[at])


def _take(lines: list[str], at: int, name: str, found: dict[int, str]) -> int:
    found[at + 1], found[at + 2] = f"{name}, row 1", name
    row, at = 2, at + 2
    while at < len(lines) and lines[at].strip() and not _BLOCK.match(lines[at]):
        found[at + 1] = f"{name}, row {row}"
        row, at = row + 1, at + 1
    return at


def _cells(line: str) -> int:
    inner = _ESCAPED.sub("", line.strip()).removeprefix("|").removesuffix("|")
    return inner.count("|") + 1
