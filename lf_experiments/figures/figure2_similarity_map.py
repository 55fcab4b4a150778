"""Figure 2: the similarity map (eq. 7) of all pairs of sentences."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.image import AxesImage

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
    axes = figure.add_subplot()
    name_colours(draw_map(axes, run, coloured_range(run.similarity)), [axes])
    return figure


def draw_map(axes: Axes, run: Run, coloured: tuple[float, float]) -> AxesImage:
    """The map, in colours between these similarities."""
    sentences = run.samples.groupby("language", sort=False).size()
    ends = sentences.cumsum()
    image = axes.imshow(run.similarity, cmap="viridis", vmin=coloured[0], vmax=coloured[1])
    for end in ends[:-1]:
        axes.axhline(end - 0.5, color="white", linewidth=0.7)
        axes.axvline(end - 0.5, color="white", linewidth=0.7)
    style.name_square(axes, list(ends - sentences / 2 - 0.5), list(map(language_name, sentences.index)))
    return image


def name_colours(image: AxesImage, maps: list[Axes]) -> None:
    """The colour bar of maps with the same colours, beside them all."""
    columns = maps[0].get_gridspec().ncols
    label = "Cosine similarity"
    maps[0].get_figure().colorbar(image, ax=maps, label=label, extend="both", fraction=0.04 / columns, pad=0.02 / columns)


def coloured_range(*similarities: np.ndarray) -> tuple[float, float]:
    """The similarities that are darkest and brightest: they span the middle 98 % of the pairs of different sentences."""
    low, high = np.percentile(np.concatenate([different(similarity_SS) for similarity_SS in similarities]), MIDDLE)
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
