"""Our models as lm-evaluation-harness asks them: its rules are kept to the token, and nothing is swallowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.api.instance import Instance
from lm_eval.api.model import CachingLM
from lm_eval.api.registry import get_model, model_registry
from tests import models

from modelyard import create_llm
from modelyard.errors import InvalidArgumentError, ModelyardError, UnsupportedError
from modelyard.integrations.lm_eval import ModelyardLM
from modelyard.integrations.lm_eval.arguments import generation
from modelyard.integrations.lm_eval.tokens import up_to
from modelyard.integrations.together import together
from modelyard.types import Fingerprint, Result, Timings, Token, Usage

END = "<end>"  # the fake's only special token


def asks(kind: str, *args: tuple[Any, ...]) -> list[Instance]:
    return [Instance(kind, {}, one, at) for at, one in enumerate(args)]


def fake(**arguments: Any) -> ModelyardLM:
    return ModelyardLM(**{"model": "fake", **arguments})


def total(before: str, after: str) -> float:
    """The score of some words behind others."""
    llm = create_llm("fake")
    return llm.score_tokens([llm.encode([before, after])])[0].total  # type: ignore[list-item]


# -- likelihoods -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 3, "auto", "auto:4"])
def test_answers_come_in_the_order_of_the_requests(batch_size: int | str) -> None:
    pairs = [(f"question {at % 3}", f" answer {at}") for at in range(12)]
    found = fake(batch_size=batch_size).loglikelihood(asks("loglikelihood", *pairs), disable_tqdm=True)
    llm = create_llm("fake")
    assert found == [(llm.score(one, [two], raw=True)[0].total, False) for one, two in pairs]


def test_spaces_and_line_ends_behind_a_context_count_as_the_continuations() -> None:
    found = fake().loglikelihood(asks("loglikelihood", ("one two \n", "three")), disable_tqdm=True)
    assert found[0][0] == total("one two", " \nthree")


def test_an_empty_context_stands_for_the_prefix_token() -> None:
    found = fake().loglikelihood(asks("loglikelihood", ("", "one two")), disable_tqdm=True)
    assert found[0][0] == total(END, "one two")


def test_the_prefix_token_can_be_given() -> None:
    (other,) = create_llm("fake").encode(["other"])[0]
    found = fake(prefix_token_id=other).loglikelihood(
        asks("loglikelihood", ("", "one two")), disable_tqdm=True
    )
    assert found[0][0] == total("other", "one two")


def test_a_context_that_is_too_long_loses_its_beginning_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = fake(max_length=4)
    pairs = [("a b c d e f", " g h"), ("a", " b")]
    found = model.loglikelihood(asks("loglikelihood", *pairs), disable_tqdm=True)
    assert [one for one, _ in found] == [total(" d e f", " g h"), total("a", " b")]
    assert "1 of 2 contexts did not fit" in caplog.text
    assert model.get_model_info()["contexts_cut"] == 1


def test_a_continuation_that_no_context_fits_before_is_named() -> None:
    with pytest.raises(InvalidArgumentError, match="'one' and ' a b c d'"):
        fake(max_length=3).loglikelihood(asks("loglikelihood", ("one", " a b c d")), disable_tqdm=True)


def test_a_max_length_beyond_the_models_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="reads 4096 tokens"):
        _ = fake(max_length=5000).max_length


def test_a_long_text_is_cut_into_windows_as_lm_eval_documents_them() -> None:
    words = [f" w{at}" for at in range(10)]
    text = "".join(words)[1:]
    found = fake(max_length=4).loglikelihood_rolling(asks("loglikelihood_rolling", (text,), ("one",)), True)
    windows = [
        total(END, "w0 w1 w2 w3"),
        total(" w3", " w4 w5 w6 w7"),
        total(" w5 w6 w7", " w8 w9"),
    ]
    assert found == [pytest.approx(sum(windows)), total(END, "one")]


@given(st.integers(1, 40), st.integers(1, 12))
def test_every_token_of_a_text_is_predicted_once(count: int, most: int) -> None:
    model = fake(max_length=most)
    windows = model._windows(" ".join(map(str, range(count))))
    assert [token for _, after in windows for token in after] == model.tok_encode(
        " ".join(map(str, range(count)))
    )
    assert all(len(before) + len(after) <= most + 1 for before, after in windows)


LONG = "The harbour was full of boats, and the wind came from the sea. " * 24


@pytest.mark.parametrize("kind", ["gpt2", "mistral", "gemma3", "t5"])
def test_models_of_every_kind_are_read_to_the_end_of_their_context(kind: str) -> None:
    """gpt2 has learned positions: to read one token too many is an error there."""
    folder = str(models.tiny(kind))
    most = {"max_length": 128} if kind == "t5" else {}  # it counts no positions, and has no end
    mine = ModelyardLM(model=folder, engine="transformers", option_dtype="float32", **most)
    theirs = get_model("hf")(pretrained=folder, dtype="float32", device="cpu", **most)
    assert mine.max_length == theirs.max_length < len(theirs.tok_encode(LONG))
    assert mine.prefix_token_id == theirs.prefix_token_id
    texts = [LONG, "The sea", "a"]
    rolling = asks("loglikelihood_rolling", *((text,) for text in texts))
    pairs = [
        (LONG, " and so"),
        (LONG, " it was."),
        ("", "The sea"),
        ("The sea ", "is blue"),
        ("a", "b"),
    ]
    likely = asks("loglikelihood", *pairs)
    totals = theirs.loglikelihood_rolling(rolling)
    counts = [len(theirs.tok_encode(text)) for text in texts]
    for one, two, count in zip(mine.loglikelihood_rolling(rolling), totals, counts, strict=True):
        assert one == pytest.approx(two, abs=1e-4 * count)
    for (one, greedy), (two, best) in zip(
        mine.loglikelihood(likely), theirs.loglikelihood(likely), strict=True
    ):
        assert one == pytest.approx(two, abs=1e-3)
        assert greedy == best
    mine._llm.close()


# -- answers -----------------------------------------------------------------------------------------------


def test_an_answer_ends_before_its_stop_string() -> None:
    model = fake(option_reply="one two\nthree\n\nfour", batch_size=4)
    kinds = [{"until": ["\n\n"]}, {"until": ["\n"]}, {"until": [], "max_gen_toks": 1}, {"until": "three"}]
    found = model.generate_until(asks("generate_until", *(("Ask", one) for one in kinds)), disable_tqdm=True)
    assert found == ["one two\nthree", "one two", "one", "one two\n"]


def test_the_budget_of_an_answer_is_the_models_where_the_task_has_none() -> None:
    found = fake(max_gen_toks=2, option_reply="a b c d").generate_until(
        asks("generate_until", ("Ask", {"until": ["z"]})), disable_tqdm=True
    )
    assert found == ["a b"]


def test_a_prompt_that_leaves_no_room_for_the_answer_loses_its_beginning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = fake(max_length=30, option_context_length=30)
    long, short = " ".join(f"word{at}" for at in range(40)), "word"
    how = {"until": ["z"], "max_gen_toks": 10}
    found = model.generate_until(asks("generate_until", (long, how), (short, how)), disable_tqdm=True)
    end = " " + " ".join(f"word{at}" for at in range(20, 40))
    llm = create_llm("fake")
    for text, prompt in zip(found, (end, short), strict=True):
        assert text == llm.generate(prompt, raw=True, temperature=0, max_tokens=10).text
    assert "1 of 2 contexts did not fit" in caplog.text


def test_an_answer_longer_than_the_context_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="answer of 50 tokens"):
        fake(max_length=50).generate_until(asks("generate_until", ("Ask", {"max_gen_toks": 50})))


def test_a_special_token_among_the_stop_strings_ends_the_answer() -> None:
    tokens = (Token("yes", 5, None, 0, 3), Token("", 2, None, 3, 3), Token(" no", 6, None, 3, 6))
    result = Result("yes no", tokens, "length", Usage(1, 3), Timings(0, None, 0), (), Fingerprint(*["x"] * 6))
    assert up_to(result, {2}) == "yes"
    assert up_to(result, {7}) == "yes no"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tempratur": 1}, "'tempratur' is not known.*'temperature'"),
        ({"num_beams": 4}, "'num_beams' has value 4"),
        ({"max_length": 5}, "max_gen_toks"),
        ({"num_return_sequences": 2, "do_sample": True, "temperature": 1}, "'num_return_sequences'"),
        ({"do_sample": True}, "no temperature"),
        ({"top_p": 7, "temperature": 1}, "'top_p' has value 7"),
    ],
)
def test_a_generation_argument_that_cannot_be_honoured_is_named(
    arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=f"(?s){words}"):
        generation(arguments, 16)


def test_sampling_is_asked_for_as_the_task_says_and_greedy_is_the_default() -> None:
    sampled = generation({"do_sample": True, "temperature": 0.5, "top_p": 0.9, "until": ["", "x"]}, 16)
    assert sampled == {"temperature": 0.5, "top_p": 0.9, "max_new_tokens": 16, "stop": ("x",)}
    assert generation({}, 16) == {"temperature": 0.0, "max_new_tokens": 16, "stop": ()}
    assert generation({"do_sample": False, "temperature": 0.7}, 16)["temperature"] == 0


# -- arguments ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"pretrained": "x"}, "'pretrained' is not known. Did you mean 'model'"),
        ({"max_lenght": 5}, "Did you mean 'max_length'"),
        ({"option_dely": 1}, "option 'dely' is not known to engine fake"),
        ({"device": "cpu"}, "option 'device' is not known to engine fake"),
        ({"model": None}, "'model' is missing"),
        ({"model": "fakke"}, "fakke"),
        ({"batch_size": "many"}, "'batch_size' has value 'many'"),
        ({"max_batch_size": 0}, "'max_batch_size' has value 0"),
        ({"max_length": -1}, "'max_length' has value -1"),
    ],
)
def test_a_model_argument_that_cannot_be_honoured_is_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelyardError, match=words):
        fake(**arguments)


def test_lm_eval_finds_the_model_by_its_name_and_its_own_ones_too() -> None:
    assert get_model("modelyard") is ModelyardLM
    assert "hf" in model_registry
    made = get_model("modelyard").create_from_arg_string("model=fake,option_reply=yes", {"batch_size": 2})
    assert made.generate_until(asks("generate_until", ("Ask", {"until": ["z"]})), True) == ["yes"]


def test_answers_are_kept_in_lm_evals_cache(tmp_path: Path) -> None:
    first = fake()
    cached = CachingLM(first, str(tmp_path / "cache.db"))
    likely = asks("loglikelihood", ("one", " two"), ("one", " three"))
    rolling = asks("loglikelihood_rolling", ("one two",))
    answers = asks("generate_until", ("Ask", {"until": ["\n"]}))
    direct = [
        first.loglikelihood(likely, True),
        first.loglikelihood_rolling(rolling, True),
        first.generate_until(answers, True),
    ]
    assert len(cached.dbdict) == 4
    other = CachingLM(fake(option_reply="another"), str(tmp_path / "cache.db"))
    assert [
        other.loglikelihood(likely),
        other.loglikelihood_rolling(rolling),
        other.generate_until(answers),
    ] == direct
    cached.dbdict.close()
    other.dbdict.close()


def test_the_first_error_ends_the_other_requests() -> None:
    started = []

    async def job(at: int) -> int:
        started.append(at)
        if at == 1:
            raise ValueError("second")
        return at

    with pytest.raises(ValueError, match="second"):
        list(together([lambda at=at: job(at) for at in range(50)], most=2))  # type: ignore[misc]
    assert len(started) < 50


# -- chat templates ----------------------------------------------------------------------------------------

TALK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]


def test_a_conversation_is_rendered_with_the_models_template() -> None:
    model = fake()
    assert model.apply_chat_template(TALK) == "[system] Be brief.\n[user] Hi\n[assistant] "
    assert "{% for m in messages %}" in str(model.chat_template(True))
    assert model.chat_template(False) is None
    assert model.tokenizer_name == "fake@built-in"


def test_a_message_that_is_to_be_gone_on_with_stays_open() -> None:
    begun = [*TALK, {"role": "assistant", "content": "The answer is"}]
    text = fake().apply_chat_template(begun, add_generation_prompt=False)
    assert text == "[system] Be brief.\n[user] Hi\n[assistant] The answer is"


def test_a_template_cannot_be_chosen_by_name() -> None:
    with pytest.raises(UnsupportedError, match="'tool_use'"):
        fake().chat_template("tool_use")
