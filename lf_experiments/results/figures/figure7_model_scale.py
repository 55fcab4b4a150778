"""Figure 7: the measures against the scale of the model."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from lf_experiments.results.families import family_names, final_runs, is_llama
from lf_experiments.results.figures import evolution, style
from lf_experiments.results.figures.evolution import Measure
from lf_experiments.results.figures.names import name_points
from lf_experiments.results.tables import count_text

TITLE = "Linguistic regions and semantic alignment over scale"
CAPTION = (
    "The final weights of models of different sizes (the paper's Figure 7): how far their neurons tell languages apart (LRDS, "
    "eq. 8), how far they bring meanings together across languages (SADS, eq. 9), how many neurons are key for some language "
    "(SKLR, sec. 3.2) and, where it was measured, how often they tell the right English ending of a story in another language "
    "from a wrong one (mean over the languages of the stories; the band is one standard error to each side, the mean of those "
    "of the languages, for they read the same stories). A line joins models whose names begin alike; models called LLaMA have "
    "a figure of their own (Figure 10)."
)

MEASURES = (evolution.LRDS, evolution.SADS, evolution.SKLR, evolution.CLOZE)


def other_runs(table: pd.DataFrame) -> pd.DataFrame:
    """The finished runs with final weights, but those of LLaMA models."""
    runs = final_runs(table)
    return runs[~is_llama(runs)]


def measures_of(runs: pd.DataFrame) -> list[Measure]:
    """The measures that have two sizes to compare."""
    return [measure for measure in MEASURES if runs.loc[runs[measure.column].notna(), "num_parameters"].nunique() > 1]


def can_draw(table: pd.DataFrame, _x: str = "") -> bool:
    """Whether models of two sizes were measured."""
    return bool(measures_of(other_runs(table)))


def draw(table: pd.DataFrame, _x: str = "") -> Figure:
    """One panel per measure, one line per family of models."""
    return draw_scales(other_runs(table), TITLE)


def draw_scales(runs: pd.DataFrame, title: str) -> Figure:
    """The measures of runs with final weights; the axis is always the number of parameters."""
    measures = measures_of(runs)
    columns = 2 if len(measures) == 4 else len(measures)
    figure = style.new_figure(max((4.8 if columns < 3 else 4.0) * columns, 5.5), 1.2 + 3.0 * (len(measures) // columns))
    style.write_title(figure, title, ", ".join(runs["model"].unique()))
    grid = list(figure.subplots(len(measures) // columns, columns, squeeze=False).flat)
    families = {name: models for name, models in runs.groupby(family_names(runs), sort=False)}
    drawn = [draw_panel(axes, measure, families) for axes, measure in zip(grid, measures, strict=True)]
    evolution.add_legend(figure, (drawn[0] if len(families) > 1 else []) + evolution.duplicate_legend(figure, "model"))
    figure.draw_without_rendering()  # names are placed in the final layout
    for axes, measure in zip(grid, measures, strict=True):
        models = runs[runs[measure.column].notna()].drop_duplicates("model").set_index("model")
        points = models[["num_parameters", measure.column]].astype(float)
        name_points(axes, {model: (x, y) for model, x, y in points.itertuples()})
    return figure


def draw_panel(axes: Axes, measure: Measure, families: dict[str, pd.DataFrame]) -> list[Line2D]:
    """One measure of every model over its number of parameters."""
    drawn = evolution.plot_measure(axes, families, "num_parameters", measure)
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
