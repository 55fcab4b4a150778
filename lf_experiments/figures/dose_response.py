"""Dose and response: what a region costs its own language and the others, as more and more is done to its neurons."""

from __future__ import annotations

from matplotlib.figure import Figure as Picture

from lf_experiments.figures import style
from lf_experiments.figures.figure import Figure
from lf_experiments.runs.run import Run

CURVES = {
    "own": ("its own language", style.BLUE),
    "spill": ("the other languages", "#D55E00"),
    "control": ("random neurons like it, its own language", "#666666"),
}
"""{column of `doses.csv`: what the region or the control costs, and its colour}"""


def draw(run: Run, title: str) -> Picture:
    """A curve with its band for every kind of cost that was measured."""
    figure = style.new_figure(7.5, 4.2, title, run.title)
    axes = figure.subplots()
    dose = run.doses["dose"].to_numpy(float)
    for column, (label, colour) in CURVES.items():
        if column in run.doses:
            axes.plot(dose, run.doses[column], marker="o", markersize=5, color=colour, label=label)
            style.draw_interval(axes, dose, run.doses, column, colour)
    axes.axhline(0, color="#888888", linewidth=0.8, zorder=1)
    axes.set_xlabel(f"Dose (intervention.name={run.record['config']['intervention']['name']})")
    axes.set_ylabel("Rise of the loss\n(nats per token)")
    style.clean(axes)
    axes.legend(frameon=False, fontsize=9)
    return figure


FIGURE = Figure(
    number="",
    stem="dose_response",
    title="What key regions cost, by dose",
    caption=(
        "The rise of the loss as the intervention on a region grows from nothing (a dose of 0) to the whole of it (1): in the "
        "language of the region, in the other languages, and in its own language under the same intervention on random neurons "
        "that match the region. Means over all regions; bands are intervals over the windows of text. A region that belongs to "
        "its language parts the first curve from the other two from the beginning."
    ),
    needs=("doses.csv",),
    draw=draw,
)
