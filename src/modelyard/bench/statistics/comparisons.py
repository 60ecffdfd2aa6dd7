"""Comparisons: two models on the same samples, and many comparisons at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.bench.statistics.bootstrap import RESAMPLES, bca
from modelyard.bench.statistics.clusters import Clusters, by_document, check_level
from modelyard.bench.statistics.flips import sign_flip
from modelyard.bench.statistics.paired import mcnemar, tango
from modelyard.errors import InvalidArgumentError


@dataclass(slots=True, frozen=True)
class Comparison:
    """Two models' difference on the same samples.

    Attributes:
        difference: the first one's mean score less the second one's.
        low, high: the difference's interval, within -1 and 1.
        p: of the test that neither is better; not corrected for other comparisons.
        test: which test that is.
        samples: how many both have.
        discordant: on how many of them their scores differ.
    """

    difference: float
    low: float
    high: float
    p: float
    test: str
    samples: int
    discordant: int


def compare(
    a: Sequence[float],
    b: Sequence[float],
    documents: Sequence[str],
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Whether one model is better than another, from the samples that both have.

    Right-or-wrong scores with one sample a document get McNemar's exact test and Tango's interval. All others
    get the permutation test that flips the signs of whole documents' differences, and the BCa bootstrap of the
    differences that draws whole documents. Where all documents have the same difference, or are too few (under
    6 at 95%), Tango's interval is taken with documents as its pairs, which errs on the wide side. One
    document's interval is all of -1 to 1.

    Args:
        a: the first model's scores, 0 to 1, one a sample.
        b: the second one's, on the same samples in the same order.
        documents: the name of each sample's document, in the same order.
        level: how often intervals made so hold the true difference.
        resamples: how many times the bootstrap draws the documents, and how many sign flips are drawn where
            not all can be counted.
        seed: of those draws.

    Raises:
        InvalidArgumentError: no samples, a score out of range, or lists of different lengths.

    >>> pages = [f"page {number}" for number in range(12)]
    >>> found = compare([1.0] * 10 + [0.0] * 2, [0.0] * 10 + [1.0] * 2, pages)
    >>> found.test, round(found.p, 4), found.discordant
    ('McNemar, exact', 0.0386, 12)
    """
    check_level(level)
    differences = paired_differences(a, b)
    clusters = by_document(differences, documents, lowest=-1)
    binary = clusters.singletons and set(a) | set(b) <= {0, 1}
    first_only, second_only = differences.count(1), differences.count(-1)
    if binary:
        p, test = mcnemar(first_only, second_only), "McNemar, exact"
    else:
        p, exact = sign_flip(clusters.sums, draws=resamples, seed=seed)
        test = f"sign flips by document, {'exact' if exact else 'drawn'}"
    low, high = _interval(clusters, binary, level, resamples, seed)
    difference = clusters.mean
    return Comparison(
        difference,
        min(max(low, -1.0), difference),
        max(min(high, 1.0), difference),
        p,
        test,
        clusters.samples,
        sum(one != 0 for one in differences),
    )


def paired_differences(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """The first model's score less the second one's, a sample at a time.

    Raises:
        InvalidArgumentError: the models have different numbers of scores, or a score is not within 0 and 1.

    >>> paired_differences([1.0, 0.5], [0.0, 0.5])
    [1.0, 0.0]
    """
    if len(a) != len(b):
        raise InvalidArgumentError(
            f"{len(a)} scores are compared with {len(b)}",
            hint="Give both models' scores on the same samples, in the same order.",
        )
    for name, scores in (("first", a), ("second", b)):
        wrong = next((place for place, one in enumerate(scores) if not 0 <= one <= 1), None)
        if wrong is not None:
            raise InvalidArgumentError(
                f"the {name} model's score {scores[wrong]!r} at place {wrong} is not between 0 and 1",
                hint="Scale the scores to that range.",
            )
    return [float(first - second) for first, second in zip(a, b, strict=True)]


def _interval(
    clusters: Clusters, binary: bool, level: float, resamples: int, seed: int
) -> tuple[float, float]:
    if clusters.documents == 1:
        return -1.0, 1.0
    if binary or clusters.alike or clusters.few(level):
        scale = clusters.effective / clusters.samples
        ahead, behind = clusters.sums.clip(min=0).sum(), (-clusters.sums).clip(min=0).sum()
        return tango(float(ahead) * scale, float(behind) * scale, clusters.effective, level=level)
    return bca(clusters, level=level, resamples=resamples, seed=seed)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of several tests, raised so that any false alarm among them all is as rare as the level says.

    Args:
        p_values: one a test, in any order.

    Returns:
        The adjusted p-values, in the same order, none above 1.

    Raises:
        InvalidArgumentError: a p-value is not between 0 and 1.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6,
    1979.

    >>> holm([0.5, 0.25, 0.0625])
    [0.5, 0.5, 0.1875]
    """
    for place, p in enumerate(p_values):
        if not 0 <= p <= 1:
            raise InvalidArgumentError(
                f"p-value {p!r} at place {place} is not between 0 and 1", hint="Give the tests' own p-values."
            )
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for done, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - done) * p_values[place]))
        adjusted[place] = largest
    return adjusted
