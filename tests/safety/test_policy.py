"""Policies on prompts and answers: block, mask, warn; whole answers and streams."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard import Message, Session, create_llm
from modelyard.errors import DeadlineExceededError, InvalidArgumentError
from modelyard.safety import Check, PatternCheck, PersonalDataCheck, Policy, Rule, Verdict
from modelyard.safety.masking import MASK, masked, merged
from modelyard.safety.policy import Sides
from modelyard.types import Action, Chunk, Span

SECRET = {"project": "Falcon"}
LONG = "This sentence has nothing in it that anybody could mind, and it goes on. " * 4


def policy(action: Action = "block", side: Sides = "both") -> Policy:
    return Policy([Rule(PatternCheck(SECRET), side, action)])


def answered(reply: str, rules: Policy, prompt: str = "Hello", **how: object):
    return create_llm("fake", options={"reply": reply}, safety=rules).generate(prompt, **how)


def streamed(reply: str, rules: Policy, prompt: str = "Hello") -> list[Chunk]:
    return list(create_llm("fake", options={"reply": reply}, safety=rules).stream(prompt))


# -- prompts -----------------------------------------------------------------------------------------------


def test_a_blocked_prompt_is_not_answered_and_the_verdict_says_why() -> None:
    result = answered("fine", policy(), "What is Falcon?")
    assert (result.text, result.finish_reason, result.usage.completion_tokens) == ("", "content_filter", 0)
    (verdict,) = result.verdicts
    assert (verdict.side, verdict.action, verdict.flagged) == ("input", "block", ("project",))


def test_a_masked_prompt_is_answered_without_what_was_masked() -> None:
    check = Context()
    rules = Policy([Rule(PatternCheck(SECRET), "input", "mask"), Rule(check, "output")])
    result = answered("fine", rules, "What is Falcon about?")
    assert check.asked == [("fine", f"What is {MASK} about?")]
    assert [one.code for one in result.warnings] == ["safety_mask"]
    assert result.finish_reason == "stop"


def test_a_warning_goes_on() -> None:
    result = answered("fine", policy("warn"), "Falcon?")
    assert result.text == "fine"
    assert [one.code for one in result.warnings] == ["safety_warn"]
    assert result.verdicts[0].action == "warn"


def test_every_turn_of_users_and_tools_is_read_and_the_system_prompt_is_not() -> None:
    def asked(*turns: Message) -> str:
        llm = create_llm("fake", options={"reply": "fine"}, safety=policy())
        return llm.generate(turns).finish_reason

    end = Message("user", "Go on.")
    assert asked(Message("user", "Falcon"), Message("assistant", "Yes."), end) == "content_filter"
    assert asked(Message("system", "Never speak of Falcon."), end) == "stop"


def test_what_a_raw_prompt_says_is_read() -> None:
    assert answered("fine", policy(), "Falcon is", raw=True).finish_reason == "content_filter"


def test_rules_of_one_side_leave_the_other_alone() -> None:
    assert answered("Falcon flies.", policy(side="input")).text == "Falcon flies."
    assert answered("It flies.", policy(side="output"), "Falcon?").text == "It flies."


# -- answers -----------------------------------------------------------------------------------------------


def test_a_blocked_answer_is_empty_and_says_why() -> None:
    result = answered(f"{LONG}The name is Falcon.", policy())
    assert (result.text, result.tokens, result.finish_reason) == ("", (), "content_filter")
    assert result.verdicts[0].side == "output"


def test_a_masked_answer_keeps_the_rest_and_has_no_tokens_that_tell() -> None:
    result = answered(f"{LONG}The name is Falcon. {LONG}", policy("mask"))
    assert result.text.strip() == f"{LONG}The name is {MASK}. {LONG}".strip()
    assert not any("Falcon" in token.text for token in result.tokens)


def test_a_stream_stops_before_the_window_that_is_refused() -> None:
    chunks = streamed(f"{LONG}The name is Falcon. {LONG}", policy())
    shown = "".join(one.text for one in chunks)
    assert shown and LONG.startswith(shown)
    assert chunks[-1].finish_reason == "content_filter"
    assert chunks[-1].verdicts[0].flagged == ("project",)


def test_a_stream_is_shown_piece_by_piece_while_it_is_clean() -> None:
    chunks = streamed(LONG, policy())
    assert "".join(one.text for one in chunks) == LONG.strip() or "".join(one.text for one in chunks) == LONG
    assert len([one for one in chunks if one.text]) > 10
    assert chunks[-1].finish_reason == "stop"


def test_tokens_behind_a_mask_stand_where_their_text_stands() -> None:
    chunks = streamed(
        f"The name is Falcon, and that is all that is to be said of it here, friend. {LONG}", policy("mask")
    )
    text = "".join(one.text for one in chunks)
    tokens = [token for one in chunks for token in one.tokens]
    assert tokens
    assert all(text[token.start : token.end] == token.text for token in tokens)


def test_each_of_several_answers_is_checked() -> None:
    llm = create_llm("fake", options={"reply": "Falcon."}, safety=policy())
    result = llm.generate("Hello", num_return_sequences=2, seed=1)
    assert [one.finish_reason for one in (result, *result.alternatives)] == ["content_filter"] * 2


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["Falcon", "a bird.", "It flies on", "!", "\n", "and on and on and on"]), max_size=60
    ),
    st.sampled_from(["block", "mask"]),
)
def test_no_stream_shows_what_is_objected_to(words: list[str], action: Action) -> None:
    reply = " ".join(words) or "Nothing."
    chunks = streamed(reply, policy(action))
    shown = "".join(one.text for one in chunks)
    assert "Falcon" not in shown
    refused = chunks[-1].finish_reason == "content_filter"
    assert refused == (action == "block" and "Falcon" in reply)
    if action == "mask":
        assert shown == reply.replace("Falcon", MASK)


def test_a_tool_call_with_something_bad_in_it_is_refused_whatever_the_action() -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {
        "type": "object", "properties": {"what": {"const": "Falcon"}}, "required": ["what"]}}}  # fmt: skip
    for action in ("block", "mask"):
        llm = create_llm("fake", safety=policy(action))  # type: ignore[arg-type]
        result = llm.generate("Look it up.", tools=[tool], tool_choice="required")
        assert result.finish_reason == "content_filter"
        assert result.tool_calls == ()


# -- around them -------------------------------------------------------------------------------------------


def test_a_session_forgets_what_was_refused_and_keeps_what_was_masked() -> None:
    llm = create_llm("fake", options={"reply": "Falcon flies."}, safety=policy("mask", "output"))
    session = Session(llm)
    session.generate("Who flies?")
    assert session.history[-1].text == f"{MASK} flies."
    refused = Session(create_llm("fake", options={"reply": "Falcon."}, safety=policy()))
    refused.generate("Who flies?")
    assert refused.history == []


class Slow(Check):
    """A check that takes longer than anybody waits."""

    name = "slow"

    async def verdict(self, text: str, *, context: str = "") -> Verdict:
        await asyncio.sleep(30)
        return Verdict(True, self.name)


def test_the_deadline_holds_for_the_checks_too() -> None:
    with pytest.raises(DeadlineExceededError, match="safety checks"):
        answered("fine", Policy([Slow()]), timeout=0.2)


class Context(Check):
    """Keeps what it was asked."""

    name = "context"

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def verdict(self, text: str, *, context: str = "") -> Verdict:
        self.asked.append((text, context))
        return Verdict(True, self.name)


def test_a_check_of_an_answer_sees_the_prompt_beside_it() -> None:
    check = Context()
    answered("It flies.", Policy([check]), "What does it do?")
    assert check.asked == [("What does it do?", ""), ("It flies.", "What does it do?")]


def test_a_rule_that_is_not_known_is_named() -> None:
    with pytest.raises(InvalidArgumentError, match="action of check 'patterns' is 'hide'"):
        Rule(PatternCheck(SECRET), "both", "hide")  # type: ignore[arg-type]


@given(st.text(max_size=40), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=6))
def test_masking_removes_all_of_every_part(text: str, parts: Sequence[tuple[int, int]]) -> None:
    spans = [Span(min(a, b, len(text)), min(max(a, b), len(text))) for a, b in parts if a != b]
    spans = [one for one in spans if one.start < one.end]
    joined = merged(spans)
    gone = {at for one in spans for at in range(one.start, one.end)}
    kept = "".join(char for at, char in enumerate(text) if at not in gone)
    made = masked(text, joined)
    assert len(made) == len(kept) + len(MASK) * len(joined)
    assert all(a.end < b.start for a, b in itertools.pairwise(joined))


def test_personal_data_is_masked_in_a_stream() -> None:
    rules = Policy([Rule(PersonalDataCheck(), "both", "mask")])
    chunks = streamed(f"{LONG}Write to bob@example.org, or call +1 650 253 0000. {LONG}", rules)
    shown = "".join(one.text for one in chunks)
    assert "bob@" not in shown and "253" not in shown
    assert shown.count(MASK) == 2
