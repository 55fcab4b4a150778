"""Figure 2: the similarity map (eq. 7) of all pairs of sentences."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from lf_experiments.figures import style
from lf_experiments.figures.figure import Figure
from lf_experiments.languages import language_name
from lf_experiments.runs.run import Run

HOW_TO_READ = (
    "Rows and columns are sentences, grouped by language, the same meanings in the same order in each. Bright blocks are pairs "
    "in the same language; bright bands along the diagonals of the other blocks are translations of each other."
)

MIDDLE = (1, 99)
"""The percentiles of the pairs of different sentences that are darkest and brightest."""


def draw(run: Run, title: str) -> Picture:
    """The map, with one block per language."""
    figure = style.new_figure(8.2, 7.4, title, run.title)
    draw_map(figure.add_subplot(), run)
    return figure


def draw_map(axes: Axes, run: Run) -> None:
    """The map and its colour bar. The colours span the middle 98 % of the pairs of different sentences."""
    similarity_SS = run.similarity
    sentences = run.samples.groupby("language", sort=False).size()
    ends = sentences.cumsum()
    low, high = coloured_range(similarity_SS)

    image = axes.imshow(similarity_SS, cmap="viridis", vmin=low, vmax=high)
    for end in ends[:-1]:
        axes.axhline(end - 0.5, color="white", linewidth=0.7)
        axes.axvline(end - 0.5, color="white", linewidth=0.7)
    style.name_square(axes, list(ends - sentences / 2 - 0.5), list(map(language_name, sentences.index)))
    axes.get_figure().colorbar(image, ax=axes, label="Cosine similarity", extend="both", fraction=0.04, pad=0.02)


def coloured_range(similarity_SS: np.ndarray) -> tuple[float, float]:
    """The similarities that are darkest and brightest."""
    low, high = np.percentile(different(similarity_SS), MIDDLE)
    return float(low), float(high)


def different(similarity_SS: np.ndarray) -> np.ndarray:
    """The similarities of different sentences."""
    return similarity_SS[~np.eye(len(similarity_SS), dtype=bool)].astype(float)


FIGURE = Figure(
    number="Figure 2",
    stem="figure2_similarity_map",
    title="Similarity map",
    caption=(
        "How alike the neurons respond to every pair of sentences: the cosine of their activation vectors (the paper's Figure "
        f"2, eq. 7). {HOW_TO_READ}"
    ),
    needs=("similarity.npy", "samples.csv"),
    draw=draw,
)
