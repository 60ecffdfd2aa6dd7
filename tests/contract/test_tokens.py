"""What every engine promises to callers who work with token ids: the same numbers, or a clear refusal."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from modelyard.engines.base import Engine
from modelyard.errors import InvalidArgumentError, PromptTooLongError, UnsupportedError
from modelyard.types import Message

PROMPT = "The quick brown fox jumps over"
TAILS = [" the lazy dog", " a", " nobody at all"]
ASK = (Message("system", "Be brief."), Message("user", "Write one sentence about the sea."))


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


@pytest.fixture
def tells_tokens(engine: Engine) -> bool:
    """Whether the engine takes token ids; where not, all of it says so."""
    try:
        ids = run(engine.encode([PROMPT]))[0]
    except UnsupportedError:
        with pytest.raises(UnsupportedError):
            run(engine.score_tokens([((1,), (2,))]))
        return False
    if not engine.capabilities.score:
        with pytest.raises(UnsupportedError, match="scores no text"):
            run(engine.score_tokens([(ids[:1], ids[1:])]))
        return False
    return True


def test_tokens_that_the_caller_has_cut_score_as_their_texts_do(
    engine: Engine, tells_tokens: bool, score_noise: float
) -> None:
    if not tells_tokens:
        return
    prompt, *wholes = run(engine.encode([PROMPT, *(PROMPT + tail for tail in TAILS)]))
    by_ids = run(engine.score_tokens([(prompt, whole[len(prompt) :]) for whole in wholes]))
    by_text = run(engine.score(PROMPT, TAILS))
    for one, two in zip(by_ids, by_text, strict=True):
        assert one.token_ids == two.token_ids
        assert one.token_logprobs == pytest.approx(two.token_logprobs, abs=score_noise)
        assert one.is_greedy == two.is_greedy


def test_pairs_of_several_prompts_are_answered_in_their_order(
    engine: Engine, tells_tokens: bool, score_noise: float
) -> None:
    if not tells_tokens:
        return
    (ids,) = run(engine.encode(["The sea is blue, and the sky is blue"]))
    pairs = [(ids[:at], ids[at:end]) for at, end in ((3, 5), (4, 6), (3, 4), (5, 6))]
    together = run(engine.score_tokens(pairs))
    alone = [run(engine.score_tokens([pair]))[0] for pair in pairs]
    for (_, tail), one, two in zip(pairs, together, alone, strict=True):
        assert one.token_ids == two.token_ids == tail
        assert one.token_logprobs == pytest.approx(two.token_logprobs, abs=score_noise)


def test_pairs_that_cannot_be_scored_are_named(engine: Engine, tells_tokens: bool) -> None:
    if not tells_tokens:
        return
    ids = run(engine.encode([PROMPT]))[0]
    info = engine.tokenizer_info
    with pytest.raises(InvalidArgumentError, match="pair 1 has 0 tokens"):
        run(engine.score_tokens([(ids[:2], ids[2:]), ((), ids)]))
    with pytest.raises(PromptTooLongError, match=f"{info.longest} can be scored"):
        run(engine.score_tokens([(ids[:1] * info.longest, ids[:1])]))
    if info.vocabulary:
        with pytest.raises(InvalidArgumentError, match=f"the token {info.vocabulary}"):
            run(engine.score_tokens([((info.vocabulary,), ids)]))


def test_a_rendered_conversation_has_the_tokens_that_are_counted(engine: Engine) -> None:
    try:
        text = run(engine.render(ASK))
    except UnsupportedError:
        return
    (ids,) = run(engine.encode([text], special=False))
    assert len(ids) == run(engine.count_tokens(ASK))
    assert "Be brief." in text
    assert engine.tokenizer_info.chat_template
    without = run(engine.render(ASK, answer=False))
    assert text.startswith(without) and text != without


def test_special_tokens_are_written_as_they_are_read(engine: Engine) -> None:
    try:
        info = engine.tokenizer_info
        run(engine.encode(["a"]))
    except UnsupportedError:
        return
    for token, text in ((info.bos, info.bos_text), (info.eos, info.eos_text)):
        if token is not None:
            assert run(engine.encode([text], special=False)) == ((token,),)
