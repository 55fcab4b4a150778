"""Pairs of languages: how far the model separates each pair, and how far it aligns their meanings.

Shapes are written as suffixes: G languages.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import PercentFormatter

from lf_experiments.figures import style
from lf_experiments.figures.figure import Figure
from lf_experiments.languages import language_name
from lf_experiments.runs.run import Run
from lf_experiments.runs.scores import SCORES, Score

WHOLE_MODEL = -1
"""The layer that stands for all of them together."""
FEW = 12
"""Languages up to which every cell has its number."""


def draw(run: Run, title: str) -> Picture:
    """One square per score of pairs, each with colours of its own."""
    pairs = run.pairs[run.pairs["layer"] == WHOLE_MODEL]
    scores = [score for score in SCORES if score.by_pair and score.key in pairs]
    size = min(max(4, 1.8 + 0.45 * pairs["other"].nunique()), 9)
    rows = -(-len(scores) // 2)
    figure = style.new_figure((size + 1.2) * min(len(scores), 2), 0.6 + size * rows, title, run.title)
    for axes, score in zip(style.panels(figure, len(scores)), scores, strict=True):
        draw_square(axes, square(pairs, score.key), score)
    return figure


def square(pairs: pd.DataFrame, score: str) -> pd.DataFrame:
    """A score of pairs of languages, each of which is one row, as a symmetric (G, G) table; NaN on its diagonal."""
    languages = list(dict.fromkeys([*pairs["language"], *pairs["other"]]))
    half_GG = pairs.pivot(index="language", columns="other", values=score).reindex(index=languages, columns=languages)
    return half_GG.combine_first(half_GG.T).loc[languages, languages]


def draw_square(axes: Axes, table_GG: pd.DataFrame, score: Score) -> None:
    """A score of every pair; the colours, from blue to yellow, stay apart for colour-blind readers and in print."""
    image = axes.imshow(table_GG, cmap=colormaps["cividis"].with_extremes(bad="#EEEEEE"))
    if score.is_share and np.nanmin(table_GG) == np.nanmax(table_GG):
        image.set_clim(0, 1)  # around a single value the colours would go beyond all
    if len(table_GG) <= FEW:
        style.write_cells(axes, image, table_GG.to_numpy(), partial(cell_text, is_share=score.is_share), size=7)
    style.name_square(axes, list(range(len(table_GG))), list(map(language_name, table_GG.index)))
    axes.spines[:].set_visible(False)
    style.name_panel(axes, f"{score.title}: {score.meaning}")
    axes.get_figure().colorbar(image, ax=axes, fraction=0.04, pad=0.02, format=PercentFormatter(1) if score.is_share else None)


def cell_text(value: float, is_share: bool) -> str:
    """A number short enough for a cell; nothing on the diagonal."""
    return "" if pd.isna(value) else f"{value:.0%}" if is_share else f"{value:.3f}"


FIGURE = Figure(
    number="",
    stem="language_pairs",
    title="LRDS and SADS by pair of languages",
    caption=(
        "How far the model separates each pair of languages (LRDS, the part of eq. 8 that is about the pair: how much more "
        "alike sentences are within the two languages than between them) and how far it aligns their meanings (SADS, of eq. 9: "
        "how much more alike translations are than other sentences). The mean over all pairs is the score of the model. "
        "Further squares show what else was measured of pairs. Related languages, or languages of one script, show as blocks. "
        "Every square has colours of its own."
    ),
    needs=("pairs.csv",),
    draw=draw,
)
