"""Which languages are near to the model: a tree of them, and what of that is script.

Shapes are written as suffixes: G languages.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform

from lf_experiments.figures import style
from lf_experiments.figures.figure import Figure
from lf_experiments.figures.language_pairs import WHOLE_MODEL, square
from lf_experiments.languages import language_name
from lf_experiments.runs.run import Run
from lf_experiments.runs.scores import LRDS, SADS, Score

SCRIPTS = {True: "same\nscript", False: "different\nscripts"}


def draw(run: Run, title: str) -> Picture:
    """The tree, and beside it the pairs of one script and of two, where there are both."""
    pairs = run.pairs[run.pairs["layer"] == WHOLE_MODEL]
    both = pairs["same_script"].dropna().nunique() == len(SCRIPTS)
    languages = len({*pairs["language"], *pairs["other"]})
    figure = style.new_figure(10.5 if both else 6, max(3.8, 1.4 + 0.24 * languages), title, run.title)
    if not both:
        draw_tree(figure.subplots(), square(pairs, LRDS.key))
        return figure
    tree, *by_script = figure.subplots(1, 3, width_ratios=[2, 1, 1])
    draw_tree(tree, square(pairs, LRDS.key))
    for axes, score in zip(by_script, (LRDS, SADS), strict=True):
        draw_by_script(axes, pairs, score)
    return figure


def draw_tree(axes: Axes, distance_GG: pd.DataFrame) -> None:
    """Languages joined by the mean LRDS between those they join; values below 0 are chance, and count as 0."""
    names = list(map(language_name, distance_GG.index))
    half = squareform(distance_GG.clip(lower=0).fillna(0).to_numpy(), checks=False)
    dendrogram(
        linkage(half, "average"),
        labels=names,
        orientation="right",
        ax=axes,
        color_threshold=0,
        above_threshold_color=style.BLUE,
    )
    axes.tick_params(axis="y", labelsize=9)
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.set_xlabel("LRDS, mean over the pairs that are joined")


def draw_by_script(axes: Axes, pairs: pd.DataFrame, score: Score) -> None:
    """A point for every pair of languages, with a line at the mean of each kind."""
    for place, is_same in enumerate(SCRIPTS):
        values = pairs.loc[pairs["same_script"].eq(is_same), score.key].to_numpy(float)
        spread = 0.3 * (np.arange(len(values)) * 0.618 % 1 - 0.5)
        axes.scatter(place + spread, values, s=16, color=score.colour, alpha=0.6, linewidths=0)
        axes.hlines(values.mean(), place - 0.3, place + 0.3, color=style.DARK, linewidth=2)
    counts = [int(pairs["same_script"].eq(is_same).sum()) for is_same in SCRIPTS]
    names = [f"{name}\n({count} pairs)" for name, count in zip(SCRIPTS.values(), counts, strict=True)]
    axes.set_xticks(range(len(SCRIPTS)), names)
    axes.set_xlim(-0.6, len(SCRIPTS) - 0.4)
    axes.set_ylabel(score.title)
    style.clean(axes)


FIGURE = Figure(
    number="",
    stem="language_tree",
    title="Which languages are near to each other in the model",
    caption=(
        "Left: languages joined by how far the model separates them (LRDS of a pair, half the squared distance of the mean "
        "activation vectors of the two languages; average linkage). Right: the same, and SADS, for the pairs of languages that "
        "share a script and for those that do not. Where pairs of one script are nearer, what looks like kinship may be "
        "script; the texts of a language in another script, given as a language of its own, tell the two apart."
    ),
    needs=("pairs.csv",),
    draw=draw,
)
