"""Figure 4: linguistic regions and semantic alignment over training."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D

from lf_experiments.figures import evolution, style
from lf_experiments.figures.figure import Figure
from lf_experiments.runs.families import WHOLE
from lf_experiments.runs.scores import SCORES, Score
from lf_experiments.runs.sweep import Sweep


def measured_topics(sweep: Sweep) -> dict[str, list[Score]]:
    """The scores that have anything to show over training, by topic: each is a column of panels."""
    lines = sweep.lines().values()
    shown = [score for score in SCORES if score.topic and any(line[score.column].notna().any() for line in lines)]
    return {topic: [score for score in shown if score.topic == topic] for topic in dict.fromkeys(s.topic for s in shown)}


def draw(sweep: Sweep, title: str) -> Picture:
    """A column of panels for each topic, one panel per score and one line per model."""
    lines, topics = sweep.lines(), measured_topics(sweep)
    height, rows = max(map(len, topics.values())), math.lcm(*map(len, topics.values()))
    figure = style.new_figure(4.8 * len(topics), 1.6 + 2.1 * height, title, ", ".join(lines))
    grid = figure.add_gridspec(rows, len(topics))
    for column, (topic, scores) in enumerate(topics.items()):
        span = rows // len(scores)
        panels = [figure.add_subplot(grid[row * span : (row + 1) * span, column]) for row in range(len(scores))]
        drawn = [draw_panel(axes, score, lines, sweep.x) for axes, score in zip(panels, scores, strict=True)][0]
        panels[0].set_title(topic, fontsize=10)
        for axes in panels[:-1]:
            axes.tick_params(labelbottom=False)
            axes.set_xlabel("")
    figure.align_ylabels()
    entries = [
        *(drawn if len(lines) > 1 else []),
        *evolution.beside_legend(figure),
        *evolution.duplicate_legend(figure, "step"),
    ]
    evolution.add_legend(figure, entries)
    return figure


def draw_panel(axes: Axes, score: Score, lines: dict[str, pd.DataFrame], x: str) -> list[Line2D]:
    """One score of every model over training."""
    drawn = evolution.plot_score(axes, lines, x, score)
    evolution.training_axis(axes, (point for line in lines.values() for point in line[x]), x)
    return drawn


FIGURE = Figure(
    number="Figure 4",
    stem="figure4_training_dynamics",
    title="Linguistic regions and semantic alignment over training",
    caption=(
        f"How the model changes while it learns (the paper's Figure 4). {evolution.WHAT_IS_DRAWN} The time axis begins at 0 "
        "and is logarithmic from the first step on; a gap is a run that failed or is missing."
    ),
    part=WHOLE,
    enough=lambda sweep: bool(measured_topics(sweep)),
    draw=draw,
)
