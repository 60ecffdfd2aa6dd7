"""Statistics: what a benchmark's samples say about its models, and how sure that is.

intervals     a model's mean score on a task, with its interval
comparisons   two models on the same samples; Holm's correction for many comparisons
power         the smallest difference that a task's samples would show
ranks         models in order, those that cannot be told apart together
final         several tasks as one figure
clusters      scores gathered by document
bootstrap     drawing whole documents
flips         flipping whole documents' signs
paired        right-or-wrong pairs: McNemar's test, Tango's interval
needed        scipy, loaded when it is first needed
"""

from modelyard.bench.statistics.comparisons import Comparison, compare, holm
from modelyard.bench.statistics.final import compare_weighted, legacy_quality, legacy_score, weighted
from modelyard.bench.statistics.intervals import Estimate, estimate
from modelyard.bench.statistics.power import smallest_difference
from modelyard.bench.statistics.ranks import rank_groups

__all__ = [
    "Comparison", "Estimate", "compare", "compare_weighted", "estimate", "holm", "legacy_quality",
    "legacy_score", "rank_groups", "smallest_difference", "weighted",
]  # fmt: skip
