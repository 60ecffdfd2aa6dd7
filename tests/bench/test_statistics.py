"""Statistics: known values, and what holds whatever the scores are."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import comb, nan
from random import Random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, bootstrap, norm, permutation_test, t

from modelyard.bench.statistics import (
    compare,
    compare_weighted,
    estimate,
    holm,
    legacy_quality,
    legacy_score,
    rank_groups,
    smallest_difference,
    weighted,
)
from modelyard.bench.statistics.bootstrap import bca
from modelyard.bench.statistics.clusters import by_document
from modelyard.bench.statistics.flips import sign_flip
from modelyard.bench.statistics.paired import mcnemar, tango
from modelyard.errors import EngineNotInstalledError, InvalidArgumentError


def singles(count: int) -> list[str]:
    """Documents of one sample each."""
    return [f"document {number}" for number in range(count)]


def right(count: int, of: int) -> list[float]:
    return [1.0] * count + [0.0] * (of - count)


Sample = tuple[float, float, str]
SCORE = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))
SAMPLES = st.lists(st.tuples(SCORE, SCORE, st.sampled_from("abcdefgh")), min_size=1, max_size=30)
BINARY = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), min_size=1, max_size=40
)


def columns(samples: Sequence[Sample]) -> tuple[list[float], list[float], list[str]]:
    return [one[0] for one in samples], [one[1] for one in samples], [one[2] for one in samples]


# Estimates


def test_right_or_wrong_scores_get_wilsons_interval() -> None:
    found = estimate(right(8, 10), singles(10))
    assert (found.value, found.samples, found.clusters, found.method) == (0.8, 10, 10, "Wilson")
    assert (found.low, found.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)


@pytest.mark.parametrize(
    ("count", "of", "level"), [(0, 20, 0.95), (3, 50, 0.9), (117, 120, 0.99), (40, 40, 0.95)]
)
def test_wilsons_interval_is_scipys(count: int, of: int, level: float) -> None:
    found = estimate(right(count, of), singles(of), level=level)
    theirs = binomtest(count, of).proportion_ci(level, method="wilson")
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_other_scores_get_scipys_bca_interval_at_the_widened_level() -> None:
    scores = np.random.default_rng(5).beta(2, 1, 80)
    tail = t.ppf(0.975, 79) * np.sqrt(80 / 79)
    theirs = bootstrap(
        (scores,), np.mean, confidence_level=2 * norm.cdf(tail) - 1, n_resamples=100_000, method="BCa", rng=1
    ).confidence_interval
    found = estimate(scores.tolist(), singles(80), resamples=100_000)
    assert found.method == "BCa bootstrap by document"
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=6e-4)


def test_samples_of_one_document_count_as_one_draw() -> None:
    scores = np.random.default_rng(6).beta(2, 1, 40).tolist()
    once = estimate(scores, singles(40))
    repeated = estimate(scores * 5, singles(40) * 5)
    assert (repeated.low, repeated.high) == pytest.approx((once.low, once.high), abs=1e-9)
    assert (repeated.samples, repeated.clusters) == (200, 40)


def test_one_document_says_nothing_about_others() -> None:
    found = estimate([1.0, 0.5, 1.0], ["only"] * 3)
    assert (found.low, found.high, found.method) == (0, 1, "none: one document")


@pytest.mark.parametrize("score", [0.0, 0.4, 1.0])
def test_equal_scores_are_not_certainty(score: float) -> None:
    few, many = (estimate([score] * 2 * count, singles(count) * 2) for count in (10, 100))
    assert few.value == many.value == pytest.approx(score)
    assert few.high - few.low > 2 * (many.high - many.low) > 0.07
    assert few.method == "Wilson by document (all alike)"


def test_five_documents_are_too_few_to_draw_from_and_six_are_not() -> None:
    scores = [0.8, 0.81, 0.82, 0.83, 0.84, 0.85]
    five, six = estimate(scores[:5] * 2, singles(5) * 2), estimate(scores * 2, singles(6) * 2)
    assert (five.method, six.method) == (
        "Wilson by document (too few to draw from)",
        "BCa bootstrap by document",
    )
    assert five.high - five.low > 0.4
    pair = compare(scores[:5] * 2, [0.8] * 10, singles(5) * 2)
    assert pair.low < -0.3 < 0.3 < pair.high


def test_an_end_beyond_every_resample_is_the_farthest_of_them() -> None:
    clusters = by_document([1.0, 1.0, 0.2], ["a", "b", "c"])
    assert bca(clusters, level=0.999, resamples=2000, seed=0) == pytest.approx((0.2, 1.0))


def test_all_right_is_about_as_uncertain_as_the_rule_of_three_says() -> None:
    found = estimate([1.0] * 200, singles(100) * 2)
    assert 1 - found.low == pytest.approx(3 / 100, abs=0.01)


def test_the_same_seed_gives_the_same_interval_and_another_seed_nearly_that() -> None:
    scores = np.random.default_rng(7).beta(2, 1, 60).tolist()
    first, again, other = (estimate(scores, singles(60), seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert (first.low, first.high) == pytest.approx((other.low, other.high), abs=0.005)


@given(SAMPLES)
@settings(deadline=None)
def test_an_interval_holds_its_value_and_keeps_to_the_range(samples: list[Sample]) -> None:
    a, b, documents = columns(samples)
    found = estimate(a, documents, resamples=200)
    assert 0 <= found.low <= found.value <= found.high <= 1
    pair = compare(a, b, documents, resamples=200)
    assert -1 <= pair.low <= pair.difference <= pair.high <= 1
    assert 0 < pair.p <= 1


@given(SAMPLES, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_samples_changes_nothing(samples: list[Sample], random: Random) -> None:
    shuffled = list(samples)
    random.shuffle(shuffled)
    (a, b, documents), (a2, b2, documents2) = columns(samples), columns(shuffled)
    assert estimate(a, documents, resamples=200) == estimate(a2, documents2, resamples=200)
    assert compare(a, b, documents, resamples=200) == compare(a2, b2, documents2, resamples=200)
    differences = [x - y for x, y in zip(a, b, strict=True)], [x - y for x, y in zip(a2, b2, strict=True)]
    assert smallest_difference(differences[0], documents) == smallest_difference(differences[1], documents2)


# Comparisons


def test_ten_against_two_discordant_pairs_give_mcnemars_p() -> None:
    found = compare(right(10, 12), [1 - score for score in right(10, 12)], singles(12))
    assert found.p == pytest.approx(2 * sum(comb(12, k) for k in range(3)) / 2**12)
    assert found.p == pytest.approx(0.03857, abs=1e-5)
    assert (found.test, found.samples, found.discordant) == ("McNemar, exact", 12, 12)


@given(st.integers(0, 60), st.integers(0, 60))
@settings(deadline=None)
def test_mcnemars_p_is_the_two_sided_binomials(first_only: int, second_only: int) -> None:
    theirs = binomtest(first_only, first_only + second_only).pvalue if first_only + second_only else 1
    assert mcnemar(first_only, second_only) == pytest.approx(theirs, rel=1e-9)


def test_models_that_answer_alike_are_not_told_apart() -> None:
    binary = compare(right(30, 40), right(30, 40), singles(40))
    other = compare([0.25, 0.5] * 20, [0.25, 0.5] * 20, singles(20) * 2)
    for found, documents in ((binary, 40), (other, 20)):
        assert (found.difference, found.p, found.discordant) == (0, 1, 0)
        assert found.high == -found.low == pytest.approx(3.8415 / (documents + 3.8415), abs=1e-4)


@pytest.mark.parametrize(
    ("first_only", "second_only", "pairs"), [(10, 2, 50), (0, 5, 30), (30, 0, 30), (7, 7, 14)]
)
def test_tangos_ends_are_where_the_score_test_just_rejects(
    first_only: int, second_only: int, pairs: int
) -> None:
    low, high = tango(first_only, second_only, pairs, level=0.95)
    for end in (low, high):
        if abs(end) < 1:  # beyond 1 there is nothing left to reject
            assert abs(_score(first_only, second_only, pairs, end)) == pytest.approx(1.959964, abs=1e-4)


def _score(first_only: int, second_only: int, pairs: int, difference: float) -> float:
    """Tango's statistic with the constrained share found by search, not by his formula."""
    both = pairs - first_only - second_only
    shares = np.linspace(max(0, -difference), (1 - difference) / 2, 2_000_001)[1:-1]
    likelihood = first_only * np.log(shares + difference) + second_only * np.log(shares)
    likelihood += both * np.log(1 - 2 * shares - difference) if both else 0
    share = shares[np.argmax(likelihood)]
    spread = np.sqrt(pairs * (2 * share + difference * (1 - difference)))
    return float((first_only - second_only - pairs * difference) / spread)


