"""The look that all figures share: sizes, titles, ticks, intervals and one colour per language."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure as Picture
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from lf_experiments.languages import LANGUAGES
from lf_experiments.runs.metrics import HIGH, LOW

DOTS_PER_INCH = 180

COLOURS = (
    *("#332288", "#CC6677", "#88CCEE", "#117733", "#DDCC77", "#AA4499"),
    *("#44AA99", "#882255", "#999933", "#6699CC", "#661100", "#888888"),
)
"""Twelve colours that stay apart for colour-blind readers."""

SHADES = (0.35, -0.45, 0.6)
"""How far the colours of further languages are from the twelve, towards white or, below 0, towards black."""

DARK = "#222222"
BLUE, RED = "#0072B2", "#C8102E"

INTERVAL, NULL, EXCESS = "interval", "null", "excess"
"""The artists that show an interval, what shuffled labels give, and what a score is beyond that carry this as their gid."""
SHUFFLED, BEYOND = "with the languages shuffled", "beyond shuffled languages"
"""What a legend calls the latter two."""
DOTTED, DASHED = {"linestyle": ":", "linewidth": 1.8}, {"linestyle": "--", "linewidth": 1.2}
"""How they are drawn."""
WIDEST = 18
"""Of a figure with a place for each language, in inches."""
MANY = 20
"""Names beside each other, beyond which they stand upright."""
HEADING = 54
"""Letters on a line above a panel."""
NAMES_PER_COLUMN, COLUMN_WIDTH = 16, 2.0
"""Of a legend beside the axes: names, and the inches that they take."""
UPRIGHT_HEIGHT = 1.2
"""The inches that names below the axes take where they stand upright, beyond what slanted ones do."""


def new_figure(width: float, height: float, title: str, subject: str) -> Picture:
    """An empty figure, in inches, that makes room for its own labels: what is shown and, below it, of what."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Picture(figsize=(width, height), dpi=DOTS_PER_INCH, layout=layout)
    lines = [title, *textwrap.wrap(subject, int(9 * width))]
    figure.suptitle("\n".join(lines), fontsize=12, color=DARK)
    return figure


