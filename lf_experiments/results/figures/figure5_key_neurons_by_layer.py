"""Figure 5: where in the model the key neurons lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from lf_experiments.languages import language_name
from lf_experiments.results.figures import style
from lf_experiments.results.tables import read_table

NEEDS = ("regions.csv",)
TITLE = "Key neurons by layer"
CAPTION = (
    "How many key neurons each layer has, stacked by the language they are key for (the paper's Figure 5). A neuron is key "
    "for a language when its contribution to it stands out among the languages: its z-score (eq. 12) exceeds the threshold."
)


def draw(folder: Path) -> Figure:
    """One bar per layer, one segment per language, in the order of the legend."""
    regions = read_table(folder / "regions.csv")
    languages = list(regions["language"].unique())
    colours = style.language_colours(languages)

    figure = style.new_figure(9, 4.4)
    style.add_title(figure, folder, TITLE)
    axes = figure.add_subplot()
    bottom = np.zeros(regions["layer"].nunique())
    for code in languages:
        region = regions[regions["language"] == code].sort_values("layer")
        heights = region["key_neurons"].to_numpy()
        axes.bar(
            region["layer"],
            heights,
            bottom=bottom,
            width=0.85,
            color=colours[code],
            edgecolor="white",
            linewidth=0.3,
            label=language_name(code),
        )
        bottom += heights
    axes.set_xlabel("Layer")
    axes.set_ylabel("Key neurons")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=16))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.margins(x=0.01)
    style.clean(axes)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), reverse=True, frameon=False, fontsize=9)
    return figure
