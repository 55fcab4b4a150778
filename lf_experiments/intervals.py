"""Intervals: a number with its standard error, sums of independent ones, and p values that are judged together."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Effect:
    """A number, mostly a difference, with its standard error."""

    value: float
    error: float
    freedom: float
    """Degrees of freedom of the error; 0 where it is not known."""

    def interval(self, level: float) -> tuple[float, float]:
        """The interval of Student's t around the value; NaN where there is no error."""
        reach = float(stats.t.ppf((1 + level) / 2, self.freedom)) * self.error if self.freedom > 0 else math.nan
        return self.value - reach, self.value + reach

    def p_value(self) -> float:
        """Two-sided, against no difference."""
        if not self.freedom or math.isnan(self.error):
            return math.nan
        return float(2 * stats.t.sf(abs(self.value) / self.error, self.freedom)) if self.error else float(self.value == 0)


def of_influences(value: float, influence_M: np.ndarray) -> Effect:
    """A number from the influence of every meaning, or story, on it; influences sum to 0.

    Its error is that of a mean of influences. A difference of numbers on the same meanings has the difference of their
    influences: it is paired.
    """
    n = len(influence_M)
    if n < 2:
        return Effect(value, math.nan, 0)
    return Effect(value, math.sqrt(n / (n - 1) * float(np.square(influence_M).sum())) / n, n - 1)


def jackknife(value: float, left_out_M: np.ndarray) -> Effect:
    """A number from its values without each meaning in turn."""
    return of_influences(value, (len(left_out_M) - 1) * (left_out_M.mean() - left_out_M))


def ratio_of_sums(total_W: np.ndarray, size_W: np.ndarray) -> Effect:
    """The sum of totals over the sum of sizes, such as nats over the tokens of windows, with its error over windows.

    One window alone does not tell how much windows differ: there is no error then.
    """
    value, windows = float(total_W.sum() / size_W.sum()), len(total_W)
    if windows < 2:
        return Effect(value, math.nan, 0)
    residual = float(np.square(total_W - value * size_W).sum())
    return Effect(value, math.sqrt(windows / (windows - 1) * residual) / float(size_W.sum()), windows - 1)


def combined(parts: Iterable[tuple[float, Effect]]) -> Effect:
    """A weighted sum of independent effects, given as (weight, effect): errors add up in squares.

    The degrees of freedom are those of Welch and Satterthwaite. A part without an error leaves the sum without.
    """
    parts = list(parts)
    value = math.fsum(weight * effect.value for weight, effect in parts)
    variances = [(weight * effect.error) ** 2 for weight, effect in parts]
    variance = math.fsum(variances)
    if math.isnan(variance):
        return Effect(value, math.nan, 0)
    spread = math.fsum(part**2 / effect.freedom for part, (_, effect) in zip(variances, parts, strict=True) if part)
    freedom = variance**2 / spread if spread else math.fsum(effect.freedom for _, effect in parts)
    return Effect(value, math.sqrt(variance), freedom)


def holm(p_values: list[float]) -> list[float]:
    """The p values adjusted for several that are judged together (Holm, 1979); NaN stays and is not counted."""
    order = [index for index in np.argsort(p_values) if not math.isnan(p_values[index])]
    adjusted, largest = list(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
