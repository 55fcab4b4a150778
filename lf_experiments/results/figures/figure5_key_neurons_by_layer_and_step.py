"""Figure 5 over training: where in the model the key neurons lie at each step."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from lf_experiments.results.figures import evolution, style
from lf_experiments.results.tables import count_text, evolutions, key_neurons_by_layer

TITLE = "Key neurons by layer over training"
CAPTION = (
    "How many key neurons each layer has at each step of training, all languages together (the paper's Figure 5): dark lines "
    "are early, light ones late. Steps whose weights are those of another step are dashed, with hollow points."
)

NAMED_LINES = 12
"""At most so many lines are named in the legend; of more, evenly chosen ones."""


def can_draw(table: pd.DataFrame, x: str = "training_step") -> bool:
    """Whether the regions of a model were probed at two steps."""
    return bool(probed_lines(table, x))


def probed_lines(table: pd.DataFrame, x: str) -> dict[str, pd.DataFrame]:
    """The lines of the table, without the runs that have no regions."""
    lines = {name: evolution.probed(line) for name, line in evolutions(table, x).items()}
    return {name: line for name, line in lines.items() if line[x].nunique() > 1}


def draw(table: pd.DataFrame, x: str = "training_step") -> Figure:
    """One panel per model, one line per step."""
    lines = probed_lines(table, x)
    return evolution.draw_lines(TITLE, lines, x, draw_panel, height=4.2)


def draw_panel(axes: Axes, line: pd.DataFrame, x: str) -> None:
    """Key neurons over the layers, coloured from early to late."""
    colours = colormaps["viridis"](np.linspace(0, 0.92, len(line)))
    every = -(-len(line) // NAMED_LINES)
    for number, (folder, run) in enumerate(line.iterrows()):
        sizes = key_neurons_by_layer(folder)
        evolution.plot(
            axes,
            sizes.index.to_numpy(),
            sizes.to_numpy(float),
            np.full(len(sizes), run["duplicated"]),
            size=3,
            color=colours[number],
            linestyle="--" if run["duplicated"] else "-",
            label=count_text(run[x]) if number % every == 0 else f"_{run['job']}",
        )
    axes.set_xlabel("Layer")
    axes.set_ylabel("Key neurons")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=16))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    style.clean(axes)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), title=evolution.AXES[x], frameon=False, fontsize=9)
