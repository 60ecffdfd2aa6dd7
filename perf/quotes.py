"""Grounding: 50 quotes placed in a text of 100,000 characters, by ours and by LangExtract's aligner.

The text is filings, end to end, and the quotes are lines that stand in it once, so that each has one right place:
half as they are, a quarter with other white space, dashes and quotation marks, a quarter with slips of a letter or
two in their words. They come in the order of the text, in which LangExtract's aligner looks for them.
"""

from __future__ import annotations

import random
import re
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from langextract_peer import Peer
from modelyard.extraction.ground import GroundingIndex, ground

TEXT = 100_000  # characters
QUOTES = 50
_RIGHT = 0.8  # least share of the union of a place and the right one that both have
_WORD = re.compile(r"[A-Za-z]{5,}")
_ORDER = ("verbatim", "signs", "verbatim", "slips")


class Quote(NamedTuple):
    """A quote, how it was made, and the place that is right."""

    text: str
    kind: str
    span: tuple[int, int]


def make_quotes(text: str, count: int = QUOTES) -> list[Quote]:
    """Lines of the text that stand in it once, evenly spread, changed as the module says."""
    lines = [
        match
        for match in re.finditer(r"(?<=\n)[^\s][^\n]{28,298}[^\s](?=\n)", text)
        if text.count(match[0]) == 1 and len(_WORD.findall(match[0])) >= 3
    ]
    assert len(lines) >= count, len(lines)
    chance = random.Random(7)
    change: dict[str, Callable[[str], str]] = {
        "verbatim": str,
        "signs": _other_signs,
        "slips": lambda line: _slips(line, chance),
    }
    made = []
    for at in range(count):
        line, kind = lines[at * len(lines) // count], _ORDER[at % len(_ORDER)]
        made.append(Quote(change[kind](line[0]), kind, line.span()))
    return made


def _other_signs(line: str) -> str:
    """The same words and numbers, as another hand sets them."""
    line = line.replace("–", "-").replace("—", "-") if re.search("[–—]", line) else line.replace("-", "–")
    return line.replace("'", "’").replace(" ", "  ", 3).replace(" | ", "\t")


def _slips(line: str, chance: random.Random) -> str:
    """One or two long words with a letter left out, doubled or swapped with the next."""
    for word in chance.sample(list(_WORD.finditer(line)), chance.choice((1, 2))):
        at = chance.randrange(1, len(word[0]) - 2)
        old = word[0]
        new = chance.choice((
            old[:at] + old[at + 1 :],
            old[:at] + old[at] + old[at:],
            old[:at] + old[at + 1] + old[at] + old[at + 2 :],
        ))  # fmt: skip
        line = line.replace(old, new, 1)
    return line


Spans = Sequence[Sequence[int] | None]


def _ours(text: str, quotes: Sequence[Quote]) -> tuple[float, Spans]:
    began = time.perf_counter()
    index = GroundingIndex(text)
    spans = [ground(index, one.text) for one in quotes]
    return time.perf_counter() - began, [span and (span.start, span.end) for span in spans]


def _theirs(peer: Peer, text: str, quotes: Sequence[Quote]) -> tuple[float, Spans]:
    said = peer.ask("align", text=text, quotes=[one.text for one in quotes])
    return said["seconds"], said["spans"]


def _overlap(one: Sequence[int], two: Sequence[int]) -> float:
    both = min(one[1], two[1]) - max(one[0], two[0])
    return max(0, both) / (max(one[1], two[1]) - min(one[0], two[0]))


def compare(peer: Peer, text: str, rounds: int) -> dict[str, Any]:
    """Prints the table; medians of seconds, and of each kind how many were placed, and how many right."""
    text = text[:TEXT]
    assert len(text) == TEXT, len(text)
    quotes = make_quotes(text)
    sides = {"ours": lambda: _ours(text, quotes), "LangExtract": lambda: _theirs(peer, text, quotes)}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    places: dict[str, Spans] = {}
    for at in range(rounds + 1):
        for name in list(sides) if at % 2 else reversed(list(sides)):
            taken, places[name] = sides[name]()
            seconds[name].append(taken)
    ratios = [b / a for a, b in zip(seconds["ours"][1:], seconds["LangExtract"][1:], strict=True)]
    found: dict[str, Any] = {"quotes": len(quotes), "characters": len(text)}
    found["ratio"] = round(statistics.median(ratios), 1)
    print(
        f"{'grounding':<12} {'seconds':>8} {'placed':>7} {'right':>6} {'verbatim':>9} {'signs':>7} {'slips':>7}"
    )
    for name in sides:
        row = {"seconds": round(statistics.median(seconds[name][1:]), 4), **judge(quotes, places[name])}
        found[name] = row
        print(
            f"{name:<12} {row['seconds']:>8.3f} {row['placed']:>7} {row['right']:>6} "
            f"{row['verbatim']:>9} {row['signs']:>7} {row['slips']:>7}"
        )
    print(f"{'ratio':<12} {found['ratio']:>8.1f}", flush=True)
    return found


def judge(quotes: Sequence[Quote], spans: Spans) -> dict[str, Any]:
    """How many quotes have a place, how many the right one, and that for each kind of quote."""
    right: dict[str, list[bool]] = {kind: [] for kind in dict.fromkeys(_ORDER)}
    for one, span in zip(quotes, spans, strict=True):
        right[one.kind].append(span is not None and _overlap(span, one.span) >= _RIGHT)
    return {
        "placed": sum(span is not None for span in spans),
        "right": sum(map(sum, right.values())),
        **{kind: f"{sum(ok)}/{len(ok)}" for kind, ok in right.items()},
    }
