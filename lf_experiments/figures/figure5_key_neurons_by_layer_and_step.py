"""Figure 5 over training: where in the model the key neurons lie at each step."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from lf_experiments.figures import evolution, style
from lf_experiments.figures.figure import Figure
from lf_experiments.runs.derived import key_neurons_by_layer, null_neurons
from lf_experiments.runs.families import WHOLE
from lf_experiments.runs.lines import probed
from lf_experiments.runs.sweep import Sweep
from lf_experiments.runs.text import count_text

NAMED_LINES = 12
"""At most so many lines are named in the legend; of more, evenly chosen ones."""


def draw(sweep: Sweep, title: str) -> Picture:
    """One panel per model, one line per step."""
    lines = {name: probed(line) for name, line in evolution.probed_lines(sweep).items()}
    return evolution.draw_lines(title, lines, sweep.x, draw_panel, height=4.2)


def draw_panel(axes: Axes, line: pd.DataFrame, x: str) -> None:
    """Key neurons over the layers, coloured from early to late."""
    colours = colormaps["viridis"](np.linspace(0, 0.92, len(line)))
    every = -(-len(line) // NAMED_LINES)
    for number, (run, row) in enumerate(line.iterrows()):
        sizes = key_neurons_by_layer(run.regions)
        evolution.plot(
            axes,
            sizes.index.to_numpy(),
            sizes.to_numpy(float),
            np.full(len(sizes), row["duplicated"]),
            size=3,
            color=colours[number],
            linestyle="--" if row["duplicated"] else "-",
            label=count_text(row[x]) if number % every == 0 else f"_{row['job']}",
        )
    nulls = {row["job"]: null for run, row in line.iterrows() if (null := null_neurons(run.regions, "layer")) is not None}
    style.draw_null_band(axes, pd.DataFrame(nulls))
    style.layer_axis(axes)
    style.key_neuron_axis(axes)
    axes.set_ylim(bottom=0)
    style.legend_beside(axes, title=evolution.AXES[x])


FIGURE = Figure(
    number="Figure 5",
    stem="figure5_key_neurons_by_layer_and_step",
    title="Key neurons by layer over training",
    caption=(
        "How many key neurons each layer has at each step of training, all languages together (the paper's Figure 5): dark "
        "lines are early, light ones late. Steps whose weights are those of another step are dashed, with hollow points. "
        "The grey band is how many are key when the languages of the sentences are shuffled, from the step with the fewest to "
        "that with the most: only what is above it is about languages."
    ),
    part=WHOLE,
    enough=lambda sweep: bool(evolution.probed_lines(sweep)),
    draw=draw,
)
