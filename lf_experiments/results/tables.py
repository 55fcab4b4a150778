"""The files of a run folder, read back, and their numbers as text: shared by the figures, the report and the tracking."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

MEASURES = ("lrds", "sads", "sklr", "sklr_fraction", "perplexity_mean", "cloze_accuracy_mean")
"""The columns of a sweep table that are followed over training and scale."""

SWEEP_TEXTS = (
    "job",
    "status",
    "error",
    "overrides",
    "variant",
    "model",
    "checkpoint",
    "weight_fingerprint",
    "duplicate_of",
)
"""The columns of a sweep table that are text, empty where there is nothing to say."""

UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))


def read_table(path: Path, texts: tuple[str, ...] = ()) -> pd.DataFrame:
    """A CSV file as it was written: an empty cell is a missing value, but words such as `None` or `nan` stay words.

    In the columns `texts` what looks like a number is text, and an empty cell an empty text.
    """
    table = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(texts, str))
    return table.assign(**table[list(texts)].fillna(""))


def write_csv(table: pd.DataFrame, path: Path, index: bool = False) -> None:
    """Write a table as CSV; a text with a carriage return, which a model may generate, stays in its cell.

    Before Python 3.13 the csv module left such a text without quotes, and reading ended the row there.
    """
    returns = any("\r" in cell for column in table for cell in table[column] if isinstance(cell, str))
    table.to_csv(path, index=index, quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL)


def read_sweep(path: Path) -> pd.DataFrame:
    """A `sweep.csv` as it was written; text stays text where it looks like a number."""
    return read_table(path, SWEEP_TEXTS)


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


def key_neurons_by_layer(folder: Path) -> pd.Series:
    """Key neurons of all languages together, layer by layer, of a run."""
    return read_table(folder / "regions.csv").groupby("layer")["key_neurons"].sum()


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


def score_text(score: float) -> str:
    """A score with four decimals, or a dash where there is none."""
    return "–" if pd.isna(score) else f"{score:.4f}"


def share_text(share: float) -> str:
    """A share in percent: one decimal, or one digit where that would read as zero."""
    percent = 100 * share
    return f"{percent:.1g}%" if 0 < percent < 0.05 else f"{percent:.1f}%"


def count_text(number: float) -> str:
    """A count that is short enough for a tick: in full below ten thousand, then 20k, 300k, 7.1B."""
    if number < 10_000:
        return f"{number:,.0f}"
    power, unit = next((power, unit) for power, unit in UNITS if number >= power)
    return f"{number / power:.3g}{unit}"


def status_counts(table: pd.DataFrame) -> str:
    """How many runs a sweep table has, and how many of each status."""
    counts = table["status"].value_counts()
    return f"{len(table)} runs: " + ", ".join(f"{count} {status}" for status, count in counts.items())


def is_duplicate(table: pd.DataFrame) -> pd.Series:
    """Whether a row of a sweep table shares its weights with a row that should have others: which is wrong is unknown."""
    return (table["duplicate_of"] != "") | table["job"].isin(table["duplicate_of"])


def line_names(table: pd.DataFrame) -> pd.Series:
    """Of which line in a figure each row of a sweep table is a point: its model's, and its variant's where it has one."""
    return table["model"] + table["variant"].map(lambda variant: f", {variant}" if variant else "")


def measured(table: pd.DataFrame) -> pd.DataFrame:
    """A sweep table without the numbers of runs that did not end well: what they left may be of an earlier run."""
    numbers = table[list(MEASURES)].where(table["status"] == "done")
    return table.assign(duplicated=is_duplicate(table), **numbers)


def evolutions(table: pd.DataFrame, x: str) -> dict[str, pd.DataFrame]:
    """The lines of a sweep table over `x`, by name, each in the order of `x` and with at least two finished runs.

    A run that did not end well is a row without numbers: a gap, unless the same point was reached by another run.
    """
    rows = measured(table[table[x].notna()]).sort_values(x, kind="stable")
    lines = {}
    for name, line in rows.groupby(line_names(rows), sort=False):
        done = line["status"] == "done"
        line = line[done | ~line[x].isin(line.loc[done, x])].drop_duplicates([x, "weight_fingerprint"])
        if line.loc[done, x].nunique() > 1:
            lines[name] = line
    return lines
