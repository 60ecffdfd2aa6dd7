"""Sampling parameters: names, bounds, order, contradictions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import InvalidArgumentError, UnsupportedError
from modelyard.params import ALIASES, DEFAULT_MAX_NEW_TOKENS, NAMES, NEUTRAL, SamplingParams, canonical, merge


def request(**params: Any) -> SamplingParams:
    return merge(("request", params))[0]


def test_a_later_source_wins_over_an_earlier_one() -> None:
    sources = [
        ("engine", {"top_k": 1, "top_p": 0.1, "min_p": 0.1, "temperature": 0.1}),
        ("catalogue", {"top_k": 2, "top_p": 0.2, "min_p": 0.2}),
        ("create_llm", {"top_k": 3, "top_p": 0.3}),
        ("request", {"top_k": 4}),
    ]
    params, _ = merge(*sources)
    assert (params.top_k, params.top_p, params.min_p, params.temperature) == (4, 0.3, 0.2, 0.1)


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_an_alias_is_its_parameter(alias: str, name: str) -> None:
    value = "END" if name == "stop" else 3
    assert getattr(request(**{alias: value}), name) == getattr(request(**{name: value}), name)


def test_one_parameter_under_two_names_is_an_error() -> None:
    with pytest.raises(InvalidArgumentError, match="'max_new_tokens' is given twice"):
        canonical({"max_tokens": 1, "max_new_tokens": 1})


def test_an_alias_in_a_stronger_source_replaces_the_name_in_a_weaker_one() -> None:
    params, _ = merge(("catalogue", {"max_new_tokens": 9}), ("request", {"max_tokens": 4}))
    assert params.max_new_tokens == 4


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("temprature", "temperature"), ("topk", "top_k"), ("max_token", "max_tokens"), ("stops", "stop")],
)
def test_a_misspelt_name_offers_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(
        InvalidArgumentError, match=f"'{wrong}' is not known. Did you mean .*'{right}'"
    ) as caught:
        canonical({wrong: 1})
    assert "temperature" in caught.value.hint


def test_an_error_says_which_source_the_parameter_stands_in() -> None:
    with pytest.raises(InvalidArgumentError, match="catalogue parameter 'top_p' has value 7"):
        merge(("catalogue", {"top_p": 7}), ("request", {"top_p": 0.5}))


OUT_OF_RANGE = [
    ("max_new_tokens", 0), ("max_new_tokens", -1), ("max_new_tokens", 1.5), ("max_new_tokens", 10**400),
    ("max_length", 0), ("min_new_tokens", -1), ("min_length", -1), ("temperature", -0.1), ("temperature", 101),
    ("temperature", float("nan")), ("temperature", float("inf")), ("temperature", "hot"), ("temperature", True),
    ("top_p", 0), ("top_p", 1.1), ("top_k", -1), ("top_k", 2.5), ("min_p", -0.1), ("min_p", 1.1),
    ("repetition_penalty", 0), ("presence_penalty", 3), ("frequency_penalty", -3), ("seed", -1),
    ("seed", 2**64), ("seed", 1e30), ("num_return_sequences", 0), ("num_return_sequences", 1025),
    ("stop", ""), ("stop", ["a", ""]), ("stop", 5), ("stop", {"a": 1}), ("do_sample", 1),
    ("do_sample", "yes"), ("return_full_text", "yes"), ("return_full_text", 0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE, ids=lambda one: str(one)[:20])
def test_a_value_out_of_range_is_named_with_what_it_has_to_be(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=f"'{name}' has value") as caught:
        canonical({name: value})
    assert "It has to be" in caught.value.hint


def test_a_number_too_long_to_print_is_refused_and_not_printed() -> None:
    with pytest.raises(InvalidArgumentError, match="thousands of digits"):
        canonical({"seed": 10**5000})


def test_max_length_and_max_new_tokens_in_one_source_are_an_error() -> None:
    with pytest.raises(InvalidArgumentError, match=r"'max_length' \(9\) and 'max_new_tokens' \(4\)"):
        canonical({"max_length": 9, "max_tokens": 4})


@pytest.mark.parametrize(
    ("weak", "strong", "expected"),
    [
        ({"max_length": 9}, {"max_new_tokens": 4}, (4, None)),
        ({"max_new_tokens": 4}, {"max_length": 9}, (None, 9)),
        ({"max_new_tokens": 4}, {"max_length": None}, (4, None)),
        ({"max_length": 9}, {}, (None, 9)),
    ],
)
def test_across_sources_the_stronger_limit_takes_the_place_of_the_weaker(
    weak: dict[str, Any], strong: dict[str, Any], expected: tuple[int | None, int | None]
) -> None:
    params, _ = merge(("catalogue", weak), ("request", strong))
    assert (params.max_new_tokens, params.max_length) == expected


def test_temperature_0_beside_do_sample_true_is_greedy_with_a_warning() -> None:
    params, warnings = merge(("request", {"temperature": 0, "do_sample": True}))
    assert params.greedy and params.do_sample is False
    assert [code for code, _ in warnings] == ["sampling_ignored"]


def test_parameters_that_greedy_decoding_does_not_use_are_named_in_a_warning() -> None:
    _, warnings = merge(("request", {"do_sample": False, "temperature": 0.5, "top_k": 5, "min_p": 0.1}))
    assert [message for _, message in warnings] == ["greedy decoding does not use temperature, top_k, min_p"]


def test_several_greedy_answers_are_an_error() -> None:
    with pytest.raises(InvalidArgumentError, match="num_return_sequences is 2"):
        request(temperature=0, n=2)


@pytest.mark.parametrize(
    "given", [{"min_new_tokens": 9, "max_new_tokens": 4}, {"min_length": 9, "max_length": 4}]
)
def test_a_least_above_a_most_is_an_error(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"\(9\) is above .* \(4\)"):
        request(**given)


@pytest.mark.parametrize(
    "given", [{"use_cache": True, "length_penalty": 1}, {"num_beams": 1, "length_penalty": None}]
)
def test_a_parameter_that_changes_nothing_is_accepted(given: dict[str, Any]) -> None:
    assert request(**given) == request()


@pytest.mark.parametrize(("name", "value"), [("use_cache", False), ("length_penalty", 2.0), ("num_beams", 4)])
def test_a_neutral_parameter_at_another_value_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(UnsupportedError, match=f"'{name}' has value {value!r}"):
        request(**{name: value})


def test_none_means_the_default() -> None:
    assert request(**dict.fromkeys(NAMES)) == request()


def test_the_budget_of_the_answer_is_its_own_limit_or_what_the_prompt_leaves() -> None:
    assert request(max_tokens=5).answer_budget(100) == 5
    assert request(max_length=20).answer_budget(15) == 5
    assert request().answer_budget(15) == DEFAULT_MAX_NEW_TOKENS


def test_the_least_of_the_answer_counts_from_the_prompt_for_min_length() -> None:
    assert request(min_length=20, min_new_tokens=2).answer_minimum(15) == 5
    assert request(min_length=20, min_new_tokens=2).answer_minimum(30) == 2


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**300, 10**500)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([0, 1, 0.0, 1.0, 2**64 - 1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
KNOWN = st.sampled_from([*NAMES, *ALIASES, *NEUTRAL])
SOURCE = st.dictionaries(KNOWN | st.text(max_size=12), JSON, max_size=6)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "max_new_tokens": st.integers(1, 100), "max_length": st.integers(1, 100), "min_new_tokens": st.integers(0, 9),
    "min_length": st.integers(0, 9), "temperature": st.floats(0, 2), "do_sample": st.booleans(),
    "top_p": st.floats(0.1, 1), "top_k": st.integers(0, 9), "min_p": st.floats(0, 1), "seed": st.integers(0, 9),
    "stop": st.lists(st.text(min_size=1, max_size=3), max_size=3), "num_return_sequences": st.integers(1, 3),
    "return_full_text": st.booleans(),
}  # fmt: skip
GOOD = st.fixed_dictionaries({}, optional=VALUES)


@given(st.lists(SOURCE, max_size=3))
def test_whatever_is_given_merges_or_is_an_argument_error(sources: list[dict[str, Any]]) -> None:
    try:
        params, warnings = merge(*(("source", one) for one in sources))
    except InvalidArgumentError:
        return
    assert isinstance(params, SamplingParams) and all(len(one) == 2 for one in warnings)


@given(GOOD)
def test_merging_a_source_twice_is_merging_it_once(source: dict[str, Any]) -> None:
    try:
        once = merge(("a", source))
    except InvalidArgumentError:
        return
    assert merge(("a", source), ("b", source)) == once


@given(GOOD)
def test_merging_what_came_out_changes_nothing(source: dict[str, Any]) -> None:
    try:
        params, _ = merge(("a", source))
    except InvalidArgumentError:
        return
    assert merge(("again", asdict(params)))[0] == params


@given(GOOD)
def test_canonical_names_are_canonical(source: dict[str, Any]) -> None:
    try:
        clean = canonical(source)
    except InvalidArgumentError:
        return
    assert canonical(clean) == clean
