"""Methods beside each other: how selective their regions are, whether they are found again, and how far methods agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from lf_experiments.figures import evolution, style
from lf_experiments.figures.figure import Figure
from lf_experiments.runs.families import WHOLE
from lf_experiments.runs.methods import Compared
from lf_experiments.runs.metrics import HIGH, LOW
from lf_experiments.runs.sweep import Sweep

LOOKS = {"color": style.BLUE, "marker": "o", "markersize": 6}
EFFECTS = {
    "own_effect": {**LOOKS, "label": "its own language"},
    "spill_over": {**LOOKS, "color": "#D55E00", "markerfacecolor": "white", "label": "the other languages"},
}
PANELS: dict[str, dict[str, dict[str, Any]]] = {
    "Rise of the loss without the region\n(nats per token)": EFFECTS,
    "Selectivity: own less others\n(nats per token)": {"selectivity": LOOKS},
    "Replication\n(overlap of two halves, Dice)": {"dice": LOOKS},
}
"""{what a panel shows: {column of `methods.csv`: its look}}"""
SQUARE = "Agreement\n(neurons of either region in both, Jaccard)"
ROOM, LINE = 2.2, 0.3
"""Inches of a row of panels: for its names, and for every method."""


def last_comparisons(sweep: Sweep) -> list[Compared]:
    """The comparison of each model at its last moment that shows more than which neurons were found."""
    return list({found.name: found for found in sweep.comparisons if found.table["selectivity"].notna().any()}.values())


def draw(sweep: Sweep, title: str) -> Picture:
    """A row of panels per model: effects and replication of every method, most selective first, and their agreement."""
    shown = last_comparisons(sweep)
    heights = [ROOM + LINE * len(found.runs) for found in shown]
    figure = style.new_figure(14, 0.8 + sum(heights), title, "; ".join(found.title for found in shown))
    grid = figure.add_gridspec(len(shown), 1 + len(PANELS), height_ratios=heights, width_ratios=[1, 1, 0.8, 1.1])
    for row, found in enumerate(shown):
        table = found.table.sort_values("selectivity", ascending=False, ignore_index=True)
        for column, (name, looks) in enumerate(PANELS.items()):
            axes = figure.add_subplot(grid[row, column])
            draw_points(axes, table, looks)
            axes.set_xlabel(name)
            axes.set_yticks(range(len(table)), table["method"] if column == 0 else [])
            if column == 0 and len(shown) > 1:
                axes.set_title(found.title, fontsize=9, loc="left")
        draw_square(figure.add_subplot(grid[row, len(PANELS)]), found.square().loc[table["method"], table["method"]])
    evolution.add_legend(figure, figure.axes[0].get_legend_handles_labels()[0])
    return figure


def draw_points(axes: Axes, table: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> None:
    """A point per method and column, from above, with its interval where it has one."""
    place = np.arange(len(table))
    for key, look in looks.items():
        if {key + LOW, key + HIGH} <= set(table):
            low, high = style.numbers(table[key + LOW]), style.numbers(table[key + HIGH])
            axes.hlines(place, low, high, color=look["color"], linewidth=2, gid=style.INTERVAL)
        axes.plot(style.numbers(table[key]), place, linestyle="none", **look)
    axes.set_ylim(len(table) - 0.5, -0.5)
    left, right = axes.get_xlim()
    axes.set_xlim(min(0, left), 1.02 if "dice" in looks else right)
    axes.axvline(0, color="#888888", linewidth=0.8, zorder=1)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)


def draw_square(axes: Axes, table: pd.DataFrame) -> None:
    """The agreement of every two methods; nothing on the diagonal."""
    table = table.mask(np.eye(len(table), dtype=bool))
    image = axes.imshow(table, cmap=colormaps["cividis"].with_extremes(bad="#EEEEEE"), vmin=0, vmax=1)
    style.write_cells(axes, image, table.to_numpy(float), lambda value: "" if pd.isna(value) else f"{value:.2f}", size=7)
    style.name_square(axes, list(range(len(table))), list(table))
    style.name_ticks(axes.xaxis, list(range(len(table))), list(table), slanted=True)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(SQUARE)


FIGURE = Figure(
    number="",
    stem="methods",
    title="Methods that find the neurons of a language, on equal terms",
    caption=(
        "From the left: what a language loses without the region that a method finds for it, and what the others lose; how "
        "much more it loses than they do; the overlap of the regions of two halves of the meanings (1: the same neurons); and "
        "which neurons methods share. Bars are intervals over the windows of text. Means over languages; of several moments of "
        "training the last. A region without which every language loses much is not one of a language, however large the "
        "difference."
    ),
    part=WHOLE,
    enough=lambda sweep: bool(last_comparisons(sweep)),
    draw=draw,
)
