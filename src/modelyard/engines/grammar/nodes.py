"""Nodes: the parts that a grammar's rules are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Ranges = tuple[tuple[int, int], ...]
LAST = 0x10FFFF


@dataclass(frozen=True, slots=True)
class Lit:
    """Exactly this text."""

    text: str


@dataclass(frozen=True, slots=True)
class Chars:
    """One character out of these code points, sorted and apart."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Ref:
    """Whatever the named rule is."""

    name: str


@dataclass(frozen=True, slots=True)
class Seq:
    """One after the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alt:
    """Any one of them."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Rep:
    """`low` to `high` times; no upper bound where `high` is None."""

    item: Node
    low: int
    high: int | None


Node = Lit | Chars | Ref | Seq | Alt | Rep
EMPTY = Lit("")


def seq(*parts: Node) -> Node:
    """The parts one after the other, literals joined.

    >>> seq(Lit("a"), EMPTY, Lit("b"))
    Lit(text='ab')
    """
    flat: list[Node] = []
    for part in (inner for outer in parts for inner in (outer.parts if isinstance(outer, Seq) else (outer,))):
        last = flat[-1] if flat else None
        if isinstance(part, Lit) and isinstance(last, Lit):
            flat[-1] = Lit(last.text + part.text)
        elif part != EMPTY:
            flat.append(part)
    return flat[0] if len(flat) == 1 else Seq(tuple(flat)) if flat else EMPTY


def alt(*parts: Node) -> Node:
    """Any one of the parts, each different one once."""
    flat = dict.fromkeys(i for o in parts for i in (o.parts if isinstance(o, Alt) else (o,)))
    return next(iter(flat)) if len(flat) == 1 else Alt(tuple(flat))


def optional(part: Node) -> Node:
    """The part or nothing."""
    return Rep(part, 0, 1)


def chars(text: str) -> Chars:
    """A class from its bounds in pairs.

    >>> chars("az09")
    Chars(ranges=((48, 57), (97, 122)))
    """
    return Chars(union((ord(a), ord(b)) for a, b in zip(text[::2], text[1::2], strict=True)))


def union(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The ranges sorted, touching ones joined."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(high, out[-1][1]))
        else:
            out.append((low, high))
    return tuple(out)


def complement(ranges: Ranges) -> Ranges:
    """Every code point that the sorted ranges leave out."""
    starts = [0, *(high + 1 for _, high in ranges)]
    ends = [*(low - 1 for low, _ in ranges), LAST]
    return tuple((low, high) for low, high in zip(starts, ends, strict=True) if low <= high)


def parts_of(node: Node) -> Iterator[Node]:
    """The nodes directly inside."""
    match node:
        case Seq(parts) | Alt(parts):
            yield from parts
        case Rep(item):
            yield item
