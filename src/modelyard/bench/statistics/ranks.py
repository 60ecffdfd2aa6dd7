"""Ranks: models in order, those that cannot be told apart together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isnan

from modelyard.errors import InvalidArgumentError


def rank_groups(values: Sequence[float], told_apart: Callable[[int, int], bool]) -> list[int]:
    """Competition ranks (1, 1, 3, ...) in which models that cannot be told apart share a rank.

    The rule: the models are taken from the highest value down. The first opens a group. Each following one
    joins the open group if it cannot be told apart from the best of that group, the one that opened it; else it
    opens the next group. A group's rank is 1 more than the number of models above it.

    "Cannot be told apart" is not transitive, so a rank says no more than the rule: nobody who shares it is told
    apart from the group's best, and each group's best is told apart from the best of the group before. Two
    others who share a rank may well be told apart, and the last of one group need not be told apart from the
    first of the next. Models of one value are taken in the order given.

    Args:
        values: one a model, higher is better.
        told_apart: whether the models at two places differ by more than chance; called with the better first.

    Raises:
        InvalidArgumentError: a value is not a number.

    >>> rank_groups([0.6, 0.9, 0.88, 0.5], lambda one, other: {one, other} != {1, 2})
    [3, 1, 1, 4]
    """
    missing = next((place for place, value in enumerate(values) if isnan(value)), None)
    if missing is not None:
        raise InvalidArgumentError(
            f"the value at place {missing} is not a number", hint="Leave out models that have no score."
        )
    ranks = [0] * len(values)
    best = None
    for above, place in enumerate(sorted(range(len(values)), key=lambda one: -values[one])):
        if best is None or told_apart(best, place):
            best = place
            ranks[place] = above + 1
        else:
            ranks[place] = ranks[best]
    return ranks