def panels(figure: Picture, count: int, columns: int = 2) -> list[Axes]:
    """So many panels, side by side and then below each other."""
    columns = min(count, columns)
    grid = figure.add_gridspec(-(-count // columns), columns)
    return [figure.add_subplot(grid[number]) for number in range(count)]


def name_panel(axes: Axes, text: str) -> None:
    """What a panel shows, above it, in as many lines as it takes."""
    axes.set_title(textwrap.fill(text[0].upper() + text[1:], HEADING), fontsize=9)


def clean(axes: Axes) -> None:
    """Only the two axes that carry numbers, and faint lines to read values by."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)


def key_neuron_axis(axes: Axes) -> None:
    """Counts of key neurons, upwards."""
    axes.set_ylabel("Key neurons")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    clean(axes)


def percent_axis(axes: Axes) -> None:
    """The y axis in percent; of a share that hardly changes one percent is shown, so that it does not look like much."""
    axes.yaxis.set_major_formatter(percent)
    low, high = axes.get_ylim()
    if high - low < 0.01:
        bottom = min(max((low + high) / 2 - 0.005, min(low, 0)), 0.9905)
        axes.set_ylim(bottom, bottom + 0.01)


def percent(share: float, _: int) -> str:
    """A tick of an axis in percent."""
    return f"{100 * share:.3g}%"


def layer_axis(axes: Axes, ticks: int = 16) -> None:
    """The layers, from 0 on."""
    axes.set_xlabel("Layer")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=ticks))


def legend_beside(axes: Axes, **options: object) -> None:
    """The legend at the right of the axes, in as many columns as it takes."""
    columns = legend_columns(len(axes.get_legend_handles_labels()[1]))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), ncols=columns, frameon=False, fontsize=9, **options)


def legend_columns(names: int) -> int:
    """The columns of a legend beside the axes."""
    return -(-names // NAMES_PER_COLUMN)


def more_width(names: int) -> float:
    """The inches that a legend of so many names beside the axes takes beyond its first column."""
    return COLUMN_WIDTH * max(legend_columns(names) - 1, 0)


def more_height(names: int) -> float:
    """The inches that so many names below the axes take beyond a few."""
    return UPRIGHT_HEIGHT if names > MANY else 0.0


def draw_interval(axes: Axes, x: np.ndarray, table: pd.DataFrame, column: str, colour: str) -> None:
    """A band from `<column>_lo` to `<column>_hi` over `x`; nothing where the table has none."""
    if not {column + LOW, column + HIGH} <= set(table):
        return
    low, high = numbers(table[column + LOW]), numbers(table[column + HIGH])
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0, gid=INTERVAL)


def draw_null(axes: Axes, x: np.ndarray, y: np.ndarray, colour: str = DARK, label: str | None = None) -> None:
    """What shuffled labels give over `x`, dotted; nothing where it was not measured."""
    if not np.isnan(y).all():
        axes.plot(x, y, color=colour, gid=NULL, label=label, **DOTTED)


def draw_excess(axes: Axes, x: np.ndarray, y: np.ndarray, colour: str = DARK) -> None:
    """What a score is beyond what shuffled labels give over `x`, dashed; nothing where it was not measured."""
    if not np.isnan(y).all():
        axes.plot(x, y, color=colour, gid=EXCESS, **DASHED)


def draw_null_band(axes: Axes, nulls: pd.DataFrame) -> None:
    """What shuffled labels give over the rows of a table: from the least of its columns to the largest; nothing without."""
    if nulls.notna().any(axis=None):
        low, high = (numbers(ends) for ends in (nulls.min(axis=1), nulls.max(axis=1)))
        axes.fill_between(
            numbers(nulls.index.to_series()),
            low,
            high,
            color="#BBBBBB",
            alpha=0.5,
            linewidth=0,
            gid=NULL,
            label=SHUFFLED,
            zorder=1,
        )


def numbers(column: pd.Series) -> np.ndarray:
    """A column as floats, NaN where it is empty: there a line has a gap."""
    return column.to_numpy(float, na_value=np.nan)


def language_colours(codes: list[str]) -> dict[str, str]:
    """One colour per language: the same in every figure for the first ones of the table; others take what is free.

    Where the twelve are used up, lighter and darker shades of them follow.
    """
    colours = {code: colour for code, colour in zip(LANGUAGES, COLOURS, strict=False) if code in codes}
    free = [colour for colour in COLOURS if colour not in colours.values()]
    free += [shade(colour, amount) for amount in SHADES for colour in COLOURS]
    others = [code for code in codes if code not in colours]
    return colours | {code: free[index % len(free)] for index, code in enumerate(others)}


def shade(colour: str, amount: float) -> str:
    """A colour moved towards white or, for an amount below 0, towards black."""
    end = 1.0 if amount > 0 else 0.0
    return to_hex([part + abs(amount) * (end - part) for part in to_rgb(colour)])


def write_cells(
    axes: Axes,
    image: AxesImage,
    values: np.ndarray,
    text: Callable[[float], str],
    size: float = 9,
    undecided: np.ndarray | None = None,
) -> None:
    """Every number into its cell of an image, dark on light colours and white on dark ones; in italics where undecided."""
    for (row, column), value in np.ndenumerate(values):
        red, green, blue, _ = image.cmap(image.norm(min(value, image.norm.vmax)))
        ink = "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.55 else DARK
        look = "italic" if undecided is not None and undecided[row, column] else "normal"
        axes.text(column, row, text(value), color=ink, fontsize=size, fontstyle=look, ha="center", va="center", in_layout=False)


def name_square(axes: Axes, positions: Sequence[float], names: list[str]) -> None:
    """Names along both sides of a square of languages, small where there are many."""
    name_ticks(axes.xaxis, positions, names, slanted=len(names) > 6)
    name_ticks(axes.yaxis, positions, names)
    if len(names) > MANY:
        axes.tick_params(labelsize=6)


def name_ticks(axis: Axis, positions: Sequence[float], names: list[str], slanted: bool = False) -> None:
    """Names as tick labels, slanted where there is no room to stand side by side, upright where there are many."""
    axis.set_ticks(positions, names)
    axis.set_tick_params(length=0)
    if slanted:
        upright = {"rotation": 90, "verticalalignment": "center"} if len(names) > MANY else {"rotation": 40}
        for label in axis.get_ticklabels():
            label.set(horizontalalignment="right", rotation_mode="anchor", **upright)
