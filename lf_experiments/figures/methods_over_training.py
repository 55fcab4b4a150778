"""Methods over training: how selective the regions of each method are from step to step."""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from lf_experiments.figures import evolution, style
from lf_experiments.figures.figure import Figure
from lf_experiments.runs.families import WHOLE
from lf_experiments.runs.sweep import Sweep

MOMENT, VALUE = "training_step", "selectivity"


def over_training(sweep: Sweep) -> dict[str, pd.DataFrame]:
    """{model: the rows of `methods.csv` of all its steps, in their order}, of those that were compared at two at least."""
    tables: dict[str, list[pd.DataFrame]] = {}
    for found in sweep.comparisons:
        if found.training_step is not None and found.table[VALUE].notna().any():
            tables.setdefault(found.name, []).append(found.table)
    return {name: pd.concat(of_model).sort_values(MOMENT) for name, of_model in tables.items() if len(of_model) > 1}


def draw(sweep: Sweep, title: str) -> Picture:
    """A panel per model, a line per method; a method has one colour in all panels."""
    lines = over_training(sweep)
    methods = list(dict.fromkeys(method for line in lines.values() for method in line["method"]))
    colours = {method: style.COLOURS[number % len(style.COLOURS)] for number, method in enumerate(methods)}
    return evolution.draw_lines(title, lines, MOMENT, partial(draw_panel, colours=colours), height=4.6)


def draw_panel(axes: Axes, line: pd.DataFrame, x: str, colours: dict[str, str]) -> None:
    """One model."""
    for method, rows in line.groupby("method", sort=False):
        place = style.numbers(rows[x])
        axes.plot(place, rows[VALUE], marker="o", markersize=4, color=colours[method], label=method)
        style.draw_interval(axes, place, rows, VALUE, colours[method])
    axes.axhline(0, color="#888888", linewidth=0.8, zorder=1)
    axes.set_ylabel("Selectivity (nats per token)")
    style.clean(axes)
    evolution.training_axis(axes, line[x], x)
    style.legend_beside(axes)


FIGURE = Figure(
    number="",
    stem="methods_over_training",
    title="Selectivity of the regions of each method over training",
    caption=(
        "How much more a language loses without the region that a method finds for it than the other languages do, step by "
        "step. Means over languages; bands are intervals over the windows of text."
    ),
    part=WHOLE,
    enough=lambda sweep: bool(over_training(sweep)),
    draw=draw,
)
