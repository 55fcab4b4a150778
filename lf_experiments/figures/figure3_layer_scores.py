"""Figure 3: LRDS (eq. 8), SADS (eq. 9) and whatever else is scored layer by layer."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from lf_experiments.figures import style
from lf_experiments.figures.figure import Figure
from lf_experiments.runs.run import Run
from lf_experiments.runs.scores import SCORES, Score


def draw(run: Run, title: str) -> Picture:
    """One panel per score of layers, each with its own scale, over the layers from 0."""
    scores = [score for score in SCORES if score.by_layer and score.key in run.layers]
    rows = -(-len(scores) // 2)
    figure = style.new_figure(9, 0.5 + 3.3 * rows, title, run.title)
    for axes, score in zip(style.panels(figure, len(scores)), scores, strict=True):
        draw_panel(axes, run, score)
    return figure


def draw_panel(axes: Axes, run: Run, score: Score) -> None:
    """A score of every layer, with its interval where it has one."""
    layers = run.layers
    axes.plot(layers["layer"], layers[score.key], color=score.colour, marker="o", markersize=4)
    style.draw_interval(axes, style.numbers(layers["layer"]), layers, score.key, score.colour)
    style.name_panel(axes, score.meaning)
    axes.set_ylabel(score.title)
    if score.is_share:
        style.percent_axis(axes)
    style.layer_axis(axes, ticks=10)
    style.clean(axes)


FIGURE = Figure(
    number="Figure 3",
    stem="figure3_layer_scores",
    title="LRDS and SADS by layer",
    caption=(
        "How far each layer separates languages (LRDS, eq. 8: lower is more language-agnostic) and how far it aligns meanings "
        "across languages (SADS, eq. 9: higher is more semantic), as in the paper's Figure 3, and whatever else was measured "
        "of each layer. Bands are intervals over the sentences, where they were computed; they hold for all layers together. "
        "The scales differ."
    ),
    needs=("layers.csv",),
    draw=draw,
)
