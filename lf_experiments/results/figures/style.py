"""The look that all figures share: sizes, titles, ticks and one colour per language."""

from __future__ import annotations

import textwrap
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from lf_experiments.languages import LANGUAGES
from lf_experiments.results.tables import checkpoint_text, read_json

DOTS_PER_INCH = 180

COLOURS = (
    "#332288",
    "#CC6677",
    "#88CCEE",
    "#117733",
    "#DDCC77",
    "#AA4499",
    "#44AA99",
    "#882255",
    "#999933",
    "#6699CC",
    "#661100",
    "#888888",
)
"""Twelve colours that stay apart for colour-blind readers."""

DARK = "#222222"
BLUE, ORANGE, GREEN, RED = "#0072B2", "#D55E00", "#117733", "#C8102E"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that makes room for its own labels."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout=layout)


def add_title(figure: Figure, folder: Path, title: str) -> None:
    """What is shown and, below it, of which model and checkpoint where `metrics.json` tells."""
    metrics_path = folder / "metrics.json"
    if metrics_path.exists():
        metrics = read_json(metrics_path)
        write_title(figure, title, f"{metrics['model']}, {checkpoint_text(metrics)}")
    else:
        write_title(figure, title, "")


def write_title(figure: Figure, title: str, subject: str) -> None:
    """What is shown and, below it, of what, in as many lines as it takes."""
    columns = int(9 * figure.get_figwidth())
    lines = [title, *textwrap.wrap(subject, columns)]
    figure.suptitle("\n".join(lines), fontsize=12, color=DARK, parse_math=False)


def clean(axes: Axes) -> None:
    """Only the two axes that carry numbers, and faint lines to read values by."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)


def language_colours(codes: list[str]) -> dict[str, str]:
    """One colour per language: the same in every figure for the languages of the table, free ones for others."""
    colours = {code: colour for code, colour in zip(LANGUAGES, COLOURS, strict=False) if code in codes}
    free = [colour for colour in COLOURS if colour not in colours.values()] or list(COLOURS)
    others = [code for code in codes if code not in colours]
    return colours | {code: free[index % len(free)] for index, code in enumerate(others)}


def name_ticks(axis: Axis, positions: list[float], names: list[str], slanted: bool = False) -> None:
    """Names as tick labels, slanted where there is no room to stand side by side."""
    axis.set_ticks(positions, names)
    axis.set_tick_params(length=0)
    if slanted:
        for label in axis.get_ticklabels():
            label.set(rotation=40, horizontalalignment="right", rotation_mode="anchor")
