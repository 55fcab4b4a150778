"""Figures 7 and 10: the metrics against the scale of the model."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from lf_experiments.results.figures import evolution, style
from lf_experiments.results.figures.names import name_points
from lf_experiments.results.tables import count_text, measured

TITLE = "Linguistic regions and semantic alignment over scale"
CAPTION = (
    "The final weights of models of different sizes (the paper's Figures 7 and 10): how far they separate languages (LRDS, "
    "eq. 8), how far they align meanings across languages (SADS, eq. 9), how large their key linguistic regions are (SKLR, "
    "sec. 3.2) and, where it was measured, how often they end a story rightly. A line joins models whose names begin alike."
)

PANELS = (
    ("lrds", "LRDS", style.ORANGE, None),
    ("sads", "SADS", style.BLUE, None),
    ("sklr_fraction", "SKLR, share of neurons", style.ORANGE, 1),
    ("cloze_accuracy_mean", "Story cloze accuracy", style.BLUE, 1),
)
"""A column of the sweep table, the name and colour of its panel, and what 100 % is if it is a share."""


def final_runs(table: pd.DataFrame) -> pd.DataFrame:
    """The finished runs with final weights, smallest model first."""
    runs = measured(table)
    is_final = (runs["status"] == "done") & (runs["checkpoint"] == "final") & runs["num_parameters"].notna()
    return runs[is_final].sort_values(["num_parameters", "model"], kind="stable")


def measured_panels(runs: pd.DataFrame) -> list[tuple]:
    """The panels that have two sizes to compare."""
    return [panel for panel in PANELS if runs.loc[runs[panel[0]].notna(), "num_parameters"].nunique() > 1]


def can_draw(table: pd.DataFrame, _x: str = "") -> bool:
    """Whether models of two sizes were measured."""
    return bool(measured_panels(final_runs(table)))


def draw(table: pd.DataFrame, _x: str = "") -> Figure:
    """One panel per measure, one line per family of models; the axis is always the number of parameters."""
    runs = final_runs(table)
    panels = measured_panels(runs)
    columns = 2 if len(panels) == 4 else len(panels)
    figure = style.new_figure(max((4.8 if columns < 3 else 4.0) * columns, 5.5), 1.2 + 3.0 * (len(panels) // columns))
    style.write_title(figure, TITLE, ", ".join(runs["model"].unique()))
    grid = list(figure.subplots(len(panels) // columns, columns, squeeze=False).flat)
    families = {name: models for name, models in runs.groupby(family_names(runs), sort=False)}
    drawn = [draw_panel(axes, panel, families) for axes, panel in zip(grid, panels, strict=True)]
    evolution.add_legend(figure, (drawn[0] if len(families) > 1 else []) + evolution.duplicate_legend(figure, "model"))
    figure.draw_without_rendering()  # names are placed in the final layout
    for axes, (column, *_) in zip(grid, panels, strict=True):
        models = runs[runs[column].notna()].drop_duplicates("model").set_index("model")
        name_points(axes, {model: (float(row["num_parameters"]), float(row[column])) for model, row in models.iterrows()})
    return figure


def family_names(runs: pd.DataFrame) -> pd.Series:
    """What joins models: their name up to the first hyphen, without the owner of a repository, and the variant of the run."""
    family = runs["model"].str.rpartition("/")[2].str.partition("-")[0]
    return family + runs["variant"].map(lambda variant: f", {variant}" if variant else "")


def draw_panel(axes: Axes, panel: tuple, families: dict[str, pd.DataFrame]) -> list[Line2D]:
    """One measure of every model over its number of parameters."""
    column, name, colour, whole = panel
    drawn = evolution.plot_measure(axes, families, "num_parameters", column, name, colour, whole)
    axes.margins(x=0.15, y=0.25)
    parameter_axis(axes, pd.concat(families.values())["num_parameters"])
    return drawn


def parameter_axis(axes: Axes, parameters: pd.Series) -> None:
    """A logarithmic axis with few round numbers."""
    decades = math.log10(parameters.max() / parameters.min())
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2 else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: count_text(number)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("Parameters")