def test_few_documents_are_flipped_in_every_way() -> None:
    sums = np.array([0.5, -0.25, 1.5, 0.75, 0.0, 2.0])
    p, exact = sign_flip(sums, draws=10, seed=0)
    theirs = permutation_test(
        (sums, np.zeros(6)), lambda x, y, axis: (x - y).sum(axis), permutation_type="samples", vectorized=True
    )
    assert exact
    assert p == pytest.approx(theirs.pvalue)


def test_flips_that_are_drawn_agree_with_all_of_them() -> None:
    fourteen = np.random.default_rng(8).normal(0.4, 1, 14)
    exact, whole = sign_flip(fourteen, draws=1, seed=0)
    drawn, part = sign_flip(np.append(fourteen, 1e-7), draws=100_000, seed=0)
    assert (whole, part) == (True, False)
    assert drawn == pytest.approx(exact, abs=0.005)


def test_a_drawn_p_is_never_zero() -> None:
    found = compare([1.0] * 80, [0.0] * 80, singles(40) * 2, resamples=999)
    assert (found.p, found.test) == (1 / 1000, "sign flips by document, drawn")


def test_samples_of_one_document_are_flipped_together() -> None:
    found = compare([1.0] * 40, [0.0] * 40, ["one", "two"] * 20)
    assert (found.p, found.test) == (0.5, "sign flips by document, exact")


