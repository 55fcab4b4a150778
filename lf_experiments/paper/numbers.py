"""The paper's Tables 1 and 4 as data, and what a run of the same model measured beside them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lf_experiments.languages import language_name
from lf_experiments.runs.derived import RANDOM, full_model, increases, region_sizes
from lf_experiments.runs.run import Run

TABLES = {"bloom-7b1": "Table 1", "llama2-7b": "Table 4"}
"""{model: the table of the paper that is about it}; transcribed in `<model>.tsv`, whose first lines name the source."""

FULL_MODEL = "full_model"
KEY_NEURONS = "key_neurons"
KEY_NEURONS_PERCENT = "key_neurons_percent"
NAMES = {
    FULL_MODEL: "Full model",
    RANDOM: "Random neurons",
    KEY_NEURONS: "Key neurons",
    KEY_NEURONS_PERCENT: "Key neurons, % of all",
}


def paper_table(model: str) -> pd.DataFrame | None:
    """The paper's table of a model, as printed; None for a model that the paper has no table of.

    Rows are the evaluated languages, then `key_neurons` (how many neurons are off) and `key_neurons_percent` (of all). Columns
    are `full_model` (perplexity), `random` and the deactivated languages (increase of the perplexity in percent).
    """
    if model not in TABLES:
        return None
    return pd.read_csv(Path(__file__).parent / f"{model}.tsv", sep="\t", comment="#", index_col="language")


def beside_paper(run: Run) -> pd.DataFrame | None:
    """What a run measured beside the paper's numbers: rows and columns of `paper_table`, three times.

    The first level of the columns is `measured`, `paper` and `difference` (measured less paper, in the unit of the cell). A
    cell that was not measured is NaN. None for a model that the paper has no table of and for weights that are not final.
    """
    paper = paper_table(run.metrics.model) if run.metrics and run.metrics.checkpoint == "final" else None
    if paper is None:
        return None
    measured = measured_table(run).reindex(index=paper.index, columns=paper.columns)
    return pd.concat({"measured": measured, "paper": paper, "difference": measured - paper}, axis=1)


def measured_table(run: Run) -> pd.DataFrame:
    """The numbers of a run in the rows and columns of `paper_table`, as far as its files are there."""
    table = pd.DataFrame(dtype=float)
    if run.perplexity is not None:
        table = increases(run.perplexity).assign(**{FULL_MODEL: full_model(run.perplexity)})
    if run.regions is not None:
        sizes = region_sizes(run.regions)
        if RANDOM in table:
            sizes.loc[RANDOM] = sizes.max()
        rows = {KEY_NEURONS: sizes["key_neurons"], KEY_NEURONS_PERCENT: 100 * sizes["key_neurons"] / sizes["neurons"]}
        table = pd.concat([table, pd.DataFrame(rows).T])
    return table


def beside_paper_text(run: Run) -> pd.DataFrame | None:
    """`beside_paper` as text: three lines per row of the paper's table, to the decimals that the paper prints."""
    table = beside_paper(run)
    if table is None:
        return None
    kinds = table.columns.unique(level=0)
    columns = table.columns.unique(level=1)
    lines = [
        [row_name(row), kind, *(cell_text(table.loc[row, (kind, column)], row, column, kind) for column in columns)]
        for row in table.index
        for kind in kinds
    ]
    return pd.DataFrame(lines, columns=["Language", "", *map(column_name, columns)])


def row_name(row: str) -> str:
    """A row of the tables in words."""
    return NAMES.get(row) or language_name(row)


def column_name(column: str) -> str:
    """A column of the tables in words, as the paper heads it."""
    return NAMES.get(column) or f"× {language_name(column)}"


def cell_text(value: float, row: str, column: str, kind: str) -> str:
    """A cell to as many decimals as the paper prints there, with its sign where it is a difference."""
    if pd.isna(value):
        return "–"
    decimals = 1 if row == KEY_NEURONS_PERCENT else 2 if column == FULL_MODEL else 0
    rounded = round(value, decimals) + 0.0  # no negative zero
    return f"{rounded:{'+' if kind == 'difference' else ''},.{decimals}f}".replace("-", "−")
