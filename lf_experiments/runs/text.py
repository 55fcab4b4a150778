"""Numbers as text, the same in figures, reports and on the terminal."""

from __future__ import annotations

import math

import pandas as pd

UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))
AS_FACTOR = 100_000
"""Percent from which an increase is written as the factor that the number has grown to."""


def perplexity_text(perplexity: float) -> str:
    """A perplexity with the decimals that matter."""
    return f"{perplexity:.2f}" if perplexity < 1000 else f"{perplexity:,.0f}"


def increase_text(percent: float, sign: str = "") -> str:
    """An increase in percent, `sign` behind it: 3.1, 24,000; a huge one as the factor it comes to, ×1.2M."""
    if math.isnan(percent):
        return "–"
    if math.isinf(percent):
        return "∞"
    if percent >= AS_FACTOR:
        return f"×{count_text(1 + percent / 100)}"
    text = f"{percent:,.0f}" if abs(percent) >= 10 else f"{percent:.1f}"
    return ("0.0" if text == "-0.0" else text.replace("-", "−")) + sign


def score_text(score: float) -> str:
    """A score with four decimals, or a dash where there is none."""
    return "–" if pd.isna(score) else f"{score:.4f}"


def share_text(share: float) -> str:
    """A share in percent: one decimal, or one digit where that would read as zero."""
    percent = 100 * share
    return f"{percent:.1g}%" if 0 < percent < 0.05 else f"{percent:.1f}%"


def count_of(number: float) -> str:
    """A count in full; a mean of counts to the next whole one."""
    return f"{number:,.0f}"


def count_text(number: float) -> str:
    """A count that is short enough for a tick: in full below ten thousand, then 20k, 300k, 7.1B."""
    if number < 10_000:
        return f"{number:,.0f}"
    power, unit = next((power, unit) for power, unit in UNITS if number >= power)
    return f"{number / power:.3g}{unit}"
