"""llama.cpp's slots: each remembers what it has read, so that a prompt goes where its beginning lies."""

from __future__ import annotations

from collections.abc import Sequence


class Slots:
    """The idle slots, and what each of them has read."""

    def __init__(self, count: int) -> None:
        self._idle: dict[int, Sequence[int]] = dict.fromkeys(range(count), ())

    def __len__(self) -> int:
        return len(self._idle)

    def take(self, prompt: Sequence[int]) -> int:
        """The idle slot that shares most of the prompt; of equals, the one that was idle longest."""
        best = max(self._idle, key=lambda slot: common_prefix(self._idle[slot], prompt))
        del self._idle[best]
        return best

    def give(self, slot: int, read: Sequence[int]) -> None:
        """Gives a slot back with what it has read."""
        self._idle[slot] = read


def common_prefix(one: Sequence[int], two: Sequence[int]) -> int:
    """How many items two sequences of one type share at their beginning.

    >>> common_prefix([1, 2, 3, 4], [1, 2, 5])
    2
    """
    low, high = 0, min(len(one), len(two))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == two[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
