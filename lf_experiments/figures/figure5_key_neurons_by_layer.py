"""Figure 5: where in the model the key neurons lie."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure as Picture

from lf_experiments.figures import style
from lf_experiments.figures.figure import Figure
from lf_experiments.languages import language_name
from lf_experiments.runs.derived import null_neurons
from lf_experiments.runs.run import Run


def draw(run: Run, title: str) -> Picture:
    """One bar per layer, one segment per language, in the order of the legend."""
    languages = list(run.regions["language"].unique())
    colours = style.language_colours(languages)
    figure = style.new_figure(9 + style.more_width(len(languages)), 4.4, title, run.title)
    axes = figure.add_subplot()
    bottom = np.zeros(run.regions["layer"].nunique())
    look = {"width": 0.85, "edgecolor": "white", "linewidth": 0.3}
    for code in languages:
        region = run.regions[run.regions["language"] == code].sort_values("layer")
        heights = region["key_neurons"].to_numpy()
        axes.bar(region["layer"], heights, bottom=bottom, color=colours[code], label=language_name(code), **look)
        bottom += heights
    null = null_neurons(run.regions, "layer")
    if null is not None:
        style.draw_null(axes, null.index.to_numpy(), null.to_numpy(float), label=style.SHUFFLED)
    style.layer_axis(axes)
    style.key_neuron_axis(axes)
    axes.margins(x=0.01)
    style.legend_beside(axes, reverse=True)
    return figure


FIGURE = Figure(
    number="Figure 5",
    stem="figure5_key_neurons_by_layer",
    title="Key neurons by layer",
    caption=(
        "How many key neurons each layer has, stacked by the language they are key for (the paper's Figure 5). A neuron is key "
        "for a language when its contribution to it stands out among the languages: its score (the paper's: z, eq. 12) exceeds "
        "the threshold. The dotted line is how many are key when the languages of the sentences are shuffled: only what is "
        "above it is about languages."
    ),
    needs=("regions.csv",),
    draw=draw,
)
