"""Figure 7: the scores against the scale of the model."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from lf_experiments.figures import evolution, style
from lf_experiments.figures.figure import Figure
from lf_experiments.figures.label_points import label_points
from lf_experiments.runs.scores import SCORES, Score
from lf_experiments.runs.sweep import Sweep
from lf_experiments.runs.text import count_text


def compared_scores(sweep: Sweep) -> list[Score]:
    """The scores that have two sizes of models to compare."""
    runs = sweep.finals
    return [s for s in SCORES if s.topic and runs.loc[runs[s.column].notna(), "num_parameters"].nunique() > 1]


def draw(sweep: Sweep, title: str) -> Picture:
    """One panel per score, one line per family of models; the axis is always the number of parameters."""
    runs, families, scores = sweep.finals, sweep.families, compared_scores(sweep)
    columns = 2 if len(scores) in (2, 4) else min(len(scores), 3)
    size = max((4.0 if columns == 3 else 4.8) * columns, 5.5), 1.2 + 3.0 * -(-len(scores) // columns)
    figure = style.new_figure(*size, title, ", ".join(runs["model"].unique()))
    grid = style.panels(figure, len(scores), columns)
    for axes, score in zip(grid, scores, strict=True):
        drawn = evolution.plot_score(axes, families, "num_parameters", score)
        axes.margins(x=0.15, y=0.25)
        parameter_axis(axes, runs["num_parameters"])
    named = drawn if len(families) > 1 else []
    evolution.add_legend(figure, [*named, *evolution.beside_legend(figure), *evolution.duplicate_legend(figure, "model")])
    figure.draw_without_rendering()  # names are placed in the final layout
    for axes, score in zip(grid, scores, strict=True):
        label_points(axes, points_of(runs, score))
    return figure


def points_of(runs: pd.DataFrame, score: Score) -> dict[str, tuple[float, float]]:
    """{model: its number of parameters and its score}"""
    models = runs[runs[score.column].notna()].drop_duplicates("model").set_index("model")
    return {model: (x, y) for model, x, y in models[["num_parameters", score.column]].astype(float).itertuples()}


def parameter_axis(axes: Axes, parameters: pd.Series) -> None:
    """A logarithmic axis with few round numbers."""
    decades = math.log10(parameters.max() / parameters.min())
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2 else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: count_text(number)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("Parameters")


FIGURE = Figure(
    number="Figure 7",
    stem="figure7_model_scale",
    title="Linguistic regions and semantic alignment over scale",
    caption=(
        "The final weights of models of different sizes (the paper's Figure 7); a line joins the models of a family. "
        f"{evolution.WHAT_IS_DRAWN}"
    ),
    enough=lambda sweep: bool(compared_scores(sweep)),
    draw=draw,
)
