"""Figure 2: the similarity map (eq. 7) of all pairs of sentences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lf_experiments.languages import language_name
from lf_experiments.results.figures import style
from lf_experiments.results.tables import read_table

NEEDS = ("similarity.npy", "samples.csv")
TITLE = "Similarity map"
CAPTION = (
    "How alike the neurons respond to every pair of sentences: the cosine of their activation vectors (the paper's Figure 2, "
    "eq. 7). Rows and columns are sentences, grouped by language, the same meanings in the same order in each. Bright blocks "
    "are pairs in the same language; bright bands along the diagonals of the other blocks are translations of each other."
)


def draw(folder: Path, title: str = TITLE) -> Figure:
    """The map, with one block per language."""
    figure = style.new_figure(8.2, 7.4)
    style.add_title(figure, folder, title)
    draw_map(figure.add_subplot(), folder)
    return figure


def draw_map(axes: Axes, folder: Path) -> None:
    """The map and its colour bar. The colours span the middle 98 % of the pairs of different sentences."""
    similarity_SS = np.load(folder / "similarity.npy")
    sentences = read_table(folder / "samples.csv").groupby("language", sort=False).size()
    ends = sentences.cumsum()
    pairs = similarity_SS[~np.eye(len(similarity_SS), dtype=bool)]
    low, high = np.percentile(pairs, [1, 99])

    image = axes.imshow(similarity_SS, cmap="viridis", vmin=low, vmax=high)
    for end in ends[:-1]:
        axes.axhline(end - 0.5, color="white", linewidth=0.7)
        axes.axvline(end - 0.5, color="white", linewidth=0.7)
    centres = list(ends - sentences / 2 - 0.5)
    names = [language_name(code) for code in sentences.index]
    style.name_ticks(axes.xaxis, centres, names, slanted=len(names) > 6)
    style.name_ticks(axes.yaxis, centres, names)
    axes.get_figure().colorbar(image, ax=axes, label="Cosine similarity", extend="both", fraction=0.04, pad=0.02)
