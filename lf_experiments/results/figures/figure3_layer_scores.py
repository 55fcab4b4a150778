"""Figure 3: LRDS (eq. 8) and SADS (eq. 9) of every layer."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lf_experiments.results.figures import style
from lf_experiments.results.tables import read_table

NEEDS = ("layers.csv",)
TITLE = "LRDS and SADS by layer"
CAPTION = (
    "How far each layer separates languages (LRDS, eq. 8: lower is more language-agnostic) and how far it aligns meanings "
    "across languages (SADS, eq. 9: higher is more semantic), as in the paper's Figure 3. The two scales differ."
)

PANELS = (
    ("lrds", "LRDS", "Linguistic Regions Development Score", style.ORANGE, "o"),
    ("sads", "SADS", "Semantic Alignment Development Score", style.BLUE, "s"),
)


def draw(folder: Path, title: str = TITLE) -> Figure:
    """One panel per score, each with its own scale, over the layers from 0."""
    layers = read_table(folder / "layers.csv")
    figure = style.new_figure(9, 3.8)
    style.add_title(figure, folder, title)
    for axes, (column, short, long, colour, marker) in zip(figure.subplots(1, 2), PANELS, strict=True):
        axes.plot(layers["layer"], layers[column], color=colour, marker=marker, markersize=4)
        axes.set_title(long, fontsize=10)
        axes.set_xlabel("Layer")
        axes.set_ylabel(short)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10))
        style.clean(axes)
    return figure