def test_one_documents_difference_could_be_anything() -> None:
    found = compare([1.0, 0.5], [0.0, 0.5], ["only", "only"])
    assert (found.low, found.high, found.p) == (-1, 1, 1)


@given(SAMPLES)
@settings(deadline=None)
def test_the_other_way_round_a_comparison_is_mirrored(samples: list[Sample]) -> None:
    a, b, documents = columns(samples)
    there, back = compare(a, b, documents, resamples=200), compare(b, a, documents, resamples=200)
    assert (back.difference, back.low, back.high) == pytest.approx(
        (-there.difference, -there.high, -there.low), abs=1e-9
    )
    assert (back.p, back.test, back.discordant) == (there.p, there.test, there.discordant)


@given(BINARY)
@settings(deadline=None)
def test_paired_shares_are_mirrored_and_keep_to_the_range(pairs: list[tuple[float, float]]) -> None:
    a, b = [one[0] for one in pairs], [one[1] for one in pairs]
    there, back = compare(a, b, singles(len(a))), compare(b, a, singles(len(a)))
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=1e-9)
    assert -1 <= there.low <= there.difference <= there.high <= 1
    assert there.low < there.high


# Many comparisons


def test_holm_raises_the_smallest_most() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_of_none_is_none() -> None:
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=20))
@settings(deadline=None)
def test_holm_keeps_the_order_raises_and_stays_within_one(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= raised <= 1 for p, raised in zip(p_values, adjusted, strict=True))
    ordered = [raised for _, raised in sorted(zip(p_values, adjusted, strict=True))]
    assert ordered == sorted(ordered)


# The smallest difference


def test_the_smallest_difference_of_pairs_solves_connors_equation() -> None:
    differences = right(15, 200)[:100] + [-1.0] * 15 + [0.0] * 85
    found = smallest_difference(differences, singles(200))
    assert found is not None
    share = 30 / 200
    needed = (1.959964 * share**0.5 + 0.841621 * (share - found**2) ** 0.5) ** 2 / found**2
    assert needed == pytest.approx(200, rel=1e-4)


def test_models_that_never_differ_would_have_to_on_eight_documents() -> None:
    for documents in (singles(100), singles(100) * 3):
        found = smallest_difference([0.0] * len(documents), documents)
        assert found == pytest.approx(7.85 / 100, abs=0.003)


