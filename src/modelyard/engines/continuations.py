"""Cutting a scored text into prompt and continuation; the same rule for every engine that tokenises."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from modelyard.errors import InvalidArgumentError, PromptTooLongError

Pair = tuple[tuple[int, ...], tuple[int, ...]]
"""Token ids of the prompt, and those of the continuation."""


def cut(
    prompt: str, continuations: Sequence[str], tokenize: Callable[[str], Sequence[int]], context: int
) -> list[Pair]:
    """The tokens of each continuation behind the prompt, cut as the field's harnesses cut them.

    Both are tokenised together, so that the pieces are those that the model would see; spaces at the end of
    the prompt count as the continuation's.

    >>> cut("ab ", ["c"], lambda text: [ord(one) for one in text], context=10)
    [((97, 98), (32, 99))]

    Raises:
        InvalidArgumentError: the prompt has no tokens.
        PromptTooLongError: a pair is longer than the context.
    """
    stripped = prompt.rstrip(" ")
    gap = prompt[len(stripped) :]
    head = len(tokenize(stripped)) if stripped else 0
    pairs = [_pair(tuple(tokenize(stripped + gap + one)), head) for one in continuations]
    longest = max(len(one) + len(two) for one, two in pairs)
    if longest > context:
        raise PromptTooLongError(
            f"prompt and continuation have {longest} tokens, the context holds {context}"
        )
    return pairs


def _pair(whole: tuple[int, ...], head: int) -> Pair:
    at = min(head, len(whole) - 1)
    if at < 1:
        raise InvalidArgumentError("score needs a prompt of at least one token", hint="Give it some text.")
    return whole[:at], whole[at:]


def by_prompt(pairs: Sequence[Pair]) -> dict[tuple[int, ...], list[int]]:
    """The places of the pairs that share a prompt, so that it is read once.

    >>> by_prompt([((1,), (2,)), ((1,), (3,))])
    {(1,): [0, 1]}
    """
    found: dict[tuple[int, ...], list[int]] = {}
    for at, (prompt, _) in enumerate(pairs):
        found.setdefault(prompt, []).append(at)
    return found
