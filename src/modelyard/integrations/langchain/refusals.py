"""What the Hugging Face classes answer in place of something unsafe."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from modelyard.safety import Check, Verdict

UNSAFE_PROMPT = (
    "Your question may be unsafe: {reasons}. It was not given to the model. Please ask in another way."
)
UNSAFE_OUTPUT = (
    "The answer to your question may be unsafe: {reasons}. It is not shown. "
    "Please try again, or ask in another way."
)


async def objections(checks: Sequence[Check], text: str, context: str = "") -> tuple[Verdict, ...]:
    """The verdicts of the checks that do not allow a text.

    Args:
        checks: each with a coroutine `verdict`.
        text: a prompt or an answer.
        context: of an answer the prompt.
    """
    verdicts = await asyncio.gather(*(one.verdict(text, context=context) for one in checks))
    return tuple(one for one in verdicts if not one.allowed)


def message(template: str, verdicts: Sequence[Verdict]) -> str:
    """The sentence for the user, with the categories that the checks name.

    >>> message("{reasons}", [Verdict(False, "mine")])
    'mine'
    """
    reasons = [f"{one.check} ({', '.join(one.flagged)})" if one.flagged else one.check for one in verdicts]
    return template.format(reasons="; ".join(reasons) or "a safety check objects")