def test_other_differences_need_their_standard_errors() -> None:
    differences = np.random.default_rng(9).normal(0, 0.1, 400).clip(-1, 1)
    found = smallest_difference(differences.tolist(), singles(400))
    assert found == pytest.approx(2.8016 * differences.std(ddof=1) / 20, rel=1e-3)


def test_a_single_differing_document_does_not_make_the_rest_certain() -> None:
    found = smallest_difference([0.0] * 199 + [0.5], singles(200))
    assert found == pytest.approx(0.5 * 7.85 / 200, rel=0.05)


def test_more_documents_show_smaller_differences_and_more_samples_of_them_do_not() -> None:
    found = [
        smallest_difference(None, documents) for documents in (singles(50), singles(50) * 4, singles(200))
    ]
    assert found[0] == found[1]
    assert found[0] is not None
    assert found[2] is not None
    assert found[0] > 1.9 * found[2]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_where_no_test_could_reject_there_is_no_smallest_difference(count: int) -> None:
    assert smallest_difference([1.0] * count, singles(count)) is None
    assert smallest_difference([0.5] * count * 3, singles(count) * 3) is None


@given(SAMPLES)
@settings(deadline=None)
def test_the_smallest_difference_is_none_or_within_one(samples: list[Sample]) -> None:
    a, b, documents = columns(samples)
    found = smallest_difference([x - y for x, y in zip(a, b, strict=True)], documents)
    assert found is None or 0 < found <= 1


# Ranks


def test_models_told_apart_have_ranks_of_their_own() -> None:
    assert rank_groups([0.1, 0.3, 0.2], lambda one, other: True) == [3, 1, 2]


def test_models_not_told_apart_from_the_best_share_its_rank_and_the_next_is_counted_on() -> None:
    apart = {(0, 2), (0, 3), (2, 3)}
    assert rank_groups([0.9, 0.85, 0.7, 0.5], lambda one, other: (one, other) in apart) == [1, 1, 3, 4]


def test_a_model_is_held_against_the_best_of_the_open_group_only() -> None:
    apart = {(0, 2), (1, 2)}  # the last is not told apart from any but stands in the second group
    assert rank_groups([0.9, 0.8, 0.7, 0.6], lambda one, other: (one, other) in apart) == [1, 1, 3, 3]


def test_no_models_have_no_ranks() -> None:
    assert rank_groups([], lambda one, other: True) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0, 1))
@settings(deadline=None)
def test_ranks_start_at_one_follow_the_values_and_count_the_models_above(
    values: list[float], width: float
) -> None:
    ranks = rank_groups(values, lambda one, other: abs(values[one] - values[other]) > width)
    assert min(ranks) == 1
    for value, rank in zip(values, ranks, strict=True):
        assert all(other <= rank for higher, other in zip(values, ranks, strict=True) if higher > value)
        assert sum(other < rank for other in ranks) == rank - 1


# Final scores


def test_the_final_score_weights_tasks_whatever_their_sizes() -> None:
    found = weighted([(3, right(80, 100), singles(100)), (1, right(5, 10), singles(10))])
    assert found.value == pytest.approx(0.75 * 0.8 + 0.25 * 0.5)
    assert (found.samples, found.clusters) == (110, 110)


def test_one_tasks_final_score_is_its_own() -> None:
    scores = np.random.default_rng(10).beta(2, 1, 30).tolist()
    assert weighted([(0.2, scores, singles(30))]) == estimate(scores, singles(30))
    pair = (scores, scores[::-1], singles(30))
    assert compare_weighted([(0.2, *pair)]) == compare(*pair)


def test_two_tasks_are_surer_than_one() -> None:
    task = (1.0, right(80, 100), singles(100))
    one, two = weighted([task]), weighted([task, task])
    assert two.value == pytest.approx(one.value)
    assert two.high - two.low == pytest.approx((one.high - one.low) / 2**0.5)


def test_a_task_of_weight_zero_does_not_count() -> None:
    task = (1.0, right(80, 100), singles(100))
    both = weighted([task, (0.0, right(1, 10), singles(10))])
    assert (both.value, both.low, both.high) == pytest.approx(
        (0.8, weighted([task]).low, weighted([task]).high), abs=1e-12
    )


