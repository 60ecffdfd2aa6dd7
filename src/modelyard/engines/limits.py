"""How much answer fits behind a prompt; the same rule for every engine."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.errors import InvalidArgumentError, PromptTooLongError
from modelyard.params import SamplingParams
from modelyard.types import Warning


def answer_room(params: SamplingParams, prompt_tokens: int, context: int) -> tuple[int, tuple[Warning, ...]]:
    """Most tokens of the answer, and a warning when that is less than was asked for.

    >>> answer_room(SamplingParams(max_new_tokens=50), prompt_tokens=90, context=100)[0]
    10

    Raises:
        InvalidArgumentError: the prompt has no tokens, or more tokens are asked for at least than at most.
        PromptTooLongError: no room is left for a single token.
    """
    check_prompt(prompt_tokens, context, least=1)
    budget = params.answer_budget(prompt_tokens)
    if budget < 1:
        raise PromptTooLongError(
            f"max_length is {params.max_length}, and the prompt alone has {prompt_tokens} tokens",
            hint="Raise max_length, or set max_new_tokens, which counts the answer alone.",
        )
    room = context - prompt_tokens
    least = params.answer_minimum(prompt_tokens)
    if least > min(budget, room):
        raise InvalidArgumentError(
            f"the answer is to have {least} tokens at least, and there is room for {min(budget, room)}",
            hint="Lower min_new_tokens or min_length, or raise max_new_tokens.",
        )
    if budget <= room:
        return budget, ()
    if params.max_new_tokens is None and params.max_length is None:
        return room, ()
    message = f"room for {room} tokens of answer: the prompt has {prompt_tokens}, the context holds {context}"
    return room, (Warning("answer_shortened", message),)


def check_prompt(prompt_tokens: int, context: int, *, least: int = 0) -> None:
    """Refuses a prompt without tokens, and one that leaves no room for `least` tokens of answer.

    Raises:
        InvalidArgumentError: the prompt has no tokens.
        PromptTooLongError: it is too long for the context.
    """
    if prompt_tokens == 0:
        raise InvalidArgumentError("the prompt is empty", hint="Give it some text.")
    if prompt_tokens + least > context:
        raise PromptTooLongError(f"the prompt has {prompt_tokens} tokens, and the context holds {context}")


def check_continuations(continuations: Sequence[str]) -> tuple[str, ...]:
    """The texts to score: at least one, and none of them empty.

    Raises:
        InvalidArgumentError: there is none, or one is empty.
    """
    if not continuations or not all(continuations):
        raise InvalidArgumentError("score needs continuations, none of them empty", hint="Pass at least one.")
    return tuple(continuations)
