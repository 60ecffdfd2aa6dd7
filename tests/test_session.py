"""Sessions: what is remembered, what is not, and the way to a file and back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from modelyard.create import create_llm
from modelyard.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    ModelNotFoundError,
    ModelyardError,
    PromptTooLongError,
    UnsupportedError,
)
from modelyard.llm import LLM
from modelyard.pool import Pool
from modelyard.session import Session
from modelyard.types import ImagePart, Message


@pytest.fixture
def fake() -> Any:
    pools: list[Pool] = []

    def make(**options: Any) -> LLM:
        pools.append(Pool())
        return create_llm("fake", options=options, pool=pools[-1])

    yield make
    for pool in pools:
        pool.close()


def turns(session: Session) -> list[tuple[str, str]]:
    return [(turn.role, turn.text) for turn in session.history]


def test_history_grows_by_a_question_and_its_answer(fake: Any) -> None:
    session = Session(provider=fake(reply="Yes."))
    session.generate("One?")
    session.generate("Two?")
    assert turns(session) == [
        ("user", "One?"),
        ("assistant", "Yes."),
        ("user", "Two?"),
        ("assistant", "Yes."),
    ]


def test_the_model_sees_system_prompt_and_history(fake: Any) -> None:
    llm = fake(reply="Yes.")
    session = Session(llm, system_prompt="Be brief.")
    first, second = session.generate("One?"), session.generate("Two?")
    seen = [Message("system", "Be brief."), Message("user", "One?")]
    assert first.usage.prompt_tokens == llm.count_tokens(seen)
    seen += [Message("assistant", "Yes."), Message("user", "Two?")]
    assert second.usage.prompt_tokens == llm.count_tokens(seen)


def test_a_session_can_be_opened_by_the_models_name() -> None:
    assert Session("fake").llm.spec.alias == "fake"


def test_streams_are_remembered_when_they_are_whole(fake: Any) -> None:
    session = Session(fake(reply="Yes, I think so."))
    pieces = [chunk.text for chunk in session.stream("One?")]
    assert len(pieces) > 2 and turns(session)[1] == ("assistant", "".join(pieces))


def test_a_stream_that_is_left_with_its_last_piece_is_remembered(fake: Any) -> None:
    session = Session(fake(reply="Yes, I think so."))
    for chunk in session.stream("One?"):
        if chunk.finish_reason:
            break
    assert len(session.history) == 2


def test_a_stream_left_early_leaves_the_history_as_it_was(fake: Any) -> None:
    session = Session(fake(reply="Yes, I think so."))
    stream = session.stream("One?")
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    session.generate("Two?")
    assert [text for _, text in turns(session)] == ["Two?", "Yes, I think so."]


def test_an_async_stream_left_early_leaves_the_history_as_it_was(fake: Any) -> None:
    session = Session(fake(reply="Yes, I think so."))

    async def main() -> None:
        stream = session.stream_async("One?")
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(main())
    assert session.history == []


@pytest.mark.parametrize(
    ("how", "error"),
    [({"timeout": 0.02}, DeadlineExceededError), ({"temprature": 1}, InvalidArgumentError)],
)
def test_an_answer_that_failed_leaves_the_history_as_it_was(
    fake: Any, how: dict[str, Any], error: type[ModelyardError]
) -> None:
    session = Session(fake(delay=0.01, reply="word " * 100))
    with pytest.raises(error):
        session.generate("One?", **how)
    with pytest.raises(error):
        list(session.stream("One?", **how))
    assert session.history == []


def test_the_prompt_that_is_asked_for_in_the_answer_is_not_remembered_as_the_answer(fake: Any) -> None:
    session = Session(fake(reply="Yes."))
    assert str(session.generate("One?", return_full_text=True)) == "One?Yes."
    assert turns(session)[1] == ("assistant", "Yes.")


def test_a_history_that_outgrew_the_context_names_turns_counts_and_remedy(fake: Any) -> None:
    session = Session(fake(context_length=60, reply="one two three four five"))
    with pytest.raises(PromptTooLongError) as caught:
        for _ in range(20):
            session.generate("What do you say to that?")
    held = len(session.history) // 2
    assert held > 1 and f"history of {held} turns" in caught.value.message and "60" in caught.value.message
    assert "drop" in caught.value.hint and "clear" in caught.value.hint
    session.drop(1)
    assert len(session.history) // 2 == held - 1
    session.clear()
    assert str(session.generate("Again?")) == "one two three four five"


def test_a_first_prompt_that_is_too_long_is_not_blamed_on_the_history(fake: Any) -> None:
    session = Session(fake(context_length=20))
    with pytest.raises(PromptTooLongError) as caught:
        session.generate("word " * 50)
    assert "history" not in str(caught.value)


@pytest.mark.parametrize("prompt", ["", "  \n"])
def test_an_empty_prompt_is_refused(fake: Any, prompt: str) -> None:
    with pytest.raises(InvalidArgumentError, match="empty"):
        Session(fake()).generate(prompt)


def test_a_saved_session_comes_back_the_same(fake: Any, tmp_path: Path) -> None:
    file = tmp_path / "talk.json"
    session = Session(fake(reply="Naïve “日本” 😀"), system_prompt="Be brief.")
    session.generate("One?")
    session.save(file)
    again = Session.load(file)
    assert turns(again) == turns(session)
    assert (again.system_prompt, again.llm.spec.alias) == ("Be brief.", "fake")
    assert "日本" in file.read_text("utf-8")
    assert [one.name for one in tmp_path.iterdir()] == ["talk.json"]


def test_a_session_can_go_on_with_another_model(fake: Any, tmp_path: Path) -> None:
    file = tmp_path / "talk.json"
    Session(fake()).save(file)
    llm = fake(reply="Other.")
    assert Session.load(file, llm).llm is llm


def test_saving_where_nothing_can_be_written_says_so_and_leaves_nothing(fake: Any, tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "talk.json", tmp_path):
        with pytest.raises(InvalidArgumentError, match="cannot be written"):
            Session(fake()).save(path)
    assert list(tmp_path.iterdir()) == []


def test_saving_a_turn_with_an_image_is_refused_and_not_done_without_it(fake: Any, tmp_path: Path) -> None:
    session = Session(fake(), history=[Message("user", (ImagePart(b"png"),))])
    with pytest.raises(UnsupportedError, match="image"):
        session.save(tmp_path / "talk.json")


GOOD: dict[str, Any] = {"modelyard_session": 1, "model": "fake", "system_prompt": None, "history": []}
BROKEN = {
    "nothing": "",
    "half": json.dumps(GOOD)[:-5],
    "a list": "[]",
    "no form": "{}",
    "deep": "[" * 100_000,
    "a newer form": json.dumps({**GOOD, "modelyard_session": 99}),
    "no model": json.dumps({**GOOD, "model": 5}),
    "a bad system prompt": json.dumps({**GOOD, "system_prompt": ["x"]}),
    "a bad history": json.dumps({**GOOD, "history": 5}),
    "a bad turn": json.dumps({**GOOD, "history": [5]}),
    "a bad role": json.dumps({**GOOD, "history": [{"role": "king", "content": "x"}]}),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_is_named(what: str, tmp_path: Path) -> None:
    file = tmp_path / "talk.json"
    file.write_text(BROKEN[what])
    with pytest.raises(InvalidArgumentError, match=r"talk\.json"):
        Session.load(file)


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    for name in ("missing.json", "binary.json"):
        with pytest.raises(InvalidArgumentError, match=name):
            Session.load(tmp_path / name)


def test_a_saved_model_that_is_gone_is_named(tmp_path: Path) -> None:
    file = tmp_path / "talk.json"
    file.write_text(json.dumps({**GOOD, "model": "smollm3-gone"}))
    with pytest.raises(ModelNotFoundError, match="smollm3-gone"):
        Session.load(file)
