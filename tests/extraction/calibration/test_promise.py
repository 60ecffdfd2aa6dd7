"""The promise of an error rate: what is accepted holds it, and where nothing can, nothing is accepted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import InvalidArgumentError
from modelyard.extraction.calibration import promise
from modelyard.extraction.calibration.promise import upper_bound

SPLITS = 1000


@pytest.mark.parametrize("values", [1, 4])
@pytest.mark.parametrize("documents", [100, 300])
def test_the_promised_rate_holds_in_95_of_100_splits(values: int, documents: int) -> None:
    """The values of a document are of like confidence here, and go wrong together."""
    rng = np.random.default_rng([values, documents])
    kept = accepting = 0
    for _ in range(SPLITS):
        sure, right, of = _world(rng, documents, values)
        found = promise(sure, right, of, max_error=0.05)
        kept += found.threshold is None or _true_rate(found.threshold, values) <= 0.05
        accepting += found.threshold is not None
    assert kept >= 0.95 * SPLITS
    assert accepting > 0.3 * SPLITS or documents == 100  # a promise that accepts nothing is easily kept


def test_trying_many_thresholds_does_not_break_it() -> None:
    """Every threshold breaks the promise by a hair here, so that whatever is accepted is accepted wrongly."""
    rng = np.random.default_rng(5)
    names = [f"d{at}" for at in range(300)]
    broken = sum(
        promise(rng.random(300), rng.random(300) >= 0.051, names, max_error=0.05).threshold is not None
        for _ in range(SPLITS)
    )
    assert broken <= 0.05 * SPLITS


def _world(rng: np.random.Generator, documents: int, values: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """A document is sure or not as a whole; its values are wrong together more often than alone."""
    level = 1 - 0.3 * rng.random(documents) ** 2
    sure = np.clip(level[:, None] - 0.01 * rng.random((documents, values)), 0, 1)
    return (
        sure.ravel(),
        ~_wrong(rng, sure).ravel(),
        [f"d{at}" for at in range(documents) for _ in range(values)],
    )


def _wrong(rng: np.random.Generator, sure: np.ndarray) -> np.ndarray:
    fate = np.where(rng.random(sure.shape) < 0.7, rng.random((len(sure), 1)), rng.random(sure.shape))
    return fate < 0.6 * (1 - sure)


_FRESH: dict[int, tuple[np.ndarray, np.ndarray]] = {}


def _true_rate(threshold: float, values: int) -> float:
    """The share of documents with an accepted value that hold a wrong one, among 200,000 new ones."""
    if values not in _FRESH:
        sure, right, _ = _world(np.random.default_rng(99), 200_000, values)
        sure, right = sure.reshape(-1, values), right.reshape(-1, values)
        _FRESH[values] = sure.max(1), np.where(right, -1.0, sure).max(1)
    best, worst = _FRESH[values]
    return float((worst >= threshold).sum() / max(1, (best >= threshold).sum()))


def test_without_enough_documents_nothing_is_accepted() -> None:
    found = promise([0.99] * 58, [True] * 58, [f"d{at}" for at in range(58)], max_error=0.05)
    assert found.threshold is None and found.needed == 59
    assert "59 documents" in found.reason and "there are 58" in found.reason
    one_more = promise([0.99] * 59, [True] * 59, [f"d{at}" for at in range(59)], max_error=0.05)
    assert one_more.threshold is not None


def test_a_document_is_wrong_where_one_of_its_values_is() -> None:
    names = [f"d{at // 10}" for at in range(1000)]
    right = [at % 10 != 0 for at in range(1000)]
    assert promise([0.9] * 1000, right, names, max_error=0.2).threshold is None
    assert promise([0.9] * 1000, [True] * 1000, names, max_error=0.2).documents == 100


def test_errors_among_the_most_confident_end_the_search() -> None:
    # 400 of all 10,000 would hold the promise; 400 of the 4,000 most confident do not, and nothing is tried below.
    sure = [0.95] * 4000 + [0.5] * 6000
    right = [False] * 400 + [True] * 9600
    found = promise(sure, right, [f"d{at}" for at in range(10000)], max_error=0.05)
    assert found.threshold is None and "400 of 4000" in found.reason


@given(
    values=st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.integers(0, 80)), max_size=200),
    rate=st.floats(0.02, 0.5),
)
def test_the_bound_at_the_threshold_is_under_the_promise(
    values: list[tuple[float, bool, int]], rate: float
) -> None:
    sure, right, names = ([one[at] for one in values] for at in range(3))
    found = promise(sure, right, [str(one) for one in names], max_error=rate)
    if found.threshold is not None:
        accepted = {name for one, name in zip(sure, names, strict=True) if one >= found.threshold}
        wrong = {
            name
            for one, good, name in zip(sure, right, names, strict=True)
            if one >= found.threshold and not good
        }
        assert (len(accepted), len(wrong)) == (found.documents, found.wrong)
        assert upper_bound(len(wrong), len(accepted), 0.95) <= rate


@pytest.mark.parametrize(("key", "value"), [("max_error", 0.0), ("max_error", 1.0), ("level", 95.0)])
def test_a_rate_that_is_none_is_named(key: str, value: float) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{key} has value"):
        promise([0.5], [True], ["d"], **{"max_error": 0.05, key: value})
