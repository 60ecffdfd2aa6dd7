"""Voters: who is asked, about which part of a document, and in which way.

Voters are worth something only where they may err apart: they read different things, or in another order, or
are other models. A name says it all: `passages` (the passages that hold the fields' terms, as running text),
`evidence` (the few rows and sentences that may hold each field, best first; the model picks one),
`evidence-backwards` (the same, worst first: small models lean to what stands first). `#2` behind a name is a
sample with that seed, `@ALIAS` another model.

>>> [one.name for one in read_voters(3)]
['passages', 'evidence', 'evidence-backwards']
>>> read_voters("evidence,passages#2@small")[1]
Voter(reads='passages', backwards=False, seed=2, model='small')
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from modelyard.errors import InvalidArgumentError, nearest

Reads = Literal["passages", "evidence"]
Mode = Literal["constrained", "free", "free-then-constrained", "extractive"]
"""`constrained`: a grammar holds the reply to the schema. `free`: it does not, and what cannot be read is said.
`free-then-constrained`: the model answers freely first, then under the grammar with its first answer before it.
`extractive`: as `constrained`, and a value that does not stand in its quote counts for nothing."""

MODES: tuple[Mode, ...] = ("constrained", "free", "free-then-constrained", "extractive")
_KNOWN: dict[str, tuple[Reads, bool]] = {
    "passages": ("passages", False),
    "evidence": ("evidence", False),
    "evidence-backwards": ("evidence", True),
}
_NAME = re.compile(r"(?P<way>[a-z-]+)(?:#(?P<seed>\d{1,6}))?(?:@(?P<model>\S+))?")
MOST = 32


@dataclass(frozen=True, slots=True)
class Voter:
    """One who is asked.

    Attributes:
        reads: which part of a document.
        backwards: whether evidence comes worst first.
        seed: of its sampling; greedy without one.
        model: another model's name; the run's own where it is empty.
    """

    reads: Reads
    backwards: bool = False
    seed: int | None = None
    model: str = ""

    @property
    def name(self) -> str:
        """As `read_voters` reads it."""
        way = "evidence-backwards" if self.backwards else self.reads
        seed = "" if self.seed is None else f"#{self.seed}"
        return f"{way}{seed}{'@' if self.model else ''}{self.model}"

    @property
    def weight(self) -> float:
        """How much it counts until it has been measured (`calibrate`): evidence in its best order twice as much.

        docs/decisions/0021-rows-and-voters.md has the figures behind it.
        """
        return 2.0 if self.reads == "evidence" and not self.backwards and self.seed is None else 1.0

    @property
    def temperature(self) -> float:
        """0 without a seed."""
        return 0.0 if self.seed is None else 0.7


PASSAGES = Voter("passages")
DEFAULT = (PASSAGES, Voter("evidence"), Voter("evidence", backwards=True))


def read_voters(given: int | str | Sequence[str | Voter]) -> tuple[Voter, ...]:
    """The voters of a number, or of names.

    Args:
        given: how many: the first of `DEFAULT`, then samples of evidence and passages in turn; or names, joined
            by commas or in a list.

    Raises:
        InvalidArgumentError: no such name, one twice, or a number that is not 1 to 32.
    """
    if isinstance(given, int) or (isinstance(given, str) and given.strip().isdecimal()):
        return _so_many(int(given.strip() if isinstance(given, str) else given))
    names = given.split(",") if isinstance(given, str) else list(given)
    voters = tuple(one if isinstance(one, Voter) else _named(one.strip()) for one in names)
    if not voters or len(voters) > MOST:
        raise InvalidArgumentError(f"there are {len(voters)} voters", hint=f"From 1 to {MOST}.")
    for voter in voters:
        if voters.count(voter) > 1:
            raise InvalidArgumentError(
                f"voter '{voter.name}' is named twice", hint=f"As a sample it is another: '{voter.name}#1'."
            )
    return voters


def _so_many(count: int) -> tuple[Voter, ...]:
    if not 1 <= count <= MOST:
        raise InvalidArgumentError(f"voters is {count}", hint=f"From 1 to {MOST}.")
    more = tuple(
        Voter("evidence" if at % 2 else "passages", seed=(at + 1) // 2)
        for at in range(1, count - len(DEFAULT) + 1)
    )
    return (*DEFAULT, *more)[:count]


def _named(name: str) -> Voter:
    found = _NAME.fullmatch(name)
    if found is None or found["way"] not in _KNOWN:
        way = found["way"] if found else name
        raise InvalidArgumentError(
            f"no voter is called '{name:.60}'.{nearest(way, _KNOWN)}",
            hint=f"Known: {', '.join(_KNOWN)}; with #1 behind it a sample, with @ALIAS another model.",
        )
    reads, backwards = _KNOWN[found["way"]]
    return Voter(reads, backwards, int(found["seed"]) if found["seed"] else None, found["model"] or "")


def check_mode(mode: str) -> Mode:
    """The mode of that name.

    Raises:
        InvalidArgumentError: there is none.
    """
    for known in MODES:
        if mode == known:
            return known
    raise InvalidArgumentError(
        f"no mode is called '{mode:.60}'.{nearest(mode, MODES)}", hint=f"It is one of {', '.join(MODES)}."
    )