@given(SAMPLES, SAMPLES, st.floats(0.01, 10))
@example([(1.0, 0.0, "a")], [(1.0, 0.0, "a")], 3.4251604484234393)
@settings(deadline=None)
def test_the_final_scores_interval_holds_it_and_keeps_to_the_range(
    first: list[Sample], second: list[Sample], weight: float
) -> None:
    (a, b, documents), (a2, b2, documents2) = columns(first), columns(second)
    found = weighted([(weight, a, documents), (1, a2, documents2)], resamples=200)
    assert 0 <= found.low <= found.value <= found.high <= 1
    tasks = [(weight, a, b, documents), (1.0, a2, b2, documents2)]
    pair = compare_weighted(tasks, resamples=200)
    assert -1 <= pair.low <= pair.difference <= pair.high <= 1
    back = compare_weighted([(share, y, x, names) for share, x, y, names in tasks], resamples=200)
    assert (back.difference, back.low, back.high) == pytest.approx(
        (-pair.difference, -pair.high, -pair.low), abs=1e-9
    )
    assert back.p == pair.p


def test_the_legacy_score_is_nine_parts_quality() -> None:
    assert legacy_score(0.8, 0.2) == pytest.approx(0.74)


def test_legacy_tiers_are_weighted_over_those_present() -> None:
    assert legacy_quality({1: 1.0, 2: 0.5, 3: 0.0}) == pytest.approx(0.5)
    assert legacy_quality({1: 1.0, 2: 0.5}) == pytest.approx((0.3 + 0.2) / 0.7)
    assert legacy_quality({3: 0.4}) == pytest.approx(0.4)


# Mistakes


def test_no_samples_are_refused() -> None:
    for call in (
        lambda: estimate([], []),
        lambda: compare([], [], []),
        lambda: smallest_difference([], []),
        lambda: smallest_difference(None, []),
        lambda: weighted([(1, [], [])]),
    ):
        with pytest.raises(InvalidArgumentError, match="no samples"):
            call()


@pytest.mark.parametrize("score", [-0.1, 1.5, nan])
def test_a_score_out_of_range_is_named_with_its_place(score: float) -> None:
    with pytest.raises(InvalidArgumentError, match=rf"{score} at place 1 \(document 'b'\)"):
        estimate([0.5, score], ["a", "b"])
    with pytest.raises(InvalidArgumentError, match=f"second model's score {score} at place 1"):
        compare([0.5, 0.5], [0.5, score], ["a", "b"])


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="2 scores but 1 documents"):
        estimate([0.5, 0.5], ["a"])
    with pytest.raises(InvalidArgumentError, match="2 scores are compared with 1"):
        compare([0.5, 0.5], [0.5], ["a", "b"])


@pytest.mark.parametrize("level", [0, 95, nan])
def test_a_level_out_of_range_is_named(level: float) -> None:
    with pytest.raises(InvalidArgumentError, match=f"level {level}"):
        estimate([0.5], ["a"], level=level)


def test_a_power_out_of_range_is_named() -> None:
    with pytest.raises(InvalidArgumentError, match="power 80"):
        smallest_difference([0.5], ["a"], power=80)


def test_a_p_value_out_of_range_is_named() -> None:
    with pytest.raises(InvalidArgumentError, match=r"p-value 1\.2 at place 1"):
        holm([0.5, 1.2])


def test_weights_that_cannot_be_used_are_named() -> None:
    with pytest.raises(InvalidArgumentError, match=r"weight -1 at place 0"):
        weighted([(-1, [0.5], ["a"])])
    with pytest.raises(InvalidArgumentError, match="all weights are 0"):
        weighted([(0, [0.5], ["a"])])
    with pytest.raises(InvalidArgumentError, match="no tasks"):
        weighted([])


def test_a_value_that_is_not_a_number_has_no_rank() -> None:
    with pytest.raises(InvalidArgumentError, match="place 1 is not a number"):
        rank_groups([0.5, nan], lambda one, other: True)


def test_an_unknown_tier_is_named() -> None:
    with pytest.raises(InvalidArgumentError, match="tier 4"):
        legacy_quality({1: 0.5, 4: 0.5})
    with pytest.raises(InvalidArgumentError, match="no tiers"):
        legacy_quality({})


def test_without_scipy_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(EngineNotInstalledError, match=r"modelyard\[bench\]"):
        compare(right(1, 3), right(2, 3), singles(3))
