"""Figure 6 over training: how large the key region of each language is at each step."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from lf_experiments.figures import evolution, style
from lf_experiments.figures.figure import Figure
from lf_experiments.languages import language_name
from lf_experiments.runs.derived import null_neurons, region_sizes
from lf_experiments.runs.families import WHOLE
from lf_experiments.runs.lines import probed
from lf_experiments.runs.sweep import Sweep


def draw(sweep: Sweep, title: str) -> Picture:
    """One panel per model, one line per language in its fixed colour."""
    lines = evolution.probed_lines(sweep)
    languages = max(key_neurons(line).shape[1] for line in lines.values())
    figure = evolution.draw_lines(title, lines, sweep.x, draw_panel, 4.4, languages)
    figure.draw_without_rendering()  # ticks are chosen in the final layout, beside the legend
    for axes, line in zip(figure.axes, lines.values(), strict=True):
        evolution.training_axis(axes, line[sweep.x], sweep.x)
    return figure


def draw_panel(axes: Axes, line: pd.DataFrame, x: str) -> None:
    """The size of every region over training."""
    sizes = key_neurons(line)
    colours = style.language_colours(list(sizes))
    place, duplicated = style.numbers(line[x]), line["duplicated"].to_numpy()
    for code in sizes:
        look = {"color": colours[code], "label": language_name(code)}
        evolution.plot(axes, place, style.numbers(sizes[code]), duplicated, size=4.5, **look)
    nulls = {run: null for run in probed(line).index if (null := null_neurons(run.regions, "language")) is not None}
    style.draw_null_band(axes, pd.DataFrame(nulls).T.set_axis([line.loc[run, x] for run in nulls]).sort_index())
    style.key_neuron_axis(axes)
    evolution.training_axis(axes, line[x], x)
    axes.set_ylim(bottom=0)
    style.legend_beside(axes)


def key_neurons(line: pd.DataFrame) -> pd.DataFrame:
    """The size of every language's key region (columns) in every run (rows); empty where a run has no regions."""
    sizes = {run: region_sizes(run.regions)["key_neurons"] for run in probed(line).index}
    return pd.DataFrame(sizes).T.reindex(line.index)


FIGURE = Figure(
    number="Figure 6",
    stem="figure6_key_neurons_by_language_and_step",
    title="Key neurons by language over training",
    caption=(
        "How many neurons are key for each language at each step of training (the paper's Figure 6). The sum over languages is "
        "SKLR. The grey band is how many are key for a language when the languages of the sentences are shuffled, from the "
        "language with the fewest to that with the most: only what is above it is about the language. The time axis begins at "
        "0 and is logarithmic from the first step on; a gap is a run that failed or is missing."
    ),
    part=WHOLE,
    enough=lambda sweep: bool(evolution.probed_lines(sweep)),
    draw=draw,
)
