"""What the figures over training and scale share: the measures, the axis of training, the mark of duplicates, the legend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter

from lf_experiments.results.figures import style
from lf_experiments.results.tables import count_text

AXES = {"training_step": "Training step", "training_tokens": "Training tokens"}
"""What the figures over training can be drawn against: columns of the sweep table, and their names."""

TICK_INCHES = 0.36
"""The room that a tick label needs."""
FROM_ZERO = 0.4
"""How far 0 is from the first step after it, in decades."""

DUPLICATES = "duplicates"
"""The artists that mark duplicates carry this as their gid."""
CHANCE = "chance"
"""The line of guessing carries this as its gid."""
RING = {"linestyle": "none", "marker": "o", "markerfacecolor": "white", "markeredgecolor": style.RED}


@dataclass(frozen=True)
class Measure:
    """What is followed over training or scale."""

    column: str
    """Of the sweep table."""
    name: str
    colour: str
    """Where it is of one model alone."""
    is_share: bool = False
    error: str | None = None
    """The column of its standard error, where it has one."""


LRDS = Measure("lrds", "LRDS\n(languages apart)", style.ORANGE)
SKLR = Measure("sklr_fraction", "SKLR\n(key neurons, share of all)", style.ORANGE, is_share=True)
SADS = Measure("sads", "SADS\n(meanings together)", style.BLUE)
CLOZE = Measure("cloze_accuracy_mean", "Story cloze\n(right endings)", style.BLUE, is_share=True, error="cloze_stderr")


def numbers(column: pd.Series) -> np.ndarray:
    """A column as floats, NaN where it is empty: there a line has a gap."""
    return column.to_numpy(float, na_value=np.nan)


def probed(line: pd.DataFrame) -> pd.DataFrame:
    """The finished runs of a line that have the sizes of regions."""
    return line[[status == "done" and (folder / "regions.csv").exists() for folder, status in line["status"].items()]]


def panels(lines: Sized, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with one panel per line of the table, narrower where two stand side by side; sizes in inches."""
    columns = min(len(lines), 2)
    rows = -(-len(lines) // columns)
    figure = style.new_figure(columns * width * (1 if columns == 1 else 0.75), rows * height)
    grid = figure.add_gridspec(rows, columns)
    return figure, [figure.add_subplot(grid[number]) for number in range(len(lines))]


def plot(axes: Axes, x: np.ndarray, y: np.ndarray, duplicated: np.ndarray, size: float = 5, **look: object) -> Line2D:
    """A line with a marker at every point; points that share their weights with another are hollow, with a red ring."""
    (line,) = axes.plot(x, y, marker="o", markersize=size, **look)
    marked = duplicated & ~np.isnan(y)
    if marked.any():
        axes.plot(x[marked], y[marked], markersize=1.5 * size, markeredgewidth=0.35 * size, gid=DUPLICATES, zorder=3, **RING)
    return line


def plot_measure(axes: Axes, lines: dict[str, pd.DataFrame], x: str, measure: Measure) -> list[Line2D]:
    """A measure of every line against the column `x`, with a band of one standard error to each side where there is one."""
    drawn = []
    for number, (label, line) in enumerate(lines.items()):
        colour = measure.colour if len(lines) == 1 else style.COLOURS[number % len(style.COLOURS)]
        place, value = numbers(line[x]), numbers(line[measure.column])
        drawn.append(plot(axes, place, value, line["duplicated"].to_numpy(), color=colour, label=label))
        if measure.error:
            error = numbers(line[measure.error])
            axes.fill_between(place, value - error, value + error, color=colour, alpha=0.2, linewidth=0)
    axes.set_ylabel(measure.name)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 2.5, 5, 10)))
    if measure.is_share:
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    if measure is CLOZE:
        draw_chance(axes)
    style.clean(axes)
    return drawn


def draw_chance(axes: Axes) -> None:
    """The accuracy of guessing one of two endings, from side to side."""
    across = axes.get_yaxis_transform()
    axes.plot((0, 1), (0.5, 0.5), transform=across, color="#888888", linestyle=":", gid=CHANCE, zorder=1)
    axes.annotate("chance", (1, 0.5), (-2, 2), across, "offset points", ha="right", fontsize=8, color="#666666")


def draw_lines(
    title: str, lines: dict[str, pd.DataFrame], x: str, draw_panel: Callable[[Axes, pd.DataFrame, str], None], height: float
) -> Figure:
    """A figure with one panel per line of the table, `height` inches each."""
    figure, axes_of_lines = panels(lines, width=8.0, height=height)
    style.write_title(figure, title, ", ".join(lines))
    for axes, (name, line) in zip(axes_of_lines, lines.items(), strict=True):
        draw_panel(axes, line, x)
        axes.set_title(name if len(lines) > 1 else "", fontsize=10)
    add_legend(figure, duplicate_legend(figure, "step"))
    return figure


def duplicate_legend(figure: Figure, other: str) -> list[Line2D]:
    """The legend's entry on duplicates where the figure marks any: `same weights as another <other>`."""
    is_marked = any(line.get_gid() == DUPLICATES for axes in figure.axes for line in axes.lines)
    return (
        [Line2D([], [], markersize=7.5, markeredgewidth=1.75, label=f"same weights as another {other}", **RING)]
        if is_marked
        else []
    )


def add_legend(figure: Figure, entries: list[Artist], columns: int = 4) -> None:
    """The legend below all panels; none where there is nothing to explain."""
    if entries:
        ncols = min(len(entries), columns)
        figure.legend(handles=entries, loc="outside lower center", ncols=ncols, frameon=False, fontsize=9)


def training_axis(axes: Axes, points: Iterable[float], x: str) -> None:
    """Steps or tokens on a logarithmic axis that begins at 0, with points as ticks wherever there is room for their names."""
    points = sorted(set(points))
    first = min((point for point in points if point > 0), default=1)
    axes.set_xscale("symlog", linthresh=first, linscale=FROM_ZERO)
    ticks = apart(axes, points)
    axes.set_xticks(ticks, [count_text(tick) for tick in ticks])
    axes.set_xticks(points, minor=True)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(AXES[x])


def apart(axes: Axes, points: list[float]) -> list[float]:
    """The first, the last and as many of the points between as can be named on the x axis, later ones first."""
    axes.get_xlim()  # brings the limits up to date
    place = dict(zip(points, axes.transData.transform([(point, 0) for point in points])[:, 0], strict=True))
    room = TICK_INCHES * axes.get_figure().dpi
    ticks = [points[-1]]
    for point in reversed(points[1:-1]):
        if place[ticks[-1]] - place[point] >= room and place[point] - place[points[0]] >= room:
            ticks.append(point)
    return sorted({*ticks, points[0]})
