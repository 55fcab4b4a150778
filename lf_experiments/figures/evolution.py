"""What the figures over training and scale share: a score along a line, the axis of training, duplicates, the legend."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter

from lf_experiments.figures import style
from lf_experiments.figures.style import numbers
from lf_experiments.runs.lines import probed
from lf_experiments.runs.scores import Score
from lf_experiments.runs.sweep import Sweep
from lf_experiments.runs.text import count_text

AXES = {"training_step": "Training step", "training_tokens": "Training tokens"}
"""What the figures over training can be drawn against: columns of the sweep table, and their names."""

WHAT_IS_DRAWN = (
    "How far activations separate languages (LRDS, eq. 8), how far they align meanings across languages (SADS, eq. 9), how "
    "many neurons are key for some language (SKLR, sec. 3.2) and, where it was measured, how often the model ends a story "
    "of another language rightly. Bands are intervals, where they were computed; that of the stories, where there is no "
    "other, is one standard error to each side (the mean of those of the languages, for they read the same stories). A dotted "
    "line is what SKLR is when the languages of the sentences are shuffled, a dashed one what it is beyond that (its excess)."
)

TICK_INCHES = 0.36
"""The room that a tick label needs."""
FROM_ZERO = 0.4
"""How far 0 is from the first step after it, in decades."""

DUPLICATES = "duplicates"
"""The artists that mark duplicates carry this as their gid."""
CHANCE = "chance"
"""The line of guessing carries this as its gid."""
RING = {"linestyle": "none", "marker": "o", "markerfacecolor": "white", "markeredgecolor": style.RED}


def probed_lines(sweep: Sweep) -> dict[str, pd.DataFrame]:
    """The lines of a sweep on which regions were probed at two points at least."""
    return {name: line for name, line in sweep.lines().items() if probed(line)[sweep.x].nunique() > 1}


def plot(axes: Axes, x: np.ndarray, y: np.ndarray, duplicated: np.ndarray, size: float = 5, **look: object) -> Line2D:
    """A line with a marker at every point; points that share their weights with another are hollow, with a red ring."""
    (line,) = axes.plot(x, y, marker="o", markersize=size, **look)
    marked = duplicated & ~np.isnan(y)
    if marked.any():
        axes.plot(x[marked], y[marked], markersize=1.5 * size, markeredgewidth=0.35 * size, gid=DUPLICATES, zorder=3, **RING)
    return line


def plot_score(axes: Axes, lines: dict[str, pd.DataFrame], x: str, score: Score) -> list[Line2D]:
    """A score of every line against the column `x`, with its interval where there is one."""
    drawn = []
    for number, (label, line) in enumerate(lines.items()):
        colour = score.colour if len(lines) == 1 else style.COLOURS[number % len(style.COLOURS)]
        place, value = numbers(line[x]), numbers(line[score.column])
        drawn.append(plot(axes, place, value, line["duplicated"].to_numpy(), color=colour, label=label))
        style.draw_interval(axes, place, line, score.column, colour)
        draw_beside(axes, place, line, score, colour)
    axes.set_ylabel(score.axis)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 2.5, 5, 10)))
    if score.is_share:
        axes.yaxis.set_major_formatter(style.percent)
    if score.chance is not None:
        draw_chance(axes, score.chance)
    style.clean(axes)
    return drawn


def draw_beside(axes: Axes, place: np.ndarray, line: pd.DataFrame, score: Score, colour: str) -> None:
    """What a score is under shuffled labels, dotted, and what it is beyond that, dashed, each with its interval."""
    for column, draw in ((score.null, style.draw_null), (score.excess, style.draw_excess)):
        if column in line:
            draw(axes, place, numbers(line[column]), colour)
            style.draw_interval(axes, place, line, column, colour)


def beside_legend(figure: Picture) -> list[Line2D]:
    """The legend's entries on the lines beside a score, where the figure has any."""
    gids = {line.get_gid() for axes in figure.axes for line in axes.lines}
    looks = {style.NULL: (style.SHUFFLED, style.DOTTED), style.EXCESS: (style.BEYOND, style.DASHED)}
    return [Line2D([], [], color=style.DARK, label=name, **look) for gid, (name, look) in looks.items() if gid in gids]


def draw_chance(axes: Axes, chance: float) -> None:
    """What guessing gives, from side to side."""
    across = axes.get_yaxis_transform()
    axes.plot((0, 1), (chance, chance), transform=across, color="#888888", linestyle=":", gid=CHANCE, zorder=1)
    axes.annotate("chance", (1, chance), (-2, 2), across, "offset points", ha="right", fontsize=8, color="#666666")


def draw_lines(
    title: str,
    lines: dict[str, pd.DataFrame],
    x: str,
    draw_panel: Callable[[Axes, pd.DataFrame, str], None],
    height: float,
    names: int = 0,
) -> Picture:
    """A figure with one panel per line of the table, `height` inches each; `names` are those of the legend beside each."""
    columns = min(len(lines), 2)
    width = (8.0 if columns == 1 else 12.0) + columns * style.more_width(names)
    figure = style.new_figure(width, -(-len(lines) // columns) * height, title, ", ".join(lines))
    for axes, (name, line) in zip(style.panels(figure, len(lines)), lines.items(), strict=True):
        draw_panel(axes, line, x)
        axes.set_title(name if len(lines) > 1 else "", fontsize=10)
    add_legend(figure, duplicate_legend(figure, "step"))
    return figure


def duplicate_legend(figure: Picture, other: str) -> list[Line2D]:
    """The legend's entry on duplicates where the figure marks any: `same weights as another <other>`."""
    if not any(line.get_gid() == DUPLICATES for axes in figure.axes for line in axes.lines):
        return []
    return [Line2D([], [], markersize=7.5, markeredgewidth=1.75, label=f"same weights as another {other}", **RING)]


def add_legend(figure: Picture, entries: list[Artist], columns: int = 4) -> None:
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
