"""Texts that are read whole and never written on: how long they may be, and in which groups they are read."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.errors import PromptTooLongError

_BATCH_TOKENS = 8192


def check_texts(rows: Sequence[Sequence[int]], context: int) -> None:
    """Refuses tokens of a text that the model cannot read whole; none is ever cut in silence.

    Raises:
        PromptTooLongError: names the text, its tokens, and how many are read.
    """
    for at, row in enumerate(rows):
        if len(row) > context:
            raise PromptTooLongError(
                f"text {at + 1} of {len(rows)} has {len(row)} tokens, and the model reads {context}",
                hint="Split it into passages.",
            )


def batches(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Places of texts of about the same length, so that little is padded.

    >>> batches([[1], [1] * 9000, [1, 2]])
    [[1], [2, 0]]
    """
    order = sorted(range(len(rows)), key=lambda at: len(rows[at]), reverse=True)
    made: list[list[int]] = []
    for at in order:
        if made and len(rows[made[-1][0]]) * (len(made[-1]) + 1) <= _BATCH_TOKENS:
            made[-1].append(at)
        else:
            made.append([at])
    return made
