"""Figure 4: linguistic regions and semantic alignment over training."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lf_experiments.results.figures import evolution, style
from lf_experiments.results.figures.evolution import Measure
from lf_experiments.results.tables import evolutions

TITLE = "Linguistic regions and semantic alignment over training"
CAPTION = (
    "How the model changes while it learns (the paper's Figure 4). Left: how far neurons tell languages apart (LRDS, eq. 8: "
    "the similarity of sentences in one language less that in two) and how many neurons are key for some "
    "language (SKLR, sec. 3.2). Right: how far it brings meanings together across languages (SADS, eq. 9: the similarity of "
    "translations less that of other sentences) and, where it was measured, how often it tells the right English ending of a "
    "story in another language from a wrong one (mean over the languages of the stories; the band is one standard error to "
    "each side, the mean of those of the languages, for they read the same stories). The time axis begins at 0 and is "
    "logarithmic from the first step on; a gap is a run that failed or is missing."
)

COLUMNS = {"Linguistic regions": (evolution.LRDS, evolution.SKLR), "Semantic alignment": (evolution.SADS, evolution.CLOZE)}
"""The heading of a column of panels, and the measures that may be in it."""


def measured_columns(lines: dict[str, pd.DataFrame]) -> dict[str, list[Measure]]:
    """The columns and in them the measures that have anything to show."""
    columns = {
        heading: [measure for measure in measures if any(line[measure.column].notna().any() for line in lines.values())]
        for heading, measures in COLUMNS.items()
    }
    return {heading: measures for heading, measures in columns.items() if measures}


def can_draw(table: pd.DataFrame, x: str = "training_step") -> bool:
    """Whether a model was measured at two steps."""
    return bool(measured_columns(evolutions(table, x)))


def draw(table: pd.DataFrame, x: str = "training_step") -> Figure:
    """Two columns of panels, one panel per measure and one line per model."""
    lines = evolutions(table, x)
    columns = measured_columns(lines)
    height = max(map(len, columns.values()))
    figure = style.new_figure(4.8 * len(columns), 1.6 + 2.1 * height)
    style.write_title(figure, TITLE, ", ".join(lines))
    grid = figure.add_gridspec(height, len(columns))
    drawn: list[Line2D] = []
    for place, (heading, measures) in enumerate(columns.items()):
        rows = height // len(measures)
        for row, measure in enumerate(measures):
            axes = figure.add_subplot(grid[row * rows : (row + 1) * rows, place])
            drawn = draw_panel(axes, measure, lines, x)
            axes.set_title(heading if row == 0 else "", fontsize=10)
            if row + 1 < len(measures):
                axes.tick_params(labelbottom=False)
                axes.set_xlabel("")
    figure.align_ylabels()
    evolution.add_legend(figure, (drawn if len(lines) > 1 else []) + evolution.duplicate_legend(figure, "step"))
    return figure


def draw_panel(axes: Axes, measure: Measure, lines: dict[str, pd.DataFrame], x: str) -> list[Line2D]:
    """One measure of every model over training."""
    drawn = evolution.plot_measure(axes, lines, x, measure)
    evolution.training_axis(axes, (point for line in lines.values() for point in line[x]), x)
    return drawn
