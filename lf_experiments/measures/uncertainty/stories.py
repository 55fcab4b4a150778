"""Story cloze with its uncertainty: accuracy against guessing, paired stories with and without a region, means over languages.

Shapes are written as suffixes: I stories, G languages.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from lf_experiments.intervals import Effect


def wilson_interval(right: int, items: int, level: float) -> tuple[float, float]:
    """The interval of an accuracy (Wilson, 1927), which stays between 0 and 1."""
    low, high = stats.binomtest(right, items).proportion_ci(level, method="wilson")
    return float(low), float(high)


def guessing_p_value(right: int, items: int, chance: float = 0.5) -> float:
    """The exact binomial probability that guessing is right as often, or oftener."""
    return float(stats.binomtest(right, items, chance, alternative="greater").pvalue)


def mcnemar_p_value(before_I: np.ndarray, after_I: np.ndarray) -> float:
    """Whether the same stories are ended rightly as often after as before: McNemar's mid-p, two-sided.

    Only stories whose outcome changes count: b become right, c become wrong.
    """
    gained, lost = int((after_I > before_I).sum()), int((after_I < before_I).sum())
    changed = gained + lost
    if not changed:
        return 1.0
    least = min(gained, lost)
    point = float(stats.binom.pmf(least, changed, 0.5))
    if gained == lost:
        return 1 - point / 2
    return 2 * float(stats.binom.cdf(least, changed, 0.5)) - point


def paired_difference(before_I: np.ndarray, after_I: np.ndarray) -> Effect:
    """The mean change of an outcome (0 or 1) or of a margin in nats, story by story."""
    change_I = after_I.astype(float) - before_I
    items = len(change_I)
    error = float(change_I.std(ddof=1)) / math.sqrt(items) if items > 1 else math.nan
    return Effect(float(change_I.mean()), error, items - 1)


def mean_over_languages(outcome_GI: np.ndarray) -> Effect:
    """The mean over languages; stories are told in all of them, so that each story is one observation (Miller, 2024)."""
    return paired_difference(np.zeros(outcome_GI.shape[1]), outcome_GI.mean(axis=0))
