"""Figure 4: linguistic regions and semantic alignment over training."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lf_experiments.results.figures import evolution, style
from lf_experiments.results.tables import evolutions

TITLE = "Linguistic regions and semantic alignment over training"
CAPTION = (
    "How the model changes while it learns (the paper's Figure 4). Left: how far it separates languages (LRDS, eq. 8) and how "
    "large its key linguistic regions are (SKLR, sec. 3.2, as a share of all neurons). Right: how far it aligns meanings "
    "across languages (SADS, eq. 9) and, where it was measured, how often it ends a story rightly. The time axis begins at 0 "
    "and is logarithmic from the first step on; a gap is a run that failed or is missing."
)

LINGUISTIC, SEMANTIC = "Linguistic regions", "Semantic alignment"
PANELS = (
    (LINGUISTIC, "lrds", "LRDS", style.ORANGE, None),
    (LINGUISTIC, "sklr_fraction", "SKLR, share of neurons", style.ORANGE, 1),
    (SEMANTIC, "sads", "SADS", style.BLUE, None),
    (SEMANTIC, "cloze_accuracy_mean", "Story cloze accuracy", style.BLUE, 1),
)
"""The heading of a panel, its column of the sweep table, the name and colour of it, and what 100 % is if it is a share."""


def measured_panels(lines: dict[str, pd.DataFrame]) -> list[tuple]:
    """The panels that have anything to show."""
    return [panel for panel in PANELS if any(line[panel[1]].notna().any() for line in lines.values())]


def can_draw(table: pd.DataFrame, x: str = "training_step") -> bool:
    """Whether a model was measured at two steps."""
    return bool(measured_panels(evolutions(table, x)))


def draw(table: pd.DataFrame, x: str = "training_step") -> Figure:
    """Two columns of panels, one panel per measure and one line per model."""
    lines = evolutions(table, x)
    panels = measured_panels(lines)
    columns = [[panel for panel in panels if panel[0] == heading] for heading in (LINGUISTIC, SEMANTIC)]
    columns = [column for column in columns if column]

    height = max(map(len, columns))
    figure = style.new_figure(4.8 * len(columns), 1.6 + 2.1 * height)
    style.write_title(figure, TITLE, ", ".join(lines))
    grid = figure.add_gridspec(height, len(columns))
    drawn: list[Line2D] = []
    for place, column in enumerate(columns):
        rows = height // len(column)
        for row, panel in enumerate(column):
            axes = figure.add_subplot(grid[row * rows : (row + 1) * rows, place])
            drawn = draw_panel(axes, panel, lines, x)
            axes.set_title(panel[0] if row == 0 else "", fontsize=10)
            if row + 1 < len(column):
                axes.tick_params(labelbottom=False)
                axes.set_xlabel("")
    figure.align_ylabels()
    evolution.add_legend(figure, (drawn if len(lines) > 1 else []) + evolution.duplicate_legend(figure, "step"))
    return figure


def draw_panel(axes: Axes, panel: tuple, lines: dict[str, pd.DataFrame], x: str) -> list[Line2D]:
    """One measure of every model over training."""
    _, column, name, colour, whole = panel
    drawn = evolution.plot_measure(axes, lines, x, column, name, colour, whole)
    evolution.training_axis(axes, (point for line in lines.values() for point in line[x]), x)
    return drawn
