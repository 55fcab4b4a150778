"""The files of a run folder, read back, and their numbers as text: shared by the figures, the report and the tracking."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd


def read_table(path: Path) -> pd.DataFrame:
    """A CSV file as it was written: an empty cell is a missing value, but words such as `None` or `nan` stay words."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def read_json(path: Path) -> Any:
    """The value in a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def checkpoint_text(metrics: dict[str, Any]) -> str:
    """The moment of training in words, from the content of `metrics.json`."""
    if metrics["training_step"] is None:
        return f"checkpoint {metrics['checkpoint']}"
    return f"training step {metrics['training_step']:,}"


def region_sizes(regions: pd.DataFrame) -> pd.DataFrame:
    """The columns `key_neurons` and `neurons` of `regions.csv` summed over layers, one row per language, in map order."""
    return regions.groupby("language", sort=False)[["key_neurons", "neurons"]].sum()


def perplexity_text(perplexity: float) -> str:
    """A perplexity with the decimals that matter."""
    return f"{perplexity:.2f}" if perplexity < 1000 else f"{perplexity:,.0f}"


def increase_text(percent: float) -> str:
    """An increase in percent, without the sign of percent: short enough for a cell of a heat map."""
    if math.isnan(percent):
        return "–"
    if math.isinf(percent):
        return "∞"
    if abs(percent) >= 10_000:
        return f"{percent:.1e}"
    text = f"{percent:,.0f}" if abs(percent) >= 10 else f"{percent:.1f}"
    return "0.0" if text == "-0.0" else text.replace("-", "−")


def share_text(share: float) -> str:
    """A share in percent: one decimal, or one digit where that would read as zero."""
    percent = 100 * share
    return f"{percent:.1g}%" if 0 < percent < 0.05 else f"{percent:.1f}%"
