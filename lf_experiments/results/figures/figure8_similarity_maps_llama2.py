"""Figure 8: the similarity maps of the LLaMA models of a sweep, side by side."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from lf_experiments.results.families import llama_runs
from lf_experiments.results.figures import style
from lf_experiments.results.figures.figure2_similarity_map import NEEDS, draw_map
from lf_experiments.results.tables import line_names

TITLE = "Similarity maps of the LLaMA models"
CAPTION = (
    "How alike the neurons of each LLaMA model, small ones first, respond to every pair of sentences: the cosine of their "
    "activation vectors (the paper's Figure 8, eq. 7). Rows and columns are sentences, grouped by language, the same meanings "
    "in the same order in each. Bright blocks are pairs in the same language; bright bands along the diagonals of the other "
    "blocks are translations of each other. Every map has colours of its own, from its 1st to its 99th percentile."
)
COLUMNS = 3


def can_draw(table: pd.DataFrame, _x: str = "") -> bool:
    """Whether there is a map of a LLaMA."""
    return bool(len(with_maps(table)))


def with_maps(table: pd.DataFrame) -> pd.DataFrame:
    """The LLaMA runs that have a map."""
    runs = llama_runs(table)
    return runs[[all((folder / name).exists() for name in NEEDS) for folder in runs.index]]


def draw(table: pd.DataFrame, _x: str = "") -> Figure:
    """One map per model."""
    runs = with_maps(table)
    columns = min(len(runs), COLUMNS)
    rows = -(-len(runs) // columns)
    figure = style.new_figure(6.4 * columns, 0.6 + 5.2 * rows)
    style.write_title(figure, TITLE, "")
    for place, (folder, name) in enumerate(line_names(runs).items(), start=1):
        axes = figure.add_subplot(rows, columns, place)
        axes.set_title(name, fontsize=11, parse_math=False)
        draw_map(axes, folder)
    return figure
