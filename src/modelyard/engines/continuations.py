"""Cutting a scored text into prompt and continuation; the same rule for every engine that tokenises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from modelyard.errors import InvalidArgumentError, PromptTooLongError
from modelyard.types import TokenizerInfo

Pair = tuple[tuple[int, ...], tuple[int, ...]]
"""Token ids of the prompt, and those of the continuation."""


def cut(
    prompt: str, continuations: Sequence[str], tokenize: Callable[[str], Sequence[int]], context: int
) -> list[Pair]:
    """The tokens of each continuation behind the prompt, cut where the prompt's own text ends.

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


def check_pairs(pairs: Sequence[tuple[Sequence[int], Sequence[int]]], info: TokenizerInfo) -> list[Pair]:
    """Pairs that a caller has cut himself.

    >>> check_pairs([([1, 2], [3])], TokenizerInfo(vocabulary=10, longest=3))
    [((1, 2), (3,))]

    Raises:
        InvalidArgumentError: there are none, one has an empty part, or an id is not of the vocabulary.
        PromptTooLongError: a pair is longer than can be scored.
    """
    if not pairs:
        raise InvalidArgumentError("there are no tokens to score", hint="Pass at least one pair.")
    checked = [(tuple(prompt), tuple(tail)) for prompt, tail in pairs]
    for at, (prompt, tail) in enumerate(checked):
        if not prompt or not tail:
            raise InvalidArgumentError(
                f"pair {at} has {len(prompt)} tokens of prompt and {len(tail)} of continuation",
                hint="Each needs one at least.",
            )
        wrong = next((one for one in prompt + tail if one < 0 or 0 < info.vocabulary <= one), None)
        if wrong is not None:
            raise InvalidArgumentError(
                f"pair {at} holds the token {wrong}", hint=f"The model has tokens 0 to {info.vocabulary - 1}."
            )
        length = max(len(prompt), len(tail)) if info.encoder_decoder else len(prompt) + len(tail)
        if 0 < info.longest < length:
            raise PromptTooLongError(f"pair {at} has {length} tokens, and {info.longest} can be scored")
    return checked


def by_prompt(pairs: Sequence[Pair]) -> dict[tuple[int, ...], list[int]]:
    """The places of the pairs that share a prompt, so that it is read once.

    >>> by_prompt([((1,), (2,)), ((1,), (3,))])
    {(1,): [0, 1]}
    """
    found: dict[tuple[int, ...], list[int]] = {}
    for at, (prompt, _) in enumerate(pairs):
        found.setdefault(prompt, []).append(at)
    return found


def passes(prompts: Iterable[tuple[int, ...]], tokens: int) -> list[list[tuple[int, ...]]]:
    """Prompts in groups that are read in one pass each: of like length, and no wider than allowed.

    Args:
        prompts: the ids of each.
        tokens: the most of a group with more than one prompt, padding included.

    >>> passes([(1,), (1, 2, 3), (1, 2)], 4)
    [[(1, 2, 3)], [(1, 2), (1,)]]
    """
    groups: list[list[tuple[int, ...]]] = []
    for prompt in sorted(prompts, key=len, reverse=True):
        if groups and len(groups[-1][0]) * (len(groups[-1]) + 1) <= tokens:
            groups[-1].append(prompt)
        else:
            groups.append([prompt])
    return groups
