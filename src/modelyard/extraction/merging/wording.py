"""Wording: the reason of a merge in one sentence that a reviewer can read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from modelyard.extraction.merging.votes import Vote, votes
from modelyard.extraction.result import Candidate

_MOST_NAMES = 4
_LONGEST_VALUE = 60


class Wording:
    """Says of the groups of one field who voted for what.

    Args:
        groups: the candidates that vote, in groups of the same value.
    """

    def __init__(self, groups: Sequence[Sequence[Candidate]]) -> None:
        self._groups = groups
        self._votes = votes(groups)
        cast = [one for of in self._votes for one in of]
        self._documents = sorted({one.document for one in cast})
        self._count = len({(one.document, one.voter) for one in cast})
        self._weighted = len({one.weight for one in cast}) > 1
        self._total = math.fsum(one.weight for one in cast)

    def backing(self, group: Sequence[Candidate]) -> str:
        """Who is behind a value, and with how large a share: `2 of 3 voters (a, b) read 1.27`."""
        mine = self._of(group)
        value = group[0].value
        if self._count == 1:
            return f"only {mine[0].voter} {_read(value, one=True)}, in {mine[0].document}"
        what = "voters" if len(self._documents) == 1 else "readings"
        whole = f"{len(mine)} of {self._count}"
        if len(mine) == self._count:
            whole = "both" if self._count == 2 else f"all {self._count}"
        weight = f" with {self._share(mine):.0%} of the weight" if self._weighted else ""
        return f"{whole} {what} ({self._names(mine)}){weight} {_read(value, one=len(mine) == 1)}"

    def each(self, groups: Sequence[Sequence[Candidate]]) -> str:
        """The same for several values, one after the other."""
        return listed([self.backing(one) for one in groups])

    def share(self, group: Sequence[Candidate]) -> float:
        """The weighted share of the votes for a value."""
        return self._share(self._of(group))

    def _of(self, group: Sequence[Candidate]) -> tuple[Vote, ...]:
        return self._votes[next(at for at, one in enumerate(self._groups) if one is group)]

    def _share(self, mine: Iterable[Vote]) -> float:
        return math.fsum(one.weight for one in mine) / self._total if self._total else 0.0

    def _names(self, mine: Sequence[Vote]) -> str:
        if len(self._documents) == 1:
            return some([one.voter for one in mine])
        by_document = groupby(mine, key=lambda one: one.document)
        return "; ".join(f"{name}: {some([one.voter for one in of])}" for name, of in by_document)


def shown(value: Any) -> str:
    """A value as it stands in a sentence, shortened where it is long."""
    text = "no value" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are.

    >>> some(["a", "b"]), some(list("abcdef"))
    ('a, b', 'a, b, c and 3 more')
    """
    if len(names) <= _MOST_NAMES:
        return ", ".join(names)
    kept = _MOST_NAMES - 1
    return f"{', '.join(names[:kept])} and {len(names) - kept} more"


def listed(parts: Sequence[str]) -> str:
    """Parts of a sentence, joined.

    >>> listed(["one", "two", "three"])
    'one, two and three'
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def joined(*clauses: str) -> str:
    """Clauses in one line; empty ones are left out."""
    return "; ".join(one for one in clauses if one)


def sentence(*clauses: str) -> str:
    """Clauses as one sentence; empty ones are left out.

    >>> sentence("all 3 voters read 1.27", "", "1 answer could not be read")
    'All 3 voters read 1.27; 1 answer could not be read.'
    """
    text = joined(*clauses)
    return f"{text[:1].upper()}{text[1:]}."


def left_out(kept: Sequence[Candidate], silent: Sequence[Candidate]) -> str:
    """What is kept but does not vote.

    Args:
        kept: all candidates: some of them failed, could not be read, or are of documents without the field.
        silent: those that find no value in their document, where another document gives one.
    """
    failed = [one for one in kept if one.status == "failed"]
    unread = [one for one in kept if one.status == "unreadable"]
    said = [
        f"{_count(of, 'answer')} {what}"
        for of, what in ((unread, "could not be read"), (failed, "failed"))
        if of
    ]
    if abstaining := sorted({one.document for one in kept if one.abstains}):
        said.append(f"the field cannot occur in {some(abstaining)}")
    if silent:
        names = some(sorted({one.document for one in silent}))
        verb = "finds" if len(silent) == 1 else "find"
        said.append(f"{_count(silent, 'reading')} {verb} no value in {names}, which is no objection")
    return "; ".join(said)


def _count(of: Sequence[Candidate], what: str) -> str:
    return f"{len(of)} {what}{'' if len(of) == 1 else 's'}"


def _read(value: Any, *, one: bool) -> str:
    if value is None:
        return "finds no value" if one else "find no value"
    return f"{'reads' if one else 'read'} {shown(value)}"
