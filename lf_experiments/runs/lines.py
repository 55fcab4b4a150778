"""The lines in the table of a sweep: which runs are points of one curve, over training or over scale."""

from __future__ import annotations

import pandas as pd

from lf_experiments.runs.metrics import HIGH, LOW
from lf_experiments.runs.scores import SCORES


def lines(table: pd.DataFrame, x: str) -> dict[str, pd.DataFrame]:
    """{model and variant: its rows in the order of the column `x`}, of those with at least two finished runs.

    A run that did not end well is a row without numbers: a gap, unless the same point was reached by another run.
    """
    rows = measured(table[table[x].notna()]).sort_values(x, kind="stable")
    found = {}
    for name, line in rows.groupby(line_names(rows), sort=False):
        done = line["status"] == "done"
        line = line[done | ~line[x].isin(line.loc[done, x])].drop_duplicates([x, "weight_fingerprint"])
        if line.loc[done, x].nunique() > 1:
            found[name] = line
    return found


def measured(table: pd.DataFrame) -> pd.DataFrame:
    """A sweep table without the scores of runs that did not end well: what they left may be of an earlier run.

    The column `duplicated` is added: whether the row shares its weights with one that should have others.
    """
    columns = [score.column + end for score in SCORES for end in ("", LOW, HIGH) if score.column + end in table]
    numbers = table[columns].where(table["status"] == "done")
    return table.assign(duplicated=is_duplicate(table), **numbers)


def probed(line: pd.DataFrame) -> pd.DataFrame:
    """The finished runs of a line that have the sizes of regions."""
    return line[[status == "done" and run.regions is not None for run, status in line["status"].items()]]


def is_duplicate(table: pd.DataFrame) -> pd.Series:
    """Whether a row of a sweep table shares its weights with a row that should have others: which is wrong is unknown."""
    return (table["duplicate_of"] != "") | table["job"].isin(table["duplicate_of"])


def line_names(table: pd.DataFrame) -> pd.Series:
    """Of which line each row of a sweep table is a point: its model's, and its variant's where it has one."""
    return with_variant(table["model"], table)


def with_variant(names: pd.Series, table: pd.DataFrame) -> pd.Series:
    """The names of models or families, with the variant of each run behind them."""
    return names + table["variant"].map(lambda variant: f", {variant}" if variant else "")


def status_counts(table: pd.DataFrame) -> str:
    """How many runs a sweep table has, and how many of each status."""
    counts = table["status"].value_counts()
    return f"{len(table)} runs: " + ", ".join(f"{count} {status}" for status, count in counts.items())
